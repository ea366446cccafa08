//! Rules for the Job (`ValidateJob` of the real server).

use serde_json::{Value, json};

use super::{
    immutable,
    pod::{non_negative, pod_template},
    selector::label_selector,
    workload::selects,
};
use crate::{
    kinds::names::{check_label, domain_prefixed_path, qualified_name_faults},
    object::{as_map, at, integer, list, meta, text},
    status::FieldError,
};

/// Most indexes that a Job may work at, fail, or have without bounds for the failed ones.
const MOST_INDEXES: i64 = 100_000;
/// Most indexes of a Job with more completions than that which it may work at or fail.
const MOST_OF_HUGE: i64 = 10_000;
/// Most rules of a policy, and most conditions of a rule.
const MOST_RULES: usize = 20;
const MOST_EXIT_CODES: usize = 255;
const LONGEST_MANAGER: usize = 63;
const LONGEST_INDEXES: usize = 65_536;

pub(crate) fn job(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    generated_selector(new, errors);
    job_spec(new, errors);
    pod_names(new, errors);
    let Some(old) = old else { return };
    // An update is checked as a whole once more, and what is wrong with it is told twice.
    job_spec(new, errors);
    immutable(&["spec", "selector"], new, Some(old), errors);
    immutable(&["spec", "completionMode"], new, Some(old), errors);
    immutable(&["spec", "podFailurePolicy"], new, Some(old), errors);
    immutable(&["spec", "backoffLimitPerIndex"], new, Some(old), errors);
    immutable(&["spec", "managedBy"], new, Some(old), errors);
    immutable(&["spec", "successPolicy"], new, Some(old), errors);
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
    let spec = &job["spec"];
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        non_negative(spec, field, "spec", errors);
    }
    if let Some(manager) = spec["managedBy"].as_str() {
        domain_prefixed_path(manager, "spec.managedBy", errors);
        if manager.len() > LONGEST_MANAGER {
            errors.push(FieldError::too_long("spec.managedBy", LONGEST_MANAGER));
        }
    }
    indexes(spec, errors);
    if spec["podFailurePolicy"].is_object() {
        failure_policy(spec, errors);
    }
    if spec["successPolicy"].is_object() {
        success_policy(spec, errors);
    }
    let replacement = text(spec, &["podReplacementPolicy"]);
    let replacements: &[&str] =
        if spec["podFailurePolicy"].is_object() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if !replacement.is_empty() && !replacements.contains(&replacement) {
        errors.push(FieldError::not_supported(
            "spec.podReplacementPolicy",
            &replacement.into(),
            replacements,
        ));
    }
    let template = &spec["template"];
    pod_template(template, "spec.template", errors);
    let field = "spec.template.spec.restartPolicy";
    match text(template, &["spec", "restartPolicy"]) {
        "Always" | "" => {
            errors.push(FieldError::required(field, "valid values: \"OnFailure\", \"Never\""));
        }
        "OnFailure" if spec["podFailurePolicy"].is_object() => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(FieldError::invalid(field, &"OnFailure".into(), why));
        }
        "OnFailure" | "Never" => {}
        other => errors.push(FieldError::not_supported(field, &other.into(), &["OnFailure", "Never"])),
    }
    let Some(selector) = spec.get("selector").filter(|selector| selector.is_object()) else { return };
    let labels = at(template, &["metadata", "labels"]);
    if label_selector(selector, "spec.selector", errors) && !selects(selector, labels) {
        let why = "`selector` does not match template `labels`";
        let value = labels.cloned().unwrap_or_default();
        errors.push(FieldError::invalid("spec.template.metadata.labels", &value, why));
    }
}

