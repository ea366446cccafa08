//! Rules for the workloads that make pods.

use serde_json::{Value, json};

use super::{immutable, pod::pod_spec};
use crate::{
    object::{as_map, at, integer, list, meta, text},
    status::FieldError,
};

/// Deployment, ReplicaSet, StatefulSet, DaemonSet.
pub(crate) fn workload(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let selector = at(new, &["spec", "selector"]);
    if let Some(replicas) = integer(new, &["spec", "replicas"])
        && replicas < 0
    {
        errors.push(FieldError::invalid(
            "spec.replicas",
            &replicas.into(),
            "must be greater than or equal to 0",
        ));
    }
    match selector {
        None | Some(Value::Null) => {
            errors.push(FieldError::required("spec.selector", ""));
            if let Some(labels) = at(new, &["spec", "template", "metadata", "labels"]) {
                let why = "`selector` does not match template `labels`";
                errors.push(FieldError::invalid("spec.template.metadata.labels", labels, why));
            }
        }
        Some(selector) => {
            let empty = selector.as_object().is_some_and(serde_json::Map::is_empty);
            if empty {
                errors.push(FieldError::invalid(
                    "spec.selector",
                    selector,
                    "empty selector is invalid for deployment",
                ));
            }
            let labels = at(new, &["spec", "template", "metadata", "labels"]);
            if !selects(selector, labels) {
                let value = labels.cloned().unwrap_or(Value::Null);
                errors.push(FieldError::invalid(
                    "spec.template.metadata.labels",
                    &value,
                    "`selector` does not match template `labels`",
                ));
            }
        }
    }
    if let Some(spec) = at(new, &["spec", "template", "spec"]) {
        // Claim templates are volumes of the pods, too.
        let mut with_claims = spec.clone();
        let claims = list(new, &["spec", "volumeClaimTemplates"]);
        if !claims.is_empty()
            && let Some(volumes) =
                as_map(&mut with_claims).entry("volumes").or_insert_with(|| json!([])).as_array_mut()
        {
            let of_claim = |claim: &Value| json!({"name": meta(claim, "name"), "emptyDir": {}});
            volumes
                .retain(|volume| !claims.iter().any(|claim| meta(claim, "name") == text(volume, &["name"])));
            volumes.extend(claims.iter().map(of_claim));
        }
        pod_spec(&with_claims, "spec.template.spec", errors);
        let restart = text(spec, &["restartPolicy"]);
        if restart != "Always" && ["OnFailure", "Never"].contains(&restart) {
            errors.push(FieldError::not_supported(
                "spec.template.spec.restartPolicy",
                &restart.into(),
                &["Always"],
            ));
        }
    }
    if at(new, &["spec", "strategy", "type"]).and_then(Value::as_str) == Some("Recreate")
        && at(new, &["spec", "strategy", "rollingUpdate"]).is_some()
    {
        errors.push(FieldError::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        ));
    }
    if let Some(rolling) = at(new, &["spec", "strategy", "rollingUpdate"]) {
        for field in ["maxUnavailable", "maxSurge"] {
            if let Some(value) = rolling.get(field) {
                count_or_percent(value, field, errors);
            }
        }
        let is_zero = |field: &str| match rolling.get(field) {
            Some(Value::String(text)) => text.trim_end_matches('%') == "0",
            other => other.and_then(Value::as_i64) == Some(0),
        };
        if is_zero("maxUnavailable") && is_zero("maxSurge") {
            let value = rolling.get("maxUnavailable").cloned().unwrap_or_default();
            let at = "spec.strategy.rollingUpdate.maxUnavailable";
            errors.push(FieldError::invalid(at, &value, "may not be 0 when `maxSurge` is 0"));
        }
    }
    if let (Some(deadline), ready) =
        (integer(new, &["spec", "progressDeadlineSeconds"]), integer(new, &["spec", "minReadySeconds"]))
        && deadline <= ready.unwrap_or(0)
    {
        let why = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", &deadline.into(), why));
    }
    immutable(&["spec", "selector"], new, old, errors);
}

/// A whole number of pods, or a share of them.
fn count_or_percent(value: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let at = format!("spec.strategy.rollingUpdate.{field}");
    if value.as_i64().is_some_and(|count| count < 0) {
        errors.push(FieldError::invalid(at, value, "must be greater than or equal to 0"));
        return;
    }
    let Some(text) = value.as_str() else { return };
    let digits = text
        .strip_suffix('%')
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()));
    match digits {
        None => {
            let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex \
used for validation is '[0-9]+%')";
            errors.push(FieldError::invalid(at, value, why));
        }
        Some(digits)
            if field == "maxUnavailable" && digits.parse::<u64>().map_or(true, |share| share > 100) =>
        {
            errors.push(FieldError::invalid(at, value, "must not be greater than 100%"));
        }
        Some(_) => {}
    }
}

pub(crate) fn job(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if let Some(old) = old {
        let template =
            |object: &Value| at(object, &["spec", "template", "spec"]).cloned().unwrap_or_default();
        if template(old) != template(new) {
            errors.push(FieldError::invalid("spec.template.spec", &template(new), "field is immutable"));
        }
        immutable(&["spec", "selector"], new, Some(old), errors);
        immutable(&["spec", "completionMode"], new, Some(old), errors);
        return;
    }
    if let Some(spec) = at(new, &["spec", "template", "spec"]) {
        let restart = text(spec, &["restartPolicy"]);
        if !["OnFailure", "Never"].contains(&restart) {
            let why = "valid values: \"OnFailure\", \"Never\"";
            errors.push(FieldError::required("spec.template.spec.restartPolicy", why));
        }
        pod_spec(spec, "spec.template.spec", errors);
    }
    for field in ["parallelism", "completions", "backoffLimit"] {
        if let Some(count) = integer(new, &["spec", field]).filter(|count| *count < 0) {
            let why = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(format!("spec.{field}"), &count.into(), why));
        }
    }
}

pub(crate) fn horizontal_pod_autoscaler(new: &Value, _: Option<&Value>, errors: &mut Vec<FieldError>) {
    let (min, max) = (integer(new, &["spec", "minReplicas"]), integer(new, &["spec", "maxReplicas"]));
    let of_others = |metric: &Value| matches!(metric["type"].as_str(), Some("Object" | "External"));
    if min == Some(0) && !list(new, &["spec", "metrics"]).iter().any(of_others) {
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
    for field in ["kind", "name"] {
        if text(new, &["spec", "scaleTargetRef", field]).is_empty() {
            errors.push(FieldError::required(format!("spec.scaleTargetRef.{field}"), ""));
        }
    }
    let target = text(new, &["spec", "scaleTargetRef", "apiVersion"]);
    if target.is_empty() {
        let why = "apiVersion must specify API group";
        errors.push(FieldError::invalid("spec.scaleTargetRef.apiVersion", &target.into(), why));
    }
}

/// Whether a `LabelSelector` selects a set of labels.
pub(crate) fn selects(selector: &Value, labels: Option<&Value>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let equal = selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str());
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    equal
        && expressions.into_iter().flatten().all(|expression| {
            let found = label(text(expression, &["key"]));
            let listed = || {
                let values = expression.get("values").and_then(Value::as_array);
                values.into_iter().flatten().any(|value| value.as_str() == found)
            };
            match text(expression, &["operator"]) {
                "In" => found.is_some() && listed(),
                "NotIn" => found.is_none() || !listed(),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}
