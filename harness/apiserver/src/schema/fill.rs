//! Defaulting of custom resources from the `default`s of their schema.

use serde_json::{Map, Value};

use super::{Additional, Schema};

/// Fills in defaults. Nulls that the schema does not allow count as absent, and go where there is a default.
pub(crate) fn fill(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, property) in &schema.properties {
                fill_key(map, key, property);
            }
            if let Additional::Values(values) = &schema.additional {
                for (key, entry) in map.iter_mut() {
                    if !schema.properties.contains_key(key.as_str()) {
                        fill(values, entry);
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(item) = schema.items.as_deref() {
                for entry in items {
                    fill(item, entry);
                }
            }
        }
        _ => {}
    }
}

fn fill_key(map: &mut Map<String, Value>, key: &str, property: &Schema) {
    let absent = match map.get(key) {
        None => true,
        Some(Value::Null) => !property.nullable,
        Some(_) => false,
    };
    if absent && let Some(default) = &property.default {
        map.insert(key.to_owned(), default.clone());
    }
    if let Some(entry) = map.get_mut(key) {
        fill(property, entry);
    }
}
