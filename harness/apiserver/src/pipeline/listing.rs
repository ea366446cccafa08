//! A plain list, put into words only after the state's lock is let go: ten thousand objects take a while.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Map, Value};

use super::present::Presentation;
use crate::{kinds::Kind, store::Object};

/// The objects of a list, shared with the store.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) kind: Arc<Kind>,
    /// Index of the version that is asked for.
    pub(crate) version: usize,
    /// The list's own `metadata`.
    pub(crate) metadata: Value,
    pub(crate) objects: Vec<Arc<Object>>,
}

impl Listing {
    /// The list as a value.
    pub(crate) fn value(&self, now: Timestamp) -> Value {
        let items = self.objects.iter().map(|object| self.kind.convert(object, self.version)).collect();
        Presentation::Plain.list(&self.kind, self.version, &self.metadata, items, now)
    }

    /// The list as a line of JSON, the same as that of the value.
    pub(crate) fn json_line(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("values of JSON have a text");
        text.push(b'\n');
        text
    }
}

impl Serialize for Listing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("kind", &*self.kind.list_name)?;
        map.serialize_entry("apiVersion", &self.kind.api_version(self.version))?;
        map.serialize_entry("metadata", &self.metadata)?;
        map.serialize_entry("items", &Items(self))?;
        map.end()
    }
}

struct Items<'a>(&'a Listing);

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Listing { kind, version, objects, .. } = self.0;
        // Items of built-in kinds do not say their type; the list does.
        let is_typed = kind.is_custom();
        serializer.collect_seq(objects.iter().map(|object| match &object.value {
            Value::Object(fields) if kind.shows_as_stored(object, *version) && *version == kind.storage => {
                Item::Stored { fields, is_typed }
            }
            _ => Item::Converted { object: kind.convert(object, *version), is_typed },
        }))
    }
}

enum Item<'a> {
    Stored { fields: &'a Map<String, Value>, is_typed: bool },
    Converted { object: Value, is_typed: bool },
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (fields, is_typed) = match self {
            Self::Stored { fields, is_typed } => (*fields, is_typed),
            Self::Converted { object: Value::Object(fields), is_typed } => (fields, is_typed),
            Self::Converted { object, .. } => return object.serialize(serializer),
        };
        let shown = |name: &str| *is_typed || (name != "kind" && name != "apiVersion");
        serializer.collect_map(fields.iter().filter(|(name, _)| shown(name)))
    }
}
