//! The end of a namespace: its contents go first, and its conditions say what is left.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    State,
    delete::{self, DeleteOptions, Outcome, Propagation, delete_object, mark},
    state::{NAMESPACES, Place},
    write::seconds,
};
use crate::{
    kinds::Kind,
    object::{as_map, has_finalizers, is_terminating, list, map_at},
    store::Key,
};

/// A namespace ends when its contents are gone.
pub(super) fn delete_namespace(
    state: &mut State,
    now: Timestamp,
    kind: &Kind,
    key: &Key,
    mut object: Value,
) -> Outcome {
    map_at(as_map(&mut object), "status").insert("phase".into(), "Terminating".into());
    let marked = mark(state, now, kind, key, object, 0);
    // Owners first: their dependents go along in the right order.
    let mut contents: BTreeMap<bool, Vec<Place>> = BTreeMap::new();
    let all: Vec<Place> = state.contents_of(&key.name).collect();
    for place in all {
        let owned = state
            .store
            .get(&place.0, &place.1)
            .is_some_and(|object| !list(&object.value, &["metadata", "ownerReferences"]).is_empty());
        contents.entry(owned).or_default().push(place);
    }
    for (shelf, place) in contents.into_values().flatten() {
        let Some(object) = state.store.get(&shelf, &place).cloned() else { continue };
        if is_terminating(&object.value) {
            continue;
        }
        if let Some(kind) = state.kind_of_shelf(&shelf) {
            let options =
                DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
            delete_object(state, now, &kind, &place, &options);
        }
    }
    finish_namespace(state, now, &key.name);
    Outcome::Waiting(marked)
}

/// Removes a terminating namespace that has become empty; of one that has not, says what is left.
pub(super) fn finish_namespace(state: &mut State, now: Timestamp, name: &str) {
    let shelf: Arc<str> = NAMESPACES.into();
    let key = Key::new("", name);
    let Some(namespace) = state.store.get(&shelf, &key).cloned() else { return };
    if !is_terminating(&namespace.value) {
        return;
    }
    let conditions = conditions(state, name, &namespace.value, now);
    if conditions != namespace.value["status"]["conditions"]
        && let Some(kind) = state.kind_of_shelf(&shelf)
        && state.contents_of(name).next().is_some()
    {
        let mut changed = namespace.value.clone();
        map_at(as_map(&mut changed), "status").insert("conditions".into(), conditions);
        state.put(&kind, &key, changed);
    }
    if state.contents_of(name).next().is_some() {
        return;
    }
    let only_ours =
        list(&namespace.value, &["spec", "finalizers"]).iter().all(|finalizer| finalizer == "kubernetes");
    if only_ours && !has_finalizers(&namespace.value) {
        delete::remove(state, now, &shelf, &key);
    }
}

/// What keeps a terminating namespace: objects by kind, and the finalizers that they wait for.
fn conditions(state: &State, name: &str, namespace: &Value, now: Timestamp) -> Value {
    let mut resources: BTreeMap<String, u64> = BTreeMap::new();
    let mut finalizers: BTreeMap<String, u64> = BTreeMap::new();
    for (shelf, key) in state.contents_of(name) {
        let Some((group, plural)) = shelf.split_once('/') else { continue };
        *resources.entry(format!("{plural}.{group}")).or_default() += 1;
        let Some(object) = state.store.get(&shelf, &key) else { continue };
        for finalizer in list(&object.value, &["metadata", "finalizers"]).iter().filter_map(Value::as_str) {
            *finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }
    let count = |found: &BTreeMap<String, u64>, word: &str| {
        let words = found.iter().map(|(name, count)| format!("{name} {word} {count} resource instances"));
        words.collect::<Vec<_>>().join(", ")
    };
    let remaining = if resources.is_empty() {
        ("False", "ContentRemoved", "All content successfully removed".to_owned())
    } else {
        let message = format!("Some resources are remaining: {}", count(&resources, "has"));
        ("True", "SomeResourcesRemain", message)
    };
    let waiting = if finalizers.is_empty() {
        ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
    } else {
        let message =
            format!("Some content in the namespace has finalizers remaining: {}", count(&finalizers, "in"));
        ("True", "SomeFinalizersRemain", message)
    };
    let fixed = |reason, message: &str| ("False", reason, message.to_owned());
    let wanted = [
        (
            "NamespaceDeletionDiscoveryFailure",
            fixed("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            fixed("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            fixed("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        ("NamespaceContentRemaining", remaining),
        ("NamespaceFinalizersRemaining", waiting),
    ];
    let before = list(namespace, &["status", "conditions"]);
    let after = wanted.map(|(kind, (status, reason, message))| {
        let present =
            before.iter().find(|condition| condition["type"] == kind && condition["status"] == status);
        let since = present
            .map_or_else(|| Value::from(seconds(now)), |condition| condition["lastTransitionTime"].clone());
        json!({"type": kind, "status": status, "lastTransitionTime": since, "reason": reason,
            "message": message})
    });
    Value::Array(after.into())
}
