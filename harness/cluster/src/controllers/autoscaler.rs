//! The HorizontalPodAutoscaler controller: what is seen goes to the HPA kernel, what it decides into the status.
//!
//! It is called once a period and not on changes, as upstream does: recommendations and rates have a history, which
//! the caller keeps as the kernel's [`Autoscaler`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{Container, Pod},
    },
    jiff::Timestamp,
};
use serde_json::{Value, json};
use windtunnel_kernel::autoscale::hpa::{
    Autoscaler, Condition, Decision, HpaSpec, MetricSpec, Observation, Options, Phase, Pod as KernelPod,
    Quantity, Readiness, Reading, ReadyStatus, Sample, Scale, Selector, Target,
};

use super::pods;
use crate::{
    effect::{Effect, Outcome, merge_patch},
    quantity,
    world::{Key, Kind},
};

/// Component name in events.
pub(crate) const COMPONENT: &str = "horizontal-pod-autoscaler";

/// Usage of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor, billionths of a core.
    pub cpu_nano: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// Usage of a pod's containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodUsage {
    /// End of the window.
    pub at: Timestamp,
    /// Length of the window.
    pub window: Duration,
    /// By name of the container.
    pub containers: BTreeMap<String, Usage>,
}

/// Where resource metrics come from: whoever runs the pods.
pub trait ResourceMetrics: Send + Sync {
    /// What a pod uses; `None` before the first whole window.
    fn pod_usage(&self, pod: &Key) -> Option<PodUsage>;
}

/// The scale of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetScale {
    /// What it should have.
    pub replicas: i32,
    /// What it has.
    pub status_replicas: i32,
    /// Its pods' label selector, as text.
    pub selector: Option<String>,
}

/// What is seen at a sync.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The target's scale, or why it can't be read.
    pub scale: Result<TargetScale, String>,
    /// The pods that the target's selector matches.
    pub pods: Vec<Arc<Pod>>,
    /// Usage by name of the pod.
    pub usage: BTreeMap<String, PodUsage>,
    /// Values of External metrics by their place in the spec, thousandths, or why there are none.
    pub external: BTreeMap<usize, Result<Vec<i64>, String>>,
    /// Another autoscaler's target selects some of the same pods.
    pub is_ambiguous: bool,
}

/// What one sync decided.
#[derive(Debug)]
pub struct Decided {
    /// Set the target to this many replicas.
    pub replicas: Option<i32>,
    /// Why, in upstream's words.
    pub reason: String,
    decision: Decision,
}

/// The kernel's state for this autoscaler: the one from before with its present spec, or a new one.
///
/// # Errors
/// A spec that the kernel can't read, with the reason.
pub fn state(
    before: Option<Autoscaler>,
    object: &HorizontalPodAutoscaler,
    options: &Options,
) -> Result<Autoscaler, String> {
    let spec: HpaSpec = serde_json::to_value(&object.spec)
        .and_then(serde_json::from_value)
        .map_err(|error| format!("spec: {error}"))?;
    let fault = |error: &dyn std::fmt::Display| format!("spec: {error}");
    match before {
        Some(mut autoscaler) => {
            autoscaler.reconfigure(spec).map_err(|error| fault(&error))?;
            Ok(autoscaler)
        }
        None => Autoscaler::new(spec, options.clone()).map_err(|error| fault(&error)),
    }
}

/// Decides.
pub fn sync(autoscaler: &mut Autoscaler, sight: &Sight, now: Timestamp) -> Decided {
    let observation = observe(autoscaler.spec(), sight, now);
    let decision = autoscaler.step(&observation);
    Decided { replicas: decision.replicas, reason: decision.reason.clone(), decision }
}

