//! Defaults of the HorizontalPodAutoscaler.

use serde_json::{Value, json};

use super::{spec, status};
use crate::object::{map_at, set_default};

pub(crate) fn horizontal_pod_autoscaler(object: &mut Value) {
    let spec = spec(object);
    set_default(spec, "minReplicas", 1);
    set_default(
        spec,
        "metrics",
        json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]),
    );
    if spec.get("behavior").is_some_and(Value::is_object) {
        let behavior = map_at(spec, "behavior");
        let up = map_at(behavior, "scaleUp");
        set_default(up, "stabilizationWindowSeconds", 0);
        set_default(up, "selectPolicy", "Max");
        set_default(
            up,
            "policies",
            json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]),
        );
        let down = map_at(behavior, "scaleDown");
        set_default(down, "selectPolicy", "Max");
        set_default(down, "policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
    let status = status(object);
    set_default(status, "desiredReplicas", 0);
    status.entry("currentMetrics").or_insert(Value::Null);
}
