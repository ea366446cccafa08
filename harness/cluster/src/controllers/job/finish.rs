//! How a Job ends: what decides it, and the conditions that say so.
//!
//! A decision is first noted as `SuccessCriteriaMet` or `FailureTarget`; `Complete` or `Failed` follow when no pod is
//! left running and all are counted.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobSpec, JobStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

use super::{COMPONENT, account::Account, indexes, is_suspended, template};
use crate::{
    controllers::pods,
    effect::{Effect, Outcome},
};

const SUCCESS: &str = "SuccessCriteriaMet";
const FAILURE: &str = "FailureTarget";

/// Whether the status has this condition with the status `True`.
pub(super) fn has(status: &JobStatus, kind: &str) -> bool {
    find(status, kind).is_some()
}

fn find<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Sets a condition; its times change only with it.
pub(super) fn set(
    status: &mut JobStatus,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    let wanted = JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == kind) {
        Some(present) if present.status == value && present.reason.as_deref() == Some(reason) => {}
        Some(present) => *present = wanted,
        None => conditions.push(wanted),
    }
}

/// Whether the Job has come to its end.
pub(super) fn is_finished(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| has(status, "Complete") || has(status, "Failed"))
}

/// Whether it is clear how the Job ends.
pub(super) fn is_decided(status: &JobStatus) -> bool {
    has(status, SUCCESS) || has(status, FAILURE)
}

/// Notes what decides the Job, if anything does.
pub(super) fn judge(
    spec: &JobSpec,
    status: &mut JobStatus,
    account: &Account<'_>,
    owned: &[&Arc<Pod>],
    now: Timestamp,
) {
    if is_decided(status) {
        return;
    }
    let fail = |status: &mut JobStatus, reason: &str, message: &str| {
        set(status, FAILURE, "True", reason, message, now);
    };
    if let Some(message) = &account.fatal {
        fail(status, "PodFailurePolicy", message);
        return;
    }
    let limit = spec.backoff_limit.unwrap_or(6);
    if account.failed() > limit || restarts_exceed(spec, owned, limit) {
        fail(status, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
        return;
    }
    if !is_suspended(spec) && deadline_in(spec, status, now) == Some(Duration::ZERO) {
        fail(status, "DeadlineExceeded", "Job was active longer than specified deadline");
        return;
    }
    if spec.max_failed_indexes.is_some_and(|most| super::count(account.failed_indexes().len()) > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        fail(status, "MaxFailedIndexesExceeded", message);
        return;
    }
    if let Some(rule) = success_rule(spec, account.completed_indexes()) {
        set(status, SUCCESS, "True", "SuccessPolicy", &format!("Matched rules at index {rule}"), now);
        return;
    }
    let is_complete = match spec.completions {
        None => {
            let is_idle = !owned.iter().any(|pod| !pods::is_finished(pod) && !pods::is_terminating(pod));
            account.succeeded() > 0 && is_idle
        }
        Some(completions) if template::is_indexed(spec) => {
            let (completed, failed) = (account.completed_indexes(), account.failed_indexes());
            let ended = completed.union(failed).count();
            if !failed.is_empty() && super::count(ended) >= completions {
                fail(status, "FailedIndexes", "Job has failed indexes");
                return;
            }
            super::count(completed.len()) >= completions
        }
        Some(completions) => account.succeeded() >= completions,
    };
    if is_complete {
        set(status, SUCCESS, "True", "CompletionsReached", "Reached expected number of succeeded pods", now);
    }
}

/// Pods that are restarted in place count by their restarts.
fn restarts_exceed(spec: &JobSpec, owned: &[&Arc<Pod>], limit: i32) -> bool {
    let policy = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let restarts: i32 = owned
        .iter()
        .filter(|pod| matches!(pods::phase(pod), "Pending" | "Running"))
        .filter_map(|pod| pod.status.as_ref())
        .flat_map(|status| {
            status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
        })
        .map(|container| container.restart_count)
        .sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

/// The first rule of the success policy that the completed indexes fulfil.
fn success_rule(spec: &JobSpec, completed: &BTreeSet<i32>) -> Option<usize> {
    let policy = spec.success_policy.as_ref().filter(|_| template::is_indexed(spec))?;
    policy.rules.iter().position(|rule| {
        let counted: BTreeSet<i32> = match &rule.succeeded_indexes {
            Some(text) => {
                let listed = indexes::parse(text, spec.completions.unwrap_or(0));
                if rule.succeeded_count.is_none() && !listed.is_subset(completed) {
                    return false;
                }
                completed.intersection(&listed).copied().collect()
            }
            None => completed.clone(),
        };
        rule.succeeded_count.is_none_or(|least| super::count(counted.len()) >= least)
    })
}

/// Time left until `activeDeadlineSeconds`; `None` without one.
pub(super) fn deadline_in(spec: &JobSpec, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    if is_suspended(spec) || is_decided(status) {
        return None;
    }
    let limit = Duration::from_secs(u64::try_from(spec.active_deadline_seconds?).unwrap_or(0));
    let start = status.start_time.as_ref()?.0;
    Some(limit.saturating_sub(pods::since(start, now)))
}

/// Writes the end: no pod is left, and all are counted.
pub(super) fn conclude(job: &Job, status: &mut JobStatus, now: Timestamp, outcome: &mut Outcome) {
    if let Some(met) = find(status, SUCCESS).cloned() {
        let (reason, message) = (met.reason.unwrap_or_default(), met.message.unwrap_or_default());
        set(status, "Complete", "True", &reason, &message, now);
        status.completion_time = Some(Time(now));
        outcome.push(Effect::note(job, COMPONENT, false, "Completed", "Job completed"));
    } else if let Some(met) = find(status, FAILURE).cloned() {
        let (reason, message) = (met.reason.unwrap_or_default(), met.message.unwrap_or_default());
        set(status, "Failed", "True", &reason, &message, now);
        outcome.push(Effect::note(job, COMPONENT, true, &reason, message));
    }
}

/// Deletes a finished Job when its time to live is over.
pub(super) fn expire(job: &Job, now: Timestamp, outcome: &mut Outcome) {
    let Some(ttl_s) = job.spec.as_ref().and_then(|spec| spec.ttl_seconds_after_finished) else { return };
    let status = job.status.as_ref();
    let end = status
        .and_then(|status| find(status, "Complete").or_else(|| find(status, "Failed")))
        .and_then(|condition| condition.last_transition_time.as_ref());
    let Some(end) = end else { return };
    let left = Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0)).saturating_sub(pods::since(end.0, now));
    if left.is_zero() {
        outcome.push(Effect::delete(job));
    } else {
        outcome.requeue(left);
    }
}