/// Writes what was decided, and what became of it, into the status and events.
pub fn conclude(
    object: &HorizontalPodAutoscaler,
    autoscaler: &mut Autoscaler,
    sight: &Sight,
    sync: &Decided,
    failure: Option<&str>,
    now: Timestamp,
) -> Outcome {
    let mut outcome = Outcome::nothing();
    let mut conditions = sync.decision.conditions.clone();
    let mut desired = sync.decision.desired;
    if let Err(error) = &sight.scale {
        if let Some(condition) = &mut conditions.able_to_scale {
            condition.message = format!("{}: {error}", condition.message);
        }
        outcome.push(Effect::note(object, COMPONENT, true, "FailedGetScale", error.as_str()));
    }
    if let Some(replicas) = sync.replicas {
        let message = format!("New size: {replicas}; reason: {}", sync.reason);
        match failure {
            None => outcome.push(Effect::note(object, COMPONENT, false, "SuccessfulRescale", message)),
            Some(error) => {
                autoscaler.rescale_failed(error, ns(now));
                if let Some(condition) = &mut conditions.able_to_scale {
                    condition.status = false;
                    condition.reason = "FailedUpdateScale".to_owned();
                    condition.message =
                        format!("the HPA controller was unable to update the target scale: {error}");
                }
                desired = sight.scale.as_ref().map_or(desired, |scale| scale.replicas);
                let message = format!("{message}; error: {error}");
                outcome.push(Effect::note(object, COMPONENT, true, "FailedRescale", message));
            }
        }
    }
    if let Some(condition) = conditions.scaling_active.as_ref().filter(|condition| !condition.status)
        && condition.reason.starts_with("FailedGet")
    {
        let why = condition.message.as_str();
        outcome.push(Effect::note(object, COMPONENT, true, &condition.reason, why));
        outcome.push(Effect::note(object, COMPONENT, true, "FailedComputeMetricsReplicas", why));
    }
    let current = sight.scale.as_ref().map_or_else(
        |_| object.status.as_ref().and_then(|status| status.current_replicas),
        |scale| Some(scale.replicas),
    );
    let mut status = json!({"desiredReplicas": desired, "currentMetrics": current_metrics(autoscaler, sync)});
    let mut set = |field: &str, value: Value| {
        if !value.is_null() {
            status[field] = value;
        }
    };
    set("currentReplicas", json!(current.filter(|count| *count > 0)));
    set("observedGeneration", json!(object.metadata.generation));
    let last = autoscaler.last_scale_ns().and_then(timestamp).map(seconds);
    let before = object.status.as_ref().map_or_else(|| json!({}), |status| json!(status));
    set("lastScaleTime", last.map_or_else(|| before["lastScaleTime"].clone(), Value::from));
    let all = [
        ("AbleToScale", &conditions.able_to_scale),
        ("ScalingActive", &conditions.scaling_active),
        ("ScalingLimited", &conditions.scaling_limited),
        ("ScaledToZero", &conditions.scaled_to_zero),
    ];
    let written: Vec<Value> = all
        .into_iter()
        .filter_map(|(kind, condition)| Some(condition_of(kind, condition.as_ref()?, now)))
        .collect();
    status["conditions"] = written.into();
    if let Some(patch) = merge_patch(&before, &status) {
        outcome.push(Effect::Patch {
            kind: Kind::HorizontalPodAutoscaler,
            key: Key::of(&object.metadata),
            status: true,
            patch: json!({ "status": patch }),
        });
    }
    outcome
}

fn condition_of(kind: &str, condition: &Condition, now: Timestamp) -> Value {
    json!({
        "type": kind,
        "status": if condition.status { "True" } else { "False" },
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": seconds(timestamp(condition.since_ns).unwrap_or(now)),
    })
}

fn ns(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

fn timestamp(ns: u64) -> Option<Timestamp> {
    Timestamp::from_nanosecond(i128::from(ns)).ok()
}

/// A time as Kubernetes writes it, in whole seconds.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// What each metric is now, of those that could be read; null if none could.
fn current_metrics(autoscaler: &Autoscaler, sync: &Decided) -> Value {
    let explained = &sync.decision.explanation.metrics;
    let metrics: Vec<Value> = autoscaler
        .spec()
        .metrics
        .iter()
        .zip(explained)
        .filter_map(|(metric, explained)| {
            let outcome = explained.outcome.as_ref()?;
            let value = Quantity::from_milli(outcome.value_milli).to_string();
            let mut current = match metric.target() {
                Target::Value(_) => json!({ "value": value }),
                _ => json!({ "averageValue": value }),
            };
            if let Some(percent) = outcome.utilization {
                current["averageUtilization"] = percent.into();
            }
            Some(match metric {
                MetricSpec::Resource { name, .. } => {
                    json!({"type": "Resource", "resource": {"name": name, "current": current}})
                }
                MetricSpec::ContainerResource { name, container, .. } => {
                    json!({"type": "ContainerResource",
                        "containerResource": {"name": name, "container": container, "current": current}})
                }
                MetricSpec::Pods { metric, .. } => {
                    json!({"type": "Pods", "pods": {"metric": metric, "current": current}})
                }
                MetricSpec::Object { metric, described_object, .. } => {
                    json!({"type": "Object", "object": {"metric": metric, "describedObject": described_object,
                        "current": current}})
                }
                MetricSpec::External { metric, .. } => {
                    json!({"type": "External", "external": {"metric": metric, "current": current}})
                }
            })
        })
        .collect();
    if metrics.is_empty() { Value::Null } else { metrics.into() }
}

fn observe(spec: &HpaSpec, sight: &Sight, now: Timestamp) -> Observation {
    let scale = sight.scale.as_ref().ok();
    let selector = match scale {
        Some(TargetScale { selector: None, .. }) => Selector::Invalid,
        _ if sight.is_ambiguous => Selector::Ambiguous,
        _ => Selector::Valid,
    };
    Observation {
        now_ns: ns(now),
        scale: scale
            .map(|scale| Scale { spec_replicas: scale.replicas, status_replicas: scale.status_replicas }),
        selector,
        pods: sight.pods.iter().map(|pod| kernel_pod(pod)).collect(),
        readings: spec
            .metrics
            .iter()
            .enumerate()
            .map(|(place, metric)| reading(place, metric, sight))
            .collect(),
    }
}

fn kernel_pod(pod: &Pod) -> KernelPod {
    let ready = pods::condition(pod, "Ready").map(|ready| Readiness {
        status: match ready.status.as_str() {
            "True" => ReadyStatus::True,
            "False" => ReadyStatus::False,
            _ => ReadyStatus::Unknown,
        },
        since_ns: ready.last_transition_time.as_ref().map_or(0, |time| ns(time.0)),
    });
    KernelPod {
        phase: match pods::phase(pod) {
            "Running" => Phase::Running,
            "Succeeded" => Phase::Succeeded,
            "Failed" => Phase::Failed,
            "Unknown" => Phase::Unknown,
            _ => Phase::Pending,
        },
        deleting: pods::is_terminating(pod),
        ready,
        started_ns: pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| ns(time.0)),
    }
}