/// What only Jobs with an index for each pod may ask for, and how many indexes they may have.
fn indexes(spec: &Value, errors: &mut Vec<FieldError>) {
    let count = |field: &str| integer(spec, &[field]);
    let (completions, parallelism) = (count("completions"), count("parallelism"));
    let (per_index, most_failed) = (count("backoffLimitPerIndex"), count("maxFailedIndexes"));
    if most_failed.is_some() && per_index.is_none() {
        errors.push(FieldError::required("spec.backoffLimitPerIndex", "when maxFailedIndexes is specified"));
    }
    let mode = text(spec, &["completionMode"]);
    if !["", "NonIndexed", "Indexed"].contains(&mode) {
        let modes = ["NonIndexed", "Indexed"];
        errors.push(FieldError::not_supported("spec.completionMode", &mode.into(), &modes));
    }
    let mut refuse = |field: &str, value: Option<i64>, why: &str| {
        let value = value.map_or(Value::Null, Value::from);
        errors.push(FieldError::invalid(format!("spec.{field}"), &value, why));
    };
    if matches!(mode, "" | "NonIndexed") {
        for (field, value) in [("backoffLimitPerIndex", per_index), ("maxFailedIndexes", most_failed)] {
            if value.is_some() {
                refuse(field, value, "requires indexed completion mode");
            }
        }
    }
    if mode != "Indexed" {
        return;
    }
    if parallelism > Some(MOST_INDEXES) {
        let why = format!("must be less than or equal to {MOST_INDEXES} when completion mode is Indexed");
        refuse("parallelism", parallelism, &why);
    }
    if completions.is_some() && most_failed > completions {
        refuse("maxFailedIndexes", most_failed, "must be less than or equal to completions");
    }
    if most_failed > Some(MOST_INDEXES) {
        refuse("maxFailedIndexes", most_failed, &format!("must be less than or equal to {MOST_INDEXES}"));
    }
    let is_huge = completions > Some(MOST_INDEXES) && per_index.is_some();
    for (field, value) in [("parallelism", parallelism), ("maxFailedIndexes", most_failed)] {
        if is_huge && value > Some(MOST_OF_HUGE) {
            let why = format!(
                "must be less than or equal to {MOST_OF_HUGE} when completions are above {MOST_INDEXES} and used with \
backoff limit per index"
            );
            refuse(field, value, &why);
        }
    }
    if is_huge && most_failed.is_none() {
        let why = format!("must be specified when completions is above {MOST_INDEXES}");
        errors.push(FieldError::required("spec.maxFailedIndexes", &why));
    }
    if completions.is_none() {
        errors.push(FieldError::required("spec.completions", "when completion mode is Indexed"));
    }
}

fn failure_policy(spec: &Value, errors: &mut Vec<FieldError>) {
    let rules = list(spec, &["podFailurePolicy", "rules"]);
    if rules.len() > MOST_RULES {
        errors.push(FieldError::too_many("spec.podFailurePolicy.rules", rules.len(), MOST_RULES));
    }
    let of_template = |field: &str| list(spec, &["template", "spec", field]).iter();
    let containers: Vec<&str> = of_template("containers")
        .chain(of_template("initContainers"))
        .map(|container| text(container, &["name"]))
        .collect();
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("spec.podFailurePolicy.rules[{index}]");
        let action = text(rule, &["action"]);
        if action == "FailIndex" && spec["backoffLimitPerIndex"].is_null() {
            let why = "requires the backoffLimitPerIndex to be set";
            errors.push(FieldError::invalid(format!("{at}.action"), &action.into(), why));
        }
        one_of(action, &["Count", "FailIndex", "FailJob", "Ignore"], &format!("{at}.action"), errors);
        let codes = rule.get("onExitCodes").filter(|codes| codes.is_object());
        if let Some(codes) = codes {
            exit_codes(codes, &containers, &format!("{at}.onExitCodes"), errors);
        }
        let conditions = list(rule, &["onPodConditions"]);
        pod_conditions(conditions, &format!("{at}.onPodConditions"), errors);
        if codes.is_some() && !conditions.is_empty() {
            let why = "specifying both OnExitCodes and OnPodConditions is not supported";
            errors.push(FieldError::invalid_as_a_whole(at.as_str(), why));
        }
        if codes.is_none() && conditions.is_empty() {
            let why = "specifying one of OnExitCodes and OnPodConditions is required";
            errors.push(FieldError::invalid_as_a_whole(at, why));
        }
    }
}

/// A word that has to be there and one of those known.
fn one_of(found: &str, known: &[&str], field: &str, errors: &mut Vec<FieldError>) {
    if found.is_empty() {
        let known: Vec<String> = known.iter().map(|word| format!("{word:?}")).collect();
        errors.push(FieldError::required(field, &format!("valid values: [{}]", known.join(" "))));
    } else if !known.contains(&found) {
        errors.push(FieldError::not_supported(field, &found.into(), known));
    }
}

fn exit_codes(codes: &Value, containers: &[&str], at: &str, errors: &mut Vec<FieldError>) {
    let operator = text(codes, &["operator"]);
    one_of(operator, &["In", "NotIn"], &format!("{at}.operator"), errors);
    if let Some(name) = codes["containerName"].as_str().filter(|name| !containers.contains(name)) {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(format!("{at}.containerName"), &name.into(), why));
    }
    let field = format!("{at}.values");
    let values = list(codes, &["values"]);
    if values.is_empty() {
        let why = "at least one value is required";
        errors.push(FieldError::invalid(field.as_str(), &codes["values"], why));
    } else if values.len() > MOST_EXIT_CODES {
        errors.push(FieldError::too_many(field.as_str(), values.len(), MOST_EXIT_CODES));
    }
    for (index, value) in values.iter().enumerate() {
        let at = format!("{field}[{index}]");
        if operator == "In" && value == 0 {
            errors.push(FieldError::invalid(at.as_str(), value, "must not be 0 for the In operator"));
        }
        if values[..index].contains(value) {
            errors.push(FieldError::duplicate(at, value));
        }
    }
    if !values.is_sorted_by_key(Value::as_i64) {
        errors.push(FieldError::invalid(field, &codes["values"], "must be ordered"));
    }
}

