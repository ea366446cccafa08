//! What a component's autoscaling fields become in Standard mode: replicas of the Deployment, a
//! HorizontalPodAutoscaler, or a ScaledObject.
//!
//! Pure functions of the manifest, with the rules of KServe's own controller (`hpa_reconciler.go`,
//! `keda_reconciler.go`, `deployment_reconciler.go`), its oddities included: `behavior` reaches the
//! HorizontalPodAutoscaler as an empty one, `threshold` comes without a `metricType`, and zero replicas are one.

use std::collections::BTreeMap;

use serde_json::Value;
use windtunnel_api::kserve::ComponentExtension;
use windtunnel_kernel::autoscale::hpa::spec::{MetricSpec, ObjectReference};
use windtunnel_kernel::autoscale::hpa::{Behavior, HpaSpec, Quantity, ScalingRules, Target};
use windtunnel_kernel::autoscale::keda::spec::{Advanced, HpaConfig, MetricType, ScaleTarget};
use windtunnel_kernel::autoscale::keda::{ScaleTrigger, ScaledObjectSpec};

/// CPU utilisation that is aimed at where a manifest does not say, percent.
const DEFAULT_CPU_PERCENT: i32 = 80;

/// Windows of `autoscaler` in KServe's configuration, seconds: up and down.
const STABILIZATION_S: (i32, i32) = (0, 300);

/// `serving.kserve.io/autoscalerClass`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AutoscalerClass {
    /// A HorizontalPodAutoscaler; where a manifest does not say.
    Hpa,
    /// A ScaledObject.
    Keda,
    /// Somebody else brings an autoscaler.
    External,
    /// None: replicas are fixed.
    None,
}

impl AutoscalerClass {
    /// Reads the annotation.
    ///
    /// # Errors
    /// KServe's words for a class that it does not know.
    pub(crate) fn of(annotation: Option<&str>) -> Result<Self, String> {
        match annotation {
            None | Some("hpa") => Ok(Self::Hpa),
            Some("keda") => Ok(Self::Keda),
            Some("external") => Ok(Self::External),
            Some("none") => Ok(Self::None),
            Some(other) => Err(format!("unknown autoscaler class type: {other}")),
        }
    }
}

/// `spec.replicas` of the Deployment: only without an autoscaler, and only where the manifest says. Otherwise the
/// field is left to the API server (1) and to whoever scales.
pub(crate) fn deployment_replicas(class: AutoscalerClass, component: &ComponentExtension) -> Option<i32> {
    component.min_replicas.filter(|_| class == AutoscalerClass::None)
}

/// The HorizontalPodAutoscaler of the Deployment `name`. Zero replicas at least become one, and the most are never
/// fewer than the least.
///
/// # Errors
/// A metric that cannot be read.
pub(crate) fn hpa_spec(name: &str, component: &ComponentExtension) -> Result<HpaSpec, String> {
    let least = component.min_replicas.unwrap_or(1).max(1);
    let own = component.auto_scaling.as_ref().and_then(|scaling| scaling.metrics.as_ref());
    let metrics = match own {
        Some(metrics) => metrics.iter().map(resource_metric).collect::<Result<_, _>>()?,
        None => legacy_metric(component).into_iter().collect(),
    };
    Ok(HpaSpec {
        scale_target_ref: ObjectReference {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
        },
        min_replicas: Some(least),
        max_replicas: component.max_replicas.unwrap_or(0).max(least),
        metrics,
        behavior: Some(Behavior::default()),
        selection_strategy: None,
    })
}

/// `scaleMetric` and `scaleTarget`. Memory without a target is no metric, so that the API server's CPU metric counts.
fn legacy_metric(component: &ComponentExtension) -> Option<MetricSpec> {
    let target = component.scale_target;
    match component.scale_metric.as_deref() {
        Some("memory") => {
            Some(MetricSpec::Resource { name: "memory".to_owned(), target: Target::Utilization(target?) })
        }
        _ => Some(MetricSpec::Resource {
            name: "cpu".to_owned(),
            target: Target::Utilization(target.unwrap_or(DEFAULT_CPU_PERCENT)),
        }),
    }
}

fn resource_metric(metric: &Value) -> Result<MetricSpec, String> {
    let resource = &metric["resource"];
    let name = resource["name"].as_str().unwrap_or("cpu");
    let target = &resource["target"];
    let percent = target["averageUtilization"].as_i64().and_then(|percent| i32::try_from(percent).ok());
    let target = match target["type"].as_str() {
        Some("AverageValue") => {
            let text = text_of(&target["averageValue"]).ok_or("averageValue is missing")?;
            Target::AverageValue(text.parse::<Quantity>().map_err(|error| error.to_string())?)
        }
        _ => Target::Utilization(percent.unwrap_or(DEFAULT_CPU_PERCENT)),
    };
    Ok(MetricSpec::Resource { name: name.to_owned(), target })
}

