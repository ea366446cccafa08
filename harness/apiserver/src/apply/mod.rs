//! Server-side apply: field ownership, conflicts, and the merge of configurations by several managers.
//!
//! Pure: an object, a configuration and a schema go in; an object and its `managedFields` come out.

mod field_set;
mod managers;
mod structure;

use serde_json::{Map, Value, json};

use crate::{
    object::{as_map, metadata_mut},
    pipeline::Part,
    schema::{Additional, Schema, Shape},
    status::ApiError,
};
use field_set::{Element, FieldSet, path_text};
use managers::Manager;

/// Fields of `metadata` that nobody owns.
const UNOWNED_METADATA: [&str; 8] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Who writes, and through which endpoint.
pub(crate) struct Tracking<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) api_version: String,
    pub(crate) manager: String,
    pub(crate) subresource: String,
    /// RFC 3339.
    pub(crate) now: String,
    pub(crate) part: Part,
    pub(crate) has_status: bool,
}

/// What an apply makes of an object.
pub(crate) struct Applied {
    pub(crate) object: Value,
    pub(crate) managed_fields: Value,
}

impl Tracking<'_> {
    fn manager(&self, is_apply: bool, fields: FieldSet) -> Manager {
        Manager {
            name: self.manager.clone(),
            is_apply,
            api_version: self.api_version.clone(),
            subresource: self.subresource.clone(),
            time: None,
            fields,
        }
    }

    /// Removes what nobody owns and what this endpoint can't change.
    fn strip(&self, set: &mut FieldSet) {
        for field in ["apiVersion", "kind"] {
            set.remove_tree(&[Element::field(field)]);
        }
        for field in UNOWNED_METADATA {
            set.remove_tree(&[Element::field("metadata"), Element::field(field)]);
        }
        let metadata_alone = FieldSet::from_json(&json!({"f:metadata": {}})).unwrap_or_default();
        *set = set.difference(&metadata_alone);
        match self.part {
            Part::Main if self.has_status => set.remove_tree(&[Element::field("status")]),
            Part::Main => {}
            Part::Status => {
                set.remove_tree(&[Element::field("spec")]);
                set.remove_tree(&[Element::field("metadata"), Element::field("labels")]);
            }
        }
    }
}

/// Records a plain write: the writer owns what it added or changed, and nobody owns what it removed.
pub(crate) fn track_update(tracking: &Tracking<'_>, old: Option<&Value>, object: &mut Value) {
    let given = object["metadata"].get("managedFields").cloned();
    let is_reset = given
        .as_ref()
        .and_then(Value::as_array)
        .is_some_and(|entries| entries.iter().all(|entry| *entry == json!({})) && old.is_some());
    let live = old.and_then(managers::read).unwrap_or_default();
    let own = managers::read(object).filter(|given| !given.is_empty());
    let is_subresource = !tracking.subresource.is_empty();
    metadata_mut(object).shift_remove("managedFields");
    if is_reset && given.is_some() {
        return;
    }
    let entries = if is_subresource { live } else { own.unwrap_or(live) };
    if old.is_some() && entries.is_empty() {
        // Tracking was switched off for this object; the next apply switches it on again.
        return;
    }
    let before = old.map_or_else(|| empty_object(tracking.schema), without_managers);
    let mut difference = structure::compare(tracking.schema, &before, object);
    for set in [&mut difference.added, &mut difference.modified, &mut difference.removed] {
        tracking.strip(set);
    }
    let mut entries = entries;
    let own = tracking.manager(false, FieldSet::default());
    let changed = difference.modified.union(&difference.added);
    for entry in entries.iter_mut().filter(|entry| !entry.is_same(&own)) {
        entry.fields = entry.fields.difference(&changed).difference(&difference.removed);
    }
    let index = entries.iter().position(|entry| entry.is_same(&own)).unwrap_or_else(|| {
        entries.push(own);
        entries.len() - 1
    });
    let entry = &mut entries[index];
    let fields = entry.fields.difference(&difference.removed).union(&changed);
    if fields != entry.fields {
        entry.time = Some(tracking.now.clone());
        entry.fields = fields;
    }
    store(object, managers::write(entries));
}

