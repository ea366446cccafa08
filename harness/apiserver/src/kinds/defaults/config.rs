//! Defaults of the kinds that hold configuration and identity.

use base64::Engine as _;
use serde_json::{Value, json};

use super::{each, spec, status};
use crate::object::{as_map, map_at, meta, metadata_mut, set_default};

pub(crate) fn secret(object: &mut Value) {
    let map = as_map(object);
    set_default(map, "type", "Opaque");
    if let Some(Value::Object(plain)) = map.shift_remove("stringData") {
        let data = map_at(map, "data");
        for (key, value) in plain {
            let text = value.as_str().unwrap_or_default();
            data.insert(key, base64::engine::general_purpose::STANDARD.encode(text).into());
        }
    }
}

pub(crate) fn namespace(object: &mut Value) {
    let name = meta(object, "name").to_owned();
    map_at(metadata_mut(object), "labels").insert("kubernetes.io/metadata.name".into(), name.into());
    spec(object);
    set_default(status(object), "phase", "Active");
}

pub(crate) fn node(object: &mut Value) {
    spec(object);
    let status = status(object);
    map_at(map_at(status, "daemonEndpoints"), "kubeletEndpoint");
    set_default(
        status,
        "nodeInfo",
        json!({"machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
            "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "",
            "architecture": ""}),
    );
    if let Some(kubelet) = status
        .get_mut("daemonEndpoints")
        .and_then(|ends| ends.get_mut("kubeletEndpoint"))
        .and_then(Value::as_object_mut)
    {
        set_default(kubelet, "Port", 0);
    }
}

pub(crate) fn persistent_volume_claim(object: &mut Value) {
    let spec = spec(object);
    set_default(spec, "volumeMode", "Filesystem");
    map_at(spec, "resources");
    set_default(status(object), "phase", "Pending");
}

pub(crate) fn persistent_volume(object: &mut Value) {
    let spec = spec(object);
    set_default(spec, "persistentVolumeReclaimPolicy", "Retain");
    set_default(spec, "volumeMode", "Filesystem");
    if let Some(host) = spec.get_mut("hostPath").and_then(Value::as_object_mut) {
        set_default(host, "type", "");
    }
    set_default(status(object), "phase", "Pending");
}

pub(crate) fn pod_disruption_budget(object: &mut Value) {
    spec(object);
    let status = status(object);
    for count in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        set_default(status, count, 0);
    }
}

pub(crate) fn role_binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let map = as_map(object);
    set_default(map_at(map, "roleRef"), "apiGroup", GROUP);
    for subject in each(map, "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            set_default(subject, "apiGroup", GROUP);
        }
    }
}

pub(crate) fn mutating_webhooks(object: &mut Value) {
    webhooks(object, true);
}

pub(crate) fn validating_webhooks(object: &mut Value) {
    webhooks(object, false);
}

fn webhooks(object: &mut Value, mutating: bool) {
    for hook in each(as_map(object), "webhooks") {
        set_default(hook, "failurePolicy", "Fail");
        set_default(hook, "matchPolicy", "Equivalent");
        set_default(hook, "namespaceSelector", json!({}));
        set_default(hook, "objectSelector", json!({}));
        set_default(hook, "timeoutSeconds", 10);
        if mutating {
            set_default(hook, "reinvocationPolicy", "Never");
        }
        if let Some(service) = hook
            .get_mut("clientConfig")
            .and_then(|client| client.get_mut("service"))
            .and_then(Value::as_object_mut)
        {
            set_default(service, "port", 443);
        }
        for rule in each(hook, "rules") {
            set_default(rule, "scope", "*");
        }
    }
}

pub(crate) fn admission_policy(object: &mut Value) {
    let spec = spec(object);
    set_default(spec, "failurePolicy", "Fail");
    if spec.get("matchConstraints").is_some_and(Value::is_object) {
        match_resources(map_at(spec, "matchConstraints"));
    }
}

pub(crate) fn admission_policy_binding(object: &mut Value) {
    let spec = spec(object);
    if spec.get("matchResources").is_some_and(Value::is_object) {
        match_resources(map_at(spec, "matchResources"));
    }
}

fn match_resources(resources: &mut serde_json::Map<String, Value>) {
    set_default(resources, "matchPolicy", "Equivalent");
    set_default(resources, "namespaceSelector", json!({}));
    set_default(resources, "objectSelector", json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in each(resources, rules) {
            set_default(rule, "scope", "*");
        }
    }
}

pub(crate) fn priority_class(object: &mut Value) {
    let map = as_map(object);
    set_default(map, "value", 0);
    set_default(map, "preemptionPolicy", "PreemptLowerPriority");
}

pub(crate) fn storage_class(object: &mut Value) {
    let map = as_map(object);
    set_default(map, "reclaimPolicy", "Delete");
    set_default(map, "volumeBindingMode", "Immediate");
}

pub(crate) fn custom_resource_definition(object: &mut Value) {
    let spec = spec(object);
    let names = map_at(spec, "names");
    let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    set_default(names, "singular", kind.to_lowercase());
    set_default(names, "listKind", format!("{kind}List"));
    set_default(map_at(spec, "conversion"), "strategy", "None");
    let stored: Vec<Value> = spec
        .get("versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|version| version.get("storage").and_then(Value::as_bool).unwrap_or(false))
        .filter_map(|version| version.get("name").cloned())
        .collect();
    let status = status(object);
    status.entry("conditions").or_insert(Value::Null);
    set_default(status, "acceptedNames", json!({"plural": "", "kind": ""}));
    let versions = status.entry("storedVersions").or_insert_with(|| json!([]));
    if let Some(versions) = versions.as_array_mut() {
        for version in stored {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
    }
}

/// An APIService without a service stands for what this server serves itself.
pub(crate) fn api_service(object: &mut Value) {
    let spec = spec(object);
    if let Some(service) = spec.get_mut("service").and_then(Value::as_object_mut) {
        set_default(service, "port", 443);
    }
    status(object);
}

/// What a limit range does not say follows from what it says: a default limit from the maximum, a default request from
/// the default limit, or else from the minimum.
pub(crate) fn limit_range(object: &mut Value) {
    for item in each(spec(object), "limits") {
        if item.get("type").and_then(Value::as_str) != Some("Container") {
            continue;
        }
        for (to, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
            let Some(source) = item.get(from).and_then(Value::as_object).cloned() else { continue };
            let target = map_at(item, to);
            for (resource, amount) in source {
                set_default(target, &resource, amount);
            }
        }
    }
}
