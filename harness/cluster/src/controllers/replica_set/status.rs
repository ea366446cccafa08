//! The status of a ReplicaSet.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

use crate::controllers::{pods, selector};

/// The status now, and when a ready pod becomes available (`minReadySeconds`).
pub(super) fn status(
    set: &ReplicaSet,
    owned: &[&Arc<Pod>],
    failure: Option<&str>,
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Duration>) {
    let spec = set.spec.as_ref();
    let min_ready_s = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let labels = spec
        .and_then(|spec| spec.template.as_ref()?.metadata.as_ref()?.labels.as_ref())
        .cloned()
        .unwrap_or_default();
    let mut status = ReplicaSetStatus {
        observed_generation: set.metadata.generation,
        terminating_replicas: Some(0),
        ..ReplicaSetStatus::default()
    };
    let mut next: Option<Duration> = None;
    let add = |field: &mut Option<i32>| *field = Some(field.unwrap_or(0) + 1);
    for pod in owned {
        if pods::is_terminating(pod) && !pods::is_finished(pod) {
            add(&mut status.terminating_replicas);
            continue;
        }
        if !pods::is_active(pod) {
            continue;
        }
        status.replicas += 1;
        if selector::has_all(&labels, pod.metadata.labels.as_ref()) {
            add(&mut status.fully_labeled_replicas);
        }
        match pods::available_in(pod, min_ready_s, now) {
            None => {}
            Some(Duration::ZERO) => {
                add(&mut status.ready_replicas);
                add(&mut status.available_replicas);
            }
            Some(wait) => {
                add(&mut status.ready_replicas);
                next = Some(next.map_or(wait, |next| next.min(wait)));
            }
        }
    }
    status.conditions = conditions(set, failure, now);
    (status, next)
}

fn conditions(set: &ReplicaSet, failure: Option<&str>, now: Timestamp) -> Option<Vec<ReplicaSetCondition>> {
    let before = set.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let present = before.iter().find(|condition| condition.type_ == "ReplicaFailure").cloned();
    let mut after: Vec<_> =
        before.into_iter().filter(|condition| condition.type_ != "ReplicaFailure").collect();
    if let Some(message) = failure {
        after.push(ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some("FailedCreate".into()),
            message: Some(message.to_owned()),
            last_transition_time: present
                .and_then(|condition| condition.last_transition_time)
                .or(Some(Time(now))),
        });
    }
    (!after.is_empty()).then_some(after)
}