/// Lays a configuration over the live object on behalf of its manager.
///
/// # Errors
/// 500 for a configuration that does not fit the schema, 409 for fields that others own and set otherwise.
pub(crate) fn apply(
    tracking: &Tracking<'_>,
    live: Option<&Value>,
    mut config: Value,
    force: bool,
    place: &str,
) -> Result<Applied, ApiError> {
    let schema = tracking.schema;
    metadata_mut(&mut config).shift_remove("managedFields");
    let faults = faults(schema, &config);
    match &faults[..] {
        [] => {}
        [one] => {
            return Err(ApiError::internal(format!("failed to create typed patch object ({place}): {one}")));
        }
        many => {
            let list: String = many.iter().map(|fault| format!("\n  {fault}")).collect();
            return Err(ApiError::internal(format!(
                "failed to create typed patch object ({place}): errors:{list}"
            )));
        }
    }
    if tracking.part == Part::Main && tracking.has_status {
        as_map(&mut config).shift_remove("status");
    }
    let mut fields = structure::paths_of(schema, &config);
    tracking.strip(&mut fields);
    let Some(live) = live else {
        let mut own = tracking.manager(true, fields);
        own.time = Some(tracking.now.clone());
        return Ok(Applied { object: config, managed_fields: managers::write(vec![own]) });
    };
    let mut entries = managers::read(live).unwrap_or_default();
    let live = without_managers(live);
    if entries.is_empty() {
        let mut before = structure::paths_of(schema, &live);
        tracking.strip(&mut before);
        let mut first = tracking.manager(false, before);
        first.name = "before-first-apply".into();
        first.subresource = String::new();
        first.time = Some(tracking.now.clone());
        entries.push(first);
    }
    let mut own = tracking.manager(true, fields);
    let index = entries.iter().position(|entry| entry.is_same(&own));
    let previous = index.map(|index| entries.remove(index));
    own.time = previous.as_ref().and_then(|previous| previous.time.clone());
    let mut object = structure::merge(schema, &live, &config);
    if let Some(previous) = &previous {
        let owned = entries.iter().fold(own.fields.clone(), |owned, entry| owned.union(&entry.fields));
        let dropped = unowned(&previous.fields, &owned);
        object = structure::remove(schema, &object, &dropped);
    }
    restore_identity(&mut object, &live);
    let mut difference = structure::compare(schema, &live, &object);
    for set in [&mut difference.added, &mut difference.modified, &mut difference.removed] {
        tracking.strip(set);
    }
    let changed = difference.modified.union(&difference.added);
    let conflicts: Vec<(String, FieldSet)> = entries
        .iter()
        .map(|entry| (entry.title(), entry.fields.intersection(&changed)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    if !force && !conflicts.is_empty() {
        return Err(conflict(conflicts));
    }
    for entry in &mut entries {
        entry.fields = entry.fields.difference(&changed).difference(&difference.removed);
    }
    if !difference.is_empty() {
        own.time = Some(tracking.now.clone());
    }
    entries.push(own);
    if let Some(version) = config["metadata"].get("resourceVersion") {
        metadata_mut(&mut object).insert("resourceVersion".into(), version.clone());
    }
    Ok(Applied { object, managed_fields: managers::write(entries) })
}

/// The paths that nobody owns, at or below them.
fn unowned(candidates: &FieldSet, owned: &FieldSet) -> FieldSet {
    let mut dropped = FieldSet::default();
    for path in candidates.paths() {
        let mut at = Some(owned);
        let (last, parents) = path.split_last().expect("paths are not empty");
        for element in parents {
            at = at.and_then(|set| set.below(element));
        }
        if !at.is_some_and(|set| set.has(last) || set.below(last).is_some()) {
            dropped.insert(&path);
        }
    }
    // An item that goes takes all below it along.
    prune_below(&dropped)
}

fn prune_below(set: &FieldSet) -> FieldSet {
    let mut kept = FieldSet::default();
    let mut last: Option<Vec<Element>> = None;
    for path in set.paths() {
        if last.as_ref().is_some_and(|last| path.starts_with(last)) {
            continue;
        }
        kept.insert(&path);
        last = Some(path);
    }
    kept
}

/// A configuration can't change who an object is.
fn restore_identity(object: &mut Value, live: &Value) {
    let metadata = metadata_mut(object);
    for field in [
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
    ] {
        match live["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.shift_remove(field),
        };
    }
}

fn conflict(mut conflicts: Vec<(String, FieldSet)>) -> ApiError {
    conflicts.sort_by(|a, b| a.0.cmp(&b.0));
    let count: usize = conflicts.iter().map(|(_, fields)| fields.paths().len()).sum();
    let mut causes = Vec::new();
    let mut parts = Vec::new();
    for (title, fields) in &conflicts {
        let paths: Vec<String> = fields.paths().iter().map(|path| path_text(path)).collect();
        for path in &paths {
            causes
                .push(json!({"reason": "FieldManagerConflict", "message": format!("conflict with {title}"),
                "field": path}));
        }
        parts.push(match &paths[..] {
            [one] => format!("conflict with {title}: {one}"),
            many => format!("conflicts with {title}:\n- {}", many.join("\n- ")),
        });
    }
    let plural = if count == 1 { "conflict" } else { "conflicts" };
    ApiError::new(409, "Conflict", format!("Apply failed with {count} {plural}: {}", parts.join("\n")))
        .with_details(json!({"causes": causes}))
}

/// Faults of a configuration; its own type and metadata are read by the schema of every object.
fn faults(schema: &Schema, config: &Value) -> Vec<String> {
    let mut content = config.clone();
    let custom = schema.reference.is_none();
    let mut found = Vec::new();
    if custom && let Some(map) = content.as_object_mut() {
        for key in ["apiVersion", "kind"] {
            map.shift_remove(key);
        }
        let metadata = map.shift_remove("metadata");
        let meta_schema = crate::schema::builtin::definition(crate::schema::builtin::OBJECT_META);
        if let (Some(metadata), Some(meta_schema)) = (metadata, meta_schema) {
            found.extend(
                structure::faults(meta_schema, &metadata).iter().map(|fault| format!(".metadata{fault}")),
            );
        }
    }
    found.extend(structure::faults(schema, &content));
    found
}

fn without_managers(object: &Value) -> Value {
    let mut object = object.clone();
    crate::object::remove_meta(&mut object, "managedFields");
    object
}

fn store(object: &mut Value, entries: Value) {
    let metadata = metadata_mut(object);
    if entries.as_array().is_some_and(Vec::is_empty) {
        metadata.shift_remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), entries);
    }
}

