//! What the Deployment controller says of a Deployment: the part that KServe's controller looks at.

use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};

/// A Deployment's pods, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// All that are not stopping.
    pub(crate) replicas: i32,
    /// Those of the newest template.
    pub(crate) updated: i32,
    /// Those that get requests.
    pub(crate) available: i32,
    /// Whether no more of them are missing than the strategy allows.
    pub(crate) is_available: bool,
    /// Whether an update has made no progress for too long.
    pub(crate) is_overdue: bool,
}

impl Counts {
    /// The status of a Deployment whose controller has seen its generation.
    pub(crate) fn status(&self, generation: Option<i64>) -> DeploymentStatus {
        let condition = |type_: &str, holds: bool, reason: &str, message: &str| DeploymentCondition {
            type_: type_.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            ..DeploymentCondition::default()
        };
        let mut conditions = vec![if self.is_available {
            condition("Available", true, "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            let message = "Deployment does not have minimum availability.";
            condition("Available", false, "MinimumReplicasUnavailable", message)
        }];
        if self.is_overdue {
            let message = "the newest ReplicaSet has timed out progressing.";
            conditions.push(condition("Progressing", false, "ProgressDeadlineExceeded", message));
        }
        let count = |number: i32| Some(number).filter(|number| *number != 0);
        DeploymentStatus {
            observed_generation: generation,
            replicas: count(self.replicas),
            updated_replicas: count(self.updated),
            ready_replicas: count(self.available),
            available_replicas: count(self.available),
            conditions: Some(conditions),
            ..DeploymentStatus::default()
        }
    }
}
