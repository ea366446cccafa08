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
                let word = match text(new, &["kind"]) {
                    "StatefulSet" => "statefulset",
                    "DaemonSet" => "daemonset",
                    _ => "deployment",
                };
                let why = format!("empty selector is invalid for {word}");
                errors.push(FieldError::invalid("spec.selector", selector, &why));
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
        if let Some(number) = integer(new, &["spec", field]).filter(|number| *number < 0) {
            let why = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(format!("spec.{field}"), &number.into(), why));
        }
    }
    if let (Some(deadline), ready) =
        (integer(new, &["spec", "progressDeadlineSeconds"]), integer(new, &["spec", "minReadySeconds"]))
        && deadline <= ready.unwrap_or(0)
    {
        let why = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", &deadline.into(), why));
    }
    if text(new, &["kind"]) == "StatefulSet" {
        stateful_set(new, old, errors);
    } else {
        immutable(&["spec", "selector"], new, old, errors);
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
    for (path, known) in [
        (["spec", "podManagementPolicy"].as_slice(), ["OrderedReady", "Parallel"]),
        (&["spec", "updateStrategy", "type"], ["RollingUpdate", "OnDelete"]),
    ] {
        let found = text(new, path);
        if !found.is_empty() && !known.contains(&found) {
            let why = format!("must be '{}' or '{}'", known[0], known[1]);
            let field = path.strip_suffix(&["type"]).unwrap_or(path).join(".");
            errors.push(FieldError::invalid(field, &found.into(), &why));
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

pub(crate) fn job(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    job_spec(new, errors);
    generated_selector(new, errors);
    let Some(old) = old else { return };
    // An update is checked as a whole once more, and what is wrong with it is told twice.
    job_spec(new, errors);
    immutable(&["spec", "selector"], new, Some(old), errors);
    immutable(&["spec", "completionMode"], new, Some(old), errors);
    immutable(&["spec", "podFailurePolicy"], new, Some(old), errors);
    immutable(&["spec", "backoffLimitPerIndex"], new, Some(old), errors);
    let count = |object: &Value, field: &str| integer(object, &["spec", field]);
    if text(new, &["spec", "completionMode"]) != "Indexed" {
        immutable(&["spec", "completions"], new, Some(old), errors);
    } else if count(new, "completions") != count(old, "completions")
        && count(new, "completions") != count(new, "parallelism")
    {
        let value = at(new, &["spec", "completions"]).cloned().unwrap_or_default();
        let why = "can only be modified in tandem with spec.parallelism";
        errors.push(FieldError::invalid("spec.completions", &value, why));
    }
    let template = |object: &Value| at(object, &["spec", "template", "spec"]).cloned().unwrap_or_default();
    let (mut before, after) = (template(old), template(new));
    if may_move(old) {
        // Where a suspended Job's pods may go is decided by who resumes it.
        for field in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
            let map = as_map(&mut before);
            match after.get(field) {
                Some(value) => map.insert(field.to_owned(), value.clone()),
                None => map.shift_remove(field),
            };
        }
    }
    if before != after {
        errors.push(FieldError::invalid("spec.template.spec", &after, "field is immutable"));
    }
}

/// A Job that is suspended and has not begun.
fn may_move(job: &Value) -> bool {
    at(job, &["spec", "suspend"]) == Some(&Value::Bool(true)) && at(job, &["status", "startTime"]).is_none()
}

pub(super) fn job_spec(job: &Value, errors: &mut Vec<FieldError>) {
    if let Some(spec) = at(job, &["spec", "template", "spec"]) {
        let restart = text(spec, &["restartPolicy"]);
        if !["OnFailure", "Never"].contains(&restart) {
            let why = "valid values: \"OnFailure\", \"Never\"";
            errors.push(FieldError::required("spec.template.spec.restartPolicy", why));
        }
        pod_spec(spec, "spec.template.spec", errors);
    }
    for field in
        ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"]
    {
        if let Some(count) = integer(job, &["spec", field]).filter(|count| *count < 0) {
            let why = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(format!("spec.{field}"), &count.into(), why));
        }
    }
    let labels = at(job, &["spec", "template", "metadata", "labels"]);
    if at(job, &["spec", "selector"]).is_some_and(|selector| !selects(selector, labels)) {
        let why = "`selector` does not match template `labels`";
        let value = labels.cloned().unwrap_or_default();
        errors.push(FieldError::invalid("spec.template.metadata.labels", &value, why));
    }
}

/// A selector that the server makes selects by the Job's own uid and name.
fn generated_selector(job: &Value, errors: &mut Vec<FieldError>) {
    let Some(selector) = at(job, &["spec", "selector"]) else { return };
    if at(job, &["spec", "manualSelector"]) == Some(&Value::Bool(true)) {
        return;
    }
    let (uid, name) = (meta(job, "uid"), meta(job, "name"));
    let own = json!({"batch.kubernetes.io/controller-uid": uid, "controller-uid": uid,
        "batch.kubernetes.io/job-name": name, "job-name": name});
    if !selects(selector, Some(&own)) {
        errors.push(FieldError::invalid("spec.selector", selector, "`selector` not auto-generated"));
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
