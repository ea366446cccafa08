//! Typed views of pod specifications and containers that are kept as raw fields.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Map, Value};

use crate::Fields;

/// Name of the container that serves the model.
pub const SERVING_CONTAINER: &str = "kserve-container";
/// Name of the container that transforms requests, when it shares the predictor's pod.
pub const TRANSFORMER_CONTAINER: &str = "transformer-container";
/// Name of the container in the pods of workers, where a model spans several nodes.
pub const WORKER_CONTAINER: &str = "worker-container";
/// Name of Knative's proxy beside the server.
pub const QUEUE_PROXY: &str = "queue-proxy";

/// The fields as a typed pod specification.
///
/// # Errors
/// The first field of the wrong type, in words.
pub fn pod_spec(fields: &Fields) -> Result<PodSpec, String> {
    let mut value = to_object(fields);
    normalise_quantities(&mut value);
    serde_json::from_value(value).map_err(|error| format!("pod specification: {error}"))
}

/// The fields as a typed container; a missing name becomes the serving container's.
///
/// # Errors
/// The first field of the wrong type, in words.
pub fn container(fields: &Fields) -> Result<Container, String> {
    let mut value = to_object(fields);
    normalise_quantities(&mut value);
    if let Value::Object(object) = &mut value {
        object.entry("name").or_insert_with(|| Value::from(SERVING_CONTAINER));
    }
    serde_json::from_value(value).map_err(|error| format!("container: {error}"))
}

/// The containers under `key` (`containers` or `initContainers`), as raw objects.
pub fn raw_containers<'a>(fields: &'a Fields, key: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    fields.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// The names of a raw container's environment variables with their literal values.
pub fn raw_environment(container: &Map<String, Value>) -> impl Iterator<Item = (&str, Option<&str>)> {
    container.get("env").and_then(Value::as_array).into_iter().flatten().filter_map(|variable| {
        Some((variable.get("name")?.as_str()?, variable.get("value").and_then(Value::as_str)))
    })
}

/// The fields as one JSON object.
#[must_use]
pub fn to_object(fields: &Fields) -> Value {
    Value::Object(fields.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// Quantities may be written as numbers (`cpu: 1`); the typed form wants strings.
fn normalise_quantities(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(normalise_quantities),
        Value::Object(object) => {
            for (key, inner) in object {
                match (key.as_str(), inner) {
                    ("limits" | "requests" | "overhead", Value::Object(quantities)) => {
                        for quantity in quantities.values_mut().filter(|quantity| quantity.is_number()) {
                            *quantity = Value::from(quantity.to_string());
                        }
                    }
                    ("sizeLimit" | "divisor", number @ Value::Number(_)) => {
                        *number = Value::from(number.to_string());
                    }
                    (_, inner) => normalise_quantities(inner),
                }
            }
        }
        _ => {}
    }
}
