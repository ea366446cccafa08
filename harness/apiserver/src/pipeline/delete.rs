//! Deletion: preconditions, grace and finalizers.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::{
    Answer, Request, State, body,
    garbage::collect,
    namespaces::delete_namespace,
    options::parse_dry_run,
    read::Selection,
    state::{DEFINITIONS, Garbage, NAMESPACES},
    webhooks::About,
    write::{Write, seconds},
};
use crate::{
    admission::Operation,
    kinds::Kind,
    object::{as_map, has_finalizers, is_terminating, list, map_at, meta, metadata_mut, text},
    schema::decode::Findings,
    status::{ApiError, FieldError},
    store::{Key, Object},
};

/// Finalizer of an owner that waits for its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an owner that lets its dependents go.
pub(super) const ORPHAN: &str = "orphan";
/// Finalizer of a definition whose objects are still there.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// `DeleteOptions`.
#[derive(Debug, Clone, Default)]
pub(super) struct DeleteOptions {
    pub(super) grace_s: Option<i64>,
    pub(super) propagation: Option<Propagation>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// What became of an object that was to be deleted.
pub(super) enum Outcome {
    /// It is gone; this was its last state.
    Removed(Arc<Object>),
    /// It waits for its finalizers or its grace period.
    Waiting(Arc<Object>),
}

pub(crate) fn delete(write: &mut Write<'_, '_>, request: &Request, name: &str) -> Result<Answer, ApiError> {
    let options = parse_options(write, request)?;
    if &*write.target.kind.shelf == NAMESPACES && ["default", "kube-system", "kube-public"].contains(&name) {
        return Err(ApiError::forbidden("", "namespaces", name, "this namespace may not be deleted"));
    }
    let old = write.stored(name).ok_or_else(|| write.target.not_found(name))?;
    check_preconditions(write, &options, &old, name)?;
    let mut object = write.shown(&old);
    write.admit(&mut object, Some(&old), Operation::Delete)?;
    review(write, request, &write.shown(&old))?;
    let kind = Arc::clone(&write.target.kind);
    let mut warnings = Vec::new();
    if &*kind.shelf == "batch/jobs" && options.propagation.is_none() {
        warnings.push(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or \
set propagationPolicy=Orphan to suppress this warning"
                .to_owned(),
        );
    }
    if options.dry_run {
        return Ok(removed_answer(write, &old, warnings));
    }
    match delete_object(write.state, write.context.now, &kind, &write.target.key(name), &options) {
        Outcome::Removed(object) if is_terminating(&object.value) => {
            let mut last = object.value.clone();
            metadata_mut(&mut last).insert("deletionGracePeriodSeconds".into(), 0.into());
            Ok(removed_answer(write, &Object::new(last, object.revision), warnings))
        }
        Outcome::Removed(object) => Ok(removed_answer(write, &object, warnings)),
        Outcome::Waiting(object) => Ok(write.answer(200, &object, warnings)),
    }
}

pub(crate) fn delete_collection(write: &mut Write<'_, '_>, request: &Request) -> Result<Answer, ApiError> {
    let options = parse_options(write, request)?;
    let selection = Selection::parse(write.target, write.options)?;
    let kind = Arc::clone(&write.target.kind);
    let selected: Vec<(Key, Arc<Object>)> = write
        .state
        .store
        .list(&kind.shelf, write.target.namespace.as_deref())
        .filter(|(_, object)| selection.matches(write.target, object))
        .map(|(key, object)| (key.clone(), Arc::clone(object)))
        .collect();
    // Everybody is asked about all of them before the first one goes.
    let mut refusal = None;
    for (_, object) in &selected {
        let mut shown = write.shown(object);
        let admitted = write.admit(&mut shown, Some(object), Operation::Delete).map(|_| ());
        if let Err(error) = admitted.and_then(|()| review(write, request, &write.shown(object))) {
            refusal.get_or_insert(error);
        }
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let mut items = Vec::new();
    for (key, object) in selected {
        let shown = write.shown(&object);
        if !options.dry_run && write.state.store.get(&kind.shelf, &key).is_some() {
            delete_object(write.state, write.context.now, &kind, &key, &options);
        }
        items.push(shown);
    }
    let metadata = json!({"resourceVersion": write.state.store.revision().to_string()});
    Ok(Answer::json(
        200,
        json!({"kind": &*kind.list_name, "apiVersion": kind.api_version(write.target.version), "metadata": metadata,
            "items": items}),
    ))
}

/// Asks the webhooks about a deletion.
fn review(write: &mut Write<'_, '_>, request: &Request, old: &Value) -> Result<(), ApiError> {
    let about = About { request, operation: Operation::Delete, name: meta(old, "name"), kind: None };
    write.mutate(&about, &mut Value::Null, Some(old), &|_, _| Ok(()))?;
    write.validate_by_webhooks(&about, None, Some(old))
}

fn parse_options(write: &Write<'_, '_>, request: &Request) -> Result<DeleteOptions, ApiError> {
    let mut options = DeleteOptions {
        grace_s: write.options.grace_period_s,
        dry_run: write.options.dry_run,
        ..DeleteOptions::default()
    };
    let mut policy = write.options.propagation_policy.clone();
    let mut orphan = None;
    if !request.body.is_empty() {
        let body = body::object(request, "DeleteOptions", &mut Findings::default())?;
        options.grace_s = body["gracePeriodSeconds"].as_i64().or(options.grace_s);
        if let Some(given) = body["propagationPolicy"].as_str() {
            policy = given.to_owned();
        }
        orphan = body["orphanDependents"].as_bool();
        let dry_run: Vec<String> =
            list(&body, &["dryRun"]).iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
        options.dry_run |= parse_dry_run(&dry_run, "DeleteOptions")?;
        let precondition = |field: &str| body["preconditions"][field].as_str().map(ToOwned::to_owned);
        options.uid = precondition("uid");
        options.resource_version = precondition("resourceVersion");
    }
    if orphan.is_some() && !policy.is_empty() {
        let why = "orphanDependents and deletionPropagation cannot be both set";
        let error = FieldError::invalid("propagationPolicy", &policy.as_str().into(), why);
        return Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[error]));
    }
    options.propagation = match (policy.as_str(), orphan) {
        ("", None) => None,
        ("", Some(true)) | ("Orphan", _) => Some(Propagation::Orphan),
        ("", Some(false)) | ("Background", _) => Some(Propagation::Background),
        ("Foreground", _) => Some(Propagation::Foreground),
        (other, _) => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::not_supported("propagationPolicy", &other.into(), &supported);
            return Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[error]));
        }
    };
    Ok(options)
}

