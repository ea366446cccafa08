//! Rules for Services (`ValidateService` of the real server).

use std::net::IpAddr;

use serde_json::Value;

use super::pod::handlers::port_number_or_name;
use crate::{
    kinds::names::{check_label, check_labels},
    object::{at, list, text},
    status::FieldError,
};

/// Longest time for which a client may be kept at its pod, in seconds.
const LONGEST_AFFINITY_S: i64 = 86_400;

pub(crate) fn service(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let kind = text(new, &["spec", "type"]);
    let ports = list(new, &["spec", "ports"]);
    if !["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"].contains(&kind) {
        let supported = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
        errors.push(FieldError::not_supported("spec.type", &kind.into(), &supported));
    }
    if ports.is_empty() && kind != "ExternalName" && text(new, &["spec", "clusterIP"]) != "None" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    if kind == "ExternalName" && text(new, &["spec", "externalName"]).is_empty() {
        errors.push(FieldError::required("spec.externalName", ""));
    }
    let mut names: Vec<&str> = Vec::new();
    let mut seen: Vec<(i64, &str)> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let at = |field: &str| format!("spec.ports[{index}].{field}");
        let name = text(port, &["name"]);
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(at("name"), ""));
            }
        } else {
            for fault in check_label(name) {
                errors.push(FieldError::invalid(at("name"), &name.into(), fault));
            }
            if names.contains(&name) {
                errors.push(FieldError::duplicate(at("name"), &name.into()));
            }
            names.push(name);
        }
        let number = port.get("port").and_then(Value::as_i64).unwrap_or_default();
        if !(1..=65_535).contains(&number) {
            errors.push(FieldError::invalid(
                at("port"),
                &number.into(),
                "must be between 1 and 65535, inclusive",
            ));
        }
        port_number_or_name(port.get("targetPort"), &at("targetPort"), errors);
        if kind == "ClusterIP" && port["nodePort"].as_i64().unwrap_or_default() != 0 {
            let why = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(at("nodePort"), why));
        }
        let protocol = text(port, &["protocol"]);
        if !["SCTP", "TCP", "UDP"].contains(&protocol) {
            errors.push(FieldError::not_supported(at("protocol"), &protocol.into(), &["SCTP", "TCP", "UDP"]));
        }
        if seen.contains(&(number, protocol)) {
            let value = serde_json::json!({"Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number,
                "TargetPort": 0, "NodePort": 0});
            errors.push(FieldError::duplicate(format!("spec.ports[{index}]"), &value));
        }
        seen.push((number, protocol));
    }
    check_labels(at(new, &["spec", "selector"]), "spec.selector", errors);
    affinity(new, errors);
    traffic(new, kind, errors);
    families(new, kind, errors);
    load_balancer(new, kind, errors);
    if let Some(old) = old {
        let address = |object: &Value| text(object, &["spec", "clusterIP"]).to_owned();
        let before = address(old);
        if kind != "ExternalName"
            && text(old, &["spec", "type"]) != "ExternalName"
            && !before.is_empty()
            && before != address(new)
        {
            let value = at(new, &["spec", "clusterIPs"]).cloned().unwrap_or_default();
            errors.push(FieldError::invalid("spec.clusterIPs[0]", &value, "may not change once set"));
        }
    }
}

fn affinity(new: &Value, errors: &mut Vec<FieldError>) {
    let affinity = text(new, &["spec", "sessionAffinity"]);
    let config = at(new, &["spec", "sessionAffinityConfig"]).filter(|config| !config.is_null());
    match affinity {
        "ClientIP" => {
            let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
            let seconds = at(new, &["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"]);
            let seconds = seconds.and_then(Value::as_i64).unwrap_or_default();
            if seconds <= 0 || seconds > LONGEST_AFFINITY_S {
                let why = format!("must be greater than 0 and less than {LONGEST_AFFINITY_S}");
                errors.push(FieldError::invalid(field, &seconds.into(), &why));
            }
        }
        "None" => {
            if config.is_some() {
                let why = "must not be set when session affinity is None";
                errors.push(FieldError::forbidden("spec.sessionAffinityConfig", why));
            }
        }
        other => {
            errors.push(FieldError::not_supported(
                "spec.sessionAffinity",
                &other.into(),
                &["ClientIP", "None"],
            ));
        }
    }
}

fn traffic(new: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    let policies = ["Cluster", "Local"];
    for (index, address) in list(new, &["spec", "externalIPs"]).iter().enumerate() {
        if address.as_str().is_none_or(|address| address.parse::<IpAddr>().is_err()) {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(format!("spec.externalIPs[{index}]"), address, why));
        }
    }
    let is_external = matches!(kind, "NodePort" | "LoadBalancer")
        || kind == "ClusterIP" && !list(new, &["spec", "externalIPs"]).is_empty();
    let external = text(new, &["spec", "externalTrafficPolicy"]);
    if !external.is_empty() {
        let field = "spec.externalTrafficPolicy";
        if !is_external {
            let why = "may only be set for externally-accessible services";
            errors.push(FieldError::invalid(field, &external.into(), why));
        } else if !policies.contains(&external) {
            errors.push(FieldError::not_supported(field, &external.into(), &policies));
        }
    }
    let number = at(new, &["spec", "healthCheckNodePort"]).and_then(Value::as_i64).unwrap_or_default();
    if number != 0 && !(kind == "LoadBalancer" && external == "Local") {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid("spec.healthCheckNodePort", &number.into(), why));
    }
    let internal = text(new, &["spec", "internalTrafficPolicy"]);
    if !internal.is_empty() && !policies.contains(&internal) {
        errors.push(FieldError::not_supported("spec.internalTrafficPolicy", &internal.into(), &policies));
    }
}

fn families(new: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    if kind == "ExternalName" {
        return;
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    let policy = text(new, &["spec", "ipFamilyPolicy"]);
    if !policy.is_empty() && !policies.contains(&policy) {
        errors.push(FieldError::not_supported("spec.ipFamilyPolicy", &policy.into(), &policies));
    }
    let families = list(new, &["spec", "ipFamilies"]);
    for (index, family) in families.iter().enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        if !matches!(family.as_str(), Some("IPv4" | "IPv6")) {
            errors.push(FieldError::not_supported(field, family, &["IPv4", "IPv6"]));
        } else if families[..index].contains(family) {
            errors.push(FieldError::duplicate(field, family));
        }
    }
}

fn load_balancer(new: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    if kind == "LoadBalancer" {
        return;
    }
    for field in ["loadBalancerSourceRanges", "allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        let found = at(new, &["spec", field]);
        if found.is_some_and(|found| !found.is_null() && found.as_array().is_none_or(|all| !all.is_empty())) {
            let why = "may only be used when `type` is 'LoadBalancer'";
            errors.push(FieldError::forbidden(format!("spec.{field}"), why));
        }
    }
}
