//! Conditions of a service: how they are set, and how a component's readiness follows from its Deployments.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};

use super::super::status_types::InferenceServiceStatus;
use super::workload::Component;
use crate::condition::{self, Condition, FALSE, TRUE, UNKNOWN};
use crate::pod_fields::WORKER_CONTAINER;

/// The predictor serves.
pub(super) const PREDICTOR_READY: &str = "PredictorReady";
/// Requests from outside get to the service.
pub(super) const INGRESS_READY: &str = "IngressReady";
/// The summary.
pub(super) const READY: &str = "Ready";
/// The service is stopped.
pub(super) const STOPPED: &str = "Stopped";
/// All named canaries serve.
pub(super) const CANARY_READY: &str = "CanaryPredictorReady";

/// Sets a condition; those that `Ready` does not follow from are mere information.
pub(super) fn set(status: &mut InferenceServiceStatus, condition: Condition) {
    let decides = matches!(condition.type_.as_str(), PREDICTOR_READY | INGRESS_READY | READY);
    let condition = if decides { condition } else { condition.informational() };
    condition::set(&mut status.conditions, condition);
}

/// Sets `IngressReady` to `False`.
pub(super) fn no_ingress(status: &mut InferenceServiceStatus, reason: &str, message: &str) {
    set(status, Condition::new(INGRESS_READY, FALSE, reason, message));
}

/// Whether the condition is `True`.
pub(super) fn holds(status: &InferenceServiceStatus, type_: &str) -> bool {
    condition::is_true(&status.conditions, type_)
}

/// Sets the conditions that every service has from its first status on, and sums up.
pub(super) fn complete(status: &mut InferenceServiceStatus) {
    for type_ in [PREDICTOR_READY, INGRESS_READY] {
        if condition::find(&status.conditions, type_).is_none() {
            set(status, Condition::new(type_, UNKNOWN, "", ""));
        }
    }
    condition::summarise(&mut status.conditions, READY, &[PREDICTOR_READY, INGRESS_READY]);
}

/// Whether a component is ready, from the Deployments that it runs on: one, or head and workers of a model that spans
/// several nodes. `None` is a Deployment that is not there yet.
///
/// Later rules are stronger: available; the progress that failed or ended; not available; replicas that cannot be
/// made (upstream's `PropagateRawStatus`).
pub(super) fn readiness(component: Component, deployments: &[Option<&Deployment>]) -> Condition {
    let type_ = component.ready();
    let available = joined(deployments, "Available");
    let progressing = joined(deployments, "Progressing");
    let is_available = available.is(TRUE);
    let mut ready = Condition::new(type_, FALSE, "", "");
    if is_available {
        ready = available.with(type_, TRUE);
    }
    if progressing.is(FALSE) {
        // Without words nothing went wrong.
        if !progressing.message.is_empty() {
            ready = progressing.with(type_, FALSE);
        }
    } else if progressing.is(TRUE) {
        if progressing.reason == "NewReplicaSetAvailable" {
            ready = progressing.with(type_, TRUE);
        } else if !is_available {
            ready = progressing.with(type_, UNKNOWN);
        }
    }
    if available.is(FALSE) {
        ready = available.with(type_, FALSE);
    }
    let failure = joined(deployments, "ReplicaFailure");
    if failure.is(TRUE) {
        ready = failure.with(type_, FALSE);
    }
    ready
}

/// A condition of one Deployment, or of two together.
#[derive(Default)]
struct Joined {
    status: String,
    reason: String,
    message: String,
}

impl Joined {
    fn is(&self, status: &str) -> bool {
        self.status == status
    }

    fn with(&self, type_: &str, status: &str) -> Condition {
        Condition::new(type_, status, &self.reason, &self.message)
    }
}

