//! Rules for roles and their bindings.

use serde_json::Value;

use crate::{
    object::{list, text},
    status::FieldError,
};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) fn role(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    policy_rules(new, true, errors);
}

pub(crate) fn cluster_role(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    policy_rules(new, false, errors);
    if new.get("aggregationRule").is_some_and(|rule| !rule.is_null())
        && list(new, &["aggregationRule", "clusterRoleSelectors"]).is_empty()
    {
        let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required("aggregationRule.clusterRoleSelectors", why));
    }
}

fn policy_rules(role: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    for (index, rule) in list(role, &["rules"]).iter().enumerate() {
        let at = |field: &str| format!("rules[{index}].{field}");
        let empty = |field: &str| list(rule, &[field]).is_empty();
        if empty("verbs") {
            errors.push(FieldError::required(at("verbs"), "verbs must contain at least one value"));
        }
        if !empty("nonResourceURLs") {
            if namespaced {
                let why = "namespaced rules cannot apply to non-resource URLs";
                errors.push(FieldError::invalid(at("nonResourceURLs"), &rule["nonResourceURLs"], why));
            }
            if !empty("apiGroups") || !empty("resources") || !empty("resourceNames") {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                errors.push(FieldError::invalid(at("nonResourceURLs"), &rule["nonResourceURLs"], why));
            }
            continue;
        }
        if empty("apiGroups") {
            errors.push(FieldError::required(
                at("apiGroups"),
                "resource rules must supply at least one api group",
            ));
        }
        if empty("resources") {
            errors.push(FieldError::required(
                at("resources"),
                "resource rules must supply at least one resource",
            ));
        }
    }
}

pub(crate) fn role_binding(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    binding(new, old, &["Role", "ClusterRole"], errors);
}

pub(crate) fn cluster_role_binding(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    binding(new, old, &["ClusterRole"], errors);
}

fn binding(new: &Value, old: Option<&Value>, kinds: &[&str], errors: &mut Vec<FieldError>) {
    let namespaced = kinds.len() > 1;
    let reference = &new["roleRef"];
    let group = text(reference, &["apiGroup"]);
    if group != GROUP {
        errors.push(FieldError::not_supported("roleRef.apiGroup", &group.into(), &[GROUP]));
    }
    let kind = text(reference, &["kind"]);
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported("roleRef.kind", &kind.into(), kinds));
    }
    let name = text(reference, &["name"]);
    if name.is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    } else {
        path_segment("roleRef.name", name, errors);
    }
    if old.is_some_and(|old| old["roleRef"] != *reference) {
        errors.push(FieldError::invalid("roleRef", reference, "cannot change roleRef"));
    }
    for (index, subject) in list(new, &["subjects"]).iter().enumerate() {
        let at = |field: &str| format!("subjects[{index}].{field}");
        let name = text(subject, &["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(at("name"), ""));
        }
        let group = text(subject, &["apiGroup"]);
        match text(subject, &["kind"]) {
            "ServiceAccount" => {
                if !group.is_empty() {
                    errors.push(FieldError::not_supported(at("apiGroup"), &group.into(), &[""]));
                }
                if !namespaced && text(subject, &["namespace"]).is_empty() {
                    errors.push(FieldError::required(at("namespace"), ""));
                }
            }
            "User" | "Group" => {
                if group != GROUP {
                    errors.push(FieldError::not_supported(at("apiGroup"), &group.into(), &[GROUP]));
                }
            }
            kind => {
                let kinds = ["ServiceAccount", "User", "Group"];
                errors.push(FieldError::not_supported(at("kind"), &kind.into(), &kinds));
            }
        }
    }
}

fn path_segment(field: &str, name: &str, errors: &mut Vec<FieldError>) {
    let value = Value::from(name);
    if name == "." || name == ".." {
        errors.push(FieldError::invalid(field, &value, &format!("may not be '{name}'")));
    }
    for character in ['/', '%'] {
        if name.contains(character) {
            errors.push(FieldError::invalid(field, &value, &format!("may not contain '{character}'")));
        }
    }
}
