//! Creation.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Answer, Request, body,
    state::{DEFINITIONS, NAMESPACES},
    webhooks::About,
    write::{Draft, Part, Write},
};
use crate::{
    admission::Operation,
    kinds::Source,
    object::{as_map, map_at, meta, metadata_mut, remove_meta, text},
    schema::{
        decode::{Findings, TypeMismatch},
        validate::unknown_formats,
    },
    security::{attributes::Attributes, rbac::CLUSTER_ROLES, refusal},
    status::{ApiError, FieldError},
    store::Key,
};

/// Attempts to find a free generated name.
const GENERATE_ATTEMPTS: usize = 8;

pub(crate) fn create(write: &mut Write<'_, '_>, request: &Request) -> Result<Answer, ApiError> {
    let mut findings = Findings::default();
    let mut object = body::object(request, &write.target.kind.name, &mut findings)?;
    check_type(write, &object)?;
    write.decode(&mut object, &mut findings).map_err(|error| unreadable(write, &error))?;
    let kind = write.target.kind.name.clone();
    let version = write.target.kind.versions[write.target.version].name.clone();
    let mut warnings = write.report(findings, |why| {
        ApiError::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
    })?;
    if &*write.target.kind.shelf == DEFINITIONS {
        for version in crate::object::list(&object, &["spec", "versions"]) {
            unknown_formats(&version["schema"]["openAPIV3Schema"], &mut warnings);
        }
    }
    let object = create_object(write, request, object, None)?;
    Ok(write.answer(201, &object, warnings))
}

/// Stores a decoded object as a new one. `manager_fields` are those that an apply has set.
pub(crate) fn create_object(
    write: &mut Write<'_, '_>,
    request: &Request,
    mut object: Value,
    managed_fields: Option<Value>,
) -> Result<Arc<crate::store::Object>, ApiError> {
    if matches!(write.target.kind.source, Source::Custom { closing: true }) {
        let (group, resource) = write.target.error_name();
        let why = "create not allowed while custom resource definition is terminating";
        return Err(ApiError::forbidden(group, resource, meta(&object, "name"), why));
    }
    check_namespace(write, &mut object)?;
    if request.method != "POST" {
        check_may_create(write, request, meta(&object, "name"))?;
    }
    if !meta(&object, "resourceVersion").is_empty() {
        return Err(ApiError::internal("resourceVersion should not be set on objects to be created"));
    }
    let generate = meta(&object, "generateName").to_owned();
    let generated = meta(&object, "name").is_empty() && !generate.is_empty();
    if generated {
        let mut name = format!("{generate}{}", write.suffix());
        for _ in 0..GENERATE_ATTEMPTS {
            if write.stored(&name).is_none() {
                break;
            }
            name = format!("{generate}{}", write.suffix());
        }
        metadata_mut(&mut object).insert("name".into(), name.into());
    }
    begin(write, &mut object);
    let mut draft = Draft { object, old: None, part: Part::Main, unreviewed: None };
    write.prepare(&mut draft, request, Operation::Create)?;
    super::quota::check(write, &draft.object, None)?;
    let name = meta(&draft.object, "name").to_owned();
    if let Some(existing) = write.stored(&name) {
        let (group, resource) = write.target.error_name();
        let mut error = ApiError::already_exists(group, resource, &name);
        if crate::object::is_terminating(&existing.value) {
            error.message = format!("object is being deleted: {}", error.message);
        }
        return Err(error);
    }
    match managed_fields {
        Some(fields) if fields.as_array().is_some_and(Vec::is_empty) => {
            remove_meta(&mut draft.object, "managedFields");
        }
        Some(fields) => {
            metadata_mut(&mut draft.object).insert("managedFields".into(), fields);
        }
        None => write.track_fields(&mut draft, request),
    }
    write.validate_draft(&draft, request, Operation::Create)?;
    let stored = write.commit(draft);
    if !write.options.dry_run {
        after_create(write, &stored.value);
    }
    Ok(stored)
}

