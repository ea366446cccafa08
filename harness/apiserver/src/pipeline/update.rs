//! Replacement, and what every kind of update shares.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Answer, Request, body, create, delete, roles,
    state::DEFINITIONS,
    write::{Draft, Part, Write},
};
use crate::{
    admission::Operation,
    object::{as_map, has_finalizers, is_terminating, meta, metadata_mut},
    schema::decode::Findings,
    security::rbac::CLUSTER_ROLES,
    status::{ApiError, FieldError},
    store::Object,
};

pub(crate) fn replace(write: &mut Write<'_, '_>, request: &Request, name: &str) -> Result<Answer, ApiError> {
    let mut findings = Findings::default();
    let mut object = body::object(request, &write.target.kind.name, &mut findings)?;
    create::check_type(write, &object)?;
    write.decode(&mut object, &mut findings).map_err(|error| create::unreadable(write, &error))?;
    let kind = write.target.kind.name.clone();
    let version = write.target.kind.versions[write.target.version].name.clone();
    let warnings = write.report(findings, |why| {
        ApiError::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
    })?;
    create::check_namespace(write, &mut object)?;
    let given = meta(&object, "name");
    if given != name {
        let message = if given.is_empty() {
            "the name of the object (based on URL) was undeterminable: name must be provided".to_owned()
        } else {
            format!("the name of the object ({given}) does not match the name on the URL ({name})")
        };
        return Err(ApiError::bad_request(message));
    }
    let Some(old) = write.stored(name) else {
        let may_create = write.target.kind.row().is_some_and(|row| row.create_on_update);
        if !may_create || !meta(&object, "uid").is_empty() {
            return Err(write.target.not_found(name));
        }
        let created = create::create_object(write, request, object, None)?;
        return Ok(write.answer(201, &created, warnings));
    };
    if write.target.kind.is_custom() && meta(&object, "resourceVersion").is_empty() {
        let error =
            FieldError::invalid("metadata.resourceVersion", &0.into(), "must be specified for an update");
        let (group, resource) = write.target.error_name();
        return Err(ApiError::invalid(group, resource, name, &[error]));
    }
    let uid = meta(&object, "uid");
    if !uid.is_empty() && uid != meta(&old.value, "uid") {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: \
Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            write.target.kind.plural,
            registry_path(write, name),
            meta(&old.value, "uid")
        );
        let (group, resource) = write.target.error_name();
        return Err(ApiError::conflict(group, resource, name, &why));
    }
    let stored = update_object(write, request, &old, object, None)?;
    Ok(write.answer(200, &stored, warnings))
}

