//! KEDA's ScaledObject of a component in the Standard mode, and the OpenTelemetryCollector that reads its pods.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::component::ComponentExtension;
use super::autoscaler::{DEFAULT_CPU_UTILIZATION, quantity};
use super::settings::Settings;
use super::workload::Workload;
use crate::keda::{AuthenticationRef, ScaleTarget, ScaleTrigger, ScaledObject, ScaledObjectSpec};
use crate::opentelemetry::{OpenTelemetryCollector, OpenTelemetryCollectorSpec};

/// Annotation with the port that metrics are read from.
const PROMETHEUS_PORT: &str = "prometheus.kserve.io/port";

/// The ScaledObject of a component.
pub(super) fn render(workload: &Workload, settings: &Settings) -> ScaledObject {
    let extension = &workload.extension;
    let min = extension.min_replicas.unwrap_or(1);
    let max = extension.max_replicas.unwrap_or(0).max(min);
    let spec = ScaledObjectSpec {
        scale_target_ref: ScaleTarget { name: workload.name.clone(), ..ScaleTarget::default() },
        min_replica_count: Some(min),
        max_replica_count: Some(max),
        advanced: advanced(extension, settings),
        triggers: metrics(extension).filter_map(|metric| trigger(metric, workload, settings)).collect(),
        other: BTreeMap::new(),
    };
    let mut object = ScaledObject::new(&workload.name, spec);
    object.metadata = workload.metadata();
    object
}

fn metrics(extension: &ComponentExtension) -> impl Iterator<Item = &Value> {
    extension.auto_scaling.iter().flat_map(|scaling| scaling.metrics.iter().flatten())
}

/// Only the stabilisation windows of the behaviour go to KEDA's autoscaler, the configuration's where there are none.
fn advanced(extension: &ComponentExtension, settings: &Settings) -> Option<Value> {
    let behavior = extension.auto_scaling.as_ref().and_then(|scaling| scaling.behavior.as_ref());
    let window = |direction: &str, configured: Option<i32>| {
        let own = behavior.and_then(|behavior| behavior[direction]["stabilizationWindowSeconds"].as_i64());
        own.or(configured.map(i64::from))
    };
    let windows = [
        ("scaleDown", window("scaleDown", settings.scale_down_window_s)),
        ("scaleUp", window("scaleUp", settings.scale_up_window_s)),
    ];
    let mut rules = serde_json::Map::new();
    for (direction, seconds) in windows {
        if let Some(seconds) = seconds {
            rules.insert(direction.to_owned(), json!({"stabilizationWindowSeconds": seconds}));
        }
    }
    (!rules.is_empty()).then(|| json!({"horizontalPodAutoscalerConfig": {"behavior": rules}}))
}

