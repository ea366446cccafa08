//! What a reconcile wants done.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::world::{Kept, Kind, Object, ObjectKey};

/// One write.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Makes an object; one that exists already is fine.
    Create(Object),
    /// Makes an object, or makes the fields of one that is there what these are, by server-side apply. The engine
    /// leaves out what is so already ([`crate::world::World::is_applied`]).
    Apply(Object),
    /// Changes an object by a JSON merge patch; one that is gone is fine.
    Patch {
        /// Its kind.
        kind: Kind,
        /// Its namespace and name.
        key: ObjectKey,
        /// The merge patch.
        patch: Value,
        /// Whether it goes to the status subresource.
        status: bool,
    },
    /// Deletes an object; one that is gone is fine.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its namespace and name.
        key: ObjectKey,
    },
    /// Sets the replicas of anything with a `scale` subresource; a target that is gone is fine.
    Scale {
        /// Path of the subresource.
        path: String,
        /// `spec.replicas`.
        replicas: i32,
    },
    /// Records a Kubernetes event about an object.
    Event {
        /// API version of the object.
        api_version: &'static str,
        /// Kind of the object.
        kind: &'static str,
        /// Its namespace and name.
        key: ObjectKey,
        /// Its UID.
        uid: String,
        /// `Normal` or `Warning`.
        severity: &'static str,
        /// One word.
        reason: String,
        /// A sentence.
        message: String,
    },
    /// Writes nothing: the key is looked at again after a time.
    Requeue {
        /// How long, in milliseconds.
        after_ms: u64,
    },
}

/// The writes of one reconcile, in order.
pub type Effects = Vec<Effect>;

impl Effect {
    /// The kind of what is written; `Scale` for the subresource of anything.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Self::Create(object) | Self::Apply(object) => format!("{:?}", object.kind()),
            Self::Patch { kind, .. } | Self::Delete { kind, .. } => format!("{kind:?}"),
            Self::Scale { .. } => "Scale".to_owned(),
            Self::Event { .. } => "Event".to_owned(),
            Self::Requeue { .. } => String::new(),
        }
    }

    /// What is done, in one word.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Create(_) | Self::Event { .. } => "create",
            Self::Apply(_) => "apply",
            Self::Patch { status: true, .. } => "patch-status",
            Self::Patch { .. } | Self::Scale { .. } => "patch",
            Self::Delete { .. } => "delete",
            Self::Requeue { .. } => "none",
        }
    }

    /// Why it is done, in one word. What is applied may have another reason: see [`crate::Need`].
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Create(_) | Self::Apply(_) => "new",
            Self::Patch { status: true, .. } => "status",
            Self::Patch { .. } => "changed",
            Self::Scale { .. } => "scaled",
            Self::Delete { .. } => "unwanted",
            Self::Event { .. } => "event",
            Self::Requeue { .. } => "none",
        }
    }

    /// Makes an object.
    pub fn create<K: Kept>(object: K) -> Self {
        Self::Create(object.wrap())
    }

    /// Changes what differs between an object's status and the wanted one; `None` when nothing does.
    pub fn status<K: Kept, S: Serialize>(key: &ObjectKey, old: Option<&S>, new: &S) -> Option<Self> {
        let old = old.map_or_else(|| Ok(Value::Object(Map::new())), serde_json::to_value).ok()?;
        let new = serde_json::to_value(new).ok()?;
        let difference = merge_difference(&old, &new)?;
        let patch = serde_json::json!({"status": difference});
        Some(Self::Patch { kind: K::KIND, key: key.clone(), patch, status: true })
    }

    /// Changes what differs between an object's specification, labels and annotations and the wanted ones:
    /// labels and annotations that others have set stay. `None` when nothing differs.
    pub fn specification<K: Kept>(key: &ObjectKey, old: &K, new: &K) -> Option<Self> {
        let (old, new) = (serde_json::to_value(old).ok()?, serde_json::to_value(new).ok()?);
        let mut patch = Map::new();
        if let Some(difference) = merge_difference(&old["spec"], &new["spec"]) {
            patch.insert("spec".to_owned(), difference);
        }
        let mut metadata = Map::new();
        for field in ["labels", "annotations"] {
            let wanted = new["metadata"][field].as_object();
            let changed: Map<String, Value> = wanted
                .into_iter()
                .flatten()
                .filter(|(key, value)| old["metadata"][field].get(key.as_str()) != Some(*value))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            if !changed.is_empty() {
                metadata.insert(field.to_owned(), Value::Object(changed));
            }
        }
        if !metadata.is_empty() {
            patch.insert("metadata".to_owned(), Value::Object(metadata));
        }
        if patch.is_empty() {
            return None;
        }
        Some(Self::Patch { kind: K::KIND, key: key.clone(), patch: Value::Object(patch), status: false })
    }
}

/// The JSON merge patch that makes `new` of `old`; `None` when they are equal.
#[must_use]
pub fn merge_difference(old: &Value, new: &Value) -> Option<Value> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut patch = Map::new();
            for (key, value) in new {
                match old.get(key) {
                    Some(before) => {
                        if let Some(difference) = merge_difference(before, value) {
                            patch.insert(key.clone(), difference);
                        }
                    }
                    None => {
                        patch.insert(key.clone(), value.clone());
                    }
                }
            }
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                patch.insert(key.clone(), Value::Null);
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ if old == new => None,
        _ => Some(new.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::merge_difference;
    use serde_json::json;

    /// A field that should go would stay, or a status would be written for ever.
    #[test]
    fn differences() {
        let old = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1], "f": 1});
        assert_eq!(merge_difference(&old, &old), None);
        let new = json!({"a": 1, "b": {"c": 1}, "e": [2], "g": {"h": 1}});
        assert_eq!(
            merge_difference(&old, &new),
            Some(json!({"b": {"d": null}, "e": [2], "f": null, "g": {"h": 1}}))
        );
    }
}
