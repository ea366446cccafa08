//! Which autoscaler a component has in the Standard mode, and its HorizontalPodAutoscaler.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget, ResourceMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use super::super::component::ComponentExtension;
use super::workload::Workload;
use super::{Fault, Profile, deployment};

/// Percent of the requested CPU that pods should use where nobody says.
pub(super) const DEFAULT_CPU_UTILIZATION: i32 = 80;

/// What scales a Deployment: annotation `serving.kserve.io/autoscalerClass`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A HorizontalPodAutoscaler.
    Hpa,
    /// A ScaledObject.
    Keda,
    /// Somebody else.
    External,
    /// Nothing: `minReplicas` is the number of replicas.
    None,
    /// The request-based autoscaler, which scales the Deployment itself (profile Windtunnel).
    Kpa,
}

impl Class {
    /// The class of a component.
    pub(super) fn of(workload: &Workload, profile: Profile) -> Result<Self, Fault> {
        match deployment::class_annotation(workload).unwrap_or("hpa") {
            "hpa" => Ok(Self::Hpa),
            "keda" => Ok(Self::Keda),
            "external" => Ok(Self::External),
            "none" => Ok(Self::None),
            "kpa" if !profile.has_upstream_bugs() => Ok(Self::Kpa),
            other => Err(Fault::Component(format!("unknown autoscaler class type: {other}"))),
        }
    }
}

/// The HorizontalPodAutoscaler of a component. It cannot scale to zero, so the least is 1.
pub(super) fn hpa(workload: &Workload, profile: Profile) -> HorizontalPodAutoscaler {
    let extension = &workload.extension;
    let min = extension.min_replicas.unwrap_or(1).max(1);
    let max = extension.max_replicas.unwrap_or(0).max(min);
    HorizontalPodAutoscaler {
        metadata: workload.metadata(),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: workload.name.clone(),
            },
            min_replicas: Some(min),
            max_replicas: max,
            metrics: Some(metrics(extension)),
            behavior: behavior(extension, profile),
        },
        status: None,
    }
}

/// Upstream leaves `autoScaling.behavior` unread and writes an empty behaviour: a likely bug.
fn behavior(extension: &ComponentExtension, profile: Profile) -> Option<HorizontalPodAutoscalerBehavior> {
    let given = extension.auto_scaling.as_ref().and_then(|scaling| scaling.behavior.as_ref());
    let read = given.filter(|_| !profile.has_upstream_bugs()).cloned();
    Some(read.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default())
}

fn metrics(extension: &ComponentExtension) -> Vec<MetricSpec> {
    if let Some(scaling) = &extension.auto_scaling {
        return scaling.metrics.iter().flatten().filter_map(resource_metric).collect();
    }
    match extension.scale_metric.as_deref().unwrap_or("cpu") {
        "cpu" => vec![utilization("cpu", Some(extension.scale_target.unwrap_or(DEFAULT_CPU_UTILIZATION)))],
        // There is no target for memory that suits everybody.
        "memory" if extension.scale_target.is_some() => vec![utilization("memory", extension.scale_target)],
        _ => Vec::new(),
    }
}

/// One of `autoScaling.metrics`: only resources are known to the HPA.
fn resource_metric(metric: &Value) -> Option<MetricSpec> {
    let resource = metric.get("resource")?;
    let target = &resource["target"];
    let percent = target["averageUtilization"].as_i64().and_then(|percent| i32::try_from(percent).ok());
    match (resource["name"].as_str()?, target["type"].as_str()) {
        ("cpu", _) => Some(utilization("cpu", Some(percent.unwrap_or(DEFAULT_CPU_UTILIZATION)))),
        ("memory", Some("AverageValue")) => {
            let mut metric = utilization("memory", None);
            if let Some(resource) = &mut metric.resource {
                resource.target = MetricTarget {
                    type_: "AverageValue".to_owned(),
                    average_value: quantity(&target["averageValue"]).map(Quantity),
                    ..MetricTarget::default()
                };
            }
            Some(metric)
        }
        ("memory", _) => Some(utilization("memory", percent)),
        _ => None,
    }
}

/// A quantity as it was written: text or a number.
pub(super) fn quantity(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn utilization(name: &str, percent: Option<i32>) -> MetricSpec {
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: name.to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: percent,
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}
