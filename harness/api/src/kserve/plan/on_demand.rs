//! Scaling by requests in the Standard mode (autoscaler class `kpa`, profile Windtunnel): what a Deployment tells the
//! autoscaler, and when a component that may be asleep is ready.
//!
//! The settings stand in the annotations of the Deployment, not of its pods, so that other bounds restart nothing. They are
//! those of a Knative revision; only the limit of requests in a pod, which a revision has in its specification, needs one of
//! our own.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use windtunnel_kernel::autoscale::kpa::{Config, GlobalConfig};

use super::knative_mode::autoscaling_annotations;
use super::workload::{Component, Workload};
use super::{Fault, conditions, model_state};
use crate::condition::{Condition, FALSE, TRUE, UNKNOWN};
use crate::knative::{AGGRESSIVE_PERIOD_MS, AGGRESSIVE_PROBE_MS, names as knative};

/// Annotation of a Deployment that is scaled by its requests: how many a pod takes at a time, 0 = no limit.
pub const CONTAINER_CONCURRENCY: &str = "windtunnel.dev/container-concurrency";
/// How long a start may take where the Deployment does not say, in seconds.
const PROGRESS_DEADLINE_S: u64 = 600;
/// How often a server is probed where nobody says, in seconds: a request may be waiting for it.
const PROBE_PERIOD_S: i32 = 1;

/// Whether the request-based autoscaler scales the Deployment.
#[must_use]
pub fn is_on_demand(deployment: &Deployment) -> bool {
    annotation(deployment, CONTAINER_CONCURRENCY).is_some()
        && annotation(deployment, knative::CLASS) == Some(knative::KPA_CLASS)
}

/// How many requests a pod of the Deployment takes at a time; 0 = no limit.
#[must_use]
pub fn container_concurrency(deployment: &Deployment) -> u32 {
    annotation(deployment, CONTAINER_CONCURRENCY).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The settings of the Deployment's autoscaler: its annotations over the cluster's.
///
/// # Errors
/// The setting that cannot be used, in words.
pub fn config(deployment: &Deployment, global: &GlobalConfig) -> Result<Config, String> {
    let annotations = deployment.metadata.annotations.clone().unwrap_or_default();
    let deadline = deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds);
    let deadline = deadline.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(PROGRESS_DEADLINE_S);
    Config::resolve(global, &annotations, container_concurrency(deployment), deadline)
        .map_err(|error| error.to_string())
}

/// Makes a component's Deployment one that is scaled by its requests.
pub(super) fn mark(deployment: &mut Deployment, workload: &Workload, has_probe: bool) -> Result<(), Fault> {
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.insert(knative::CLASS.to_owned(), knative::KPA_CLASS.to_owned());
    autoscaling_annotations(annotations, &workload.extension);
    let limit = workload.extension.container_concurrency.unwrap_or(0).max(0);
    annotations.insert(CONTAINER_CONCURRENCY.to_owned(), limit.to_string());
    // What is wrong whatever the cluster's settings are is better said here than by an autoscaler that does nothing.
    config(deployment, &GlobalConfig::default())
        .map_err(|message| Fault::Reason("InvalidAutoscaling", message))?;
    let Some(template) = deployment.spec.as_mut().map(|spec| &mut spec.template) else { return Ok(()) };
    let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
    annotations.entry(AGGRESSIVE_PROBE_MS.to_owned()).or_insert_with(|| AGGRESSIVE_PERIOD_MS.to_owned());
    if !has_probe {
        let containers = template.spec.iter_mut().flat_map(|pod| &mut pod.containers);
        for probe in containers.filter_map(|container| container.readiness_probe.as_mut()) {
            probe.period_seconds = Some(PROBE_PERIOD_S);
        }
    }
    Ok(())
}

/// The annotations of pods without those that [`mark`] adds to what is wanted.
pub(super) fn unmarked(
    mut annotations: BTreeMap<String, String>,
    wanted: &Workload,
) -> BTreeMap<String, String> {
    if !wanted.annotations.contains_key(AGGRESSIVE_PROBE_MS) {
        annotations.remove(AGGRESSIVE_PROBE_MS);
    }
    annotations
}

/// Whether a Deployment would stay at zero once nobody scales it by its requests any more.
pub(super) fn is_asleep(deployment: &Deployment) -> bool {
    is_on_demand(deployment) && deployment.spec.as_ref().and_then(|spec| spec.replicas) == Some(0)
}

/// Whether requests are answered: a pod serves, or would if there were a request. A component that was ready once and may
/// be at zero stays so, asleep and while it wakes, unless its pods fail.
pub(super) fn serves(deployment: &Deployment, was_ready: bool, pods: &[&Pod]) -> bool {
    if deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0) > 0 {
        return true;
    }
    let may_sleep = annotation(deployment, knative::MIN_SCALE) == Some("0");
    let begins_asleep = is_asleep(deployment) && annotation(deployment, knative::INITIAL_SCALE) == Some("0");
    let pods = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    may_sleep && (was_ready || begins_asleep) && !pods.into_iter().any(|pod| model_state::has_failed(pod))
}

/// Whether a component is ready that is scaled by its requests. `was` is the condition that was told last.
pub(super) fn readiness(
    component: Component,
    deployment: Option<&Deployment>,
    was: Option<&Condition>,
    pods: &[&Pod],
) -> Condition {
    let plain = conditions::readiness(component, &[deployment]);
    let Some(deployment) = deployment else { return plain };
    if has_failed(deployment) {
        return plain;
    }
    if serves(deployment, was.is_some_and(Condition::is_true), pods) {
        return if plain.is_true() { plain } else { Condition::new(component.ready(), TRUE, "", "") };
    }
    // A Deployment of no replicas calls itself available, also one whose pods have never been ready.
    if is_asleep(deployment) {
        return was.cloned().unwrap_or_else(|| Condition::new(component.ready(), UNKNOWN, "", ""));
    }
    plain
}

/// Whether the Deployment says that it gets nowhere.
fn has_failed(deployment: &Deployment) -> bool {
    let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| {
        let has_message = condition.message.as_deref().is_some_and(|message| !message.is_empty());
        condition.type_ == "ReplicaFailure" && condition.status == TRUE
            || condition.type_ == "Progressing" && condition.status == FALSE && has_message
    })
}

fn annotation<'a>(deployment: &'a Deployment, key: &str) -> Option<&'a str> {
    deployment.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}
