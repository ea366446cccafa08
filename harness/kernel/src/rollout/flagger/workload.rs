//! Whether a workload is ready, and whether waiting can help.

use serde::{Deserialize, Serialize};

use super::spec::Reference;

/// What kind of thing the target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetKind {
    /// A `Deployment`, scaled to zero between releases.
    Deployment,
    /// A `DaemonSet`, kept off the nodes between releases.
    DaemonSet,
    /// A Kubernetes `Service`: always ready, nothing to scale.
    Service,
    /// A Knative `Service`: ready when its revision is, nothing to scale.
    KnativeService,
}

impl TargetKind {
    /// The kind that `reference` names; everything unknown is a Deployment.
    #[must_use]
    pub fn of(reference: &Reference) -> Self {
        match (reference.kind.as_str(), reference.api_version.as_str()) {
            ("DaemonSet", _) => Self::DaemonSet,
            ("Service", "serving.knative.dev/v1") => Self::KnativeService,
            ("Service", _) => Self::Service,
            _ => Self::Deployment,
        }
    }

    /// Whether it is scaled to zero and back.
    #[must_use]
    pub fn is_scaled(self) -> bool {
        matches!(self, Self::Deployment | Self::DaemonSet)
    }
}

/// A workload as it is seen. For a DaemonSet `spec_replicas` is the number of nodes that it should run on, and for a
/// Knative service `updated` of `replicas` says whether its revision is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workload {
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// Replicas asked for; `None` = not said.
    pub spec_replicas: Option<i32>,
    /// Replicas that there are.
    pub replicas: i32,
    /// Replicas of the newest template.
    pub updated: i32,
    /// Replicas that serve.
    pub available: i32,
    /// Reason of the condition `Progressing`; `None` = there is no such condition.
    pub progressing_reason: Option<String>,
    /// Since when the condition `Available` is false for `MinimumReplicasUnavailable`, nanoseconds since the Unix
    /// epoch.
    pub unavailable_since_ns: Option<u64>,
}

impl Workload {
    /// A workload of which every replica serves.
    #[must_use]
    pub fn ready(replicas: i32) -> Self {
        Self {
            spec_replicas: Some(replicas),
            replicas,
            updated: replicas,
            available: replicas,
            progressing_reason: Some("NewReplicaSetAvailable".to_string()),
            ..Self::default()
        }
    }
}

/// Whether a workload is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Readiness {
    /// It is.
    Ready,
    /// Not yet, and waiting can help.
    Waiting(String),
    /// It is stuck.
    Stuck(String),
}

impl Readiness {
    /// Whether it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Whether waiting can help (also when there is nothing to wait for).
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        !matches!(self, Self::Stuck(_))
    }

    fn not_yet(retriable: bool, reason: String) -> Self {
        if retriable { Self::Waiting(reason) } else { Self::Stuck(reason) }
    }
}

/// `threshold` percent of `replicas`, in single precision and cut off, as upstream computes it.
fn share(replicas: i32, threshold: i32) -> i32 {
    (replicas as f32 * (threshold as f32 / 100.0)) as i32
}

/// Whether a Deployment is ready: all of `spec.replicas` are of the newest template, no old one is left, and
/// `threshold` percent are available.
///
/// It is stuck when its condition says `ProgressDeadlineExceeded`, or when too few replicas have been available for
/// longer than `deadline_s`. Upstream: `pkg/canary/deployment_ready.go`.
#[must_use]
pub fn deployment_readiness(workload: &Workload, deadline_s: i32, threshold: i32, now_ns: u64) -> Readiness {
    if workload.generation > workload.observed_generation {
        return Readiness::Waiting(
            "waiting for rollout to finish: observed generation less than desired generation".to_string(),
        );
    }
    let in_time = match (&workload.progressing_reason, workload.unavailable_since_ns) {
        (Some(_), Some(since_ns)) => !is_past(since_ns, deadline_s, now_ns),
        _ => true,
    };
    let wanted_available = share(workload.updated, threshold);
    if workload.progressing_reason.as_deref() == Some("ProgressDeadlineExceeded") {
        return Readiness::Stuck("exceeded its progress deadline".to_string());
    }
    let Workload { replicas, updated, available, .. } = *workload;
    match workload.spec_replicas {
        Some(wanted) if updated < wanted => Readiness::not_yet(
            in_time,
            format!(
                "waiting for rollout to finish: {updated} out of {wanted} new replicas have been updated"
            ),
        ),
        _ if replicas > updated => Readiness::not_yet(
            in_time,
            format!(
                "waiting for rollout to finish: {} old replicas are pending termination",
                i64::from(replicas) - i64::from(updated)
            ),
        ),
        _ if available < wanted_available => Readiness::not_yet(
            in_time,
            format!(
                "waiting for rollout to finish: {available} of {wanted_available} (readyThreshold {threshold}%) \
                 updated replicas are available"
            ),
        ),
        _ => Readiness::Ready,
    }
}

/// Whether a DaemonSet is ready: the newest template is on every node that it should be on, and `threshold` percent
/// of those are available.
///
/// It is stuck when that took longer than `deadline_s` since the canary's status last changed. Upstream:
/// `pkg/canary/daemonset_ready.go`.
#[must_use]
pub fn daemon_set_readiness(
    workload: &Workload,
    deadline_s: i32,
    threshold: i32,
    changed_ns: u64,
    now_ns: u64,
) -> Readiness {
    if workload.generation > workload.observed_generation {
        return Readiness::Waiting(
            "waiting for rollout to finish: observed generation less than desired generation".to_string(),
        );
    }
    let wanted = workload.spec_replicas.unwrap_or(0);
    let Workload { updated, available, .. } = *workload;
    let wanted_available = share(wanted, threshold);
    if updated >= wanted && available >= wanted_available {
        return Readiness::Ready;
    }
    if is_past(changed_ns, deadline_s, now_ns) {
        return Readiness::Stuck(format!("exceeded its progressDeadlineSeconds: {deadline_s}"));
    }
    Readiness::Waiting(if updated < wanted {
        format!("waiting for rollout to finish: {updated} out of {wanted} new pods have been updated")
    } else {
        format!(
            "waiting for rollout to finish: {available} of {wanted_available} (readyThreshold {threshold}%) \
             updated pods are available"
        )
    })
}

/// Whether `deadline_s` (which may be negative) after `from_ns` lies before now.
fn is_past(from_ns: u64, deadline_s: i32, now_ns: u64) -> bool {
    i128::from(from_ns) + i128::from(deadline_s) * 1_000_000_000 < i128::from(now_ns)
}
