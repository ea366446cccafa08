//! Rules for the HorizontalPodAutoscaler.

use serde_json::Value;

use crate::{
    kinds::{defaults::autoscaling_v1, quantity},
    object::{integer, list, text},
    status::FieldError,
};

/// Metric sources: the type, and the field that holds it.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
    ("External", "external"),
];
const LONGEST_WINDOW_S: i64 = 3_600;
const LONGEST_PERIOD_S: i64 = 1_800;

pub(crate) fn horizontal_pod_autoscaler(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    let (min, max) = (integer(new, &["spec", "minReplicas"]), integer(new, &["spec", "maxReplicas"]));
    let metrics = list(new, &["spec", "metrics"]);
    let of_others = |metric: &Value| matches!(metric["type"].as_str(), Some("Object" | "External"));
    if min == Some(0) && !metrics.iter().any(of_others) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden("spec.metrics", why));
    }
    if min.is_some_and(|min| min < 1) {
        errors.push(FieldError::invalid(
            "spec.minReplicas",
            &min.into(),
            "must be greater than or equal to 1",
        ));
    }
    let most = max.unwrap_or_default();
    if most < 1 {
        errors.push(FieldError::required("spec.maxReplicas", "must be set and greater than 0"));
    }
    if min.is_some_and(|min| most < min) {
        let why = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid("spec.maxReplicas", &most.into(), why));
    }
    reference(&new["spec"]["scaleTargetRef"], "spec.scaleTargetRef", errors);
    let target = text(new, &["spec", "scaleTargetRef", "apiVersion"]);
    if target.is_empty() {
        let why = "apiVersion must specify API group";
        errors.push(FieldError::invalid("spec.scaleTargetRef.apiVersion", &target.into(), why));
    }
    for (index, found) in metrics.iter().enumerate() {
        metric(found, &format!("spec.metrics[{index}]"), errors);
    }
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = new["spec"]["behavior"].get(direction).filter(|rules| rules.is_object()) {
            scaling_rules(rules, &format!("spec.behavior.{direction}"), errors);
        }
    }
}

/// The older version: what it says must hold in the newer one.
pub(crate) fn horizontal_pod_autoscaler_v1(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut newer = new.clone();
    autoscaling_v1::to_v2(&mut newer);
    horizontal_pod_autoscaler(&newer, old, errors);
}

fn reference(object: &Value, at: &str, errors: &mut Vec<FieldError>) {
    for field in ["kind", "name"] {
        if text(object, &[field]).is_empty() {
            errors.push(FieldError::required(format!("{at}.{field}"), ""));
        }
    }
}

fn metric(metric: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let kind = text(metric, &["type"]);
    let expected = SOURCES.iter().find(|(known, _)| *known == kind).map(|(_, field)| *field);
    if kind.is_empty() {
        errors.push(FieldError::required(format!("{at}.type"), "must specify a metric source type"));
    } else if expected.is_none() {
        let mut known = SOURCES.map(|(kind, _)| kind);
        known.sort_unstable();
        errors.push(FieldError::not_supported(format!("{at}.type"), &kind.into(), &known));
    }
    if let Some(field) = expected
        && !metric[field].is_object()
    {
        let why = "must populate information for the given metric source";
        errors.push(FieldError::required(format!("{at}.{field}"), why));
    }
    for (_, field) in SOURCES {
        let Some(source) = metric.get(field).filter(|source| source.is_object()) else { continue };
        let at = format!("{at}.{field}");
        if expected.is_some_and(|expected| expected != field) {
            errors.push(FieldError::forbidden(at.as_str(), "must populate the given metric source only"));
        }
        source_of(field, source, &at, errors);
    }
}

