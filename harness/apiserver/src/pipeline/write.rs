//! The steps that creations and updates share: decode, default, admit, validate, commit.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Answer, Context, Request, State, Target,
    options::{FieldValidation, RequestOptions},
    webhooks::About,
};
use crate::{
    admission::{Attributes, Operation},
    apply,
    kinds::{Kind, Source, names::NameRule, rules},
    object::{meta, metadata_mut, remove_meta},
    schema::{
        Schema,
        builtin::{OBJECT_META, definition},
        decode::{Findings, TypeMismatch, decode},
        fill, prune, validate,
    },
    status::{ApiError, FieldError},
    store::{Key, Object},
};

/// Claims stay while pods use them.
const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Volumes stay while they are bound to a claim.
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

/// One write in progress.
pub(crate) struct Write<'a, 'b> {
    pub(crate) state: &'a mut State,
    pub(crate) context: &'a mut Context<'b>,
    pub(crate) target: &'a Target,
    pub(crate) options: &'a RequestOptions,
}

/// Which part of an object a write may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but the status, where the kind has a status subresource.
    Main,
    Status,
}

/// A decoded object that is about to be stored.
pub(crate) struct Draft {
    pub(crate) object: Value,
    pub(crate) old: Option<Arc<Object>>,
    pub(crate) part: Part,
    /// The object as it was before webhooks changed it: nobody owns what they add.
    pub(crate) unreviewed: Option<Value>,
}

impl Write<'_, '_> {
    pub(crate) fn now_text(&self) -> String {
        seconds(self.context.now)
    }

    /// The stored object of a name.
    pub(crate) fn stored(&self, name: &str) -> Option<Arc<Object>> {
        self.state.store.get(&self.target.kind.shelf, &self.target.key(name)).cloned()
    }

    /// The stored object as the requested version shows it.
    pub(crate) fn shown(&self, object: &Object) -> Value {
        self.target.kind.convert(object, self.target.version)
    }

    /// Decodes an object of the requested version; unknown fields go.
    pub(crate) fn decode(&self, object: &mut Value, findings: &mut Findings) -> Result<(), TypeMismatch> {
        decode_object(&self.target.kind, self.target.version, object, findings)
    }

    /// Turns what a lenient decoder dropped into warnings or a refusal.
    pub(crate) fn report(
        &self,
        findings: Findings,
        refuse: impl FnOnce(&str) -> ApiError,
    ) -> Result<Vec<String>, ApiError> {
        match self.options.field_validation {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Warn => Ok(findings.lines),
            FieldValidation::Strict if findings.lines.is_empty() => Ok(Vec::new()),
            FieldValidation::Strict => {
                Err(refuse(&format!("strict decoding error: {}", findings.lines.join(", "))))
            }
        }
    }

    /// Defaults, admission and validation of a draft; the result is ready to be stored.
    pub(crate) fn prepare(
        &mut self,
        draft: &mut Draft,
        request: &Request,
        operation: Operation,
    ) -> Result<(), ApiError> {
        let kind = Arc::clone(&self.target.kind);
        self.complete(&mut draft.object);
        self.built_in_admission(&mut draft.object, draft.old.as_deref(), operation)?;
        if self.admit(&mut draft.object, draft.old.as_deref(), operation)? {
            let mut ignored = Findings::default();
            self.decode(&mut draft.object, &mut ignored).map_err(|error| ApiError::internal(error.0))?;
            self.complete(&mut draft.object);
        }
        // The review of a scale shows the scale, so whoever writes it has asked already.
        if self.target.subresource != "scale" {
            let old = draft.old.as_ref().map(|old| self.shown(old));
            let name = meta(&draft.object, "name").to_owned();
            let about = About { request, operation, name: &name, kind: None };
            let before = self.state.hooks.may_mutate().then(|| draft.object.clone());
            let changed = self.mutate(&about, &mut draft.object, old.as_ref(), &|write, object| {
                let mut ignored = Findings::default();
                write.decode(object, &mut ignored).map_err(|error| ApiError::internal(error.0))?;
                write.complete(object);
                Ok(())
            })?;
            draft.unreviewed = before.filter(|_| changed);
        }
        super::roles::check_escalation(self, request, &draft.object, draft.old.as_deref())?;
        self.allocate(&mut draft.object, draft.old.as_deref())?;
        let old = draft.old.as_ref().map(|old| kind.convert(old, self.target.version));
        let errors = self.faults(&draft.object, old.as_ref(), draft.part);
        if !errors.is_empty() {
            return Err(self.invalid(meta(&draft.object, "name"), &errors));
        }
        Ok(())
    }

