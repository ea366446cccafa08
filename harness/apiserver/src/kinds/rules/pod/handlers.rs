//! Rules for probes and lifecycle hooks: what they do, and the ports they name.

use serde_json::Value;

use super::non_negative;
use crate::{
    object::{integer, list, text},
    status::FieldError,
};

/// Container hooks and probes that are done in this order; only one may be given.
const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

pub(super) fn probes(container: &Value, grace: i64, field: &str, errors: &mut Vec<FieldError>) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get(name).filter(|probe| probe.is_object()) else { continue };
        let field = format!("{field}.{name}");
        handler(probe, grace, &field, errors);
        for count in
            ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            non_negative(probe, count, &field, errors);
        }
        let own_grace = integer(probe, &["terminationGracePeriodSeconds"]);
        let grace_field = format!("{field}.terminationGracePeriodSeconds");
        if let Some(seconds) = own_grace.filter(|seconds| *seconds <= 0) {
            errors.push(FieldError::invalid(grace_field.as_str(), &seconds.into(), "must be greater than 0"));
        }
        if name == "readinessProbe" {
            if let Some(seconds) = own_grace {
                let why = "must not be set for readinessProbes";
                errors.push(FieldError::invalid(grace_field, &seconds.into(), why));
            }
        } else if let Some(count) = integer(probe, &["successThreshold"]).filter(|count| *count != 1) {
            errors.push(FieldError::invalid(format!("{field}.successThreshold"), &count.into(), "must be 1"));
        }
    }
}

pub(super) fn lifecycle(container: &Value, grace: i64, field: &str, errors: &mut Vec<FieldError>) {
    for name in ["postStart", "preStop"] {
        let hook = container.get("lifecycle").and_then(|lifecycle| lifecycle.get(name));
        if let Some(hook) = hook.filter(|hook| hook.is_object()) {
            handler(hook, grace, &format!("{field}.lifecycle.{name}"), errors);
        }
    }
}

/// A probe or hook does exactly one thing.
fn handler(place: &Value, grace: i64, field: &str, errors: &mut Vec<FieldError>) {
    let mut found = HANDLERS.into_iter().filter_map(|name| Some((name, place.get(name)?)));
    match found.next() {
        None => errors.push(FieldError::required(field, "must specify a handler type")),
        Some((name, action)) => act(name, action, grace, &format!("{field}.{name}"), errors),
    }
    for (name, _) in found {
        let why = "may not specify more than 1 handler type";
        errors.push(FieldError::forbidden(format!("{field}.{name}"), why));
    }
}

fn act(name: &str, action: &Value, grace: i64, field: &str, errors: &mut Vec<FieldError>) {
    match name {
        "exec" => {
            if list(action, &["command"]).is_empty() {
                errors.push(FieldError::required(format!("{field}.command"), ""));
            }
        }
        "httpGet" => {
            port_number_or_name(action.get("port"), &format!("{field}.port"), errors);
            let scheme = text(action, &["scheme"]);
            if !matches!(scheme, "HTTP" | "HTTPS") {
                let known = ["HTTP", "HTTPS"];
                errors.push(FieldError::not_supported(format!("{field}.scheme"), &scheme.into(), &known));
            }
            for header in list(action, &["httpHeaders"]) {
                let name = text(header, &["name"]);
                if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
                    let why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. \
'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
                    errors.push(FieldError::invalid(format!("{field}.httpHeaders"), &name.into(), why));
                }
            }
        }
        "tcpSocket" | "grpc" => port_number_or_name(action.get("port"), &format!("{field}.port"), errors),
        _ => {
            let seconds = integer(action, &["seconds"]).unwrap_or_default();
            if !(0..=grace).contains(&seconds) {
                let why =
                    format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                errors.push(FieldError::invalid(field, &seconds.into(), &why));
            }
        }
    }
}

/// A port, by number or by the name that the container gives it.
pub(in crate::kinds::rules) fn port_number_or_name(
    port: Option<&Value>,
    field: &str,
    errors: &mut Vec<FieldError>,
) {
    match port {
        Some(Value::String(name)) => {
            for why in port_name_faults(name) {
                errors.push(FieldError::invalid(field, &name.as_str().into(), why));
            }
        }
        other => port_number(other.and_then(Value::as_i64).unwrap_or_default(), field, errors),
    }
}

pub(in crate::kinds::rules) fn port_number(port: i64, field: &str, errors: &mut Vec<FieldError>) {
    if !(1..=65_535).contains(&port) {
        errors.push(FieldError::invalid(field, &port.into(), "must be between 1 and 65535, inclusive"));
    }
}

/// Faults of the name of a port: an IANA service name.
pub(in crate::kinds::rules) fn port_name_faults(name: &str) -> Vec<&'static str> {
    let mut faults = Vec::new();
    if name.len() > 15 {
        faults.push("must be no more than 15 characters");
    }
    if !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        faults.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !name.bytes().any(|c| c.is_ascii_lowercase()) {
        faults.push("must contain at least one letter (a-z)");
    }
    if name.contains("--") {
        faults.push("must not contain consecutive hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        faults.push("must not begin or end with a hyphen");
    }
    faults
}