/// The ScaledObject of the Deployment `name`.
///
/// # Errors
/// A behaviour that cannot be read.
pub(crate) fn scaled_object_spec(
    name: &str,
    namespace: &str,
    component: &ComponentExtension,
) -> Result<ScaledObjectSpec, String> {
    let least = component.min_replicas.unwrap_or(1);
    let scaling = component.auto_scaling.as_ref();
    let metrics = scaling.and_then(|scaling| scaling.metrics.as_deref()).unwrap_or_default();
    let behavior: Behavior = match scaling.and_then(|scaling| scaling.behavior.as_ref()) {
        None => Behavior::default(),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|error| format!("spec.predictor.autoScaling.behavior: {error}"))?,
    };
    // Of a behaviour only the windows get through.
    let window = |rules: Option<ScalingRules>, default: i32| {
        let seconds = rules.and_then(|rules| rules.stabilization_window_seconds).unwrap_or(default);
        Some(ScalingRules { stabilization_window_seconds: Some(seconds), ..ScalingRules::default() })
    };
    let behavior = Behavior {
        scale_up: window(behavior.scale_up, STABILIZATION_S.0),
        scale_down: window(behavior.scale_down, STABILIZATION_S.1),
    };
    Ok(ScaledObjectSpec {
        scale_target_ref: ScaleTarget { name: name.to_owned(), ..ScaleTarget::default() },
        polling_interval: None,
        initial_cooldown_period: None,
        cooldown_period: None,
        idle_replica_count: None,
        min_replica_count: Some(least),
        max_replica_count: Some(component.max_replicas.unwrap_or(0).max(least)),
        advanced: Some(Advanced {
            horizontal_pod_autoscaler_config: Some(HpaConfig { behavior: Some(behavior), name: None }),
            ..Advanced::default()
        }),
        triggers: metrics.iter().map(|metric| trigger(metric, name, namespace)).collect(),
        fallback: None,
    })
}

fn trigger(metric: &Value, name: &str, namespace: &str) -> ScaleTrigger {
    let mut metadata = BTreeMap::new();
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            metadata.insert(key.to_owned(), value);
        }
    };
    match metric["type"].as_str().unwrap_or_default() {
        "External" => {
            let source = &metric["external"];
            let kind = text_of(&source["metric"]["backend"]).unwrap_or_else(|| "prometheus".to_owned());
            put("serverAddress", text_of(&source["metric"]["serverAddress"]));
            put("query", text_of(&source["metric"]["query"]));
            put("threshold", text_of(&source["target"]["value"]));
            if kind == "prometheus" {
                put("namespace", text_of(&source["metric"]["namespace"]));
            }
            ScaleTrigger { kind, metadata, ..ScaleTrigger::default() }
        }
        "PodMetric" => {
            let source = &metric["podmetric"];
            let query = text_of(&source["metric"]["query"]).unwrap_or_default();
            let labels = format!("namespace=\"{namespace}\", deployment=\"{name}\"");
            put("metricQuery", Some(format!("sum({query}{{{labels}}})")));
            put("targetValue", text_of(&source["target"]["value"]));
            put("operationOverTime", text_of(&source["metric"]["operationOverTime"]));
            put("scalerAddress", text_of(&source["metric"]["serverAddress"]));
            ScaleTrigger { kind: "external".to_owned(), metadata, ..ScaleTrigger::default() }
        }
        _ => {
            let source = &metric["resource"];
            let target = &source["target"];
            let metric_type = match target["type"].as_str() {
                Some("AverageValue") => MetricType::AverageValue,
                _ => MetricType::Utilization,
            };
            let value = match metric_type {
                MetricType::AverageValue => text_of(&target["averageValue"]),
                _ => text_of(&target["averageUtilization"]),
            };
            put("value", value);
            ScaleTrigger {
                kind: source["name"].as_str().unwrap_or("cpu").to_owned(),
                metadata,
                metric_type: Some(metric_type),
                ..ScaleTrigger::default()
            }
        }
    }
}

