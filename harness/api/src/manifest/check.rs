//! An InferenceService against its schema: every field known, every value of the right type.

use std::sync::LazyLock;

use kube::CustomResourceExt;
use serde_json::Value;

use super::located::{Located, Position};
use super::suggest;
use crate::kserve::InferenceService;
use crate::schema;

/// A fault without its file.
pub(super) struct Found {
    pub(super) position: Position,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let definition = InferenceService::crd();
    let schema = definition.spec.versions.first().and_then(|version| version.schema.as_ref());
    serde_json::to_value(schema.and_then(|schema| schema.open_api_v3_schema.as_ref())).unwrap_or_default()
});

/// All faults of the document. The status is not looked at: it is not the user's.
pub(super) fn inference_service(document: &Located) -> Vec<Found> {
    let mut walk = Walk { found: Vec::new() };
    for (key, value) in document.as_map().unwrap_or_default() {
        match key.text.as_str() {
            "apiVersion" | "kind" | "metadata" | "status" => {}
            "spec" => walk.node(value, &SCHEMA["properties"]["spec"], &Value::Null, "spec"),
            other => walk.unknown(key.position, other, "", ["metadata", "spec"].into_iter()),
        }
    }
    if document.get("spec").is_none() {
        walk.found.push(Found {
            position: document.position,
            message: "spec is missing".to_owned(),
            hint: Some("an InferenceService needs at least spec.predictor".to_owned()),
        });
    }
    walk.found
}

struct Walk {
    found: Vec<Found>,
}

impl Walk {
    fn unknown<'a>(
        &mut self,
        position: Position,
        name: &str,
        path: &str,
        known: impl Iterator<Item = &'a str>,
    ) {
        let place = if path.is_empty() { "the document".to_owned() } else { path.to_owned() };
        self.found.push(Found {
            position,
            message: format!("unknown field {name:?} in {place}"),
            hint: suggest::nearest(name, known).map(|near| format!("did you mean {near:?}?")),
        });
    }

    /// Checks a node against a schema whose references point into `root`.
    fn node(&mut self, node: &Located, schema: &Value, root: &Value, path: &str) {
        let (schema, reference) = resolve(schema, root);
        if node.as_scalar().is_some_and(Value::is_null) {
            return;
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let Some(entries) = node.as_map() else { return self.wrong_type(node, path, "a mapping") };
            for (key, value) in entries {
                let inner = format!("{path}.{}", key.text);
                match properties.get(&key.text) {
                    Some(property) => self.property(value, &key.text, property, root, &inner, path),
                    None if schema.get("x-kubernetes-preserve-unknown-fields")
                        == Some(&Value::Bool(true)) => {}
                    None => {
                        self.unknown(key.position, &key.text, path, properties.keys().map(String::as_str))
                    }
                }
            }
            // Pods are looser here than in Kubernetes: a probe without a port means the serving port.
            let required =
                if root.is_null() { schema.get("required").and_then(Value::as_array) } else { None };
            for required in required.into_iter().flatten() {
                if let Some(name) = required.as_str().filter(|name| node.get(name).is_none()) {
                    self.found.push(Found {
                        position: node.position,
                        message: format!("{path}.{name} is missing"),
                        hint: None,
                    });
                }
            }
            return;
        }
        if reference.is_some_and(|name| name.ends_with("Quantity") || name.ends_with("IntOrString")) {
            if node.as_scalar().is_none_or(Value::is_boolean) {
                self.wrong_type(node, path, "a string or a number");
            }
            return;
        }
        match schema["type"].as_str() {
            Some("array") => match node.as_list() {
                Some(items) => {
                    for (index, item) in items.iter().enumerate() {
                        self.node(item, &schema["items"], root, &format!("{path}[{index}]"));
                    }
                }
                None => self.wrong_type(node, path, "a list"),
            },
            Some("object") => match (node.as_map(), schema.get("additionalProperties")) {
                (None, _) => self.wrong_type(node, path, "a mapping"),
                (Some(entries), Some(values @ Value::Object(_))) => {
                    for (key, value) in entries {
                        self.node(value, values, root, &format!("{path}.{}", key.text));
                    }
                }
                _ => {}
            },
            Some("string") if node.as_str().is_none() => self.wrong_type(node, path, "a string"),
            Some("boolean") if !node.as_scalar().is_some_and(Value::is_boolean) => {
                self.wrong_type(node, path, "a boolean");
            }
            Some("integer") if !node.as_scalar().is_some_and(|v| v.is_i64() || v.is_u64()) => {
                self.wrong_type(node, path, "an integer");
            }
            _ => {}
        }
        self.choice(node, schema, path);
    }

    /// A property whose own schema is shallow is checked against the full one of pods or containers.
    fn property(
        &mut self,
        value: &Located,
        name: &str,
        schema: &Value,
        root: &Value,
        path: &str,
        parent: &str,
    ) {
        let last = parent.rsplit('.').next().unwrap_or_default();
        let full = match last {
            "predictor" | "transformer" | "explainer" => Some(&*schema::POD_SPEC),
            "model" | "sklearn" | "tensorflow" | "xgboost" | "pytorch" | "triton" | "onnx"
            | "huggingface" | "pmml" | "lightgbm" | "paddle" => Some(&*schema::CONTAINER),
            _ => None,
        };
        let opaque = schema["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true)
            || schema["items"]["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true);
        match full.and_then(|full| Some((full["properties"].get(name)?, full))) {
            Some((deep, full)) if opaque => self.node(value, deep, full, path),
            _ => self.node(value, schema, root, path),
        }
    }

    fn choice(&mut self, node: &Located, schema: &Value, path: &str) {
        let (Some(choices), Some(text)) = (schema["enum"].as_array(), node.as_str()) else { return };
        let known: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        if !known.contains(&text) {
            self.found.push(Found {
                position: node.position,
                message: format!("{path} is {text:?}, which is none of {}", known.join(", ")),
                hint: suggest::nearest(text, known.iter().copied())
                    .map(|near| format!("did you mean {near:?}?")),
            });
        }
    }

    fn wrong_type(&mut self, node: &Located, path: &str, wanted: &str) {
        self.found.push(Found {
            position: node.position,
            message: format!("{path} is {} where {wanted} is wanted", node.kind()),
            hint: match (wanted, node.as_scalar()) {
                ("a string", Some(scalar)) => Some(format!("write it in quotes: \"{scalar}\"")),
                _ => None,
            },
        });
    }
}

/// Follows a reference, directly or through a single `allOf`/`anyOf` with null; returns its name too.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> (&'a Value, Option<&'a str>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.trim_start_matches("#/$defs/");
        return (&root["$defs"][name], Some(name));
    }
    for key in ["allOf", "anyOf"] {
        if let Some(first) =
            schema[key].as_array().and_then(|list| list.iter().find(|item| item.get("$ref").is_some()))
        {
            return resolve(first, root);
        }
    }
    (schema, None)
}
