//! Pieces of CRD schemas: pod specifications are listed field by field but not described below that, so
//! that our CRDs refuse unknown fields where users write them and still stay small.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

/// The full JSON Schema of a pod specification; references point into its `$defs`.
pub static POD_SPEC: LazyLock<Value> = LazyLock::new(full::<PodSpec>);
/// The full JSON Schema of a container; references point into its `$defs`.
pub static CONTAINER: LazyLock<Value> = LazyLock::new(full::<Container>);

fn full<T: JsonSchema>() -> Value {
    SchemaGenerator::default().into_root_schema_for::<T>().to_value()
}

/// A string, for types whose own schema says more than a CRD may.
pub fn string(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "nullable": true})
}

/// An object whose fields are kept as they are.
pub fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true})
}

/// A list of objects whose fields are kept as they are.
pub fn any_objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}})
}

/// A value of any type.
pub fn any(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

/// What Kubernetes writes for a quantity: a number, or text with a unit.
#[must_use]
pub fn quantity_value() -> Value {
    json!({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true,
        "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"})
}

/// A quantity.
pub fn quantity(_: &mut SchemaGenerator) -> Schema {
    Schema::try_from(quantity_value()).unwrap_or_default()
}

/// Adds the fields of a pod specification to the properties of a struct that inlines one.
pub fn add_pod_fields(schema: &mut Schema) {
    add_shallow(schema, &POD_SPEC);
}

/// Adds the fields of a container to the properties of a struct that inlines one.
pub fn add_container_fields(schema: &mut Schema) {
    add_shallow(schema, &CONTAINER);
}

/// Marks an object as keeping fields that its schema does not name.
pub fn preserve_unknown(schema: &mut Schema) {
    schema.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
}

fn add_shallow(schema: &mut Schema, full: &Value) {
    let object = schema.ensure_object();
    let properties = object.entry("properties").or_insert_with(|| json!({}));
    let (Some(properties), Some(source)) = (properties.as_object_mut(), full["properties"].as_object())
    else {
        return;
    };
    for (name, property) in source {
        if !properties.contains_key(name) {
            properties.insert(name.clone(), shallow(property));
        }
    }
}

/// One level of a property: scalars with their type, everything else opaque.
fn shallow(property: &Value) -> Value {
    let mut out = Map::new();
    match property["type"].as_str() {
        Some("array") => {
            let scalar = property["items"]["type"].as_str().filter(|t| *t != "object");
            out.insert("type".into(), json!("array"));
            out.insert(
                "items".into(),
                match scalar {
                    Some(scalar) => json!({"type": scalar}),
                    None => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
                },
            );
        }
        Some(scalar @ ("string" | "boolean" | "integer" | "number")) => {
            out.insert("type".into(), json!(scalar));
            if let Some(format) = property.get("format") {
                out.insert("format".into(), format.clone());
            }
        }
        _ => {
            out.insert("type".into(), json!("object"));
            out.insert("x-kubernetes-preserve-unknown-fields".into(), json!(true));
        }
    }
    Value::Object(out)
}
