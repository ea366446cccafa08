//! Rules for the addresses behind services.

use serde_json::Value;

use crate::{
    object::{at, list, text},
    status::FieldError,
};

pub(crate) fn endpoints(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    for (index, subset) in list(new, &["subsets"]).iter().enumerate() {
        for part in ["addresses", "notReadyAddresses"] {
            for (number, address) in list(subset, &[part]).iter().enumerate() {
                let ip = text(address, &["ip"]);
                if ip.parse::<std::net::IpAddr>().is_err() {
                    let field = format!("subsets[{index}].{part}[{number}].ip");
                    let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                    errors.push(FieldError::invalid(field, &ip.into(), why));
                }
            }
        }
        for (number, port) in list(subset, &["ports"]).iter().enumerate() {
            if !port["port"].as_i64().is_some_and(|port| (1..=65_535).contains(&port)) {
                let field = format!("subsets[{index}].ports[{number}].port");
                let why = "must be between 1 and 65535, inclusive";
                errors.push(FieldError::invalid(field, &port["port"].as_i64().unwrap_or(0).into(), why));
            }
        }
    }
}

pub(crate) fn endpoint_slice(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let kinds = ["FQDN", "IPv4", "IPv6"];
    match text(new, &["addressType"]) {
        "" => errors.push(FieldError::required("addressType", "")),
        kind if !kinds.contains(&kind) => {
            errors.push(FieldError::not_supported("addressType", &kind.into(), &kinds));
        }
        _ => {}
    }
    for (index, endpoint) in list(new, &["endpoints"]).iter().enumerate() {
        if list(endpoint, &["addresses"]).is_empty() {
            let field = format!("endpoints[{index}].addresses");
            errors.push(FieldError::required(field, "must contain at least 1 address"));
        }
    }
    super::immutable(&["addressType"], new, old, errors);
}

pub(crate) fn ip_address(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let name = crate::object::meta(new, "name");
    if name.parse::<std::net::IpAddr>().is_err() {
        errors.push(FieldError::invalid("metadata.name", &name.into(), "must be a valid IP address"));
    }
    if at(new, &["spec", "parentRef"]).is_none() {
        errors.push(FieldError::required("spec.parentRef", ""));
    }
    super::immutable(&["spec", "parentRef"], new, old, errors);
}

pub(crate) fn service_cidr(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let ranges = list(new, &["spec", "cidrs"]);
    if ranges.is_empty() {
        errors.push(FieldError::required("spec.cidrs", "at least one CIDR required"));
    }
    for (index, range) in ranges.iter().enumerate() {
        let parsed = range.as_str().and_then(|range| range.split_once('/')).and_then(|(address, length)| {
            Some((address.parse::<std::net::IpAddr>().ok()?, length.parse::<u8>().ok()?))
        });
        let fits =
            |(address, length): (std::net::IpAddr, u8)| length <= if address.is_ipv4() { 32 } else { 128 };
        if !parsed.is_some_and(fits) {
            let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(FieldError::invalid(format!("spec.cidrs[{index}]"), range, why));
        }
    }
    super::immutable(&["spec", "cidrs"], new, old, errors);
}
