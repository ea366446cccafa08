//! Rules for the workloads that make pods.

use serde_json::{Map, Value, json};

use super::{
    immutable,
    pod::{non_negative, pod_template},
    selector::label_selector,
};
use crate::{
    object::{as_map, at, integer, list, map_at, meta, text},
    status::FieldError,
};

/// Deployment, ReplicaSet, StatefulSet, DaemonSet.
pub(crate) fn workload(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let kind = text(new, &["kind"]);
    non_negative(&new["spec"], "replicas", "spec", errors);
    selector(new, kind, errors);
    // Claim templates are volumes of the pods, too.
    let mut template = new["spec"]["template"].clone();
    let claims = list(new, &["spec", "volumeClaimTemplates"]);
    if !claims.is_empty()
        && let Some(volumes) =
            map_at(as_map(&mut template), "spec").entry("volumes").or_insert_with(|| json!([])).as_array_mut()
    {
        let of_claim = |claim: &Value| json!({"name": meta(claim, "name"), "emptyDir": {}});
        volumes.retain(|volume| !claims.iter().any(|claim| meta(claim, "name") == text(volume, &["name"])));
        volumes.extend(claims.iter().map(of_claim));
    }
    pod_template(&template, "spec.template", errors);
    let restart = text(&template, &["spec", "restartPolicy"]);
    if ["OnFailure", "Never"].contains(&restart) {
        let field = "spec.template.spec.restartPolicy";
        errors.push(FieldError::not_supported(field, &restart.into(), &["Always"]));
    }
    if let Some(seconds) = at(&template, &["spec", "activeDeadlineSeconds"]) {
        let field = "spec.template.spec.activeDeadlineSeconds";
        errors.push(match kind {
            "StatefulSet" | "DaemonSet" => FieldError::invalid(field, seconds, "must not be specified"),
            _ => FieldError::forbidden(field, "activeDeadlineSeconds in ReplicaSet is not Supported"),
        });
    }
    let strategy = text(new, &["spec", "strategy", "type"]);
    if !matches!(strategy, "" | "Recreate" | "RollingUpdate") {
        let shown = json!({"Type": strategy, "RollingUpdate": new["spec"]["strategy"]["rollingUpdate"]});
        errors.push(FieldError::not_supported("spec.strategy", &shown, &["Recreate", "RollingUpdate"]));
    }
    if strategy == "Recreate" && at(new, &["spec", "strategy", "rollingUpdate"]).is_some() {
        errors.push(FieldError::forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        ));
    }
    if let Some(rolling) = at(new, &["spec", "strategy", "rollingUpdate"]) {
        for field in ["maxUnavailable", "maxSurge"] {
            if let Some(value) = rolling.get(field) {
                let at = format!("spec.strategy.rollingUpdate.{field}");
                count_or_percent(value, &at, field == "maxUnavailable", errors);
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
    for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        non_negative(&new["spec"], field, "spec", errors);
    }
    if let (Some(deadline), ready) =
        (integer(new, &["spec", "progressDeadlineSeconds"]), integer(new, &["spec", "minReadySeconds"]))
        && deadline <= ready.unwrap_or(0)
    {
        let why = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", &deadline.into(), why));
    }
    if kind == "StatefulSet" {
        stateful_set(new, old, errors);
    } else {
        immutable(&["spec", "selector"], new, old, errors);
    }
}

/// A selector, and that it selects the pods of the template.
fn selector(workload: &Value, kind: &str, errors: &mut Vec<FieldError>) {
    let field = "spec.selector";
    let labels = at(workload, &["spec", "template", "metadata", "labels"]);
    let selector = at(workload, &["spec", "selector"]).filter(|selector| selector.is_object());
    let is_selected = match selector {
        None => {
            errors.push(FieldError::required(field, ""));
            false
        }
        Some(selector) => {
            let is_valid = label_selector(selector, field, errors);
            if list(selector, &["matchExpressions"]).is_empty()
                && selector["matchLabels"].as_object().is_none_or(Map::is_empty)
            {
                let of = match kind {
                    "StatefulSet" => "statefulset",
                    "DaemonSet" => "daemonset",
                    _ => "deployment",
                };
                errors.push(FieldError::invalid(
                    field,
                    selector,
                    &format!("empty selector is invalid for {of}"),
                ));
            }
            match kind {
                _ if is_valid => selects(selector, labels),
                "DaemonSet" => true,
                _ => {
                    let why = if kind == "StatefulSet" { "" } else { "invalid label selector" };
                    errors.push(FieldError::invalid(field, selector, why));
                    true
                }
            }
        }
    };
    if !is_selected {
        let why = "`selector` does not match template `labels`";
        let labels = labels.unwrap_or(&Value::Null);
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, why));
    }
}

