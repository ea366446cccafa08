//! Defaults of services, endpoints and network rules.

use serde_json::{Value, json};

use super::{each, spec, status};
use crate::object::{as_map, map_at, set_default};

/// Everything but the allocated address and ports, which need the cluster's state.
pub(crate) fn service(object: &mut Value) {
    let spec = spec(object);
    set_default(spec, "sessionAffinity", "None");
    set_default(spec, "type", "ClusterIP");
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if spec.get("sessionAffinity").and_then(Value::as_str) == Some("ClientIP") {
        set_default(map_at(map_at(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10_800);
    }
    for port in each(spec, "ports") {
        set_default(port, "protocol", "TCP");
        let unset = match port.get("targetPort") {
            None | Some(Value::Null) => true,
            Some(target) => target.as_i64() == Some(0) || target.as_str() == Some(""),
        };
        if unset && let Some(number) = port.get("port").cloned() {
            port.insert("targetPort".into(), number);
        }
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        set_default(spec, "externalTrafficPolicy", "Cluster");
        if kind == "LoadBalancer" {
            set_default(spec, "allocateLoadBalancerNodePorts", true);
        }
    }
    if kind == "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            spec.shift_remove(field);
        }
    } else {
        set_default(spec, "internalTrafficPolicy", "Cluster");
        set_default(spec, "ipFamilyPolicy", "SingleStack");
        set_default(spec, "ipFamilies", json!(["IPv4"]));
    }
    map_at(status(object), "loadBalancer");
}

pub(crate) fn endpoints(object: &mut Value) {
    for subset in each(as_map(object), "subsets") {
        for port in each(subset, "ports") {
            set_default(port, "protocol", "TCP");
        }
    }
}

pub(crate) fn endpoint_slice(object: &mut Value) {
    let map = as_map(object);
    for port in each(map, "ports") {
        set_default(port, "name", "");
        set_default(port, "protocol", "TCP");
    }
    map.entry("endpoints").or_insert(Value::Null);
    map.entry("ports").or_insert(Value::Null);
}

pub(crate) fn ingress(object: &mut Value) {
    map_at(status(object), "loadBalancer");
}

pub(crate) fn network_policy(object: &mut Value) {
    let spec = spec(object);
    map_at(spec, "podSelector");
    for list in ["ingress", "egress"] {
        for rule in each(spec, list) {
            for port in each(rule, "ports") {
                set_default(port, "protocol", "TCP");
            }
        }
    }
    if !spec.contains_key("policyTypes") {
        let types =
            if spec.contains_key("egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        spec.insert("policyTypes".into(), types);
    }
}
