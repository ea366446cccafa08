//! Rules for the Ingress.

use serde_json::Value;

use super::subdomain;
use crate::{
    kinds::names,
    object::{integer, list, text},
    status::FieldError,
};

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];

pub(crate) fn ingress(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    let rules = list(new, &["spec", "rules"]);
    let fallback = &new["spec"]["defaultBackend"];
    if rules.is_empty() && !fallback.is_object() {
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid("spec", &Value::Null, why));
    }
    if fallback.is_object() {
        backend(fallback, "spec.defaultBackend", errors);
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("spec.rules[{index}]");
        host(text(rule, &["host"]), &format!("{at}.host"), errors);
        if rule["http"].is_object() {
            paths(list(rule, &["http", "paths"]), &format!("{at}.http.paths"), errors);
        }
    }
    subdomain(text(new, &["spec", "ingressClassName"]), "spec.ingressClassName", errors);
}

fn host(host: &str, at: &str, errors: &mut Vec<FieldError>) {
    if host.is_empty() {
        return;
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        errors.push(FieldError::invalid(at, &host.into(), "must be a DNS name, not an IP address"));
    } else if let Some(rest) = host.strip_prefix("*.") {
        if !names::check_subdomain(rest).is_empty() {
            let why = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must \
consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', \
regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
            errors.push(FieldError::invalid(at, &host.into(), why));
        }
    } else {
        subdomain(host, at, errors);
    }
}

fn paths(paths: &[Value], at: &str, errors: &mut Vec<FieldError>) {
    if paths.is_empty() {
        errors.push(FieldError::required(at, ""));
    }
    for (index, entry) in paths.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let (kind, path) = (text(entry, &["pathType"]), text(entry, &["path"]));
        let field = format!("{at}.path");
        let mut refuse = |why: &str| errors.push(FieldError::invalid(field.as_str(), &path.into(), why));
        match kind {
            "Exact" | "Prefix" if !path.starts_with('/') => refuse("must be an absolute path"),
            "Exact" | "Prefix" => {
                for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| path.contains(**part)) {
                    refuse(&format!("must not contain '{part}'"));
                }
                for end in ["/..", "/."].iter().filter(|end| path.ends_with(**end)) {
                    refuse(&format!("cannot end with '{end}'"));
                }
            }
            "ImplementationSpecific" if !path.is_empty() && !path.starts_with('/') => {
                refuse("must be an absolute path");
            }
            "ImplementationSpecific" => {}
            "" => {
                let why = "pathType must be specified";
                errors.push(FieldError::required(format!("{at}.pathType"), why));
            }
            other => {
                let field = format!("{at}.pathType");
                errors.push(FieldError::not_supported(field, &other.into(), &PATH_TYPES));
            }
        }
        backend(&entry["backend"], &format!("{at}.backend"), errors);
    }
}

fn backend(backend: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (service.is_object(), resource.is_object()) {
        (true, true) => {
            let why = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(at, &"".into(), why));
        }
        (false, false) => errors.push(FieldError::required(at, "resource or service backend is required")),
        (false, true) => {
            for field in ["kind", "name"] {
                if text(resource, &[field]).is_empty() {
                    errors.push(FieldError::required(format!("{at}.resource.{field}"), ""));
                }
            }
        }
        (true, false) => {
            if text(service, &["name"]).is_empty() {
                errors.push(FieldError::required(format!("{at}.service.name"), ""));
            }
            let name = text(service, &["port", "name"]);
            let number = integer(service, &["port", "number"]).unwrap_or(0);
            if !name.is_empty() && number != 0 {
                let why = "cannot set both port name & port number";
                errors.push(FieldError::invalid(at, &"".into(), why));
            } else if name.is_empty() && number == 0 {
                errors.push(FieldError::required(at, "port name or number is required"));
            } else if name.is_empty() && !(1..=65_535).contains(&number) {
                let why = "must be between 1 and 65535, inclusive";
                errors.push(FieldError::invalid(format!("{at}.service.port.number"), &number.into(), why));
            }
        }
    }
}
