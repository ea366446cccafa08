//! Garbage: what follows for dependents when an owner goes, and for an owner that waits when its dependents go.
//!
//! Dependents go in the same step as their owner, so nobody ever sees an owner gone and its dependents there
//! for longer than one write takes.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    State,
    delete::{
        DeleteOptions, FOREGROUND, ORPHAN, Propagation, delete_object, drop_finalizer, finish_definition,
    },
    namespaces::finish_namespace,
    state::Garbage,
};
use crate::{
    kinds::Kind,
    object::{is_terminating, list, meta, metadata_mut, text},
    security::rbac::CLUSTER_ROLES,
    store::Key,
};

/// What has become of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It is there.
    Solid,
    /// It waits for its dependents to go before it goes itself.
    Waiting,
    /// It is gone, or never was.
    Gone,
    /// Its kind is not served, or a cluster-scoped object names a namespaced one: nobody can tell.
    Unknown,
}

/// Works off what a deletion brings about. A queue and not recursion: chains of owners may be long.
pub(super) fn collect(state: &mut State, now: Timestamp, garbage: Garbage) {
    state.garbage.push_back(garbage);
    if std::mem::replace(&mut state.collecting, true) {
        return;
    }
    while let Some(garbage) = state.garbage.pop_front() {
        match garbage {
            Garbage::Removed { object, place: (shelf, key) } => {
                for (shelf, key) in state.dependents_of(meta(&object.value, "uid")) {
                    judge(state, now, &shelf, &key);
                }
                for owner in list(&object.value, &["metadata", "ownerReferences"]) {
                    finish_owner(state, now, text(owner, &["uid"]));
                }
                if !key.namespace.is_empty() {
                    finish_namespace(state, now, &key.namespace);
                }
                finish_definition(state, now, &shelf);
                match &*shelf {
                    CLUSTER_ROLES => super::roles::aggregate(state),
                    "/serviceaccounts" => {
                        delete_tokens(state, now, &key.namespace, meta(&object.value, "uid"))
                    }
                    _ => {}
                }
            }
            Garbage::Foreground { uid } => {
                // Dependents that do not block their owner go after it.
                for (shelf, key) in state.dependents_of(&uid) {
                    if blocks(state, &shelf, &key, &uid) {
                        judge(state, now, &shelf, &key);
                    }
                }
                finish_owner(state, now, &uid);
            }
            Garbage::Orphan { uid } => {
                for (shelf, key) in state.dependents_of(&uid) {
                    drop_owners(state, now, &shelf, &key, |owner| text(owner, &["uid"]) == uid);
                }
                let Some((shelf, key)) = state.place_of(&uid).cloned() else { continue };
                if let Some(owner) = state.store.get(&shelf, &key).cloned() {
                    drop_finalizer(state, now, &shelf, &key, &owner, ORPHAN);
                }
            }
        }
    }
    state.collecting = false;
}

/// Tokens that live in Secrets go with their account.
fn delete_tokens(state: &mut State, now: Timestamp, namespace: &str, uid: &str) {
    const ACCOUNT: &str = "kubernetes.io/service-account.uid";
    let tokens: Vec<Key> = state
        .store
        .list("/secrets", Some(namespace))
        .filter(|(_, secret)| {
            text(&secret.value, &["type"]) == "kubernetes.io/service-account-token"
                && text(&secret.value, &["metadata", "annotations", ACCOUNT]) == uid
        })
        .map(|(key, _)| key.clone())
        .collect();
    let Some(kind) = state.kind_of_shelf("/secrets") else { return };
    for key in tokens {
        delete_object(state, now, &kind, &key, &DeleteOptions::default());
    }
}

/// Owner references were written: an object whose owners are all gone goes, and an owner that a dependent let go
/// waits no longer.
pub(super) fn references_changed(
    state: &mut State,
    now: Timestamp,
    kind: &Kind,
    old: Option<&Value>,
    new: &Value,
) {
    let owners = |object: &Value| list(object, &["metadata", "ownerReferences"]).to_vec();
    let (before, after) = (old.map(owners).unwrap_or_default(), owners(new));
    if before == after {
        return;
    }
    let key = Key::new(meta(new, "namespace"), meta(new, "name"));
    judge(state, now, &kind.shelf, &key);
    for owner in before {
        finish_owner(state, now, text(&owner, &["uid"]));
    }
}

