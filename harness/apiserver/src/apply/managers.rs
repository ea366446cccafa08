//! `metadata.managedFields`: who set which fields, when, and through which endpoint.

use serde_json::{Map, Value};

use super::field_set::FieldSet;
use crate::object::{at, text};

/// Plain updates by more managers than this are merged into one entry.
const LIMIT_UPDATE_MANAGERS: usize = 10;

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) is_apply: bool,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) time: Option<String>,
    pub(crate) fields: FieldSet,
}

impl Manager {
    /// Whether two entries are of the same manager. The version does not matter for an apply.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.is_apply == other.is_apply
            && self.subresource == other.subresource
            && (self.is_apply || self.api_version == other.api_version)
    }

    /// How a conflict names it.
    pub(crate) fn title(&self) -> String {
        let mut title = format!("\"{}\"", self.name);
        if !self.subresource.is_empty() {
            title.push_str(&format!(" with subresource \"{}\"", self.subresource));
        }
        if !self.is_apply {
            title.push_str(&format!(" using {}", self.api_version));
        }
        title
    }
}

/// The entries of an object; `None` when one of them is unreadable.
pub(crate) fn read(object: &Value) -> Option<Vec<Manager>> {
    let Some(entries) = at(object, &["metadata", "managedFields"]).and_then(Value::as_array) else {
        return Some(Vec::new());
    };
    entries
        .iter()
        .map(|entry| {
            let operation = text(entry, &["operation"]);
            let fields =
                entry.get("fieldsV1").map_or_else(|| Some(FieldSet::default()), FieldSet::from_json)?;
            (matches!(operation, "Apply" | "Update") && entry.get("fieldsV1").is_some()).then(|| Manager {
                name: text(entry, &["manager"]).to_owned(),
                is_apply: operation == "Apply",
                api_version: text(entry, &["apiVersion"]).to_owned(),
                subresource: text(entry, &["subresource"]).to_owned(),
                time: entry.get("time").and_then(Value::as_str).map(ToOwned::to_owned),
                fields,
            })
        })
        .collect()
}

/// The entries as they are stored: applies first, then by time and name.
pub(crate) fn write(mut managers: Vec<Manager>) -> Value {
    managers.retain(|manager| !manager.fields.is_empty());
    cap(&mut managers);
    managers.sort_by(|a, b| {
        let key = |manager: &Manager| {
            (
                !manager.is_apply,
                manager.time.clone().unwrap_or_default(),
                manager.name.clone(),
                manager.api_version.clone(),
                manager.subresource.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    managers
        .into_iter()
        .map(|manager| {
            let mut entry = Map::new();
            entry.insert("manager".into(), manager.name.into());
            entry.insert("operation".into(), if manager.is_apply { "Apply" } else { "Update" }.into());
            entry.insert("apiVersion".into(), manager.api_version.into());
            if let Some(time) = manager.time {
                entry.insert("time".into(), time.into());
            }
            entry.insert("fieldsType".into(), "FieldsV1".into());
            entry.insert("fieldsV1".into(), manager.fields.to_json());
            if !manager.subresource.is_empty() {
                entry.insert("subresource".into(), manager.subresource.into());
            }
            Value::Object(entry)
        })
        .collect()
}

/// Merges the oldest plain updates, so that an object's record stays bounded.
fn cap(managers: &mut Vec<Manager>) {
    let updates = managers.iter().filter(|manager| !manager.is_apply).count();
    let Some(surplus) = updates.checked_sub(LIMIT_UPDATE_MANAGERS).filter(|surplus| *surplus > 0) else {
        return;
    };
    managers.sort_by(|a, b| (a.is_apply, &a.time).cmp(&(b.is_apply, &b.time)));
    let rest = managers.split_off(surplus + 1);
    let mut ancient: Option<Manager> = None;
    for manager in managers.drain(..) {
        match &mut ancient {
            Some(merged) => {
                merged.fields = merged.fields.union(&manager.fields);
                merged.time = manager.time;
            }
            None => {
                let name = "ancient-changes".to_owned();
                ancient = Some(Manager { name, subresource: String::new(), ..manager });
            }
        }
    }
    managers.extend(ancient);
    managers.extend(rest);
}