pub(super) fn check_preconditions(
    write: &Write<'_, '_>,
    options: &DeleteOptions,
    old: &Object,
    name: &str,
) -> Result<(), ApiError> {
    let kind = &write.target.kind;
    let check = |what: &str, long: &str, wanted: &Option<String>, found: &str| match wanted {
        Some(wanted) if wanted != found => {
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {long} in record ({found}). The object might \
have been {}",
                if what == "UID" { "deleted and then recreated" } else { "modified" }
            );
            Err(ApiError::conflict(&kind.group, &kind.name, name, &why))
        }
        _ => Ok(()),
    };
    check("UID", "UID", &options.uid, meta(&old.value, "uid"))?;
    check(
        "ResourceVersion",
        "ResourceVersion",
        &options.resource_version,
        meta(&old.value, "resourceVersion"),
    )
}

fn removed_answer(write: &Write<'_, '_>, object: &Object, warnings: Vec<String>) -> Answer {
    /// Kinds whose deletion gives the object back.
    const RETURNED: [&str; 8] = [
        "/pods",
        "/podtemplates",
        "/persistentvolumes",
        "/persistentvolumeclaims",
        "/replicationcontrollers",
        "/resourcequotas",
        "/serviceaccounts",
        "/services",
    ];
    let kind = &write.target.kind;
    if RETURNED.contains(&&*kind.shelf) {
        return write.answer(200, object, warnings);
    }
    let mut details = json!({"name": meta(&object.value, "name")});
    if !kind.group.is_empty() {
        details["group"] = (&*kind.group).into();
    }
    details["kind"] = (&*kind.plural).into();
    details["uid"] = meta(&object.value, "uid").into();
    let mut answer = Answer::json(
        200,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
    );
    answer.warnings = warnings;
    answer
}

