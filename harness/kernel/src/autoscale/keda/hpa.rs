//! The HorizontalPodAutoscaler that KEDA makes for a ScaledObject.
//!
//! Source: `controllers/keda/hpa.go` and `GetMetricSpecForScaling` of each scaler.

use std::collections::BTreeMap;

use super::spec::MetricType;
use super::triggers::Trigger;
use super::{Annotations, KedaError, ScaledObjectSpec};
use crate::autoscale::hpa::Quantity;
use crate::autoscale::hpa::spec::{
    Behavior, HpaSpec, LabelSelector, MetricIdentifier, MetricSpec, ObjectReference, SelectPolicy, Target,
};

/// Name of the metric that modifiers make.
pub const COMPOSITE_METRIC: &str = "composite-metric";

/// Name of the HorizontalPodAutoscaler of the ScaledObject `name`.
#[must_use]
pub fn name(spec: &ScaledObjectSpec, name: &str) -> String {
    let config =
        spec.advanced.as_ref().and_then(|advanced| advanced.horizontal_pod_autoscaler_config.as_ref());
    match config.and_then(|config| config.name.as_ref()).filter(|name| !name.is_empty()) {
        Some(own) => own.clone(),
        None => format!("keda-hpa-{name}"),
    }
}

/// The HorizontalPodAutoscaler's `spec` for the ScaledObject `name`.
///
/// # Errors
/// A trigger that KEDA would refuse, or two with the same metric.
pub fn render(spec: &ScaledObjectSpec, name: &str, annotations: &Annotations) -> Result<HpaSpec, KedaError> {
    render_for(spec, &Trigger::read_all(&spec.triggers)?, name, annotations)
}

/// As [`render`], for triggers of which more is known than the `spec` says: with the metrics that external scalers name.
/// Those that have not been asked yet have no metric.
///
/// # Errors
/// See [`render`].
pub fn render_for(
    spec: &ScaledObjectSpec,
    triggers: &[Trigger],
    name: &str,
    annotations: &Annotations,
) -> Result<HpaSpec, KedaError> {
    let selector = LabelSelector {
        match_labels: BTreeMap::from([("scaledobject.keda.sh/name".to_string(), name.to_string())]),
        match_expressions: Vec::new(),
    };
    let mut metrics: Vec<MetricSpec> = Vec::new();
    for trigger in triggers {
        let Some(metric) = trigger.metric_spec(&selector) else { continue };
        let is_twice = matches!(metric, MetricSpec::External { .. })
            && metrics.iter().any(|other| other.name() == metric.name());
        if is_twice {
            let expected = "another name than that of an earlier trigger";
            return Err(KedaError::new(format!("triggers[{}]", trigger.index), metric.name(), expected));
        }
        metrics.push(metric);
    }
    metrics.sort_by_key(MetricSpec::kind);
    if let Some(modifiers) = spec.modifiers() {
        let place = "advanced.scalingModifiers.target";
        let target: f64 = modifiers
            .target
            .parse()
            .ok()
            .filter(|target: &f64| target.is_finite())
            .ok_or_else(|| KedaError::new(place, format!("{:?}", modifiers.target), "a number"))?;
        if target > 0.0 {
            let target = Quantity::from_milli((target * 1000.0) as i64);
            let target = match modifiers.metric_type {
                None | Some(MetricType::AverageValue) => Target::AverageValue(target),
                Some(MetricType::Value) => Target::Value(target),
                Some(MetricType::Utilization) => {
                    let place = "advanced.scalingModifiers.metricType";
                    return Err(KedaError::new(place, "Utilization", "AverageValue or Value"));
                }
            };
            metrics.retain(|metric| matches!(metric, MetricSpec::Resource { .. }));
            let metric = MetricIdentifier { name: COMPOSITE_METRIC.to_string(), selector: Some(selector) };
            metrics.push(MetricSpec::External { metric, target });
        }
    }
    let config =
        spec.advanced.as_ref().and_then(|advanced| advanced.horizontal_pod_autoscaler_config.as_ref());
    let mut behavior = config.and_then(|config| config.behavior.clone());
    if annotations.paused_scale_in {
        let rules = behavior.get_or_insert_with(Behavior::default).scale_down.get_or_insert_default();
        rules.select_policy = Some(SelectPolicy::Disabled);
    }
    if annotations.paused_scale_out {
        let rules = behavior.get_or_insert_with(Behavior::default).scale_up.get_or_insert_default();
        rules.select_policy = Some(SelectPolicy::Disabled);
    }
    let target = &spec.scale_target_ref;
    Ok(HpaSpec {
        scale_target_ref: ObjectReference {
            api_version: target.api_version.clone().unwrap_or_else(|| "apps/v1".to_string()),
            kind: target.kind.clone().unwrap_or_else(|| "Deployment".to_string()),
            name: target.name.clone(),
        },
        min_replicas: Some(spec.hpa_minimum()),
        max_replicas: spec.maximum(),
        metrics,
        behavior,
        selection_strategy: None,
    })
}
