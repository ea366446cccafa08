//! Rules for where a pod may run: node selectors, affinity, tolerations, topology spread.

use serde_json::{Value, json};

use crate::{
    kinds::{
        names::{check_label, check_label_value, check_labels},
        rules::selector::{NODE_OPERATORS, label_name, label_selector, requirement},
    },
    object::{integer, list, text},
    status::FieldError,
};

pub(super) fn placement(spec: &Value, field: &str, errors: &mut Vec<FieldError>) {
    check_labels(spec.get("nodeSelector"), &format!("{field}.nodeSelector"), errors);
    if let Some(found) = spec.get("affinity").and_then(|affinity| affinity.get("nodeAffinity")) {
        node_affinity(found, &format!("{field}.affinity.nodeAffinity"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        if let Some(found) = spec.get("affinity").and_then(|affinity| affinity.get(kind)) {
            pod_affinity(found, &format!("{field}.affinity.{kind}"), errors);
        }
    }
    for (index, toleration) in list(spec, &["tolerations"]).iter().enumerate() {
        tolerate(toleration, &format!("{field}.tolerations[{index}]"), errors);
    }
    spread(list(spec, &["topologySpreadConstraints"]), field, errors);
}

fn node_affinity(affinity: &Value, field: &str, errors: &mut Vec<FieldError>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(required) = affinity.get(REQUIRED).filter(|required| required.is_object()) {
        let field = format!("{field}.{REQUIRED}.nodeSelectorTerms");
        let terms = list(required, &["nodeSelectorTerms"]);
        if terms.is_empty() {
            errors.push(FieldError::required(field.as_str(), "must have at least one node selector term"));
        }
        for (index, term) in terms.iter().enumerate() {
            node_term(term, true, &format!("{field}[{index}]"), errors);
        }
    }
    for (index, term) in list(affinity, &[PREFERRED]).iter().enumerate() {
        let field = format!("{field}.{PREFERRED}[{index}]");
        weight(term, &field, errors);
        node_term(&term["preference"], false, &format!("{field}.preference"), errors);
    }
}

fn weight(term: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let weight = integer(term, &["weight"]).unwrap_or_default();
    if !(1..=100).contains(&weight) {
        let why = "must be in the range 1-100";
        errors.push(FieldError::invalid(format!("{field}.weight"), &weight.into(), why));
    }
}

fn node_term(term: &Value, checks_values: bool, field: &str, errors: &mut Vec<FieldError>) {
    for (index, expression) in list(term, &["matchExpressions"]).iter().enumerate() {
        let field = format!("{field}.matchExpressions[{index}]");
        requirement(expression, &NODE_OPERATORS, checks_values, &field, errors);
    }
    for (index, requirement) in list(term, &["matchFields"]).iter().enumerate() {
        let field = format!("{field}.matchFields[{index}]");
        if !matches!(text(requirement, &["operator"]), "In" | "NotIn") {
            let operator = text(requirement, &["operator"]);
            let why = "not a valid selector operator";
            errors.push(FieldError::invalid(format!("{field}.operator"), &operator.into(), why));
        } else if list(requirement, &["values"]).len() != 1 {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.push(FieldError::required(format!("{field}.values"), why));
        }
        let key = text(requirement, &["key"]);
        if key != "metadata.name" {
            let why = "not a valid field selector key";
            errors.push(FieldError::invalid(format!("{field}.key"), &key.into(), why));
        }
    }
}

fn pod_affinity(affinity: &Value, field: &str, errors: &mut Vec<FieldError>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in list(affinity, &[REQUIRED]).iter().enumerate() {
        pod_term(term, &format!("{field}.{REQUIRED}[{index}]"), errors);
    }
    for (index, term) in list(affinity, &[PREFERRED]).iter().enumerate() {
        let field = format!("{field}.{PREFERRED}[{index}]");
        weight(term, &field, errors);
        pod_term(&term["podAffinityTerm"], &format!("{field}.podAffinityTerm"), errors);
    }
}

fn pod_term(term: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for selector in ["labelSelector", "namespaceSelector"] {
        if let Some(found) = term.get(selector).filter(|found| found.is_object()) {
            label_selector(found, &format!("{field}.{selector}"), errors);
        }
    }
    for namespace in list(term, &["namespaces"]) {
        for why in namespace.as_str().map(check_label).unwrap_or_default() {
            errors.push(FieldError::invalid(format!("{field}.namespace"), namespace, why));
        }
    }
    let key = text(term, &["topologyKey"]);
    if key.is_empty() {
        errors.push(FieldError::required(format!("{field}.topologyKey"), "can not be empty"));
    }
    label_name(key, &format!("{field}.topologyKey"), errors);
}

fn tolerate(toleration: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let [key, operator, value, effect] =
        ["key", "operator", "value", "effect"].map(|name| text(toleration, &[name]));
    let seconds = toleration.get("tolerationSeconds").filter(|seconds| !seconds.is_null());
    if !key.is_empty() {
        label_name(key, &format!("{field}.key"), errors);
    } else if operator != "Exists" {
        let why =
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(format!("{field}.operator"), &operator.into(), why));
    }
    if seconds.is_some() && effect != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(format!("{field}.effect"), &effect.into(), why));
    }
    match operator {
        "" | "Equal" => {
            if let Err(why) = check_label_value(value) {
                errors.push(FieldError::invalid(format!("{field}.operator"), &value.into(), why));
            }
        }
        "Exists" => {
            if !value.is_empty() {
                let shown = json!({"Key": key, "Operator": operator, "Value": value, "Effect": effect,
                    "TolerationSeconds": seconds});
                let why = "value must be empty when `operator` is 'Exists'";
                errors.push(FieldError::invalid(format!("{field}.operator"), &shown, why));
            }
        }
        other => {
            let known = ["Equal", "Exists"];
            errors.push(FieldError::not_supported(format!("{field}.operator"), &other.into(), &known));
        }
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !effect.is_empty() && !effects.contains(&effect) {
        errors.push(FieldError::not_supported(format!("{field}.effect"), &effect.into(), &effects));
    }
}

fn spread(constraints: &[Value], field: &str, errors: &mut Vec<FieldError>) {
    for (index, constraint) in constraints.iter().enumerate() {
        let field = format!("{field}.topologySpreadConstraints[{index}]");
        let skew = integer(constraint, &["maxSkew"]).unwrap_or_default();
        if skew <= 0 {
            let why = "must be greater than zero";
            errors.push(FieldError::invalid(format!("{field}.maxSkew"), &skew.into(), why));
        }
        let key = text(constraint, &["topologyKey"]);
        if key.is_empty() {
            errors.push(FieldError::required(format!("{field}.topologyKey"), "can not be empty"));
        } else {
            label_name(key, &format!("{field}.topologyKey"), errors);
        }
        let action = text(constraint, &["whenUnsatisfiable"]);
        let known = ["DoNotSchedule", "ScheduleAnyway"];
        if !known.contains(&action) {
            errors.push(FieldError::not_supported(
                format!("{field}.whenUnsatisfiable"),
                &action.into(),
                &known,
            ));
        }
        let is_same = |other: &Value| {
            text(other, &["topologyKey"]) == key && text(other, &["whenUnsatisfiable"]) == action
        };
        if constraints[..index].iter().any(is_same) {
            let at = format!("{field}.{{topologyKey, whenUnsatisfiable}}");
            errors.push(FieldError::duplicate(at, &format!("{{{key}, {action}}}").into()));
        }
        if let Some(selector) = constraint.get("labelSelector").filter(|found| found.is_object()) {
            label_selector(selector, &format!("{field}.labelSelector"), errors);
        }
    }
}
