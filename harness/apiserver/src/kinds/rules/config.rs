//! Rules for the kinds that hold configuration.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::immutable;
use crate::{
    object::text,
    status::{FieldError, go_syntax_fault},
};

/// Most bytes that the values of one ConfigMap or Secret may hold (`MaxSecretSize`).
const MOST_BYTES: usize = 1_048_576;
/// Stands for a value of a Secret in a message.
const REDACTED: &str = "<secret contents redacted>";

pub(crate) fn config_map(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    frozen(new, old, &["data", "binaryData"], errors);
    data_keys(new, &["data", "binaryData"], errors);
    let texts = values(new, "data").map(|(_, value)| value.len()).sum::<usize>();
    let bytes = values(new, "binaryData").map(|(_, value)| decoded_length(value)).sum::<usize>();
    if texts + bytes > MOST_BYTES {
        // The real server names the object as a whole this way.
        errors.push(FieldError::too_long("[]", MOST_BYTES));
    }
}

pub(crate) fn secret(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    immutable(&["type"], new, old, errors);
    frozen(new, old, &["data"], errors);
    data_keys(new, &["data"], errors);
    if values(new, "data").map(|(_, value)| decoded_length(value)).sum::<usize>() > MOST_BYTES {
        errors.push(FieldError::too_long("data", MOST_BYTES));
    }
    let data = |key: &str| new.get("data").and_then(|data| data.get(key));
    let has = |key: &str| data(key).is_some();
    let mut require = |key: &str| {
        if !has(key) {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    };
    match text(new, &["type"]) {
        "kubernetes.io/dockerconfigjson" => registry_logins(new, ".dockerconfigjson", errors),
        "kubernetes.io/dockercfg" => registry_logins(new, ".dockercfg", errors),
        "kubernetes.io/tls" => {
            require("tls.crt");
            require("tls.key");
        }
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            require("username");
            require("password");
        }
        // A key that is there but empty is as good as none.
        "kubernetes.io/ssh-auth"
            if data("ssh-privatekey").and_then(Value::as_str).unwrap_or_default().is_empty() =>
        {
            errors.push(FieldError::required("data[ssh-privatekey]", ""));
        }
        "kubernetes.io/service-account-token" => {
            let account = "kubernetes.io/service-account.name";
            if text(new, &["metadata", "annotations", account]).is_empty() {
                errors.push(FieldError::required(format!("metadata.annotations[{account}]"), ""));
            }
        }
        _ => {}
    }
}

/// Logins of image registries have to be there and be a JSON object; what they hold is never repeated.
fn registry_logins(secret: &Value, key: &str, errors: &mut Vec<FieldError>) {
    let field = format!("data[{key}]");
    let Some(encoded) = secret["data"].get(key) else {
        errors.push(FieldError::required(field, ""));
        return;
    };
    let bytes = STANDARD.decode(encoded.as_str().unwrap_or_default());
    let Ok(bytes) = bytes else { return };
    let type_name = match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(_) | Value::Null) => return,
        Ok(Value::Array(_)) => "array",
        Ok(Value::String(_)) => "string",
        Ok(Value::Number(_)) => "number",
        Ok(Value::Bool(_)) => "bool",
        Err(error) => {
            let why = go_syntax_fault(&error, &bytes);
            errors.push(FieldError::invalid(field, &REDACTED.into(), &why));
            return;
        }
    };
    let why = format!("json: cannot unmarshal {type_name} into Go value of type map[string]interface {{}}");
    errors.push(FieldError::invalid(field, &REDACTED.into(), &why));
}

/// Keys and values of the map `field`.
fn values<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    let map = object.get(field).and_then(Value::as_object);
    map.into_iter().flatten().map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

/// Bytes that padded base64 stands for.
fn decoded_length(encoded: &str) -> usize {
    let data = encoded.bytes().filter(|c| !matches!(c, b'=' | b'\n' | b'\r')).count();
    data * 3 / 4
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
            if *field == "data" && object.get("binaryData").is_some_and(|other| other.get(key).is_some()) {
                let why = "duplicate of key present in binaryData";
                errors.push(FieldError::invalid(format!("data[{key}]"), &key.as_str().into(), why));
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
