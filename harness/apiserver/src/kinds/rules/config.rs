//! Rules for the kinds that hold configuration.

use serde_json::Value;

use super::immutable;
use crate::{
    object::{at, text},
    status::FieldError,
};

pub(crate) fn config_map(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    data_keys(new, &["data", "binaryData"], errors);
    frozen(new, old, &["data", "binaryData"], errors);
}

pub(crate) fn secret(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    data_keys(new, &["data"], errors);
    let has = |key: &str| new.get("data").and_then(|data| data.get(key)).is_some();
    let mut require = |key: &str| {
        if !has(key) {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    };
    match text(new, &["type"]) {
        "kubernetes.io/dockerconfigjson" => require(".dockerconfigjson"),
        "kubernetes.io/dockercfg" => require(".dockercfg"),
        "kubernetes.io/tls" => {
            require("tls.crt");
            require("tls.key");
        }
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            require("username");
            require("password");
        }
        "kubernetes.io/ssh-auth" => require("ssh-privatekey"),
        "kubernetes.io/service-account-token" => {
            let account = "kubernetes.io/service-account.name";
            if at(new, &["metadata", "annotations", account]).is_none() {
                errors.push(FieldError::required(format!("metadata.annotations[{account}]"), ""));
            }
        }
        _ => {}
    }
    immutable(&["type"], new, old, errors);
    frozen(new, old, &["data"], errors);
}

/// An event lives in the namespace of what it is about.
pub(crate) fn event(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    let namespace = text(new, &["metadata", "namespace"]);
    let about = text(new, &["involvedObject", "namespace"]);
    // What is about a cluster-scoped object lies in the default namespace.
    let fits = if about.is_empty() { namespace == "default" } else { namespace == about };
    if !fits && (!about.is_empty() || !text(new, &["involvedObject", "kind"]).is_empty()) {
        let why = "does not match event.namespace";
        errors.push(FieldError::invalid("involvedObject.namespace", &about.into(), why));
    }
}

pub(crate) fn priority_class(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    const HIGHEST: i64 = 1_000_000_000;
    let name = crate::object::meta(new, "name");
    if name.starts_with("system-") {
        if !["system-cluster-critical", "system-node-critical"].contains(&name) {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known \
system priority class"
            );
            errors.push(FieldError::forbidden("metadata.name", &why));
        }
    } else if new["value"].as_i64().is_some_and(|value| value > HIGHEST) {
        let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
        errors.push(FieldError::forbidden("value", &why));
    }
    if old.is_some_and(|old| old.get("value") != new.get("value")) {
        errors.push(FieldError::forbidden("value", "may not be changed in an update."));
    }
}

/// Keys are file names.
fn data_keys(object: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    for field in fields {
        for key in object.get(field).and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key) {
            for why in config_key_faults(key) {
                errors.push(FieldError::invalid(format!("{field}[{key}]"), &key.as_str().into(), why));
            }
        }
    }
}

/// Faults of a key of a ConfigMap or Secret.
pub(super) fn config_key_faults(key: &str) -> Vec<&'static str> {
    let mut faults = Vec::new();
    if key.len() > 253 {
        faults.push("must be no more than 253 characters");
    }
    if key.is_empty() || !key.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c)) {
        faults.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        );
    } else if key == "." {
        faults.push("must not be '.'");
    } else if key == ".." {
        faults.push("must not be '..'");
    } else if key.starts_with("..") {
        faults.push("must not start with '..'");
    }
    faults
}

/// `immutable: true` can't be taken back, nor the data changed.
fn frozen(new: &Value, old: Option<&Value>, fields: &[&str], errors: &mut Vec<FieldError>) {
    let Some(old) = old else { return };
    let is_frozen = |object: &Value| object.get("immutable").and_then(Value::as_bool).unwrap_or(false);
    if !is_frozen(old) {
        return;
    }
    if !is_frozen(new) {
        errors.push(FieldError::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in fields {
        if old.get(field) != new.get(field) {
            errors.push(FieldError::forbidden(*field, "field is immutable when `immutable` is set"));
        }
    }
}

pub(crate) fn api_service(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    let part = |field: &str| crate::object::text(new, &["spec", field]);
    let expected = format!("{}.{}", part("version"), part("group"));
    let name = crate::object::meta(new, "name");
    if name != expected && !(part("group").is_empty() && name == format!("{}.", part("version"))) {
        let why = format!("must be `spec.version+\".\"+spec.group`: \"{expected}\"");
        errors.push(FieldError::invalid("metadata.name", &name.into(), &why));
    }
    for field in ["groupPriorityMinimum", "versionPriority"] {
        let priority = crate::object::integer(new, &["spec", field]).unwrap_or_default();
        let most = if field == "versionPriority" { 1_000 } else { 20_000 };
        if !(1..=most).contains(&priority) {
            let why = format!("must be positive and less than {most}");
            errors.push(FieldError::invalid(format!("spec.{field}"), &priority.into(), &why));
        }
    }
    if new["spec"]["service"].is_object() {
        for field in ["namespace", "name"] {
            if crate::object::text(new, &["spec", "service", field]).is_empty() {
                errors.push(FieldError::required(format!("spec.service.{field}"), ""));
            }
        }
    } else if !part("caBundle").is_empty() || new["spec"]["insecureSkipTLSVerify"] == true {
        let why = "local APIServices may not have a caBundle or skip the verification of certificates";
        errors.push(FieldError::forbidden("spec.caBundle", why));
    }
}
