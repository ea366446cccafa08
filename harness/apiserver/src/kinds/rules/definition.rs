//! Rules for CustomResourceDefinitions.

use serde_json::Value;

use super::immutable;
use crate::{
    kinds::names::{check_label, check_subdomain},
    object::{list, meta, text},
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
    for name in ["plural", "singular", "kind", "listKind"] {
        let value = text(new, &["spec", "names", name]);
        let at = format!("spec.names.{name}");
        if value.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if let Some(fault) = check_label(&value.to_lowercase()).first() {
            errors.push(FieldError::invalid(at, &value.into(), fault));
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
    for path in [
        ["spec", "group"].as_slice(),
        &["spec", "scope"],
        &["spec", "names", "plural"],
        &["spec", "names", "kind"],
    ] {
        immutable(path, new, old, errors);
    }
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
        let value = Value::Array(versions.to_vec());
        let why = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &value, why));
    }
    let mut names: Vec<&str> = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let name = text(version, &["name"]);
        let at = |field: &str| format!("spec.versions[{index}].{field}");
        if names.contains(&name) {
            errors.push(FieldError::duplicate(at("name"), &name.into()));
        }
        names.push(name);
        match version.get("schema").and_then(|schema| schema.get("openAPIV3Schema")) {
            None => errors.push(FieldError::required(at("schema.openAPIV3Schema"), "schemas are required")),
            Some(schema) => {
                let at = at("schema.openAPIV3Schema");
                structural(schema, &at, true, errors);
            }
        }
    }
}

/// A schema must tell the type of every value.
fn structural(schema: &Value, field: &str, is_root: bool, errors: &mut Vec<FieldError>) {
    let flag = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    let kind = text(schema, &["type"]);
    if is_root && kind != "object" {
        if kind.is_empty() {
            errors.push(FieldError::required(format!("{field}.type"), "must not be empty at the root"));
        } else {
            errors.push(FieldError::invalid(
                format!("{field}.type"),
                &kind.into(),
                "must be object at the root",
            ));
        }
        return;
    }
    if kind.is_empty() && !flag("x-kubernetes-int-or-string") && !flag("x-kubernetes-preserve-unknown-fields")
    {
        errors.push(FieldError::required(
            format!("{field}.type"),
            "must not be empty for specified object fields",
        ));
    }
    if kind == "array" && schema.get("items").is_none() {
        errors.push(FieldError::required(format!("{field}.items"), "must be specified"));
    }
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        structural(property, &format!("{field}.properties[{key}]"), false, errors);
    }
    if let Some(items) = schema.get("items") {
        structural(items, &format!("{field}.items"), false, errors);
    }
    if let Some(values @ Value::Object(_)) = schema.get("additionalProperties") {
        structural(values, &format!("{field}.additionalProperties"), false, errors);
    }
}