fn trigger(metric: &Value, workload: &Workload, settings: &Settings) -> Option<ScaleTrigger> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match metric["type"].as_str()? {
        "Resource" => {
            let resource = &metric["resource"];
            let target = &resource["target"];
            let kind = text(&target["type"]);
            let value = match kind.as_str() {
                "Utilization" => {
                    let default = (resource["name"] == "cpu").then(|| DEFAULT_CPU_UTILIZATION.to_string());
                    target["averageUtilization"].as_i64().map(|percent| percent.to_string()).or(default)
                }
                "AverageValue" => quantity(&target["averageValue"]),
                "Value" => quantity(&target["value"]),
                _ => None,
            };
            let value = value.filter(|value| !value.is_empty()).unwrap_or_else(|| "0".to_owned());
            Some(ScaleTrigger {
                type_: text(&resource["name"]),
                metadata: BTreeMap::from([("value".to_owned(), value)]),
                metric_type: Some(kind).filter(|kind| !kind.is_empty()),
                ..ScaleTrigger::default()
            })
        }
        "External" => {
            let external = &metric["external"];
            let source = &external["metric"];
            let mut trigger = ScaleTrigger { type_: text(&source["backend"]), ..ScaleTrigger::default() };
            let threshold = quantity(&external["target"]["value"]).unwrap_or_else(|| "0".to_owned());
            trigger.metadata.insert("serverAddress".to_owned(), text(&source["serverAddress"]));
            trigger.metadata.insert("query".to_owned(), text(&source["query"]));
            trigger.metadata.insert("threshold".to_owned(), threshold);
            let mut optional = |key: &str, value: &Value| {
                if let Some(value) = value.as_str().filter(|value| !value.is_empty()) {
                    trigger.metadata.insert(key.to_owned(), value.to_owned());
                }
            };
            if source["backend"] == "prometheus" {
                optional("namespace", &source["namespace"]);
            }
            let authentication = &external["authenticationRef"];
            optional("authModes", &authentication["authModes"]);
            trigger.authentication_ref = authentication["authenticationRef"]["name"]
                .as_str()
                .filter(|name| !name.is_empty())
                .map(|name| AuthenticationRef { name: name.to_owned(), kind: None });
            Some(trigger)
        }
        "PodMetric" => {
            let pod = &metric["podmetric"];
            let source = &pod["metric"];
            if source["backend"] != "opentelemetry" {
                return None;
            }
            let address = source["serverAddress"].as_str().filter(|address| !address.is_empty());
            let query = format!(
                "sum({}{{namespace=\"{}\", deployment=\"{}\"}})",
                text(&source["query"]),
                workload.namespace,
                workload.name
            );
            let mut metadata = BTreeMap::from([
                ("metricQuery".to_owned(), query),
                (
                    "targetValue".to_owned(),
                    quantity(&pod["target"]["value"]).unwrap_or_else(|| "0".to_owned()),
                ),
                ("scalerAddress".to_owned(), address.unwrap_or(&settings.metric_scaler).to_owned()),
            ]);
            if let Some(operation) = source["operationOverTime"].as_str().filter(|text| !text.is_empty()) {
                metadata.insert("operationOverTime".to_owned(), operation.to_owned());
            }
            Some(ScaleTrigger { type_: "external".to_owned(), metadata, ..ScaleTrigger::default() })
        }
        _ => None,
    }
}

/// The collector beside a component's pods, where it is scaled by metrics that are read from them.
pub(super) fn collector(workload: &Workload, settings: &Settings) -> Option<OpenTelemetryCollector> {
    let names: Vec<Value> = metrics(&workload.extension)
        .filter(|metric| metric["type"] == "PodMetric")
        .map(|metric| &metric["podmetric"]["metric"])
        .filter(|source| source["backend"] == "opentelemetry")
        .flat_map(|source| source["metricNames"].as_array().cloned().unwrap_or_default())
        .collect();
    if names.is_empty() {
        return None;
    }
    let port = workload.annotations.get(PROMETHEUS_PORT).map_or("8080", String::as_str);
    let attribute = |name: &str, resource: &str| {
        Value::from(format!("set(attributes[\"{name}\"], resource.attributes[\"k8s.{resource}.name\"])"))
    };
    let statements =
        [attribute("namespace", "namespace"), attribute("deployment", "deployment"), attribute("pod", "pod")];
    let config = json!({
        "receivers": {"prometheus": {"config": {"scrape_configs": [{
            "job_name": "otel-collector",
            "scrape_interval": settings.scrape_interval,
            "static_configs": [{"targets": [format!("localhost:{port}")]}],
        }]}}},
        "processors": {
            "resourcedetection/env": {"detectors": ["env"], "timeout": "2s", "override": false},
            "transform": {"metric_statements": [{"context": "datapoint", "statements": statements}]},
            "filter/metrics": {"metrics": {"include": {"match_type": "strict", "metric_names": names}}},
        },
        "exporters": {"otlp": {
            "endpoint": settings.metric_receiver,
            "compression": "none",
            "tls": {"insecure": true},
        }},
        "service": {"pipelines": {"metrics": {
            "receivers": ["prometheus"],
            "processors": ["resourcedetection/env", "transform", "filter/metrics"],
            "exporters": ["otlp"],
        }}},
    });
    let spec = OpenTelemetryCollectorSpec {
        mode: Some("sidecar".to_owned()),
        config: Some(config),
        resources: settings.collector_resources.clone(),
        other: BTreeMap::new(),
    };
    let mut collector = OpenTelemetryCollector::new(&workload.name, spec);
    collector.metadata = workload.metadata();
    collector.metadata.labels = None;
    Some(collector)
}
