//! Rules for NetworkPolicies and IngressClasses.

use std::net::IpAddr;

use serde_json::Value;

use super::{
    pod::handlers::{port_name_faults, port_number},
    selector::label_selector,
    subdomain,
};
use crate::{
    object::{at, list, text},
    status::FieldError,
};

const BAD_RANGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

pub(crate) fn network_policy(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &new["spec"];
    if let Some(selector) = spec.get("podSelector") {
        label_selector(selector, "spec.podSelector", errors);
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in list(spec, &[direction]).iter().enumerate() {
            let field = format!("spec.{direction}[{index}]");
            for (number, found) in list(rule, &["ports"]).iter().enumerate() {
                port(found, &format!("{field}.ports[{number}]"), errors);
            }
            for (number, found) in list(rule, &[peers]).iter().enumerate() {
                peer(found, &format!("{field}.{peers}[{number}]"), errors);
            }
        }
    }
    let types = list(spec, &["policyTypes"]);
    if types.len() > 2 {
        let why = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid("spec.policyTypes", &spec["policyTypes"], why));
        return;
    }
    for (index, found) in types.iter().enumerate() {
        if !matches!(found.as_str(), Some("Ingress" | "Egress")) {
            let field = format!("spec.policyTypes[{index}]");
            errors.push(FieldError::not_supported(field, found, &["Ingress", "Egress"]));
        }
    }
}

fn port(port: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let protocol = text(port, &["protocol"]);
    if !matches!(protocol, "" | "TCP" | "UDP" | "SCTP") {
        let known = ["TCP", "UDP", "SCTP"];
        errors.push(FieldError::not_supported(format!("{field}.protocol"), &protocol.into(), &known));
    }
    let end = port.get("endPort").filter(|end| !end.is_null());
    let end_field = format!("{field}.endPort");
    match port.get("port") {
        Some(Value::Number(number)) => {
            let number = number.as_i64().unwrap_or_default();
            port_number(number, &format!("{field}.port"), errors);
            if let Some(end) = end.and_then(Value::as_i64) {
                if end < number {
                    let why = "must be greater than or equal to `port`";
                    errors.push(FieldError::invalid(end_field.as_str(), &number.into(), why));
                }
                port_number(end, &end_field, errors);
            }
        }
        Some(Value::String(name)) => {
            if let Some(end) = end {
                let why = "may not be specified when `port` is non-numeric";
                errors.push(FieldError::invalid(end_field, end, why));
            }
            for why in port_name_faults(name) {
                errors.push(FieldError::invalid(format!("{field}.port"), &name.as_str().into(), why));
            }
        }
        _ => {
            if let Some(end) = end {
                let why = "may not be specified when `port` is not specified";
                errors.push(FieldError::invalid(end_field, end, why));
            }
        }
    }
}

fn peer(peer: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let mut kinds = 0;
    for selector in ["podSelector", "namespaceSelector"] {
        if let Some(found) = peer.get(selector).filter(|found| found.is_object()) {
            kinds += 1;
            label_selector(found, &format!("{field}.{selector}"), errors);
        }
    }
    let block = peer.get("ipBlock").filter(|block| block.is_object());
    if let Some(block) = block {
        kinds += 1;
        ip_block(block, &format!("{field}.ipBlock"), errors);
    }
    if kinds == 0 {
        errors.push(FieldError::required(field, "must specify a peer"));
    } else if kinds > 1 && block.is_some() {
        errors.push(FieldError::forbidden(field, "may not specify both ipBlock and another peer"));
    }
}

fn ip_block(block: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let range = text(block, &["cidr"]);
    if range.is_empty() {
        errors.push(FieldError::required(format!("{field}.cidr"), ""));
        return;
    }
    let Some(whole) = parse_range(range) else {
        errors.push(FieldError::invalid(format!("{field}.cidr"), &range.into(), BAD_RANGE));
        return;
    };
    for (index, except) in list(block, &["except"]).iter().enumerate() {
        let field = format!("{field}.except[{index}]");
        match except.as_str().and_then(parse_range) {
            None => errors.push(FieldError::invalid(field, except, BAD_RANGE)),
            Some(part) if is_within(part, whole) => {}
            Some(_) => errors.push(FieldError::invalid(field, except, "must be a strict subset of `cidr`")),
        }
    }
}

/// Whether a range is a part of another one, and not all of it.
fn is_within(part: (IpAddr, u32), whole: (IpAddr, u32)) -> bool {
    let prefix = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)).checked_shr(32 - whole.1),
        IpAddr::V6(address) => u128::from(address).checked_shr(128 - whole.1),
    };
    part.0.is_ipv4() == whole.0.is_ipv4() && part.1 > whole.1 && prefix(part.0) == prefix(whole.0)
}

/// Address and length of the prefix of `10.9.8.0/24`.
pub(super) fn parse_range(range: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = range.split_once('/')?;
    let (address, length): (IpAddr, u32) = (address.parse().ok()?, length.parse().ok()?);
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

pub(crate) fn ingress_class(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let controller = text(new, &["spec", "controller"]);
    match old {
        Some(_) => super::immutable(&["spec", "controller"], new, old, errors),
        None => controller_name(controller, errors),
    }
    let Some(parameters) = at(new, &["spec", "parameters"]).filter(|found| found.is_object()) else { return };
    let field = "spec.parameters";
    for required in ["kind", "name"] {
        if text(parameters, &[required]).is_empty() {
            errors.push(FieldError::required(format!("{field}.{required}"), ""));
        }
    }
    subdomain(text(parameters, &["apiGroup"]), &format!("{field}.apiGroup"), errors);
    let (scope, namespace) = (text(parameters, &["scope"]), parameters.get("namespace"));
    match scope {
        "Cluster" if namespace.is_some() => {
            let why = "`parameters.scope` is set to 'Cluster'";
            errors.push(FieldError::forbidden(format!("{field}.namespace"), why));
        }
        "Namespace" if namespace.is_none() => {
            let why = "`parameters.scope` is set to 'Namespace'";
            errors.push(FieldError::required(format!("{field}.namespace"), why));
        }
        "" | "Cluster" | "Namespace" => {}
        other => {
            let known = ["Cluster", "Namespace"];
            errors.push(FieldError::not_supported(format!("{field}.scope"), &other.into(), &known));
        }
    }
}

/// `example.com/name`, at most 250 characters.
fn controller_name(name: &str, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "spec.controller";
    const LONGEST: usize = 250;
    if name.len() > LONGEST {
        errors.push(FieldError::too_long(FIELD, LONGEST));
    }
    match name.split_once('/') {
        _ if name.is_empty() => errors.push(FieldError::required(FIELD, "")),
        Some((host, path)) if !host.is_empty() && !path.is_empty() => subdomain(host, FIELD, errors),
        _ => {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid(FIELD, &name.into(), why));
        }
    }
}
