//! What a controller wants done: values that the adapter carries out.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::world::{Key, Kind, Stored};

/// What one call of `reconcile` decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// What to do, in this order.
    pub effects: Vec<Effect>,
    /// Call again after this time even if nothing changes.
    pub requeue_after: Option<Duration>,
}

impl Outcome {
    /// Nothing to do.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Asks to be called again after `delay`, or sooner if that was asked before.
    pub fn requeue(&mut self, delay: Duration) {
        self.requeue_after = Some(self.requeue_after.map_or(delay, |before| before.min(delay)));
    }
}

/// One thing to do to the cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Create a pod, and tell about it in an Event of its owner; a failure is remembered in
    /// [`crate::world::World::pod_creation_failures`].
    CreatePod(Box<Pod>),
    /// Create an object of another kind; one of that name that is there already stays.
    Create {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: Key,
        /// The manifest.
        object: Box<Value>,
    },
    /// Merge `patch` (RFC 7386) into an object.
    Patch {
        /// Kind of the object.
        kind: Kind,
        /// Which one.
        key: Key,
        /// Whether to patch the status subresource instead of the object.
        status: bool,
        /// The merge patch.
        patch: Value,
    },
    /// Make an object without owner this owner's, if the owner is still there and not being deleted: a deletion that
    /// lets its dependents go must not be undone.
    Adopt {
        /// Kind of the owner.
        owner: Kind,
        /// Which one.
        owner_key: Key,
        /// Its uid.
        owner_uid: String,
        /// Kind of the object.
        kind: Kind,
        /// Which one.
        key: Key,
        /// The merge patch that adds the owner reference.
        patch: Value,
    },
    /// Delete an object.
    Delete {
        /// Kind of the object.
        kind: Kind,
        /// Which one.
        key: Key,
        /// Only if it still has this uid.
        uid: String,
    },
    /// Bind a pod to a node.
    Bind {
        /// The pod.
        pod: Key,
        /// Its uid.
        uid: String,
        /// Name of the node.
        node: String,
    },
    /// Tell about it in an Event.
    Report(Note),
    /// Tell about something that lasts: one Event, however often it is said.
    Tell(Note),
    /// Remove a folder that was made for a volume.
    RemoveFolder {
        /// Its absolute path; one outside of the cluster's own folder is left alone.
        path: String,
    },
}

impl Effect {
    /// Creates an object that is not a pod.
    pub fn create<T: Stored + Serialize>(object: &T) -> Self {
        let mut value = serde_json::to_value(object).unwrap_or_default();
        if let Some(members) = value.as_object_mut() {
            members.insert("apiVersion".into(), T::KIND.api_version().into());
            members.insert("kind".into(), T::KIND.name().into());
        }
        Self::Create { kind: T::KIND, key: Key::of(object.metadata()), object: Box::new(value) }
    }

    /// Adopts an object by a patch of its owner references.
    pub fn adopt<T: Stored>(owner: &T, kind: Kind, key: &Key, patch: Value) -> Self {
        let metadata = owner.metadata();
        Self::Adopt {
            owner: T::KIND,
            owner_key: Key::of(metadata),
            owner_uid: metadata.uid.clone().unwrap_or_default(),
            kind,
            key: key.clone(),
            patch,
        }
    }

    /// Deletes an object as it is now.
    pub fn delete<T: Stored>(object: &T) -> Self {
        let metadata = object.metadata();
        Self::Delete { kind: T::KIND, key: Key::of(metadata), uid: metadata.uid.clone().unwrap_or_default() }
    }

    /// An event about an object.
    pub fn note<T: Stored>(
        object: &T,
        component: &'static str,
        warning: bool,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        Self::Report(Self::note_about(object, component, warning, reason, message.into()))
    }

    /// An event about something that lasts.
    pub fn tell<T: Stored>(
        object: &T,
        component: &'static str,
        warning: bool,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        Self::Tell(Self::note_about(object, component, warning, reason, message.into()))
    }

    fn note_about<T: Stored>(
        object: &T,
        component: &'static str,
        warning: bool,
        reason: &str,
        message: String,
    ) -> Note {
        let metadata = object.metadata();
        Note {
            kind: T::KIND,
            key: Key::of(metadata),
            uid: metadata.uid.clone().unwrap_or_default(),
            field_path: String::new(),
            warning,
            reason: reason.to_owned(),
            action: String::new(),
            message,
            component,
        }
    }

    /// Writes a status where it differs from the one that is there.
    pub fn status<T: Stored, S: Serialize>(object: &T, before: Option<&S>, after: &S) -> Option<Self> {
        let value = |status: Option<&S>| {
            status
                .and_then(|status| serde_json::to_value(status).ok())
                .unwrap_or_else(|| Value::Object(Map::new()))
        };
        let patch = merge_patch(&value(before), &value(Some(after)))?;
        Some(Self::Patch {
            kind: T::KIND,
            key: Key::of(object.metadata()),
            status: true,
            patch: serde_json::json!({ "status": patch }),
        })
    }
}

/// An Event to be written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Kind of the object it is about.
    pub kind: Kind,
    /// Which object.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// Part of the object, such as `spec.containers{server}`; empty for the whole.
    pub field_path: String,
    /// Whether it is a `Warning`, else `Normal`.
    pub warning: bool,
    /// Reason in one CamelCase word.
    pub reason: String,
    /// What was being done, such as `Binding`; empty for most.
    pub action: String,
    /// A sentence for people.
    pub message: String,
    /// Component that reports it.
    pub component: &'static str,
}

/// The merge patch that turns `from` into `to`; `None` if they are equal.
///
/// Members that `to` lacks are set to null; arrays are replaced as a whole (RFC 7386).
#[must_use]
pub fn merge_patch(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return Some(to.clone());
    };
    let mut patch = Map::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in to {
        let change = match from.get(name) {
            Some(before) => merge_patch(before, value),
            None => Some(value.clone()),
        };
        if let Some(change) = change {
            patch.insert(name.clone(), change);
        }
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// If this fails statuses keep fields that no longer hold, such as `readyReplicas` after a scale to zero.
    #[test]
    fn a_merge_patch_says_only_what_differs_and_drops_what_is_gone() {
        for (from, to, patch) in [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1}), json!({}), Some(json!({"a": null}))),
            (json!({}), json!({"a": {"b": []}}), Some(json!({"a": {"b": []}}))),
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1, "c": 3}}), Some(json!({"a": {"c": 3}}))),
            (json!({"a": [1, 2]}), json!({"a": [2]}), Some(json!({"a": [2]}))),
        ] {
            assert_eq!(merge_patch(&from, &to), patch, "{from} -> {to}");
        }
    }
}