fn registry_path(write: &Write<'_, '_>, name: &str) -> String {
    write.target.namespace.as_ref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// Stores a decoded object in place of `old`. `managed_fields` are those that an apply has set.
pub(crate) fn update_object(
    write: &mut Write<'_, '_>,
    request: &Request,
    old: &Arc<Object>,
    mut object: Value,
    managed_fields: Option<Value>,
) -> Result<Arc<Object>, ApiError> {
    let name = meta(&old.value, "name").to_owned();
    let given = meta(&object, "resourceVersion");
    if !given.is_empty() && given != "0" && given != meta(&old.value, "resourceVersion") {
        if given.parse::<u64>().is_err() {
            return Err(ApiError::internal(format!(
                "strconv.ParseUint: parsing \"{given}\": invalid syntax"
            )));
        }
        let (group, resource) = write.target.error_name();
        return Err(ApiError::stale(group, resource, &name));
    }
    let part = if write.target.subresource == "status" { Part::Status } else { Part::Main };
    let shown = write.shown(old);
    carry_over(write, &mut object, &shown, part);
    let mut draft = Draft { object, old: Some(Arc::clone(old)), part, unreviewed: None };
    write.prepare(&mut draft, request, Operation::Update)?;
    if part == Part::Main {
        super::quota::check(write, &draft.object, Some(&old.value))?;
    }
    if part == Part::Main && write.target.kind.generation_changes(write.target.version, &shown, &draft.object)
    {
        let generation = shown["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
        metadata_mut(&mut draft.object).insert("generation".into(), generation.into());
    }
    match managed_fields {
        Some(fields) => {
            let metadata = metadata_mut(&mut draft.object);
            if fields.as_array().is_some_and(Vec::is_empty) {
                metadata.shift_remove("managedFields");
            } else {
                metadata.insert("managedFields".into(), fields);
            }
        }
        None => write.track_fields(&mut draft, request),
    }
    write.validate_draft(&draft, request, Operation::Update)?;
    if is_terminating(&draft.object) && !has_finalizers(&draft.object) && is_deletable(&draft.object) {
        return Ok(finish_deletion(write, draft));
    }
    let stored = write.commit(draft);
    if !write.options.dry_run {
        let kind = Arc::clone(&write.target.kind);
        super::garbage::references_changed(
            write.state,
            write.context.now,
            &kind,
            Some(&old.value),
            &stored.value,
        );
    }
    if &*write.target.kind.shelf == DEFINITIONS && part == Part::Main && !write.options.dry_run {
        create::establish_again(write, &stored);
    }
    if &*write.target.kind.shelf == CLUSTER_ROLES && !write.options.dry_run {
        roles::aggregate(write.state);
    }
    Ok(stored)
}

/// A pod with time left to end stays until whoever runs it lets go.
fn is_deletable(object: &Value) -> bool {
    object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() == 0
        && crate::object::list(object, &["spec", "finalizers"]).is_empty()
}

/// The last finalizer is gone: the object goes too. The client sees it without its finalizers.
fn finish_deletion(write: &mut Write<'_, '_>, draft: Draft) -> Arc<Object> {
    let key = write.target.key(meta(&draft.object, "name"));
    let kind = Arc::clone(&write.target.kind);
    let mut stored = kind.to_storage(draft.object, write.target.version);
    if write.options.dry_run {
        return Arc::new(Object::new(stored, 0));
    }
    delete::remove(write.state, write.context.now, &kind.shelf, &key);
    let revision = write.state.store.revision();
    metadata_mut(&mut stored).insert("resourceVersion".into(), revision.to_string().into());
    Arc::new(Object::new(stored, revision))
}

/// What a client can't change: identity, times, and the part that belongs to the other endpoint.
fn carry_over(write: &Write<'_, '_>, object: &mut Value, old: &Value, part: Part) {
    let kind = &write.target.kind;
    let has_status = kind.versions[write.target.version].status;
    let map = as_map(object);
    map.insert("apiVersion".into(), kind.api_version(write.target.version).into());
    map.insert("kind".into(), (&*kind.name).into());
    if part == Part::Status {
        let status = map.get("status").cloned();
        let given = map.get("metadata").cloned();
        *object = old.clone();
        let map = as_map(object);
        match status {
            Some(status) => map.insert("status".into(), status),
            None => map.shift_remove("status"),
        };
        // The status endpoint keeps what controllers note beside it, never labels.
        let metadata = metadata_mut(object);
        for field in ["annotations", "managedFields", "finalizers"] {
            if kind.is_custom() && field != "managedFields" {
                continue;
            }
            match given.as_ref().and_then(|given| given.get(field)) {
                Some(value) => metadata.insert(field.to_owned(), value.clone()),
                None => metadata.shift_remove(field),
            };
        }
        return;
    }
    if has_status {
        match old.get("status") {
            Some(status) => map.insert("status".into(), status.clone()),
            None => map.shift_remove("status"),
        };
    }
    if &*kind.shelf == super::state::NAMESPACES {
        map.insert("spec".into(), old["spec"].clone());
    }
    let metadata = metadata_mut(object);
    for field in
        ["creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"]
    {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.shift_remove(field),
        };
    }
    for field in ["uid", "namespace", "name"] {
        if !metadata.contains_key(field)
            && let Some(value) = old["metadata"].get(field)
        {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    metadata.insert("resourceVersion".into(), old["metadata"]["resourceVersion"].clone());
    for field in ["clusterIP", "clusterIPs"] {
        // A service keeps its addresses when an update leaves them out.
        if &*kind.shelf == "/services"
            && object["spec"].get(field).is_none()
            && object["spec"]["type"] != "ExternalName"
            && let Some(value) = old["spec"].get(field)
        {
            crate::object::map_at(as_map(object), "spec").insert(field.to_owned(), value.clone());
        }
    }
}

/// `PUT namespaces/NAME/finalize` replaces a namespace's own finalizers.
pub(crate) fn finalize(write: &mut Write<'_, '_>, request: &Request, name: &str) -> Result<Answer, ApiError> {
    let object = body::object(request, "Namespace", &mut Findings::default())?;
    let old = write.stored(name).ok_or_else(|| write.target.not_found(name))?;
    let mut changed = old.value.clone();
    let finalizers = object["spec"].get("finalizers").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
    crate::object::map_at(as_map(&mut changed), "spec").insert("finalizers".into(), finalizers);
    let kind = Arc::clone(&write.target.kind);
    let key = write.target.key(name);
    let stored = write.state.put(&kind, &key, changed);
    super::namespaces::finish_namespace(write.state, write.context.now, name);
    Ok(write.answer(200, &stored, Vec::new()))
}