/// A text, or a number as one.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(text: &str) -> ComponentExtension {
        serde_json::from_str(text).expect("a component")
    }

    /// The bounds decide what a night without traffic costs: zero is one with a HorizontalPodAutoscaler, and zero
    /// only with KEDA.
    #[test]
    fn bounds_follow_the_autoscaler() {
        let bounds = |text: &str| {
            let hpa = hpa_spec("d", &component(text)).expect("sound");
            let keda = scaled_object_spec("d", "default", &component(text)).expect("sound");
            ((hpa.min_replicas, hpa.max_replicas), (keda.min_replica_count, keda.max_replica_count))
        };
        assert_eq!(bounds("{}"), ((Some(1), 1), (Some(1), Some(1))));
        let zero = bounds("{\"minReplicas\": 0, \"maxReplicas\": 4}");
        assert_eq!(zero, ((Some(1), 4), (Some(0), Some(4))));
        let inverse = bounds("{\"minReplicas\": 3, \"maxReplicas\": 2}");
        assert_eq!(inverse, ((Some(3), 3), (Some(3), Some(3))));
    }

    /// A Deployment keeps what its autoscaler gave it; only without one the manifest's number counts.
    #[test]
    fn replicas_are_written_only_without_an_autoscaler() {
        let three = component("{\"minReplicas\": 3}");
        assert_eq!(deployment_replicas(AutoscalerClass::None, &three), Some(3));
        assert_eq!(deployment_replicas(AutoscalerClass::None, &component("{}")), None);
        for class in [AutoscalerClass::Hpa, AutoscalerClass::Keda, AutoscalerClass::External] {
            assert_eq!(deployment_replicas(class, &three), None);
        }
        assert_eq!(AutoscalerClass::of(None), Ok(AutoscalerClass::Hpa));
        assert_eq!(AutoscalerClass::of(Some("vpa")), Err("unknown autoscaler class type: vpa".to_owned()));
    }

    /// What is aimed at without a word in the manifest, and the behaviour that users wonder about: it is there and
    /// empty, whatever the manifest says, so that the API server's rules hold (4 pods or 100 % in 15 s up).
    #[test]
    fn an_hpa_aims_at_eighty_percent_and_loses_its_behaviour() {
        let spec = |text: &str| hpa_spec("digits-predictor", &component(text)).expect("sound");
        let percent = |percent| {
            vec![MetricSpec::Resource { name: "cpu".to_owned(), target: Target::Utilization(percent) }]
        };
        let plain = spec("{}");
        assert_eq!(plain.metrics, percent(80));
        assert_eq!(plain.behavior, Some(Behavior::default()));
        assert_eq!(plain.scale_target_ref.name, "digits-predictor");
        assert_eq!(spec("{\"scaleTarget\": 60}").metrics, percent(60));
        assert!(spec("{\"scaleMetric\": \"memory\"}").metrics.is_empty());
        let own = spec(
            "{\"scaleTarget\": 60, \"autoScaling\": {\"metrics\": [{\"type\": \"Resource\", \"resource\": \
             {\"name\": \"memory\", \"target\": {\"type\": \"AverageValue\", \"averageValue\": \"1Gi\"}}}, \
             {\"type\": \"Resource\", \"resource\": {\"name\": \"cpu\", \"target\": {\"type\": \"Utilization\"}}}], \
             \"behavior\": {\"scaleDown\": {\"stabilizationWindowSeconds\": 7}}}}",
        );
        let gibibyte: Quantity = "1Gi".parse().expect("a quantity");
        let memory =
            MetricSpec::Resource { name: "memory".to_owned(), target: Target::AverageValue(gibibyte) };
        assert_eq!(own.metrics, [vec![memory], percent(80)].concat());
        assert_eq!(own.behavior, Some(Behavior::default()));
    }

    /// A threshold without a metric type is one a pod: who reads it as a total pays for too many or waits for too few.
    #[test]
    fn a_scaled_object_leaves_the_kind_of_its_threshold_open() {
        let spec = scaled_object_spec(
            "digits-predictor",
            "models",
            &component(
                "{\"minReplicas\": 0, \"maxReplicas\": 5, \"autoScaling\": {\"metrics\": [{\"type\": \"External\", \
                 \"external\": {\"metric\": {\"backend\": \"prometheus\", \"serverAddress\": \"http://p\", \
                 \"query\": \"sum(rate(http_requests_total[1m]))\"}, \"target\": {\"type\": \"Value\", \
                 \"value\": 20}}}, {\"type\": \"PodMetric\", \"podmetric\": {\"metric\": {\"backend\": \
                 \"opentelemetry\", \"query\": \"vllm:num_requests_running\"}, \"target\": {\"type\": \"Value\", \
                 \"value\": \"4\"}}}, {\"type\": \"Resource\", \"resource\": {\"name\": \"cpu\", \"target\": \
                 {\"type\": \"Utilization\", \"averageUtilization\": 70}}}], \"behavior\": {\"scaleDown\": \
                 {\"stabilizationWindowSeconds\": 60, \"policies\": [{\"type\": \"Pods\", \"value\": 1, \
                 \"periodSeconds\": 15}]}}}}",
            ),
        )
        .expect("sound");
        let [prometheus, external, cpu] = &spec.triggers[..] else { panic!("{:?}", spec.triggers) };
        assert_eq!((prometheus.kind.as_str(), prometheus.metric_type), ("prometheus", None));
        assert_eq!(prometheus.metadata["threshold"], "20");
        assert_eq!((external.kind.as_str(), external.metric_type), ("external", None));
        assert_eq!(
            external.metadata["metricQuery"],
            "sum(vllm:num_requests_running{namespace=\"models\", deployment=\"digits-predictor\"})"
        );
        assert_eq!((cpu.kind.as_str(), cpu.metric_type), ("cpu", Some(MetricType::Utilization)));
        assert_eq!(cpu.metadata["value"], "70");
        assert_eq!((spec.polling_interval, spec.cooldown_period), (None, None));
        let config = spec.advanced.and_then(|advanced| advanced.horizontal_pod_autoscaler_config);
        let behavior = config.and_then(|config| config.behavior).expect("windows");
        let down = behavior.scale_down.expect("a window");
        assert_eq!((down.stabilization_window_seconds, down.policies), (Some(60), None));
        assert_eq!(behavior.scale_up.and_then(|up| up.stabilization_window_seconds), Some(0));
    }
}