/// Whoever makes an object by an update or an apply needs the permission to create it too.
fn check_may_create(write: &Write<'_, '_>, request: &Request, name: &str) -> Result<(), ApiError> {
    let kind = &write.target.kind;
    let attributes = Attributes {
        verb: "create".to_owned(),
        group: kind.group.to_string(),
        resource: kind.plural.to_string(),
        namespace: write.target.namespace.clone().unwrap_or_default(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    let decision = write.state.rbac.authorize_request(&request.user, &attributes);
    if decision.allowed { Ok(()) } else { Err(refusal(&request.user, &attributes, &decision)) }
}

/// Metadata that the server alone decides, and the status that a client can't give.
fn begin(write: &mut Write<'_, '_>, object: &mut Value) {
    let uid = write.uid();
    let now = write.now_text();
    let kind = Arc::clone(&write.target.kind);
    let version = &kind.versions[write.target.version];
    let map = as_map(object);
    map.insert("apiVersion".into(), kind.api_version(write.target.version).into());
    map.insert("kind".into(), (&*kind.name).into());
    if version.status && (kind.is_custom() || !keeps_status(&kind.plural)) {
        map.shift_remove("status");
    }
    let metadata = metadata_mut(object);
    metadata.insert("uid".into(), uid.into());
    metadata.insert("creationTimestamp".into(), now.into());
    for field in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
        metadata.shift_remove(field);
    }
    if kind.has_generation() {
        metadata.insert("generation".into(), 1.into());
    }
    if &*kind.shelf == NAMESPACES {
        let spec = map_at(as_map(object), "spec");
        spec.insert("finalizers".into(), json!(["kubernetes"]));
    }
}

/// Kinds whose status may be given at creation: nodes register themselves with it.
fn keeps_status(plural: &str) -> bool {
    plural == "nodes"
}

/// Namespace in the body against the one in the path.
pub(crate) fn check_namespace(write: &Write<'_, '_>, object: &mut Value) -> Result<(), ApiError> {
    match &write.target.namespace {
        Some(namespace) => {
            let given = meta(object, "namespace");
            if !given.is_empty() && given != namespace {
                return Err(ApiError::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            metadata_mut(object).insert("namespace".into(), namespace.as_str().into());
        }
        None => remove_meta(object, "namespace"),
    }
    Ok(())
}

/// `apiVersion` and `kind` in the body against those of the path.
pub(crate) fn check_type(write: &Write<'_, '_>, object: &Value) -> Result<(), ApiError> {
    let kind = &write.target.kind;
    let expected = kind.api_version(write.target.version);
    let (given_version, given_kind) = (text(object, &["apiVersion"]), text(object, &["kind"]));
    if kind.is_custom() {
        if given_kind.is_empty() || given_version.is_empty() {
            let missing = if given_kind.is_empty() { "Kind" } else { "apiVersion" };
            return Err(ApiError::bad_request(format!(
                "the object provided is unrecognized (must be of type {}): Object '{missing}' is missing in '{}' ({})",
                kind.name,
                object,
                hex_summary(object)
            )));
        }
        if given_kind == &*kind.name && given_version != expected {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({given_version}) does not match the expected API version ({expected})"
            )));
        }
        if given_kind != &*kind.name || given_version != expected {
            return Err(ApiError::bad_request(format!(
                "{given_kind} in version \"{}\" cannot be handled as a {}: expected apiVersion {expected} and kind {}",
                given_version.rsplit('/').next().unwrap_or_default(),
                kind.name,
                kind.name
            )));
        }
        return Ok(());
    }
    if !given_version.is_empty() && given_version != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API version ({expected})"
        )));
    }
    if !given_kind.is_empty() && given_kind != &*kind.name {
        let version = &kind.versions[write.target.version].name;
        return Err(ApiError::bad_request(format!(
            "{given_kind} in version \"{version}\" cannot be handled as a {}: converting ({version}.{given_kind}) to \
({version}.{}): unknown conversion",
            kind.name, kind.name
        )));
    }
    Ok(())
}

fn hex_summary(object: &Value) -> String {
    let text = object.to_string();
    if text.len() > 30 { format!("{} ...", text.chars().take(30).collect::<String>()) } else { text }
}