/// What a StatefulSet has beside the other workloads, and the little of it that may change.
fn stateful_set(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let changeable = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let spec = &new["spec"];
    let one_of = |known: [&str; 2]| format!("must be '{}' or '{}'", known[0], known[1]);
    let management = text(spec, &["podManagementPolicy"]);
    let managements = ["OrderedReady", "Parallel"];
    if !management.is_empty() && !managements.contains(&management) {
        let field = "spec.podManagementPolicy";
        errors.push(FieldError::invalid(field, &management.into(), &one_of(managements)));
    }
    update_strategy(&spec["updateStrategy"], errors);
    non_negative(&spec["ordinals"], "start", "spec.ordinals", errors);
    for field in ["whenDeleted", "whenScaled"] {
        let found = text(spec, &["persistentVolumeClaimRetentionPolicy", field]);
        let known = ["Retain", "Delete"];
        if !found.is_empty() && !known.contains(&found) {
            let field = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
            errors.push(FieldError::not_supported(field, &found.into(), &known));
        }
    }
    let rest = |object: &Value| {
        let mut spec = object["spec"].clone();
        as_map(&mut spec).retain(|field, _| !changeable.contains(&field.as_str()));
        spec
    };
    if old.is_some_and(|old| rest(old) != rest(new)) {
        let (last, others) = changeable.split_last().expect("fields are listed");
        let others = others.iter().map(|field| format!("'{field}'")).collect::<Vec<_>>().join(", ");
        let why =
            format!("updates to statefulset spec for fields other than {others} and '{last}' are forbidden");
        errors.push(FieldError::forbidden("spec", &why));
    }
}

fn update_strategy(strategy: &Value, errors: &mut Vec<FieldError>) {
    let field = "spec.updateStrategy";
    let rolling = strategy.get("rollingUpdate").filter(|rolling| rolling.is_object());
    let shown = |rolling: &Value| {
        json!({"Partition": integer(rolling, &["partition"]).unwrap_or_default(),
            "MaxUnavailable": rolling["maxUnavailable"]})
    };
    match (text(strategy, &["type"]), rolling) {
        ("OnDelete", Some(rolling)) => {
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(FieldError::invalid(format!("{field}.rollingUpdate"), &shown(rolling), why));
        }
        ("RollingUpdate", Some(rolling)) => {
            non_negative(rolling, "partition", &format!("{field}.rollingUpdate"), errors);
            if let Some(most) = rolling.get("maxUnavailable").filter(|most| !most.is_null()) {
                let field = format!("{field}.rollingUpdate.maxUnavailable");
                count_or_percent(most, &field, true, errors);
                if most.as_i64() == Some(0) || most.as_str() == Some("0%") {
                    errors.push(FieldError::invalid(field, most, "cannot be 0"));
                }
            }
        }
        ("OnDelete" | "RollingUpdate" | "", _) => {}
        (other, rolling) => {
            let value = json!({"Type": other, "RollingUpdate": rolling.map(shown)});
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid(field, &value, why));
        }
    }
}

/// A whole number of pods, or a share of them, which may be limited to all of them.
pub(super) fn count_or_percent(value: &Value, at: &str, at_most_all: bool, errors: &mut Vec<FieldError>) {
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
        Some(digits) if at_most_all && digits.parse::<u64>().map_or(true, |share| share > 100) => {
            errors.push(FieldError::invalid(at, value, "must not be greater than 100%"));
        }
        Some(_) => {}
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