    /// Asks the validating webhooks about a draft that is ready to be stored.
    pub(crate) fn validate_draft(
        &mut self,
        draft: &Draft,
        request: &Request,
        operation: Operation,
    ) -> Result<(), ApiError> {
        if self.target.subresource == "scale" {
            return Ok(());
        }
        let old = draft.old.as_ref().map(|old| self.shown(old));
        let name = meta(&draft.object, "name");
        let about = About { request, operation, name, kind: None };
        self.validate_by_webhooks(&about, Some(&draft.object), old.as_ref())
    }

    /// Fills in defaults.
    pub(crate) fn complete(&self, object: &mut Value) {
        match self.target.row() {
            Some(row) => (row.complete)(object),
            None => fill::fill(self.target.schema(), object),
        }
    }

    fn faults(&self, object: &Value, old: Option<&Value>, part: Part) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let kind = &self.target.kind;
        let rule = kind.row().map_or(NameRule::Subdomain, |row| row.names);
        rules::metadata::check(object, old, rule, &mut errors);
        match kind.source {
            Source::Builtin(_) if part == Part::Main => {
                if let Some(row) = self.target.row() {
                    (row.validate)(object, old, &mut errors);
                }
            }
            Source::Builtin(_) => {}
            Source::Custom { .. } => validate::validate(self.target.schema(), object, old, &mut errors),
        }
        errors
    }

    pub(crate) fn invalid(&self, name: &str, errors: &[FieldError]) -> ApiError {
        ApiError::invalid(&self.target.kind.group, &self.target.kind.name, name, errors)
    }

    pub(crate) fn attributes(&self, name: &str, operation: Operation) -> Attributes {
        let kind = &self.target.kind;
        Attributes {
            group: kind.group.to_string(),
            version: kind.versions[self.target.version].name.to_string(),
            resource: kind.plural.to_string(),
            subresource: self.target.subresource.clone(),
            kind: kind.name.to_string(),
            namespace: self.target.namespace.clone().unwrap_or_default(),
            name: name.to_owned(),
            operation,
            dry_run: self.options.dry_run,
        }
    }

    /// Asks the reviewers that were added; tells whether one of them had something to say.
    pub(crate) fn admit(
        &mut self,
        object: &mut Value,
        old: Option<&Object>,
        operation: Operation,
    ) -> Result<bool, ApiError> {
        let attributes = self.attributes(meta(object, "name"), operation);
        let old = old.map(|old| self.shown(old));
        let mut reviewed = false;
        for reviewer in self.context.admission.iter().filter(|reviewer| reviewer.matches(&attributes)) {
            reviewed = true;
            let warnings = &mut self.context.transcript.warnings;
            if let Err(denial) = reviewer.review_with_warnings(&attributes, object, old.as_ref(), warnings) {
                let code = if denial.code < 400 { 400 } else { denial.code };
                let message = format!(
                    "admission webhook \"{}\" denied the request: {}",
                    reviewer.name(),
                    denial.message
                );
                return Err(ApiError::new(code, reason_of(code), message));
            }
        }
        Ok(reviewed)
    }

    /// What the real server's built-in admission plugins do.
    fn built_in_admission(
        &mut self,
        object: &mut Value,
        old: Option<&Object>,
        operation: Operation,
    ) -> Result<(), ApiError> {
        if operation != Operation::Create || old.is_some() {
            return Ok(());
        }
        if let Some(namespace) = &self.target.namespace {
            let found = self.state.store.get(super::state::NAMESPACES, &Key::new("", namespace));
            match found {
                None => return Err(ApiError::not_found("", "namespaces", namespace)),
                Some(found) if crate::object::is_terminating(&found.value) => {
                    let name = meta(object, "name");
                    let (group, resource) = self.target.error_name();
                    let why = format!(
                        "unable to create new content in namespace {namespace} because it is being terminated"
                    );
                    let mut error = ApiError::forbidden(group, resource, name, &why);
                    if let Some(details) = &mut error.details {
                        details["causes"] = json!([{"reason": "NamespaceTerminating",
                            "message": format!("namespace {namespace} is being terminated"),
                            "field": "metadata.namespace"}]);
                    }
                    return Err(error);
                }
                Some(_) => {}
            }
        }
        match &*self.target.kind.shelf {
            "/pods" => self.admit_pod(object),
            "/persistentvolumeclaims" => {
                protect(object, CLAIM_PROTECTION);
                super::limits::check_claim(self, object)
            }
            "/persistentvolumes" => {
                protect(object, VOLUME_PROTECTION);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Stores a prepared draft, unless it is a dry run or changes nothing. Gives what the client sees.
    pub(crate) fn commit(&mut self, draft: Draft) -> Arc<Object> {
        let kind = Arc::clone(&self.target.kind);
        let name = meta(&draft.object, "name").to_owned();
        let key = self.target.key(&name);
        let stored = kind.to_storage(draft.object, self.target.version);
        if let Some(old) = &draft.old
            && same(&old.value, &stored)
        {
            return Arc::clone(old);
        }
        if self.options.dry_run {
            let revision = draft.old.as_ref().map_or(0, |old| old.revision);
            let mut stored = stored;
            if let Some(old) = &draft.old {
                let revision = meta(&old.value, "resourceVersion").to_owned();
                metadata_mut(&mut stored).insert("resourceVersion".into(), revision.into());
            } else {
                remove_meta(&mut stored, "resourceVersion");
            }
            return Arc::new(Object::new(stored, revision));
        }
        self.state.put(&kind, &key, stored)
    }

    /// Records who owns which fields of the draft after a plain write.
    pub(crate) fn track_fields(&self, draft: &mut Draft, request: &Request) {
        let old = draft.old.as_ref().map(|old| self.shown(old));
        let tracking = apply::Tracking {
            schema: self.target.schema(),
            api_version: self.target.kind.api_version(self.target.version),
            manager: self.options.manager(request),
            subresource: self.target.subresource.clone(),
            now: self.now_text(),
            part: draft.part,
            has_status: self.target.kind.versions[self.target.version].status,
        };
        let Some(mut unreviewed) = draft.unreviewed.take() else {
            return apply::track_update(&tracking, old.as_ref(), &mut draft.object);
        };
        apply::track_update(&tracking, old.as_ref(), &mut unreviewed);
        match unreviewed["metadata"].get_mut("managedFields").map(Value::take) {
            Some(fields) => {
                metadata_mut(&mut draft.object).insert("managedFields".into(), fields);
            }
            None => remove_meta(&mut draft.object, "managedFields"),
        }
    }

    /// The answer that shows a stored object.
    pub(crate) fn answer(&self, code: u16, object: &Object, warnings: Vec<String>) -> Answer {
        let mut answer = Answer::json(code, self.shown(object));
        answer.warnings = warnings;
        answer
    }

    /// A uid.
    pub(crate) fn uid(&mut self) -> String {
        uid((self.context.random)())
    }

    /// Five letters for `generateName`.
    pub(crate) fn suffix(&mut self) -> String {
        suffix((self.context.random)())
    }
}

/// Gives a new object a finalizer that a controller takes away when the object is not in use.
fn protect(object: &mut Value, finalizer: &str) {
    let finalizers = metadata_mut(object).entry("finalizers").or_insert_with(|| json!([]));
    if let Some(finalizers) = finalizers.as_array_mut()
        && !finalizers.iter().any(|present| present == finalizer)
    {
        finalizers.push(finalizer.into());
    }
}

/// Decodes an object of a kind in one of its versions; unknown fields go.
pub(crate) fn decode_object(
    kind: &Kind,
    version: usize,
    object: &mut Value,
    findings: &mut Findings,
) -> Result<(), TypeMismatch> {
    let schema: &Schema = &kind.versions[version].schema;
    if !kind.is_custom() {
        return decode(schema, object, findings);
    }
    if let Some(metadata) = object.get_mut("metadata")
        && let Some(meta_schema) = definition(OBJECT_META)
    {
        let mut inner = Findings::default();
        decode(meta_schema, metadata, &mut inner)?;
        findings
            .lines
            .extend(inner.lines.iter().map(|line| line.replacen("field \"", "field \"metadata.", 1)));
    }
    prune::prune(schema, object, findings);
    Ok(())
}

/// Whether two objects are equal but for their revision and the times of their managers.
fn same(old: &Value, new: &Value) -> bool {
    let strip = |object: &Value| {
        let mut object = object.clone();
        remove_meta(&mut object, "resourceVersion");
        if let Some(managers) = object
            .get_mut("metadata")
            .and_then(|metadata| metadata.get_mut("managedFields"))
            .and_then(Value::as_array_mut)
        {
            for manager in managers.iter_mut().filter_map(Value::as_object_mut) {
                manager.shift_remove("time");
            }
        }
        object
    };
    strip(old) == strip(new)
}

/// RFC 3339 with whole seconds.
pub(crate) fn seconds(now: jiff::Timestamp) -> String {
    let whole = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    whole.to_string()
}

/// A uid of random bits: version 4, variant 1.
pub(crate) fn uid(bits: u128) -> String {
    let bits = (bits & !(0xf << 76) | (4 << 76)) & !(0x3 << 62) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

pub(crate) fn suffix(mut bits: u128) -> String {
    // No vowels and no look-alikes, as the real server.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut text = String::with_capacity(5);
    for _ in 0..5 {
        text.push(char::from(LETTERS[(bits % LETTERS.len() as u128) as usize]));
        bits /= LETTERS.len() as u128;
    }
    text
}

fn reason_of(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        429 => "TooManyRequests",
        _ => "",
    }
}
