//! Rules for the environment of a container, and for the fields of pods and containers that it and volumes refer to.

use serde_json::Value;

use crate::{
    kinds::{
        names::{check_subdomain, qualified_name_faults},
        quantity,
        rules::config::config_key_faults,
    },
    object::{list, text},
    status::FieldError,
};

/// Fields of a pod that a variable may hold.
const ENVIRONMENT_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of a pod that a file may hold.
pub(super) const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
/// Fields of a pod that have a name at all.
const KNOWN_FIELDS: [&str; 4] =
    ["spec.restartPolicy", "spec.schedulerName", "status.phase", "metadata.annotations"];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub(super) fn environment(container: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for (index, variable) in list(container, &["env"]).iter().enumerate() {
        let at = format!("{field}.env[{index}]");
        let name = text(variable, &["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(format!("{at}.name"), ""));
        } else {
            variable_name(name, &format!("{at}.name"), errors);
        }
        if let Some(source) = variable.get("valueFrom").filter(|source| source.is_object()) {
            let has_value = !text(variable, &["value"]).is_empty();
            value_from(source, has_value, &format!("{at}.valueFrom"), errors);
        }
    }
    let sources = format!("{field}.envFrom");
    for (index, source) in list(container, &["envFrom"]).iter().enumerate() {
        let prefix = text(source, &["prefix"]);
        if !prefix.is_empty() {
            variable_name(prefix, &format!("{sources}[{index}].prefix"), errors);
        }
        let kinds = ["configMapRef", "secretRef"];
        let found = kinds.into_iter().filter_map(|kind| Some((kind, source.get(kind)?)));
        let mut count = 0;
        for (kind, reference) in found {
            count += 1;
            let at = format!("{sources}[{index}].{kind}.name");
            match text(reference, &["name"]) {
                "" => errors.push(FieldError::required(at, "")),
                name => subdomain(name, &at, errors),
            }
        }
        let why = match count {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        errors.push(FieldError::invalid(sources.as_str(), &"".into(), why));
    }
}

fn variable_name(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    if !name.bytes().all(|c| (0x20..0x7f).contains(&c) && c != b'=') {
        let why = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        errors.push(FieldError::invalid(field, &name.into(), why));
    }
}

fn value_from(source: &Value, has_value: bool, field: &str, errors: &mut Vec<FieldError>) {
    let mut count = 0;
    if let Some(reference) = source.get("fieldRef") {
        count += 1;
        pod_field(reference, &ENVIRONMENT_FIELDS, &format!("{field}.fieldRef"), errors);
    }
    if let Some(reference) = source.get("resourceFieldRef") {
        count += 1;
        resource_field(reference, false, &format!("{field}.resourceFieldRef"), errors);
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        let Some(reference) = source.get(kind) else { continue };
        count += 1;
        subdomain(text(reference, &["name"]), &format!("{field}.{kind}.name"), errors);
        let at = format!("{field}.{kind}.key");
        match text(reference, &["key"]) {
            "" => errors.push(FieldError::required(at, "")),
            key => {
                for why in config_key_faults(key) {
                    errors.push(FieldError::invalid(at.as_str(), &key.into(), why));
                }
            }
        }
    }
    if source.get("fileKeyRef").is_some() {
        count += 1;
    }
    let why = if count == 0 {
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
    } else if has_value {
        "may not be specified when `value` is not empty"
    } else if count > 1 {
        "may not have more than one field specified at a time"
    } else {
        return;
    };
    errors.push(FieldError::invalid(field, &"".into(), why));
}

fn subdomain(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    for why in check_subdomain(name) {
        errors.push(FieldError::invalid(field, &name.into(), why));
    }
}

/// A field of the pod: `metadata.name`, `metadata.labels['key']`.
pub(super) fn pod_field(reference: &Value, allowed: &[&str], field: &str, errors: &mut Vec<FieldError>) {
    let path = text(reference, &["fieldPath"]);
    let at = format!("{field}.fieldPath");
    if path.is_empty() {
        errors.push(FieldError::required(at, ""));
        return;
    }
    let subscripted = path.strip_suffix("']").and_then(|path| path.split_once("['"));
    if let Some((path_alone, key)) = subscripted.filter(|(path, _)| !path.is_empty()) {
        match path_alone {
            "metadata.annotations" | "metadata.labels" => {
                let key = if path_alone == "metadata.labels" { key.to_owned() } else { key.to_lowercase() };
                for why in qualified_name_faults(&key) {
                    errors.push(FieldError::invalid(field, &key.as_str().into(), &why));
                }
            }
            _ => {
                let why = format!(
                    "error converting fieldPath: field label does not support subscript: {path_alone}"
                );
                errors.push(FieldError::invalid(at, &path.into(), &why));
            }
        }
        return;
    }
    let is_known =
        [&ENVIRONMENT_FIELDS[..], &FILE_FIELDS, &KNOWN_FIELDS].iter().any(|some| some.contains(&path));
    if !is_known {
        let why = format!("error converting fieldPath: field label not supported: {path}");
        errors.push(FieldError::invalid(at, &path.into(), &why));
    } else if !allowed.contains(&path) {
        errors.push(FieldError::not_supported(at, &path.into(), allowed));
    }
}

/// A resource of a container; volumes have to say of which one.
pub(super) fn resource_field(reference: &Value, of_volume: bool, field: &str, errors: &mut Vec<FieldError>) {
    let resource = text(reference, &["resource"]);
    let is_huge =
        ["limits.hugepages-", "requests.hugepages-"].iter().any(|start| resource.starts_with(start));
    if of_volume && text(reference, &["containerName"]).is_empty() {
        errors.push(FieldError::required(format!("{field}.containerName"), ""));
    } else if resource.is_empty() {
        errors.push(FieldError::required(format!("{field}.resource"), ""));
    } else if !is_huge && !RESOURCES.contains(&resource) {
        errors.push(FieldError::not_supported(format!("{field}.resource"), &resource.into(), &RESOURCES));
    }
    let divisor = reference.get("divisor").and_then(Value::as_str).and_then(quantity::canonical);
    let Some(divisor) = divisor.filter(|divisor| divisor != "0") else { return };
    let (known, words): (&[&str], String) = match resource.split_once('.').map_or("", |(_, name)| name) {
        "cpu" => {
            (&["1m", "1"], "only divisor's values 1m and 1 are supported with the cpu resource".to_owned())
        }
        name @ ("memory" | "ephemeral-storage") => (
            &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"],
            format!(
                "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with \
the {} resource",
                if name == "memory" { "memory" } else { "local ephemeral storage" }
            ),
        ),
        _ => return,
    };
    if !known.contains(&divisor.as_str()) {
        errors.push(FieldError::invalid(format!("{field}.divisor"), &resource.into(), &words));
    }
}
