//! `autoscaling/v1`, the older view of a HorizontalPodAutoscaler: one figure for CPU, and everything that it has no
//! field for as JSON in annotations. These turn one form into the other.

use serde_json::{Map, Value, json};

use crate::object::{as_map, at, integer, list, map_at, metadata_mut, set_default, text};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// CPU utilisation that is aimed at where nobody says anything, in percent of the requests.
const DEFAULT_UTILIZATION: i64 = 80;

/// Names of one metric source's fields: in `autoscaling/v1`, and where `autoscaling/v2` has them.
type Names = &'static [(&'static str, &'static [&'static str])];

/// Each metric source in its specification and in its status.
const SOURCES: [(&str, Names, Names); 5] = [
    (
        "object",
        &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("targetValue", &["target", "value"]),
            ("selector", &["metric", "selector"]),
            ("averageValue", &["target", "averageValue"]),
        ],
        &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("currentValue", &["current", "value"]),
            ("selector", &["metric", "selector"]),
            ("averageValue", &["current", "averageValue"]),
        ],
    ),
    (
        "pods",
        &[
            ("metricName", &["metric", "name"]),
            ("targetAverageValue", &["target", "averageValue"]),
            ("selector", &["metric", "selector"]),
        ],
        &[
            ("metricName", &["metric", "name"]),
            ("currentAverageValue", &["current", "averageValue"]),
            ("selector", &["metric", "selector"]),
        ],
    ),
    ("resource", RESOURCE, RESOURCE_STATUS),
    ("containerResource", CONTAINER_RESOURCE, CONTAINER_RESOURCE_STATUS),
    (
        "external",
        &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
        &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    ),
];

const RESOURCE: Names = &[
    ("name", &["name"]),
    ("targetAverageUtilization", &["target", "averageUtilization"]),
    ("targetAverageValue", &["target", "averageValue"]),
];
const RESOURCE_STATUS: Names = &[
    ("name", &["name"]),
    ("currentAverageUtilization", &["current", "averageUtilization"]),
    ("currentAverageValue", &["current", "averageValue"]),
];
const CONTAINER_RESOURCE: Names = &[
    ("name", &["name"]),
    ("targetAverageUtilization", &["target", "averageUtilization"]),
    ("targetAverageValue", &["target", "averageValue"]),
    ("container", &["container"]),
];
const CONTAINER_RESOURCE_STATUS: Names = &[
    ("name", &["name"]),
    ("currentAverageUtilization", &["current", "averageUtilization"]),
    ("currentAverageValue", &["current", "averageValue"]),
    ("container", &["container"]),
];

/// What an `autoscaling/v1` object always shows.
pub(crate) fn complete(object: &mut Value) {
    set_default(super::spec(object), "minReplicas", 1);
    let status = super::status(object);
    set_default(status, "currentReplicas", 0);
    set_default(status, "desiredReplicas", 0);
}

/// The stored form of an `autoscaling/v1` object.
pub(crate) fn to_v2(object: &mut Value) {
    let mut annotation = |name: &str| -> Option<Value> {
        let annotations = object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
        let found = serde_json::from_str(annotations.shift_remove(name)?.as_str()?).ok();
        if annotations.is_empty() {
            metadata_mut(object).shift_remove("annotations");
        }
        found
    };
    let (metrics, current) = (annotation(METRICS), annotation(CURRENT));
    let (behavior, conditions) = (annotation(BEHAVIOR), annotation(CONDITIONS));
    let newer = |metric: &Value, is_status: bool| rename(metric, is_status, true);
    let listed = |value: &Option<Value>, is_status: bool| -> Vec<Value> {
        let metrics = value.as_ref().and_then(Value::as_array);
        metrics.into_iter().flatten().map(|metric| newer(metric, is_status)).collect()
    };
    as_map(object).insert("apiVersion".into(), "autoscaling/v2".into());
    let spec = super::spec(object);
    let utilization = spec.shift_remove("targetCPUUtilizationPercentage").and_then(|share| share.as_i64());
    let mut all = listed(&metrics, false);
    if let Some(share) = utilization.or_else(|| all.is_empty().then_some(DEFAULT_UTILIZATION)) {
        all.insert(
            0,
            json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": share}}}),
        );
    }
    spec.insert("metrics".into(), all.into());
    if let Some(behavior) = behavior.filter(Value::is_object) {
        spec.insert("behavior".into(), behavior);
    }
    let status = super::status(object);
    let share = status.shift_remove("currentCPUUtilizationPercentage").and_then(|share| share.as_i64());
    let mut seen = listed(&current, true);
    if let Some(share) = share
        && seen.is_empty()
    {
        seen.push(json!({"type": "Resource", "resource": {"name": "cpu",
            "current": {"averageUtilization": share}}}));
    }
    if seen.is_empty() {
        status.insert("currentMetrics".into(), Value::Null);
    } else {
        status.insert("currentMetrics".into(), seen.into());
    }
    if let Some(conditions) = conditions.filter(Value::is_array) {
        status.insert("conditions".into(), conditions);
    }
    if status.get("currentReplicas").and_then(Value::as_i64) == Some(0) {
        status.shift_remove("currentReplicas");
    }
}