/// The empty object of a built-in type as its encoder writes it: structs are there, lists are null. A field
/// that is missing here is owned itself when it first appears, not only what lies below it.
fn empty_object(schema: &Schema) -> Value {
    let resolved = schema.resolve();
    if schema.reference.is_none() {
        return json!({"metadata": {}});
    }
    let mut object = Map::new();
    for field in ["metadata", "spec", "status"] {
        if let Some(property) = resolved.properties.get(field) {
            object.insert(field.to_owned(), empty_value(property, 0));
        }
    }
    for field in &resolved.required {
        if let Some(property) = resolved.properties.get(field) {
            object.insert(field.to_string(), empty_value(property, 0));
        }
    }
    Value::Object(object)
}

fn empty_value(schema: &Schema, depth: usize) -> Value {
    /// Optional fields that are structs of their own in Go.
    const STRUCTS: [&str; 7] =
        ["strategy", "updateStrategy", "template", "loadBalancer", "metadata", "spec", "jobTemplate"];
    const LIMIT_DEPTH: usize = 8;
    let resolved = schema.resolve();
    let is_struct = resolved.shape == Shape::Object
        && matches!(resolved.additional, Additional::None)
        && !resolved.atomic
        && !resolved.properties.is_empty();
    if !is_struct || depth > LIMIT_DEPTH {
        return Value::Null;
    }
    let mut map = Map::new();
    for (name, property) in &resolved.properties {
        let required = resolved.required.contains(name);
        if required || STRUCTS.contains(&&**name) {
            let value = empty_value(property, depth + 1);
            if required || value.is_object() {
                map.insert(name.to_string(), value);
            }
        }
    }
    Value::Object(map)
}
