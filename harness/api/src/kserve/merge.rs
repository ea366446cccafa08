//! A runtime's container and pod settings with an InferenceService's merged over them.

use serde_json::{Map, Value};
use windtunnel_kernel::Profile;

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
pub(super) fn pod_settings(runtime: &Fields, service: &Fields, profile: Profile) -> Fields {
    let mut merged = Map::new();
    // Upstream's runtimes may ask for the host's IPC namespace and don't get it: a likely bug.
    let host_ipc = (!profile.has_upstream_bugs()).then_some("hostIPC");
    for key in FROM_RUNTIME.into_iter().chain(host_ipc) {
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
            *old = by_key(old, new, by);
        }
        (_, Value::Null) => {}
        _ => {
            target.insert(key.to_owned(), value.clone());
        }
    }
}

/// Two lists of objects merged by a key, in the order of Kubernetes' strategic merge: items of the second that the first
/// does not have come as early as the items around them allow.
fn by_key(old: &[Value], new: &[Value], by: &str) -> Vec<Value> {
    let same = |a: &Value, b: &Value| a.get(by).is_some() && a.get(by) == b.get(by);
    let place = |item: &Value| old.iter().position(|old| same(old, item));
    let mut kept = old.iter().filter(|old| !new.iter().any(|new| same(old, new))).peekable();
    let mut merged = Vec::new();
    for item in new {
        let at = place(item);
        while let Some(first) =
            kept.next_if(|kept| at.is_some_and(|at| place(kept).is_some_and(|own| own < at)))
        {
            merged.push(first.clone());
        }
        let Some((Value::Object(base), Value::Object(new))) = at.map(|at| (&old[at], item)) else {
            merged.push(item.clone());
            continue;
        };
        let mut base = base.clone();
        // A variable has a value or a source; the stronger list's wins.
        if new.contains_key("valueFrom") {
            base.remove("value");
        } else if new.get("value").and_then(Value::as_str).is_some_and(|value| !value.is_empty()) {
            base.remove("valueFrom");
        }
        for (key, value) in new {
            over(&mut base, key, value);
        }
        merged.push(Value::Object(base));
    }
    merged.extend(kept.cloned());
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// strategicpatch's order: what is new comes before what is only there already, unless a common item is between.
    #[test]
    fn order_of_a_strategic_merge() {
        let list =
            |names: &[&str]| -> Vec<Value> { names.iter().map(|name| json!({"name": name})).collect() };
        let merged = |old: &[&str], new: &[&str]| by_key(&list(old), &list(new), "name");
        assert_eq!(merged(&["a", "b"], &["c"]), list(&["c", "a", "b"]));
        assert_eq!(merged(&["a", "b"], &["b", "c"]), list(&["a", "b", "c"]));
        assert_eq!(merged(&["a", "b"], &["c", "b"]), list(&["c", "a", "b"]));
        assert_eq!(merged(&["a", "b", "d"], &["b"]), list(&["a", "b", "d"]));
    }

    /// container_merge_test.go: Kubernetes refuses a variable with a value and a source.
    #[test]
    fn a_variable_has_a_value_or_a_source() {
        let source = json!({"secretKeyRef": {"name": "s", "key": "k"}});
        let merged = |old: Value, new: Value| by_key(&[old], &[new], "name");
        assert_eq!(
            merged(json!({"name": "A", "value": "1"}), json!({"name": "A", "valueFrom": source})),
            [json!({"name": "A", "valueFrom": source})]
        );
        assert_eq!(
            merged(json!({"name": "A", "valueFrom": source}), json!({"name": "A", "value": "1"})),
            [json!({"name": "A", "value": "1"})]
        );
    }
}
