//! A runtime's container and pod settings with an InferenceService's merged over them.

use serde_json::{Map, Value};

use crate::Fields;

/// Pod settings that come from the runtime where the service says nothing.
const FROM_RUNTIME: [&str; 7] = [
    "nodeSelector",
    "affinity",
    "tolerations",
    "volumes",
    "imagePullSecrets",
    "schedulerName",
    "resourceClaims",
];

/// Lists of a container that are merged by a key, as Kubernetes' strategic merge does.
fn merge_key(field: &str) -> Option<&'static str> {
    Some(match field {
        "env" => "name",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "ports" => "containerPort",
        "volumes" | "imagePullSecrets" | "resourceClaims" | "containers" | "initContainers" => "name",
        _ => return None,
    })
}

/// The runtime's container with the service's over it: objects merge by key, `env`, mounts and ports by
/// their own keys, other lists are replaced, and the service's `args` follow the runtime's.
pub(super) fn container(runtime: &Map<String, Value>, service: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = runtime.clone();
    for (key, value) in service {
        if key == "args" {
            let mut args = merged.get("args").and_then(Value::as_array).cloned().unwrap_or_default();
            args.extend(value.as_array().into_iter().flatten().cloned());
            merged.insert(key.clone(), Value::Array(args));
        } else if key == "name" {
            // The serving container keeps its name whatever the service's model calls it.
        } else {
            over(&mut merged, key, value);
        }
    }
    merged
}

/// Pod settings: the service's, with some of the runtime's behind them.
pub(super) fn pod_settings(runtime: &Fields, service: &Fields) -> Fields {
    let mut merged = Map::new();
    for key in FROM_RUNTIME {
        if let Some(value) = runtime.get(key) {
            merged.insert(key.to_owned(), value.clone());
        }
    }
    for (key, value) in service.iter().filter(|(key, _)| key.as_str() != "containers") {
        over(&mut merged, key, value);
    }
    merged.into_iter().collect()
}

fn over(target: &mut Map<String, Value>, key: &str, value: &Value) {
    match (target.get_mut(key), value) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            for (key, value) in new {
                over(old, key, value);
            }
        }
        (Some(Value::Array(old)), Value::Array(new)) if merge_key(key).is_some() => {
            let by = merge_key(key).unwrap_or("name");
            for item in new {
                let same = old.iter_mut().find(|old| item.get(by).is_some() && old.get(by) == item.get(by));
                match (same, item) {
                    (Some(Value::Object(old)), Value::Object(new)) => {
                        for (key, value) in new {
                            over(old, key, value);
                        }
                    }
                    _ => old.push(item.clone()),
                }
            }
        }
        (_, Value::Null) => {}
        _ => {
            target.insert(key.to_owned(), value.clone());
        }
    }
}