fn source_of(field: &str, source: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let target = &source["target"];
    match field {
        "resource" | "containerResource" => {
            if text(source, &["name"]).is_empty() {
                errors.push(FieldError::required(format!("{at}.name"), "must specify a resource name"));
            }
            if field == "containerResource" && text(source, &["container"]).is_empty() {
                errors.push(FieldError::required(format!("{at}.container"), "must specify a container"));
            }
        }
        _ => {
            if text(source, &["metric", "name"]).is_empty() {
                errors.push(FieldError::required(format!("{at}.metric.name"), "must specify a metric name"));
            }
            if field == "object" {
                reference(&source["describedObject"], &format!("{at}.describedObject"), errors);
            }
        }
    }
    let at = format!("{at}.target");
    target_of(target, &at, errors);
    let has = |name: &str| target.get(name).is_some_and(|value| !value.is_null());
    match field {
        "resource" | "containerResource" => {
            if !has("averageUtilization") && !has("averageValue") {
                let why = "must set either a target raw value or a target utilization";
                errors.push(FieldError::required(format!("{at}.averageUtilization"), why));
            }
            if has("averageUtilization") && has("averageValue") {
                let why = "may not set both a target raw value and a target utilization";
                errors.push(FieldError::forbidden(format!("{at}.averageValue"), why));
            }
        }
        "pods" => {
            if !has("averageValue") {
                let why = "must specify a positive target averageValue";
                errors.push(FieldError::required(format!("{at}.averageValue"), why));
            }
        }
        _ => {
            if !has("value") && !has("averageValue") {
                let why = "must set either a target value for metric or a per-pod target";
                errors.push(FieldError::required(format!("{at}.averageValue"), why));
            }
            if field == "external" && has("value") && has("averageValue") {
                let why = "may not set both a target value for metric and a per-pod target";
                errors.push(FieldError::forbidden(format!("{at}.value"), why));
            }
        }
    }
}

fn target_of(target: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let kind = text(target, &["type"]);
    if kind.is_empty() {
        errors.push(FieldError::required(format!("{at}.type"), "must specify a metric target type"));
    } else if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let why = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(format!("{at}.type"), &kind.into(), why));
    }
    for field in ["value", "averageValue"] {
        let Some(amount) = target.get(field).and_then(Value::as_str) else { continue };
        if quantity::nanos(amount).is_some_and(|amount| amount <= 0) {
            errors.push(FieldError::invalid(format!("{at}.{field}"), &amount.into(), "must be positive"));
        }
    }
    if let Some(share) = integer(target, &["averageUtilization"]).filter(|share| *share < 1) {
        let why = "must be greater than 0";
        errors.push(FieldError::invalid(format!("{at}.averageUtilization"), &share.into(), why));
    }
}

fn scaling_rules(rules: &Value, at: &str, errors: &mut Vec<FieldError>) {
    if let Some(window) = integer(rules, &["stabilizationWindowSeconds"]) {
        let at = format!("{at}.stabilizationWindowSeconds");
        if window < 0 {
            errors.push(FieldError::invalid(at, &window.into(), "must be greater than or equal to zero"));
        } else if window > LONGEST_WINDOW_S {
            let why = format!("must be less than or equal to {LONGEST_WINDOW_S}");
            errors.push(FieldError::invalid(at, &window.into(), &why));
        }
    }
    let select = text(rules, &["selectPolicy"]);
    if !select.is_empty() && !["Disabled", "Max", "Min"].contains(&select) {
        let at = format!("{at}.selectPolicy");
        errors.push(FieldError::not_supported(at, &select.into(), &["Disabled", "Max", "Min"]));
    }
    let policies = list(rules, &["policies"]);
    if policies.is_empty() {
        errors.push(FieldError::required(format!("{at}.policies"), "must specify at least one Policy"));
    }
    for (index, policy) in policies.iter().enumerate() {
        let at = |field: &str| format!("{at}.policies[{index}].{field}");
        let kind = text(policy, &["type"]);
        if !["Percent", "Pods"].contains(&kind) {
            errors.push(FieldError::not_supported(at("type"), &kind.into(), &["Percent", "Pods"]));
        }
        for field in ["value", "periodSeconds"] {
            let amount = integer(policy, &[field]).unwrap_or_default();
            if amount <= 0 {
                errors.push(FieldError::invalid(at(field), &amount.into(), "must be greater than zero"));
            } else if field == "periodSeconds" && amount > LONGEST_PERIOD_S {
                let why = format!("must be less than or equal to {LONGEST_PERIOD_S}");
                errors.push(FieldError::invalid(at(field), &amount.into(), &why));
            }
        }
    }
}