pub(super) fn delete_object(
    state: &mut State,
    now: Timestamp,
    kind: &Kind,
    key: &Key,
    options: &DeleteOptions,
) -> Outcome {
    let old = Arc::clone(state.store.get(&kind.shelf, key).expect("callers have found it"));
    let mut object = old.value.clone();
    if let Some(waiting) = graceful(state, now, kind, key, &object, options) {
        return waiting;
    }
    let mut propagation = options.propagation;
    if propagation.is_none() {
        let finalizers = list(&object, &["metadata", "finalizers"]);
        propagation = if finalizers.iter().any(|finalizer| finalizer == ORPHAN) {
            Some(Propagation::Orphan)
        } else if finalizers.iter().any(|finalizer| finalizer == FOREGROUND) {
            Some(Propagation::Foreground)
        } else if &*kind.shelf == "batch/jobs" {
            Some(Propagation::Orphan)
        } else {
            None
        };
    }
    set_finalizer(&mut object, ORPHAN, propagation == Some(Propagation::Orphan));
    set_finalizer(&mut object, FOREGROUND, propagation == Some(Propagation::Foreground));
    if &*kind.shelf == DEFINITIONS {
        set_finalizer(&mut object, CLEANUP, true);
        note_terminating(&mut object, now);
    }
    if &*kind.shelf == NAMESPACES {
        return delete_namespace(state, now, kind, key, object);
    }
    if !has_finalizers(&object) {
        let removed = remove(state, now, &kind.shelf, key).unwrap_or(old);
        return Outcome::Removed(removed);
    }
    let object = mark(state, now, kind, key, object, 0);
    if &*kind.shelf == DEFINITIONS {
        delete_instances(state, now, &object.value);
    }
    let uid = meta(&object.value, "uid").to_owned();
    match propagation {
        Some(Propagation::Foreground) => collect(state, now, Garbage::Foreground { uid }),
        Some(Propagation::Orphan) => collect(state, now, Garbage::Orphan { uid }),
        _ => {}
    }
    Outcome::Waiting(object)
}

/// A pod on a node ends in its own time.
fn graceful(
    state: &mut State,
    now: Timestamp,
    kind: &Kind,
    key: &Key,
    object: &Value,
    options: &DeleteOptions,
) -> Option<Outcome> {
    if !kind.row().is_some_and(|row| row.graceful) {
        return None;
    }
    let scheduled = !text(object, &["spec", "nodeName"]).is_empty();
    let over = matches!(text(object, &["status", "phase"]), "Succeeded" | "Failed");
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let mut grace_s = options.grace_s.unwrap_or(own).max(0);
    if !scheduled || over {
        grace_s = 0;
    }
    if grace_s == 0 {
        return None;
    }
    if is_terminating(object) {
        let left = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
        if grace_s >= left {
            let current = Arc::clone(state.store.get(&kind.shelf, key)?);
            return Some(Outcome::Waiting(current));
        }
    }
    Some(Outcome::Waiting(mark(state, now, kind, key, object.clone(), grace_s)))
}