fn reading(place: usize, metric: &MetricSpec, sight: &Sight) -> Reading {
    let (name, container) = match metric {
        MetricSpec::Resource { name, .. } => (name, None),
        MetricSpec::ContainerResource { name, container, .. } => (name, Some(container)),
        MetricSpec::Pods { metric, .. } => return not_served("custom", &metric.name),
        MetricSpec::Object { metric, .. } => return not_served("custom", &metric.name),
        MetricSpec::External { metric, .. } => {
            return match sight.external.get(&place) {
                Some(Ok(values)) => Reading::Values { values_milli: values.clone() },
                Some(Err(message)) => Reading::Failed { message: message.clone() },
                None => not_served("external", &metric.name),
            };
        }
    };
    let samples: Vec<Option<Sample>> = sight
        .pods
        .iter()
        .map(|pod| {
            let usage = sight.usage.get(pod.metadata.name.as_deref()?)?;
            let mut containers =
                usage.containers.iter().filter(|(found, _)| container.is_none_or(|wanted| wanted == *found));
            let first = value_milli(name, containers.next()?.1)?;
            let value_milli = containers
                .try_fold(first, |sum, (_, usage)| Some(sum.saturating_add(value_milli(name, usage)?)))?;
            let window_ns = u64::try_from(usage.window.as_nanos()).unwrap_or(u64::MAX);
            Some(Sample { value_milli, at_ns: ns(usage.at), window_ns })
        })
        .collect();
    if samples.iter().all(Option::is_none) {
        let what = match container {
            None => format!(
                "unable to get metrics for resource {name}: no metrics returned from resource metrics API"
            ),
            Some(_) => format!("no metrics returned from resource metrics API for resource {name}"),
        };
        return Reading::Failed { message: what };
    }
    let requests_milli = sight.pods.iter().map(|pod| requests_milli(pod, name, container)).collect();
    Reading::Pods { samples, requests_milli, others_milli: Vec::new() }
}

fn not_served(kind: &str, metric: &str) -> Reading {
    Reading::Failed {
        message: format!(
            "unable to get {kind} metric {metric}: no {kind} metrics API ({kind}.metrics.k8s.io) registered"
        ),
    }
}

fn value_milli(resource: &str, usage: &Usage) -> Option<i64> {
    match resource {
        "cpu" => i64::try_from(usage.cpu_nano.div_ceil(1_000_000)).ok(),
        "memory" => i64::try_from(usage.memory_bytes).ok()?.checked_mul(1_000),
        _ => None,
    }
}

/// Requests of a pod's containers (sidecars too), or of one of them; `None` if one has none.
fn requests_milli(pod: &Pod, resource: &str, container: Option<&String>) -> Option<i64> {
    let spec = pod.spec.as_ref()?;
    let sidecars =
        spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let meant = |found: &&Container| container.is_none_or(|wanted| *wanted == found.name);
    let mut sum = 0_i64;
    for container in spec.containers.iter().chain(sidecars).filter(meant) {
        let amount = container.resources.as_ref()?.requests.as_ref()?.get(resource)?;
        sum = sum.checked_add(i64::try_from(quantity::milli(amount)?).ok()?)?;
    }
    Some(sum)
}
