//! Defaults of the workloads that make pods.

use serde_json::{Map, Value, json};

use super::{config, pod, spec, status};
use crate::object::{map_at, set_default};

pub(crate) fn deployment(object: &mut Value) {
    let spec = spec(object);
    set_default(spec, "replicas", 1);
    pod::template(spec);
    let strategy = map_at(spec, "strategy");
    set_default(strategy, "type", "RollingUpdate");
    if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
        let rolling = map_at(strategy, "rollingUpdate");
        set_default(rolling, "maxUnavailable", "25%");
        set_default(rolling, "maxSurge", "25%");
    }
    set_default(spec, "revisionHistoryLimit", 10);
    set_default(spec, "progressDeadlineSeconds", 600);
    status(object);
}

pub(crate) fn replica_set(object: &mut Value) {
    let spec = spec(object);
    set_default(spec, "replicas", 1);
    pod::template(spec);
    set_default(status(object), "replicas", 0);
}

pub(crate) fn stateful_set(object: &mut Value) {
    let spec = spec(object);
    set_default(spec, "replicas", 1);
    pod::template(spec);
    set_default(spec, "podManagementPolicy", "OrderedReady");
    let update = map_at(spec, "updateStrategy");
    set_default(update, "type", "RollingUpdate");
    if update.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
        set_default(map_at(update, "rollingUpdate"), "partition", 0);
    }
    set_default(spec, "revisionHistoryLimit", 10);
    for claim in spec.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut).into_iter().flatten() {
        set_default(crate::object::as_map(claim), "apiVersion", "v1");
        set_default(crate::object::as_map(claim), "kind", "PersistentVolumeClaim");
        config::persistent_volume_claim(claim);
    }
    let retention = map_at(spec, "persistentVolumeClaimRetentionPolicy");
    set_default(retention, "whenDeleted", "Retain");
    set_default(retention, "whenScaled", "Retain");
    let status = status(object);
    set_default(status, "replicas", 0);
    set_default(status, "availableReplicas", 0);
}

pub(crate) fn daemon_set(object: &mut Value) {
    let spec = spec(object);
    pod::template(spec);
    let update = map_at(spec, "updateStrategy");
    set_default(update, "type", "RollingUpdate");
    if update.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
        let rolling = map_at(update, "rollingUpdate");
        set_default(rolling, "maxUnavailable", 1);
        set_default(rolling, "maxSurge", 0);
    }
    set_default(spec, "revisionHistoryLimit", 10);
    let status = status(object);
    for count in ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"] {
        set_default(status, count, 0);
    }
}

/// A Job selects its pods by its own uid unless told otherwise.
pub(crate) fn job(object: &mut Value) {
    let uid = crate::object::meta(object, "uid").to_owned();
    let name = crate::object::meta(object, "name").to_owned();
    let spec = spec(object);
    job_spec(spec);
    let manual = spec.get("manualSelector").and_then(Value::as_bool).unwrap_or(false);
    set_default(spec, "manualSelector", false);
    if !manual && !uid.is_empty() {
        let selected = map_at(map_at(spec, "selector"), "matchLabels");
        set_default(selected, "batch.kubernetes.io/controller-uid", uid.as_str());
        let labels = map_at(map_at(map_at(spec, "template"), "metadata"), "labels");
        for (key, value) in [
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
            ("controller-uid", &uid),
            ("job-name", &name),
        ] {
            set_default(labels, key, value.as_str());
        }
    }
    // A Job without labels has those of its pods.
    let labels = crate::object::at(object, &["spec", "template", "metadata", "labels"]).cloned();
    if let Some(Value::Object(labels)) = labels.filter(|labels| *labels != json!({})) {
        let own = map_at(crate::object::metadata_mut(object), "labels");
        if own.is_empty() {
            *own = labels;
        }
    }
    status(object);
}

fn job_spec(spec: &mut Map<String, Value>) {
    match (spec.contains_key("completions"), spec.contains_key("parallelism")) {
        (false, false) => {
            spec.insert("completions".into(), 1.into());
            spec.insert("parallelism".into(), 1.into());
        }
        (_, false) => {
            spec.insert("parallelism".into(), 1.into());
        }
        _ => {}
    }
    pod::template(spec);
    // With a limit for each index there is none for the whole.
    let has_limit_per_index = spec.get("backoffLimitPerIndex").is_some_and(|limit| !limit.is_null());
    set_default(spec, "backoffLimit", if has_limit_per_index { i32::MAX } else { 6 });
    set_default(spec, "completionMode", "NonIndexed");
    set_default(spec, "suspend", false);
    let replaced = if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    set_default(spec, "podReplacementPolicy", replaced);
}

pub(crate) fn cron_job(object: &mut Value) {
    let spec = spec(object);
    set_default(spec, "concurrencyPolicy", "Allow");
    set_default(spec, "suspend", false);
    set_default(spec, "successfulJobsHistoryLimit", 3);
    set_default(spec, "failedJobsHistoryLimit", 1);
    let job_template = map_at(spec, "jobTemplate");
    map_at(job_template, "metadata");
    pod::template(map_at(job_template, "spec"));
    status(object);
}