/// Notes that the object is being deleted.
pub(super) fn mark(
    state: &mut State,
    now: Timestamp,
    kind: &Kind,
    key: &Key,
    mut object: Value,
    grace_s: i64,
) -> Arc<Object> {
    let generation = object["metadata"]["generation"].as_i64();
    let again = is_terminating(&object);
    let metadata = metadata_mut(&mut object);
    if !again || grace_s > 0 {
        let end = now.checked_add(grace_s.seconds()).unwrap_or(now);
        metadata.insert("deletionTimestamp".into(), seconds(end).into());
        metadata.insert("deletionGracePeriodSeconds".into(), grace_s.into());
        if !again && let Some(generation) = generation {
            metadata.insert("generation".into(), (generation + 1).into());
        }
    } else {
        metadata.insert("deletionGracePeriodSeconds".into(), grace_s.into());
    }
    let unchanged = state.store.get(&kind.shelf, key).filter(|old| old.value == object).cloned();
    unchanged.unwrap_or_else(|| state.put(kind, key, object))
}

/// Removes an object for good, then what hangs on it.
pub(crate) fn remove(state: &mut State, now: Timestamp, shelf: &Arc<str>, key: &Key) -> Option<Arc<Object>> {
    let removed = state.remove(shelf, key)?;
    let place = (Arc::clone(shelf), key.clone());
    collect(state, now, Garbage::Removed { object: Arc::clone(&removed), place });
    Some(removed)
}

/// A definition goes when its last object is gone.
pub(super) fn finish_definition(state: &mut State, now: Timestamp, shelf: &str) {
    let Some((group, plural)) = shelf.split_once('/') else { return };
    let definitions: Arc<str> = DEFINITIONS.into();
    let key = Key::new("", &format!("{plural}.{group}"));
    let Some(definition) = state.store.get(&definitions, &key).cloned() else { return };
    if is_terminating(&definition.value) && state.store.list(shelf, None).next().is_none() {
        drop_finalizer(state, now, &definitions, &key, &definition, CLEANUP);
    }
}

fn delete_instances(state: &mut State, now: Timestamp, definition: &Value) {
    let spec = &definition["spec"];
    let (group, plural) = (text(spec, &["group"]), text(spec, &["names", "plural"]));
    let shelf = format!("{group}/{plural}");
    let Some(kind) = state.registry.get(group, plural).cloned() else { return };
    let keys: Vec<Key> = state.store.list(&shelf, None).map(|(key, _)| key.clone()).collect();
    for key in keys {
        if state.store.get(&shelf, &key).is_some() {
            delete_object(state, now, &kind, &key, &DeleteOptions::default());
        }
    }
    finish_definition(state, now, &shelf);
}

/// Tells in a definition's conditions that it is going.
fn note_terminating(definition: &mut Value, now: Timestamp) {
    let status = map_at(as_map(definition), "status");
    if let Some(conditions) = status.entry("conditions").or_insert_with(|| json!([])).as_array_mut()
        && !conditions.iter().any(|condition| condition["type"] == "Terminating")
    {
        conditions.push(json!({"type": "Terminating", "status": "True", "lastTransitionTime": seconds(now),
            "reason": "InstanceDeletionInProgress",
            "message": "CustomResource deletion is in progress"}));
    }
}

/// Removes a finalizer of ours, and the object with its last one.
pub(super) fn drop_finalizer(
    state: &mut State,
    now: Timestamp,
    shelf: &Arc<str>,
    key: &Key,
    object: &Object,
    finalizer: &str,
) {
    let mut changed = object.value.clone();
    set_finalizer(&mut changed, finalizer, false);
    if has_finalizers(&changed) {
        if let Some(kind) = state.kind_of_shelf(shelf) {
            state.put(&kind, key, changed);
        }
    } else {
        remove(state, now, shelf, key);
    }
}

fn set_finalizer(object: &mut Value, finalizer: &str, present: bool) {
    let metadata = metadata_mut(object);
    let mut finalizers = match metadata.shift_remove("finalizers") {
        Some(Value::Array(finalizers)) => finalizers,
        _ => Vec::new(),
    };
    finalizers.retain(|found| found != finalizer);
    if present {
        finalizers.push(finalizer.into());
    }
    if !finalizers.is_empty() {
        metadata.insert("finalizers".into(), Value::Array(finalizers));
    }
}
