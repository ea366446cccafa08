//! Rules for CustomResourceDefinitions.

use serde_json::{Value, json};

use super::{immutable, structural};
use crate::{
    kinds::names::check_subdomain,
    object::{list, meta, text},
    schema::expressions,
    status::FieldError,
};

pub(crate) fn custom_resource_definition(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let group = text(new, &["spec", "group"]);
    let plural = text(new, &["spec", "names", "plural"]);
    let wanted = format!("{plural}.{group}");
    if old.is_none() && meta(new, "name") != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", &meta(new, "name").into(), why));
    }
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else {
        for fault in check_subdomain(group) {
            errors.push(FieldError::invalid("spec.group", &group.into(), fault));
        }
        if !group.contains('.') {
            let why = "should be a domain with at least one dot";
            errors.push(FieldError::invalid("spec.group", &group.into(), why));
        }
    }
    let scope = text(new, &["spec", "scope"]);
    if scope.is_empty() {
        errors.push(FieldError::required("spec.scope", ""));
    } else if !["Cluster", "Namespaced"].contains(&scope) {
        errors.push(FieldError::not_supported("spec.scope", &scope.into(), &["Cluster", "Namespaced"]));
    }
    for (name, mixed_case) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let value = text(new, &["spec", "names", name]);
        let at = format!("spec.names.{name}");
        if value.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if mixed_case && !is_dns_1035(&value.to_lowercase()) {
            let why = format!("may have mixed case, but should otherwise match: {DNS_1035}");
            errors.push(FieldError::invalid(at, &value.into(), &why));
        } else if !mixed_case && !is_dns_1035(value) {
            errors.push(FieldError::invalid(at, &value.into(), DNS_1035));
        }
    }
    for field in ["shortNames", "categories"] {
        for (index, name) in list(new, &["spec", "names", field]).iter().enumerate() {
            if !name.as_str().is_some_and(is_dns_1035) {
                errors.push(FieldError::invalid(format!("spec.names.{field}[{index}]"), name, DNS_1035));
            }
        }
    }
    if text(new, &["spec", "names", "kind"]) == text(new, &["spec", "names", "listKind"]) {
        let kind = text(new, &["spec", "names", "listKind"]);
        errors.push(FieldError::invalid(
            "spec.names.listKind",
            &kind.into(),
            "kind and listKind may not be the same",
        ));
    }
    if new.get("spec").and_then(|spec| spec.get("preserveUnknownFields")) == Some(&Value::Bool(true)) {
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            &true.into(),
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    versions(new, errors);
    let known =
        |name: &Value| list(new, &["spec", "versions"]).iter().any(|version| version["name"] == *name);
    for (index, stored) in list(new, &["status", "storedVersions"]).iter().enumerate() {
        if old.is_some() && !known(stored) {
            let name = stored.as_str().unwrap_or_default();
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a \
storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(FieldError::invalid(format!("status.storedVersions[{index}]"), stored, &why));
        }
    }
    for path in [
        ["spec", "group"].as_slice(),
        &["spec", "scope"],
        &["spec", "names", "plural"],
        &["spec", "names", "kind"],
    ] {
        immutable(path, new, old, errors);
    }
}

const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
'[a-z]([-a-z0-9]*[a-z0-9])?')";

fn is_dns_1035(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

/// Versions as the real server writes them into messages: in its own field names, and without what all of them share.
fn shown(versions: &[Value]) -> Value {
    let shared = |field: &str| versions.iter().all(|version| version.get(field) == versions[0].get(field));
    let part = |version: &Value, field: &str| {
        if shared(field) { Value::Null } else { version.get(field).cloned().unwrap_or_default() }
    };
    let flag = |version: &Value, field: &str| version[field] == Value::Bool(true);
    let show = |version: &Value| {
        json!({"Name": version["name"], "Served": flag(version, "served"), "Storage": flag(version, "storage"),
            "Deprecated": flag(version, "deprecated"), "DeprecationWarning": version["deprecationWarning"],
            "Schema": part(version, "schema"), "Subresources": part(version, "subresources"),
            "AdditionalPrinterColumns": part(version, "additionalPrinterColumns"),
            "SelectableFields": part(version, "selectableFields")})
    };
    versions.iter().map(show).collect()
}

fn versions(new: &Value, errors: &mut Vec<FieldError>) {
    let versions = list(new, &["spec", "versions"]);
    if versions.is_empty() {
        errors.push(FieldError::required(
            "spec.versions",
            "must have exactly one version marked as storage version",
        ));
        return;
    }
    let stored = versions.iter().filter(|version| version["storage"] == Value::Bool(true)).count();
    if stored != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &shown(versions), why));
    }
    if stored == 0 {
        let why = "must have at least one stored version";
        errors.push(FieldError::invalid("status.storedVersions", &Value::Null, why));
    }
    let repeats = |(index, version): (usize, &Value)| {
        versions.iter().take(index).any(|other| other["name"] == version["name"])
    };
    if versions.iter().enumerate().any(repeats) {
        errors.push(FieldError::invalid(
            "spec.versions",
            &shown(versions),
            "must contain unique version names",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        let name = text(version, &["name"]);
        if !is_dns_1035(name) {
            // The first one is also the version of old clients.
            let fields = [
                Some(format!("spec.versions[{index}].name")),
                (index == 0).then(|| "spec.version".to_owned()),
            ];
            for field in fields.into_iter().flatten() {
                errors.push(FieldError::invalid(field, &name.into(), DNS_1035));
            }
        }
        let at = |field: &str| format!("spec.versions[{index}].{field}");
        match version.get("schema").and_then(|schema| schema.get("openAPIV3Schema")) {
            None => errors.push(FieldError::required(at("schema.openAPIV3Schema"), "")),
            Some(schema) => {
                // The schema of all versions stands in one place once the real server has read it.
                let shared = versions.iter().all(|other| other["schema"] == version["schema"]);
                let at = if shared {
                    "spec.validation.openAPIV3Schema".to_owned()
                } else {
                    at("schema.openAPIV3Schema")
                };
                if !shared || index == 0 {
                    let before = errors.len();
                    structural::schema(schema, &at, errors);
                    if errors.len() == before {
                        expressions::check_definition(schema, &at, errors);
                    }
                }
            }
        }
    }
}