/// A value of the wrong type in the body.
pub(crate) fn unreadable(write: &Write<'_, '_>, error: &TypeMismatch) -> ApiError {
    let kind = &write.target.kind;
    let version = &kind.versions[write.target.version].name;
    ApiError::bad_request(format!(
        "{} in version \"{version}\" cannot be handled as a {}: {}",
        kind.name, kind.name, error.0
    ))
}

/// What follows from a new object: a namespace's account, a definition's kind, an orphan's end.
fn after_create(write: &mut Write<'_, '_>, object: &Value) {
    match &*write.target.kind.shelf {
        NAMESPACES => furnish(write, meta(object, "name")),
        CLUSTER_ROLES => super::roles::aggregate(write.state),
        "/secrets" => super::token_request::fill_secret(write, object),
        DEFINITIONS => establish(write, object),
        _ => {
            let kind = &write.target.kind;
            super::garbage::references_changed(write.state, write.context.now, kind, None, object);
        }
    }
}

/// Every namespace has a default service account and the cluster's certificate.
fn furnish(write: &mut Write<'_, '_>, namespace: &str) {
    let now = write.now_text();
    let certificate = write.context.pki.certificate_pem().to_owned();
    for (plural, content) in [
        ("serviceaccounts", json!({"kind": "ServiceAccount", "metadata": {"name": "default"}})),
        (
            "configmaps",
            json!({"kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt", "annotations": {
                "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when \
using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
distributions of Kubernetes clusters."}}, "data": {"ca.crt": certificate}}),
        ),
    ] {
        let Some(kind) = write.state.registry.get("", plural).cloned() else { continue };
        let mut object = content;
        let uid = write.uid();
        as_map(&mut object).insert("apiVersion".into(), "v1".into());
        let metadata = metadata_mut(&mut object);
        metadata.insert("namespace".into(), namespace.into());
        metadata.insert("uid".into(), uid.into());
        metadata.insert("creationTimestamp".into(), now.as_str().into());
        let key = Key::new(namespace, meta(&object, "name"));
        write.state.put(&kind, &key, object);
    }
}

/// A definition is served at once.
pub(crate) fn establish(write: &mut Write<'_, '_>, definition: &Value) {
    let now = write.now_text();
    let mut object = definition.clone();
    let names = object["spec"]["names"].clone();
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message});
    let status = map_at(as_map(&mut object), "status");
    status.insert("acceptedNames".into(), names);
    status.insert(
        "conditions".into(),
        json!([
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ]),
    );
    let key = Key::new("", meta(&object, "name"));
    let kind = Arc::clone(&write.target.kind);
    write.state.put(&kind, &key, object);
}

/// Puts a pod on a node.
pub(crate) fn bind(write: &mut Write<'_, '_>, request: &Request, name: &str) -> Result<Answer, ApiError> {
    let binding = body::object(request, "Binding", &mut Findings::default())?;
    let node = text(&binding, &["target", "name"]).to_owned();
    if node.is_empty() {
        let error = FieldError::required("target.name", "");
        return Err(ApiError::invalid("", "Binding", name, &[error]));
    }
    let old = write.stored(name).ok_or_else(|| write.target.not_found(name))?;
    let assigned = text(&old.value, &["spec", "nodeName"]);
    if !assigned.is_empty() {
        let why = format!("pod {name} is already assigned to node \"{assigned}\"");
        return Err(ApiError::conflict("", "pods/binding", name, &why));
    }
    let now = write.now_text();
    let mut object = old.value.clone();
    map_at(as_map(&mut object), "spec").insert("nodeName".into(), node.into());
    let conditions = map_at(as_map(&mut object), "status").entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": now}));
    }
    let about = About { request, operation: Operation::Create, name, kind: Some(("", "v1", "Binding")) };
    write.validate_by_webhooks(&about, Some(&binding), None)?;
    if !write.options.dry_run {
        let kind = Arc::clone(&write.target.kind);
        let key = write.target.key(name);
        write.state.put(&kind, &key, object);
    }
    Ok(Answer::json(
        201,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

/// After a change of a definition its accepted names follow, and it stays established.
pub(crate) fn establish_again(write: &mut Write<'_, '_>, stored: &crate::store::Object) {
    if stored.value["status"]["acceptedNames"] != stored.value["spec"]["names"] {
        establish(write, &stored.value);
    }
}