/// The condition of the only Deployment. Of several, all must have it: it holds if it holds for all, and the words of
/// each are kept behind the name of its container.
fn joined(deployments: &[Option<&Deployment>], type_: &str) -> Joined {
    let found: Vec<(&Deployment, &DeploymentCondition)> = deployments
        .iter()
        .flatten()
        .filter_map(|deployment| {
            let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
            Some((*deployment, conditions.iter().find(|condition| condition.type_ == type_)?))
        })
        .collect();
    if found.is_empty() || found.len() != deployments.len() {
        return Joined::default();
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if let [(_, condition)] = found.as_slice() {
        return Joined {
            status: condition.status.clone(),
            reason: text(&condition.reason),
            message: text(&condition.message),
        };
    }
    let prefixed = |words: fn(&DeploymentCondition) -> &Option<String>| {
        let parts: Vec<String> = found
            .iter()
            .map(|(deployment, condition)| {
                let name = deployment.metadata.name.as_deref().unwrap_or_default();
                let container =
                    if name.contains("worker") { WORKER_CONTAINER } else { "predictor-container" };
                format!("{container}: {}", text(words(condition)))
            })
            .collect();
        parts.join(", ")
    };
    let all_true = found.iter().all(|(_, condition)| condition.status == TRUE);
    let one_reason = found.iter().all(|(_, condition)| condition.reason == found[0].1.reason);
    Joined {
        status: if all_true { TRUE } else { FALSE }.to_owned(),
        reason: if one_reason { text(&found[0].1.reason) } else { prefixed(|condition| &condition.reason) },
        message: prefixed(|condition| &condition.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(name: &str, conditions: &[(&str, &str, &str, &str)]) -> Deployment {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(type_, status, reason, message)| {
                json!({"type": type_, "status": status, "reason": reason, "message": message})
            })
            .collect();
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"conditions": conditions}}))
            .unwrap()
    }

    fn ready(conditions: &[(&str, &str, &str, &str)]) -> (String, String) {
        let deployment = deployment("m-predictor", conditions);
        let condition = readiness(Component::Predictor, &[Some(&deployment)]);
        (condition.status.clone(), condition.reason().to_owned())
    }

    fn pair(status: &str, reason: &str) -> (String, String) {
        (status.to_owned(), reason.to_owned())
    }

    /// A service would be called ready while it cannot serve, or the other way round: the cases of upstream's
    /// `inference_service_status_test.go` for `PropagateRawStatus`.
    #[test]
    fn later_rules_are_stronger() {
        let available = ("Available", "True", "MinimumReplicasAvailable", "ok");
        let unavailable = ("Available", "False", "MinimumReplicasUnavailable", "no");
        let done = ("Progressing", "True", "NewReplicaSetAvailable", "done");
        let busy = ("Progressing", "True", "ReplicaSetUpdated", "busy");
        let late = ("Progressing", "False", "ProgressDeadlineExceeded", "late");
        let broken = ("ReplicaFailure", "True", "FailedCreate", "quota");
        assert_eq!(ready(&[]), pair(FALSE, ""));
        assert_eq!(ready(&[available]), pair(TRUE, "MinimumReplicasAvailable"));
        assert_eq!(ready(&[available, done]), pair(TRUE, "NewReplicaSetAvailable"));
        assert_eq!(ready(&[available, busy]), pair(TRUE, "MinimumReplicasAvailable"));
        assert_eq!(ready(&[busy]), pair(UNKNOWN, "ReplicaSetUpdated"));
        assert_eq!(ready(&[available, late]), pair(FALSE, "ProgressDeadlineExceeded"));
        assert_eq!(ready(&[unavailable, busy]), pair(FALSE, "MinimumReplicasUnavailable"));
        assert_eq!(ready(&[unavailable, late]), pair(FALSE, "MinimumReplicasUnavailable"));
        assert_eq!(ready(&[unavailable, done]), pair(FALSE, "MinimumReplicasUnavailable"));
        assert_eq!(ready(&[available, done, broken]), pair(FALSE, "FailedCreate"));
        // A failure without words is not one.
        assert_eq!(ready(&[available, ("Progressing", "False", "x", "")]).0, TRUE);
    }

    /// A model that spans nodes would be called ready while half of it is missing.
    #[test]
    fn head_and_workers_together() {
        let head = deployment("m-predictor", &[("Available", "True", "MinimumReplicasAvailable", "a")]);
        let worker =
            deployment("m-predictor-worker", &[("Available", "False", "MinimumReplicasUnavailable", "b")]);
        let both = readiness(Component::Predictor, &[Some(&head), Some(&worker)]);
        assert_eq!(both.status, FALSE);
        assert_eq!(both.message(), "predictor-container: a, worker-container: b");
        assert_eq!(
            both.reason(),
            "predictor-container: MinimumReplicasAvailable, worker-container: MinimumReplicasUnavailable"
        );
        let missing = readiness(Component::Predictor, &[Some(&head), None]);
        assert_eq!((missing.status.as_str(), missing.reason()), (FALSE, ""));
        let good =
            deployment("m-predictor-worker", &[("Available", "True", "MinimumReplicasAvailable", "b")]);
        let both = readiness(Component::Predictor, &[Some(&head), Some(&good)]);
        assert_eq!((both.status.as_str(), both.reason()), (TRUE, "MinimumReplicasAvailable"));
    }
}
