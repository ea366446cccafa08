//! Rules for `metadata`, the same for every kind.

use serde_json::Value;

use crate::{
    kinds::names::{NameRule, check_annotations, check_labels, check_name, qualified_name_faults},
    object::{at, list, meta, text},
    status::FieldError,
};

/// Checks the metadata of a new or changed object.
pub(crate) fn check(object: &Value, old: Option<&Value>, rule: NameRule, errors: &mut Vec<FieldError>) {
    let name = meta(object, "name");
    let generate = meta(object, "generateName");
    if old.is_none() {
        if !generate.is_empty() {
            // A prefix may end in a dash, since letters follow.
            let sample = format!("{}x", generate);
            for fault in check_name(rule, &sample) {
                errors.push(FieldError::invalid("metadata.generateName", &generate.into(), fault));
            }
        }
        if name.is_empty() {
            errors.push(FieldError::required("metadata.name", "name or generateName is required"));
        } else {
            for fault in check_name(rule, name) {
                errors.push(FieldError::invalid("metadata.name", &name.into(), fault));
            }
        }
    }
    check_labels(at(object, &["metadata", "labels"]), "metadata.labels", errors);
    check_annotations(at(object, &["metadata", "annotations"]), "metadata.annotations", errors);
    for (index, finalizer) in list(object, &["metadata", "finalizers"]).iter().enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        let faults = qualified_name_faults(name);
        if !faults.is_empty() {
            errors.extend(
                faults.iter().map(|fault| FieldError::invalid("metadata.finalizers", finalizer, fault)),
            );
        } else if is_built_in(object) && !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            errors.push(FieldError::invalid(
                format!("metadata.finalizers[{index}]"),
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    owner_references(object, errors);
    if let Some(old) = old {
        update(object, old, errors);
    }
}

/// Finalizers without a domain that Kubernetes' own kinds may have; custom resources may have any.
const STANDARD_FINALIZERS: [&str; 3] = ["foregroundDeletion", "orphan", "kubernetes"];

/// Kubernetes' own groups have no dot, or end in `.k8s.io`.
fn is_built_in(object: &Value) -> bool {
    let group = object["apiVersion"]
        .as_str()
        .and_then(|version| version.split_once('/'))
        .map_or("", |(group, _)| group);
    !group.contains('.') || group.ends_with(".k8s.io")
}

fn owner_references(object: &Value, errors: &mut Vec<FieldError>) {
    let mut controllers: Vec<String> = Vec::new();
    for owner in list(object, &["metadata", "ownerReferences"]) {
        let at = |field: &str| format!("metadata.ownerReferences.{field}");
        for (field, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(owner, &[field]).is_empty() {
                let value = if field == "apiVersion" {
                    owner.get(field).cloned().unwrap_or_default()
                } else {
                    "".into()
                };
                errors.push(FieldError::invalid(at(field), &value, detail));
            }
        }
        let version = text(owner, &["apiVersion"]);
        if matches!((version, text(owner, &["kind"])), ("v1" | "events.k8s.io/v1", "Event")) {
            let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
            let why = format!("{group}/{version}, Kind=Event is disallowed from being an owner");
            errors.push(FieldError::invalid("metadata.ownerReferences", owner, &why));
        }
        if owner.get("controller").and_then(Value::as_bool).unwrap_or(false) {
            controllers.push(format!("{}/{}", text(owner, &["kind"]), text(owner, &["name"])));
        }
    }
    if let [first, second, ..] = &controllers[..] {
        let owners = at(object, &["metadata", "ownerReferences"]).cloned().unwrap_or_default();
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            &owners,
            &format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"),
        ));
    }
}

fn update(object: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for field in ["name", "namespace", "uid"] {
        if meta(object, field) != meta(old, field) {
            let value = Value::from(meta(object, field));
            errors.push(FieldError::invalid(format!("metadata.{field}"), &value, "field is immutable"));
            if field == "uid" {
                // The real server checks this in two places and reports both.
                errors.push(FieldError::invalid("metadata.uid", &value, "field is immutable"));
            }
        }
    }
    if !meta(old, "deletionTimestamp").is_empty() {
        let known = list(old, &["metadata", "finalizers"]);
        let added: Vec<&str> = list(object, &["metadata", "finalizers"])
            .iter()
            .filter(|finalizer| !known.contains(finalizer))
            .filter_map(Value::as_str)
            .collect();
        if !added.is_empty() {
            let list = added.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            // Checked in two places by the real server, and reported by both.
            for _ in 0..2 {
                errors.push(FieldError::forbidden(
                    "metadata.finalizers",
                    &format!("no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"),
                ));
            }
        }
    }
}
