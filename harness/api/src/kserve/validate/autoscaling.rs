//! Autoscaling rules, by deployment mode and autoscaler class.

use serde_json::Value;

use super::super::component::ComponentExtension;
use super::super::inference_service::InferenceService;
use super::super::names;
use crate::knative::names as knative;
use crate::quantity;

pub(super) fn check(service: &InferenceService, extension: &ComponentExtension) -> Result<(), String> {
    if service.annotation(names::DEPLOYMENT_MODE) == Some(names::STANDARD) {
        return match service.annotation(names::AUTOSCALER_CLASS) {
            Some("hpa") => hpa(extension),
            Some("keda") => keda(extension),
            // Ours: request-based scaling without Knative.
            Some("kpa") => kpa(extension, service.annotation(names::DEPLOYMENT_MODE)),
            // Without the annotation upstream checks nothing, although the HPA is what it then uses.
            _ => Ok(()),
        };
    }
    match service.annotation(knative::CLASS) {
        Some(knative::HPA_CLASS) => hpa(extension),
        _ => kpa(extension, None),
    }
}

fn fault<T>(message: impl Into<String>) -> Result<T, String> {
    Err(message.into())
}

fn metrics(extension: &ComponentExtension) -> impl Iterator<Item = &Value> {
    extension.auto_scaling.iter().filter_map(|scaling| scaling.metrics.as_ref()).flatten()
}

fn hpa(extension: &ComponentExtension) -> Result<(), String> {
    let metric = extension.scale_metric.as_deref().unwrap_or("cpu");
    if !matches!(metric, "cpu" | "memory") {
        return fault(format!("[{metric}] is not a supported metric"));
    }
    if let Some(target) = extension.scale_target {
        if (metric == "cpu" && target < 1) || target > 100 {
            return fault("the target utilization percentage should be a [1-100] integer");
        }
        if metric == "memory" && target < 1 {
            return fault("the target memory should be greater than 1 MiB");
        }
    }
    for metric in metrics(extension) {
        let source = metric["type"].as_str().unwrap_or_default();
        if source != "Resource" {
            return fault(format!(
                "invalid HPA metric source type with value [{source}],valid metric source types are Resource"
            ));
        }
        if metric["resource"].is_null() {
            return fault("metricSpec.Resource is not set for resource metric source type");
        }
    }
    Ok(())
}

fn keda(extension: &ComponentExtension) -> Result<(), String> {
    if extension.scale_metric.is_some() {
        return fault("ScaleMetric is not supported for KEDA");
    }
    for metric in metrics(extension) {
        match metric["type"].as_str().unwrap_or_default() {
            "Resource" => keda_resource(&metric["resource"])?,
            "External" => keda_query(&metric["external"], "External", "external")?,
            "PodMetric" => keda_query(&metric["podmetric"], "PodMetric", "pod")?,
            other => {
                return fault(format!(
                    "unknown KEDA metric type with value [{other}].Valid types are Resource,External,PodMetric"
                ));
            }
        }
    }
    Ok(())
}

fn keda_resource(resource: &Value) -> Result<(), String> {
    if resource.is_null() {
        return fault("metricSpec.Resource is not set for resource metric source type");
    }
    let target = &resource["target"];
    let kind = target["type"].as_str().unwrap_or_default();
    match resource["name"].as_str().unwrap_or_default() {
        "cpu" if kind != "Utilization" => return fault("the cpu target value type should be Utilization"),
        "cpu" => {}
        "memory" => {
            if !matches!(kind, "AverageValue" | "Utilization") {
                return fault("the memory target value type should be AverageValue or Utilization");
            }
            if kind == "AverageValue" && less_than(&target["averageValue"], 1 << 20) {
                return fault("the memory target value should be greater than 1 MiB");
            }
        }
        other => return fault(format!("resource type {other} is not supported")),
    }
    scale_target(target)
}

fn keda_query(source: &Value, field: &str, words: &str) -> Result<(), String> {
    if source.is_null() {
        return fault(format!("metricSpec.{field} is not set for {words} metric source type"));
    }
    if source["metric"]["query"].as_str().unwrap_or_default().is_empty() {
        return fault("the query should not be empty");
    }
    if source["target"]["value"].is_null() {
        return fault("the target threshold value should not be empty");
    }
    scale_target(&source["target"])
}

fn scale_target(target: &Value) -> Result<(), String> {
    let missing = |field: &str| target[field].is_null();
    match target["type"].as_str().unwrap_or_default() {
        "Utilization" if missing("averageUtilization") => fault("the AverageUtilization type should be set"),
        "Utilization" => match target["averageUtilization"].as_i64() {
            Some(1..=100) => Ok(()),
            _ => fault("the target utilization percentage should be a [1-100] integer"),
        },
        "AverageValue" if missing("averageValue") => fault("the AverageValue type should be set"),
        "Value" if missing("value") => fault("the Value type should be set"),
        _ => Ok(()),
    }
}

fn kpa(extension: &ComponentExtension, mode: Option<&str>) -> Result<(), String> {
    if extension.deployment_strategy.is_some() && mode != Some(names::STANDARD) {
        return fault("customizing deploymentStrategy is only supported for raw deployment mode");
    }
    let metric = extension.scale_metric.as_deref().unwrap_or("concurrency");
    if !matches!(metric, "concurrency" | "rps") {
        return fault(format!("[{metric}] is not a supported metric"));
    }
    if metric == "rps" && extension.scale_target.is_some_and(|target| target < 1) {
        return fault("the target for rps should be greater than 1");
    }
    Ok(())
}

/// Whether a quantity is less than the given number of bytes; what is absent is nothing, as in Go.
fn less_than(value: &Value, bytes: i128) -> bool {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return true,
    };
    quantity::nanos(&text).is_ok_and(|nanos| nanos < bytes * 1_000_000_000)
}
