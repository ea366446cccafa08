//! What the controllers have applied, so that a reconcile which wants the same again writes nothing.
//!
//! Server-side apply already leaves an object alone that is as wanted, but asking costs a request. An object need not be
//! asked about when the very same fields were applied before and are still there: unchanged since then, or changed by
//! others only where we own nothing.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::{Kind, Object, ObjectKey};

#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    by_object: HashMap<(Kind, ObjectKey), Entry>,
    /// UIDs of the objects that went last: the answer to an apply may come after the news that its object is gone.
    gone: VecDeque<String>,
}

/// Why an object is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It is not there.
    New,
    /// It is there, and this process has not applied it yet.
    Unknown,
    /// Something else is wanted than before.
    Changed,
    /// Somebody else has changed what we want.
    Drifted,
}

impl Need {
    /// One word, for metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Unknown => "unknown",
            Self::Changed => "changed",
            Self::Drifted => "drifted",
        }
    }
}

/// How many objects may go while the answer to one apply is on its way.
const GONE_KEPT: usize = 1024;

#[derive(Clone, Debug)]
struct Entry {
    digest: u64,
    resource_version: Option<String>,
}

impl Applied {
    /// False if the object is gone already.
    pub(super) fn note(&mut self, applied: &Object, result: &Object) -> bool {
        if self.is_gone(result) {
            return false;
        }
        let entry = Entry {
            digest: digest(&applied.to_json()),
            resource_version: result.metadata().resource_version.clone(),
        };
        self.by_object.insert((applied.kind(), applied.key()), entry);
        true
    }

    /// Whether the object went, as its watch has told.
    pub(super) fn is_gone(&self, object: &Object) -> bool {
        object.metadata().uid.as_ref().is_some_and(|uid| self.gone.contains(uid))
    }

    /// Why an object must be applied, if it must.
    pub(super) fn why(
        &self,
        wanted: &Object,
        found: impl FnOnce(Kind, &ObjectKey) -> Option<Object>,
    ) -> Option<Need> {
        let (kind, key) = (wanted.kind(), wanted.key());
        let Some(entry) = self.by_object.get(&(kind, key.clone())) else {
            return Some(if found(kind, &key).is_some() { Need::Unknown } else { Need::New });
        };
        let json = wanted.to_json();
        if entry.digest != digest(&json) {
            return Some(Need::Changed);
        }
        match found(kind, &key) {
            // Made a moment ago: the watch has not told of it yet.
            None => None,
            Some(found) => {
                let is_so = found.metadata().resource_version == entry.resource_version
                    || contains(&found.to_json(), &json);
                (!is_so).then_some(Need::Drifted)
            }
        }
    }

    pub(super) fn forget(&mut self, kind: Kind, key: &ObjectKey, uid: Option<&String>) {
        self.by_object.remove(&(kind, key.clone()));
        if let Some(uid) = uid {
            self.gone.push_back(uid.clone());
            if self.gone.len() > GONE_KEPT {
                self.gone.pop_front();
            }
        }
    }

    pub(super) fn retain(&mut self, kind: Kind, is_there: impl Fn(&ObjectKey) -> bool) {
        self.by_object.retain(|(found, key), _| *found != kind || is_there(key));
    }
}

pub(super) fn digest(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

/// Whether every field that is wanted is there with its value; lists are compared item by item.
fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| match found.get(key) {
                Some(found) => contains(found, value),
                None => is_empty(value),
            })
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found.iter().zip(wanted).all(|(found, wanted)| contains(found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}

/// Values that serialisation may leave out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::contains;

    /// Defaults of the server and fields of others are no reason to write; drift of ours is.
    #[test]
    fn only_our_own_fields_count() {
        let wanted = json!({"spec": {"ports": [{"port": 80}], "selector": {"app": "a"}, "other": {}}});
        for (found, expected) in [
            (
                json!({"spec": {"ports": [{"port": 80, "protocol": "TCP"}], "selector": {"app": "a"}, "type": "x"}}),
                true,
            ),
            (json!({"spec": {"ports": [{"port": 81}], "selector": {"app": "a"}}}), false),
            (json!({"spec": {"ports": [{"port": 80}, {"port": 81}], "selector": {"app": "a"}}}), false),
            (json!({"spec": {"ports": [{"port": 80}]}}), false),
        ] {
            assert_eq!(contains(&found, &wanted), expected, "{found}");
        }
    }
}
