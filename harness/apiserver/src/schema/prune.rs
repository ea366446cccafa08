//! Pruning of custom resources: what the schema does not declare is dropped, and reported.

use serde_json::Value;

use super::{
    Additional, Schema, Shape,
    builtin::{OBJECT_META, definition},
    decode::{Findings, decode, join_path},
};

/// Keys of an object or embedded resource that no schema has to declare.
const TYPE_META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops undeclared fields of a whole custom resource.
pub(crate) fn prune(schema: &Schema, object: &mut Value, findings: &mut Findings) {
    walk(schema, object, true, &mut Vec::new(), findings);
}

fn walk(
    schema: &Schema,
    value: &mut Value,
    is_resource: bool,
    path: &mut Vec<String>,
    findings: &mut Findings,
) {
    match value {
        Value::Object(map) => {
            let mut dropped = Vec::new();
            for (key, entry) in map.iter_mut() {
                if is_resource && TYPE_META.contains(&key.as_str()) {
                    if !path.is_empty() && key == "metadata" {
                        embedded_metadata(entry, path, findings);
                    }
                    continue;
                }
                path.push(key.clone());
                let property = schema.properties.get(key.as_str()).or(match &schema.additional {
                    Additional::Values(values) => Some(values),
                    _ => None,
                });
                match property {
                    Some(property) => walk(property, entry, property.embedded, path, findings),
                    None if schema.preserve_unknown || matches!(schema.additional, Additional::Any) => {}
                    None => {
                        findings.lines.push(format!("unknown field \"{}\"", join_path(path)));
                        dropped.push(key.clone());
                    }
                }
                path.pop();
            }
            for key in dropped {
                map.shift_remove(&key);
            }
        }
        Value::Array(items) if schema.shape == Shape::Array => {
            let Some(item) = schema.items.as_deref() else { return };
            for (index, entry) in items.iter_mut().enumerate() {
                path.push(format!("[{index}]"));
                walk(item, entry, item.embedded, path, findings);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Metadata of a resource inside of another has the fields of every object's.
fn embedded_metadata(metadata: &mut Value, path: &[String], findings: &mut Findings) {
    let Some(schema) = definition(OBJECT_META) else { return };
    let mut inner = Findings::default();
    if decode(schema, metadata, &mut inner).is_ok() {
        let prefix = format!("field \"{}.metadata.", join_path(path));
        findings.lines.extend(inner.lines.iter().map(|line| line.replacen("field \"", &prefix, 1)));
    }
}
