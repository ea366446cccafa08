//! The status of a Deployment: counts, and the conditions Available, Progressing and ReplicaFailure.

use std::time::Duration;

use k8s_openapi::{
    api::apps::v1::{DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetStatus},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

use super::{bounds::Bounds, fleet::Fleet, paused};
use crate::controllers::pods::since;

/// What this call found out about the ReplicaSet of the present template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewReplicaSet {
    /// It was there, or is not needed yet.
    Known,
    /// It is made now.
    Created,
    /// Its name is taken by another template.
    Collided,
}

const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// Whether every wanted pod is of the present template and available, and no old pod is left.
pub(super) fn is_complete(fleet: &Fleet<'_>) -> bool {
    let status = counts(fleet);
    is_complete_status(fleet, &status)
}

fn is_complete_status(fleet: &Fleet<'_>, status: &DeploymentStatus) -> bool {
    let wanted = Some(fleet.wanted()).filter(|&wanted| wanted > 0);
    status.updated_replicas == wanted && status.replicas == wanted && status.available_replicas == wanted
}

/// The status now, and when to look again (progress deadline).
pub(super) fn status(
    fleet: &Fleet<'_>,
    new: &NewReplicaSet,
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let before = fleet.deployment.status.clone().unwrap_or_default();
    let mut status = counts(fleet);
    status.collision_count = before.collision_count;
    if *new == NewReplicaSet::Collided {
        status.collision_count = Some(before.collision_count.unwrap_or(0) + 1);
    }
    let mut conditions = before.conditions.clone().unwrap_or_default();
    set(&mut conditions, available_condition(fleet, &status), now);
    let mut requeue_after = None;
    match deadline(fleet) {
        None => conditions.retain(|condition| condition.type_ != "Progressing"),
        Some(deadline) if fleet.deployment.metadata.deletion_timestamp.is_none() => {
            progress(fleet, *new, &before, &status, &mut conditions, deadline, now);
            requeue_after = find(&conditions, "Progressing")
                .filter(|condition| !matches!(condition.reason.as_deref(), Some(COMPLETE | TIMED_OUT)))
                .filter(|condition| condition.reason.as_deref() != Some("DeploymentPaused"))
                .and_then(|condition| condition.last_update_time.as_ref())
                .map(|time| deadline.saturating_sub(since(time.0, now)) + Duration::from_millis(20));
        }
        Some(_) => {}
    }
    replica_failure(fleet, &mut conditions, now);
    status.conditions = Some(conditions);
    (status, requeue_after)
}

fn counts(fleet: &Fleet<'_>) -> DeploymentStatus {
    let some = |count: i32| Some(count).filter(|&count| count > 0);
    let of = |set: &ReplicaSet, field: fn(&ReplicaSetStatus) -> i32| set.status.as_ref().map_or(0, field);
    let sum = |field: fn(&ReplicaSetStatus) -> i32| fleet.sets().map(|set| of(set, field)).sum::<i32>();
    let available = fleet.available();
    DeploymentStatus {
        available_replicas: some(available),
        collision_count: None,
        conditions: None,
        observed_generation: fleet.deployment.metadata.generation,
        ready_replicas: some(sum(|status| status.ready_replicas.unwrap_or(0))),
        replicas: some(sum(|status| status.replicas)),
        terminating_replicas: Some(sum(|status| status.terminating_replicas.unwrap_or(0))),
        unavailable_replicas: some((fleet.total() - available).max(0)),
        updated_replicas: fleet.new_set().and_then(|set| some(of(set, |status| status.replicas))),
    }
}

fn available_condition(fleet: &Fleet<'_>, status: &DeploymentStatus) -> DeploymentCondition {
    let least = fleet.wanted() - Bounds::of(fleet.deployment).unavailable;
    if status.available_replicas.unwrap_or(0) >= least {
        condition(
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.".into(),
        )
    } else {
        let message = "Deployment does not have minimum availability.";
        condition("Available", "False", "MinimumReplicasUnavailable", message.into())
    }
}