fn pod_conditions(conditions: &[Value], at: &str, errors: &mut Vec<FieldError>) {
    if conditions.len() > MOST_RULES {
        errors.push(FieldError::too_many(at, conditions.len(), MOST_RULES));
    }
    for (index, condition) in conditions.iter().enumerate() {
        let kind = text(condition, &["type"]);
        for why in qualified_name_faults(kind) {
            errors.push(FieldError::invalid(format!("{at}[{index}].type"), &kind.into(), &why));
        }
        let status = text(condition, &["status"]);
        one_of(status, &["False", "True", "Unknown"], &format!("{at}[{index}].status"), errors);
    }
}

fn success_policy(spec: &Value, errors: &mut Vec<FieldError>) {
    let policy = &spec["successPolicy"];
    let rules = list(policy, &["rules"]);
    if text(spec, &["completionMode"]) != "Indexed" {
        let shown: Vec<Value> = rules
            .iter()
            .map(|rule| {
                json!({"SucceededIndexes": rule["succeededIndexes"], "SucceededCount": rule["succeededCount"]})
            })
            .collect();
        let why = "requires indexed completion mode";
        errors.push(FieldError::invalid("spec.successPolicy", &json!({"Rules": shown}), why));
        return;
    }
    let field = "spec.successPolicy.rules";
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(field, why));
    }
    if rules.len() > MOST_RULES {
        errors.push(FieldError::too_many(field, rules.len(), MOST_RULES));
    }
    let completions = integer(spec, &["completions"]).unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        success_rule(rule, completions, &format!("{field}[{index}]"), errors);
    }
}

fn success_rule(rule: &Value, completions: i64, at: &str, errors: &mut Vec<FieldError>) {
    let count = integer(rule, &["succeededCount"]);
    let indexes = rule["succeededIndexes"].as_str();
    if count.is_none() && indexes.is_none() {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(FieldError::required(at, why));
    }
    let total = indexes.map(|indexes| {
        let field = format!("{at}.succeededIndexes");
        if indexes.len() > LONGEST_INDEXES {
            errors.push(FieldError::too_long(field.as_str(), LONGEST_INDEXES));
        }
        number_of_indexes(indexes, completions).unwrap_or_else(|why| {
            let why = format!("error parsing succeededIndexes: {why}");
            errors.push(FieldError::invalid(field, &indexes.into(), &why));
            0
        })
    });
    let Some(count) = count else { return };
    non_negative(rule, "succeededCount", at, errors);
    let mut at_most = |most: i64, of: &str| {
        if count > most {
            let why = format!("must be less than or equal to {most} ({of})");
            errors.push(FieldError::invalid(format!("{at}.succeededCount"), &count.into(), &why));
        }
    };
    at_most(completions, "the number of specified completions");
    if let Some(total) = total {
        at_most(total, "the number of indexes in the specified succeededIndexes field");
    }
}

/// How many indexes `0,2-4` names.
///
/// # Errors
/// What is wrong with the list for a Job of so many completions.
fn number_of_indexes(indexes: &str, completions: i64) -> Result<i64, String> {
    let number = |text: &str| -> Result<i64, String> {
        let found: i64 =
            text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if found >= completions { Err(format!("too large index: {text:?}")) } else { Ok(found) }
    };
    let (mut total, mut last) = (0, None);
    for interval in indexes.split(',').filter(|_| !indexes.is_empty()) {
        let order = |previous: i64, current: i64| {
            Err(format!("non-increasing order, previous: {previous}, current: {current}"))
        };
        let (first, end) = match interval.split('-').collect::<Vec<_>>()[..] {
            [only] => (number(only)?, number(only)?),
            [first, end] => {
                let (first, end) = (number(first)?, number(end)?);
                if first >= end {
                    return order(first, end);
                }
                (first, end)
            }
            _ => {
                return Err(format!(
                    "the fragment {interval:?} violates the requirement that an index interval can have at most two parts \
separated by '-'"
                ));
            }
        };
        if let Some(last) = last.filter(|last| *last >= first) {
            return order(last, first);
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
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

/// A pod with an index is called by it, and answers to that name.
fn pod_names(job: &Value, errors: &mut Vec<FieldError>) {
    let completions = integer(job, &["spec", "completions"]).unwrap_or_default();
    if text(job, &["spec", "completionMode"]) != "Indexed" || completions < 1 {
        return;
    }
    let name = meta(job, "name");
    let longest = format!("{name}-{}", completions - 1);
    if !check_label(&longest).is_empty() {
        let why = format!("will not able to create pod with invalid DNS label: {longest}");
        errors.push(FieldError::invalid("metadata.name", &name.into(), &why));
    }
}
