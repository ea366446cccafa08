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
    object::{as_map, list, map_at, meta, metadata_mut, remove_meta, text},
    schema::{
        Schema,
        builtin::{OBJECT_META, definition},
        decode::{Findings, TypeMismatch, decode},
        fill, prune, validate,
    },
    status::{ApiError, FieldError},
    store::{Key, Object},
};

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
        match self.target.kind.source {
            Source::Builtin(row) => (row.complete)(object),
            Source::Custom { .. } => fill::fill(self.target.schema(), object),
        }
    }

    fn faults(&self, object: &Value, old: Option<&Value>, part: Part) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let kind = &self.target.kind;
        let rule = kind.row().map_or(NameRule::Subdomain, |row| row.names);
        rules::metadata::check(object, old, rule, &mut errors);
        match kind.source {
            Source::Builtin(row) if part == Part::Main => (row.validate)(object, old, &mut errors),
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
            if let Err(denial) = reviewer.review(&attributes, object, old.as_ref()) {
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
        if &*self.target.kind.shelf == "/pods" {
            self.admit_pod(object)?;
        }
        Ok(())
    }

    /// Service account and tolerations of a new pod.
    fn admit_pod(&mut self, object: &mut Value) -> Result<(), ApiError> {
        let name = meta(object, "name").to_owned();
        let namespace = self.target.namespace.clone().unwrap_or_default();
        let random = (self.context.random)();
        let spec = map_at(as_map(object), "spec");
        crate::object::set_default(spec, "serviceAccountName", "default");
        let account = spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or_default().to_owned();
        spec.insert("serviceAccount".into(), account.as_str().into());
        let stored = self.state.store.get("/serviceaccounts", &Key::new(&namespace, &account));
        let Some(stored) = stored else {
            let why = format!(
                "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
            );
            return Err(ApiError::forbidden("", "pods", &name, &why));
        };
        let off = |value: Option<&Value>| value == Some(&Value::Bool(false));
        let automount = match spec.get("automountServiceAccountToken") {
            None | Some(Value::Null) => !off(stored.value.get("automountServiceAccountToken")),
            own => !off(own),
        };
        if list_is_empty(spec, "imagePullSecrets") {
            let secrets = list(&stored.value, &["imagePullSecrets"]);
            if !secrets.is_empty() {
                spec.insert("imagePullSecrets".into(), secrets.into());
            }
        }
        if automount && self.context.options.mount_service_account_tokens {
            mount_token(spec, &suffix(random));
        }
        let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
        if let Some(tolerations) = tolerations.as_array_mut() {
            for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
                let tolerated = tolerations.iter().any(|toleration| {
                    let key = text(toleration, &["key"]);
                    let effect = text(toleration, &["effect"]);
                    (key == taint || key.is_empty()) && (effect == "NoExecute" || effect.is_empty())
                });
                if !tolerated {
                    tolerations.push(
                        json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}),
                    );
                }
            }
        }
        Ok(())
    }

    /// Addresses and ports that a service gets from the cluster.
    fn allocate(&mut self, object: &mut Value, old: Option<&Object>) -> Result<(), ApiError> {
        if &*self.target.kind.shelf != "/services" {
            return Ok(());
        }
        let kind = text(object, &["spec", "type"]).to_owned();
        if kind == "ExternalName" {
            return Ok(());
        }
        let spec = map_at(as_map(object), "spec");
        if !spec.contains_key("clusterIP") {
            let kept =
                old.map(|old| text(&old.value, &["spec", "clusterIP"])).filter(|address| !address.is_empty());
            let address = match kept {
                Some(address) => address.to_owned(),
                None => self
                    .state
                    .allocate_address(self.context.options.service_network)
                    .ok_or_else(|| ApiError::internal("failed to allocate a serviceIP: range is full"))?,
            };
            spec.insert("clusterIP".into(), address.into());
        }
        if !spec.contains_key("clusterIPs") {
            let address = spec.get("clusterIP").cloned().unwrap_or_default();
            spec.insert("clusterIPs".into(), json!([address]));
        }
        if kind == "NodePort" || kind == "LoadBalancer" {
            for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                if port["nodePort"].as_i64().unwrap_or_default() == 0
                    && let Some(number) = self.state.allocate_node_port()
                {
                    as_map(port).insert("nodePort".into(), number.into());
                }
            }
        }
        Ok(())
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

fn suffix(mut bits: u128) -> String {
    // No vowels and no look-alikes, as the real server.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut text = String::with_capacity(5);
    for _ in 0..5 {
        text.push(char::from(LETTERS[(bits % LETTERS.len() as u128) as usize]));
        bits /= LETTERS.len() as u128;
    }
    text
}

fn list_is_empty(spec: &serde_json::Map<String, Value>, field: &str) -> bool {
    spec.get(field).and_then(Value::as_array).is_none_or(Vec::is_empty)
}

fn mount_token(spec: &mut serde_json::Map<String, Value>, suffix: &str) {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let name = format!("kube-api-access-{suffix}");
    let mut used = false;
    for containers in ["initContainers", "containers"] {
        for container in spec.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
            if list(container, &["volumeMounts"]).iter().any(|mount| text(mount, &["mountPath"]) == PATH) {
                continue;
            }
            let mounts = as_map(container).entry("volumeMounts").or_insert_with(|| json!([]));
            if let Some(mounts) = mounts.as_array_mut() {
                mounts.push(json!({"name": name, "readOnly": true, "mountPath": PATH}));
                used = true;
            }
        }
    }
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if used && let Some(volumes) = volumes.as_array_mut() {
        volumes.push(json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}}));
    }
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