/// A stored object as `autoscaling/v1` shows it.
pub(crate) fn from_v2(object: &mut Value) {
    let is_cpu = |metric: &Value| {
        text(metric, &["resource", "name"]) == "cpu"
            && integer(metric, &["resource", "target", "averageUtilization"]).is_some()
    };
    let metrics = list(object, &["spec", "metrics"]);
    let share = metrics
        .iter()
        .find(|metric| is_cpu(metric))
        .and_then(|metric| integer(metric, &["resource", "target", "averageUtilization"]));
    let others: Vec<Value> =
        metrics.iter().filter(|metric| !is_cpu(metric)).map(|metric| rename(metric, false, false)).collect();
    let statuses = list(object, &["status", "currentMetrics"]);
    let seen = statuses
        .iter()
        .find(|metric| text(metric, &["resource", "name"]) == "cpu")
        .and_then(|metric| integer(metric, &["resource", "current", "averageUtilization"]));
    let current: Vec<Value> = statuses.iter().map(|metric| rename(metric, true, false)).collect();
    let behavior = at(object, &["spec", "behavior"]).cloned();
    let conditions = list(object, &["status", "conditions"]).to_vec();
    for (name, value) in [
        (METRICS, Some(Value::from(others))),
        (CURRENT, Some(Value::from(current))),
        (BEHAVIOR, behavior),
        (CONDITIONS, Some(Value::from(conditions))),
    ] {
        let Some(value) = value.filter(|value| value.as_array().is_none_or(|list| !list.is_empty())) else {
            continue;
        };
        map_at(metadata_mut(object), "annotations").insert(name.to_owned(), value.to_string().into());
    }
    as_map(object).insert("apiVersion".into(), "autoscaling/v1".into());
    let spec = super::spec(object);
    spec.shift_remove("metrics");
    spec.shift_remove("behavior");
    if let Some(share) = share {
        spec.insert("targetCPUUtilizationPercentage".into(), share.into());
    }
    let status = super::status(object);
    status.shift_remove("currentMetrics");
    status.shift_remove("conditions");
    if let Some(seen) = seen {
        status.insert("currentCPUUtilizationPercentage".into(), seen.into());
    }
    set_default(status, "currentReplicas", 0);
}

/// A metric, or its status, with the names of the other version.
fn rename(metric: &Value, is_status: bool, to_newer: bool) -> Value {
    let mut renamed = Map::new();
    if let Some(kind) = metric.get("type") {
        renamed.insert("type".into(), kind.clone());
    }
    for (source, spec, status) in SOURCES {
        let Some(fields) = metric.get(source).filter(|fields| fields.is_object()) else { continue };
        let mut target = json!({});
        for (old, new) in if is_status { status } else { spec } {
            let found = if to_newer { fields.get(*old) } else { at(fields, new) };
            let Some(value) = found.filter(|value| !value.is_null()) else { continue };
            let place = if to_newer { *new } else { std::slice::from_ref(old) };
            set_at(&mut target, place, value.clone());
        }
        if to_newer && !is_status {
            // The older form tells the kind of a target by the field that is there.
            let kinds =
                [("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value")];
            if let Some((_, kind)) = kinds.iter().find(|(field, _)| target["target"].get(*field).is_some()) {
                set_at(&mut target, &["target", "type"], (*kind).into());
            }
        }
        renamed.insert(source.to_owned(), target);
    }
    renamed.into()
}

fn set_at(value: &mut Value, path: &[&str], leaf: Value) {
    let (last, parents) = path.split_last().expect("a field has a name");
    let mut map = as_map(value);
    for parent in parents {
        map = map_at(map, parent);
    }
    map.insert((*last).to_owned(), leaf);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newer() -> Value {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"minReplicas": 1, "maxReplicas": 5,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 50}}},
                    {"type": "External", "external": {"metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}},
                        "target": {"type": "Value", "value": "30"}}}],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}},
            "status": {"desiredReplicas": 2, "currentReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "current": {"averageUtilization": 40, "averageValue": "40m"}}}],
                "conditions": [{"type": "AbleToScale", "status": "True"}]}})
    }

    #[test]
    fn what_the_older_version_has_no_field_for_survives_a_round_trip() {
        let mut object = newer();
        from_v2(&mut object);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 50);
        assert_eq!(object["status"]["currentCPUUtilizationPercentage"], 40);
        assert!(object["spec"].get("metrics").is_none() && object["spec"].get("behavior").is_none());
        assert_eq!(
            object["metadata"]["annotations"][METRICS],
            r#"[{"type":"External","external":{"metricName":"q","metricSelector":{"matchLabels":{"a":"b"}},"targetValue":"30"}}]"#
        );
        to_v2(&mut object);
        assert_eq!(object, newer());
    }

    #[test]
    fn an_older_object_without_metrics_aims_at_the_default_utilization() {
        let mut object = json!({"metadata": {}, "spec": {"maxReplicas": 3}});
        to_v2(&mut object);
        assert_eq!(object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
        assert!(object["metadata"].get("annotations").is_none());
    }
}