/// Deletes an object that has owners but none left, or makes it forget those that have gone.
fn judge(state: &mut State, now: Timestamp, shelf: &Arc<str>, key: &Key) {
    let Some(object) = state.store.get(shelf, key).cloned() else { return };
    let Some(kind) = state.kind_of_shelf(shelf) else { return };
    if is_terminating(&object.value) {
        return;
    }
    let owners = list(&object.value, &["metadata", "ownerReferences"]);
    let found: Vec<Owner> = owners.iter().map(|owner| owner_state(state, key, owner)).collect();
    if found.is_empty() || found.contains(&Owner::Unknown) {
        return;
    }
    if found.contains(&Owner::Solid) {
        drop_owners(state, now, shelf, key, |owner| {
            let at = owners.iter().position(|other| other == owner);
            at.is_some_and(|at| found[at] != Owner::Solid)
        });
        return;
    }
    let uid = meta(&object.value, "uid");
    let has = |name: &str| list(&object.value, &["metadata", "finalizers"]).iter().any(|found| found == name);
    let propagation = if found.contains(&Owner::Waiting) && !state.dependents_of(uid).is_empty() {
        Propagation::Foreground
    } else if has(ORPHAN) {
        Propagation::Orphan
    } else if has(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
    delete_object(state, now, &kind, key, &options);
}

/// What has become of the owner that a reference in the object with this key names.
fn owner_state(state: &State, dependent: &Key, reference: &Value) -> Owner {
    let api_version = text(reference, &["apiVersion"]);
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let name = text(reference, &["kind"]);
    let Some(kind) = state.registry.of_group(group).find(|kind| &*kind.name == name) else {
        return Owner::Unknown;
    };
    if kind.namespaced && dependent.namespace.is_empty() {
        return Owner::Unknown;
    }
    let namespace: &str = if kind.namespaced { &dependent.namespace } else { "" };
    let key = Key::new(namespace, text(reference, &["name"]));
    let Some(owner) = state.store.get(&kind.shelf, &key) else { return Owner::Gone };
    if meta(&owner.value, "uid") != text(reference, &["uid"]) {
        return Owner::Gone;
    }
    let waits = list(&owner.value, &["metadata", "finalizers"]).iter().any(|found| found == FOREGROUND);
    if is_terminating(&owner.value) && waits { Owner::Waiting } else { Owner::Solid }
}

/// Whether the object keeps its owner from going in the foreground.
fn blocks(state: &State, shelf: &str, key: &Key, uid: &str) -> bool {
    state.store.get(shelf, key).is_some_and(|object| {
        list(&object.value, &["metadata", "ownerReferences"])
            .iter()
            .any(|owner| text(owner, &["uid"]) == uid && owner["blockOwnerDeletion"] == Value::Bool(true))
    })
}

/// Takes owner references out of an object; owners that waited for it may go then.
fn drop_owners(
    state: &mut State,
    now: Timestamp,
    shelf: &Arc<str>,
    key: &Key,
    goes: impl Fn(&Value) -> bool,
) {
    let Some(object) = state.store.get(shelf, key).cloned() else { return };
    let Some(kind) = state.kind_of_shelf(shelf) else { return };
    let mut changed = object.value.clone();
    let metadata = metadata_mut(&mut changed);
    let mut dropped = Vec::new();
    if let Some(owners) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
        dropped = owners.extract_if(.., |owner| goes(owner)).collect();
        if owners.is_empty() {
            metadata.shift_remove("ownerReferences");
        }
    }
    if dropped.is_empty() {
        return;
    }
    state.put(&kind, key, changed);
    for owner in dropped {
        finish_owner(state, now, text(&owner, &["uid"]));
    }
}

/// An owner that waits for its dependents goes when none is left that blocks it.
fn finish_owner(state: &mut State, now: Timestamp, uid: &str) {
    let Some((shelf, key)) = state.place_of(uid).cloned() else { return };
    let Some(owner) = state.store.get(&shelf, &key).cloned() else { return };
    let waits = list(&owner.value, &["metadata", "finalizers"]).iter().any(|found| found == FOREGROUND);
    let is_blocked =
        |state: &State| state.dependents_of(uid).iter().any(|(shelf, key)| blocks(state, shelf, key, uid));
    if is_terminating(&owner.value) && waits && !is_blocked(state) {
        drop_finalizer(state, now, &shelf, &key, &owner, FOREGROUND);
    }
}