/// The condition Progressing: complete, progressing, timed out, or as it was.
fn progress(
    fleet: &Fleet<'_>,
    new: NewReplicaSet,
    before: &DeploymentStatus,
    status: &DeploymentStatus,
    conditions: &mut Vec<DeploymentCondition>,
    deadline: Duration,
    now: Timestamp,
) {
    let name = fleet.new_set().and_then(|set| set.metadata.name.as_deref());
    let subject = match name {
        Some(name) => format!("ReplicaSet \"{name}\""),
        None => format!("Deployment \"{}\"", fleet.deployment.metadata.name.as_deref().unwrap_or_default()),
    };
    let present = find(conditions, "Progressing").cloned();
    let reason = present.as_ref().and_then(|condition| condition.reason.clone()).unwrap_or_default();
    if paused(fleet.deployment) {
        if reason != TIMED_OUT && reason != "DeploymentPaused" {
            set(
                conditions,
                condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".into()),
                now,
            );
        }
        return;
    }
    if reason == "DeploymentPaused" {
        let message = "Deployment is resumed".to_owned();
        set(conditions, condition("Progressing", "Unknown", "DeploymentResumed", message), now);
        return;
    }
    // Once complete it stays so until the template changes; scaling does not count as a roll-out.
    if reason == COMPLETE && new != NewReplicaSet::Created && status.replicas == status.updated_replicas {
        return;
    }
    let old_pods =
        |status: &DeploymentStatus| status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0);
    let moved = status.updated_replicas > before.updated_replicas
        || old_pods(status) < old_pods(before)
        || status.ready_replicas > before.ready_replicas
        || status.available_replicas > before.available_replicas;
    if fleet.new_set().is_some() && is_complete_status(fleet, status) {
        let message = format!("{subject} has successfully progressed.");
        set(conditions, condition("Progressing", "True", COMPLETE, message), now);
    } else if new == NewReplicaSet::Created {
        let message = format!("Created new replica set \"{}\"", name.unwrap_or_default());
        set(conditions, condition("Progressing", "True", "NewReplicaSetCreated", message), now);
    } else if moved || present.is_none() {
        let message = format!("{subject} is progressing.");
        let update = condition("Progressing", "True", "ReplicaSetUpdated", message);
        // Each step forward starts the deadline anew, so the time of update is written even if nothing else differs.
        conditions.retain(|condition| condition.type_ != "Progressing");
        let transition =
            present.filter(|before| before.status == "True").and_then(|before| before.last_transition_time);
        conditions.push(DeploymentCondition {
            last_update_time: Some(Time(now)),
            last_transition_time: transition.or(Some(Time(now))),
            ..update
        });
    } else if reason != TIMED_OUT
        && present
            .and_then(|condition| condition.last_update_time)
            .is_some_and(|time| reason != COMPLETE && since(time.0, now) >= deadline)
    {
        let message = format!("{subject} has timed out progressing.");
        set(conditions, condition("Progressing", "False", TIMED_OUT, message), now);
    }
}

fn replica_failure(fleet: &Fleet<'_>, conditions: &mut Vec<DeploymentCondition>, now: Timestamp) {
    let failure = fleet.new_set().into_iter().chain(fleet.old_sets()).find_map(|set| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
    });
    match failure {
        Some(failure) => {
            let reason = failure.reason.as_deref().unwrap_or("FailedCreate");
            let message = failure.message.clone().unwrap_or_default();
            set(conditions, condition("ReplicaFailure", "True", reason, message), now);
        }
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
    }
}

fn deadline(fleet: &Fleet<'_>) -> Option<Duration> {
    let seconds = fleet.deployment.spec.as_ref()?.progress_deadline_seconds.unwrap_or(600);
    (seconds != i32::MAX).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn condition(kind: &str, status: &str, reason: &str, message: String) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: None,
        last_transition_time: None,
    }
}

fn find<'a>(conditions: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Puts a condition in place; times change only if the condition does, the transition only with the status.
fn set(conditions: &mut Vec<DeploymentCondition>, mut wanted: DeploymentCondition, now: Timestamp) {
    let at = conditions.iter().position(|condition| condition.type_ == wanted.type_);
    let Some(at) = at else {
        wanted.last_update_time = Some(Time(now));
        wanted.last_transition_time = Some(Time(now));
        conditions.push(wanted);
        return;
    };
    let present = &conditions[at];
    if present.status == wanted.status && present.reason == wanted.reason && present.message == wanted.message
    {
        return;
    }
    wanted.last_update_time = Some(Time(now));
    wanted.last_transition_time =
        if present.status == wanted.status { present.last_transition_time.clone() } else { Some(Time(now)) };
    conditions[at] = wanted;
}
