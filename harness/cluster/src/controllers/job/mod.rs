//! The Job controller: pods until so many have succeeded.
//!
//! # How pods are counted
//! Each pod carries a finalizer, so that none is gone before it is counted. A finished pod is first written into
//! `uncountedTerminatedPods`, then its finalizer goes, then it moves from there into the counters. Each step is one
//! write that the next call sees, so a pod is counted once whatever happens between them.

mod account;
mod finish;
mod indexes;
mod policy;
mod template;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec, JobStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use serde_json::json;

use super::{deployment::owner, pods, replica_set::victims, selector};
use crate::{
    effect::{Effect, Outcome},
    world::{Key, Kind, World, controller_of},
};
use account::Account;

/// Component name in events.
pub(crate) const COMPONENT: &str = "job-controller";
/// Finalizer of pods that have not been counted.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Label of a pod with the name of its Job.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// Name of this controller in `managedBy`.
const MANAGER: &str = "kubernetes.io/job-controller";
/// Pods that one call makes or deletes at most; the next call goes on.
const BURST: usize = 500;
/// Pause after the first failed pod; it doubles with each further one.
const BACKOFF: Duration = Duration::from_secs(10);
/// Longest pause.
const BACKOFF_LIMIT: Duration = Duration::from_mins(10);
/// Time between attempts while pods can't be created.
const CREATION_RETRY: Duration = Duration::from_secs(1);

/// Whether a pod waits to be counted by a Job.
#[must_use]
pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING)
}

/// The Job that a tracked pod belongs to, or did; its own key where nothing says so.
#[must_use]
pub fn key_of(key: &Key, pod: &Pod) -> Key {
    let owner = controller_of(&pod.metadata).filter(|owner| owner.kind == "Job");
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(JOB_NAME));
    let name = owner.map(|owner| &owner.name).or(label).unwrap_or(&key.name);
    Key::new(key.namespace.as_str(), name.as_str())
}

/// Decides for one Job.
#[must_use]
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let job = world.jobs.get(key);
    let_go_of_strangers(world, key, job.map(|job| &**job), &mut outcome);
    let Some(job) = job else { return outcome };
    let Some(spec) = &job.spec else { return outcome };
    if spec.managed_by.as_deref().is_some_and(|manager| manager != MANAGER)
        || job.metadata.deletion_timestamp.is_some()
    {
        return outcome;
    }
    if finish::is_finished(job) {
        finish::expire(job, now, &mut outcome);
        let owned: Vec<&Arc<Pod>> = owned(world, job);
        owned.into_iter().filter(|pod| is_tracked(pod)).for_each(|pod| outcome.push(untrack(pod)));
        return outcome;
    }
    let owned = claim(world, job, &mut outcome);
    let mut status = job.status.clone().unwrap_or_default();
    let mut account = Account::take(spec, &mut status, &owned);
    suspend(job, spec, &mut status, now, &mut outcome);
    if status.start_time.is_none() && !is_suspended(spec) {
        status.start_time = Some(Time(now));
    }
    finish::judge(spec, &mut status, &account, &owned, now);

    let active: Vec<&Arc<Pod>> = owned.iter().copied().filter(|pod| pods::is_active(pod)).collect();
    let (mut created, mut removed) = (0, 0);
    let mut pod_effects = Outcome::nothing();
    if finish::is_decided(&status) {
        // What still runs goes; it counts as failed when it has.
        for pod in &active {
            delete(job, pod, &mut pod_effects);
            removed += 1;
        }
    } else {
        (created, removed) = adjust(world, job, spec, &account, &active, now, &mut pod_effects);
    }
    account.count_terminating(&owned, finish::is_decided(&status));
    let is_busy = created > 0 || removed > 0;
    let present = active.len() + created - removed.min(active.len());
    status.active = i32::try_from(present).ok().filter(|count| *count > 0);
    status.ready = Some(count(active.iter().filter(|pod| pods::is_ready(pod)).count()));
    let terminating = owned.iter().filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod)).count();
    status.terminating = Some(count(terminating));
    let waits = terminating + if finish::is_decided(&status) { removed } else { 0 };
    let is_settled = account.is_settled() && waits == 0 && present == 0;
    if finish::is_decided(&status) && is_settled {
        finish::conclude(job, &mut status, now, &mut outcome);
    }
    account.write(spec, &mut status);
    if let Some(effect) = Effect::status(&**job, job.status.as_ref(), &status) {
        outcome.push(effect);
    }
    // Finalizers go only after the status remembers their pods.
    account.untracked().iter().for_each(|pod| outcome.push(untrack(pod)));
    outcome.effects.extend(pod_effects.effects);
    if let Some(delay) = pod_effects.requeue_after {
        outcome.requeue(delay);
    }
    if !is_busy && let Some(delay) = finish::deadline_in(spec, &status, now) {
        outcome.requeue(delay);
    }
    outcome
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn is_suspended(spec: &JobSpec) -> bool {
    spec.suspend.unwrap_or(false)
}

/// Whether pods that are being deleted are replaced only once they have failed.
fn replaces_failed_only(spec: &JobSpec) -> bool {
    match spec.pod_replacement_policy.as_deref() {
        Some(policy) => policy == "Failed",
        None => spec.pod_failure_policy.is_some(),
    }
}

/// Notes that the Job is suspended, or goes on; its time starts anew then.
fn suspend(job: &Job, spec: &JobSpec, status: &mut JobStatus, now: Timestamp, outcome: &mut Outcome) {
    let is_noted = finish::has(status, "Suspended");
    if is_suspended(spec) && !is_noted {
        finish::set(status, "Suspended", "True", "JobSuspended", "Job suspended", now);
        outcome.push(Effect::note(job, COMPONENT, false, "Suspended", "Job suspended"));
    } else if !is_suspended(spec) && is_noted {
        finish::set(status, "Suspended", "False", "JobResumed", "Job resumed", now);
        outcome.push(Effect::note(job, COMPONENT, false, "Resumed", "Job resumed"));
        status.start_time = Some(Time(now));
    }
}

/// Creates or deletes pods until as many are active as shall be; returns how many of each.
fn adjust(
    world: &World,
    job: &Job,
    spec: &JobSpec,
    account: &Account<'_>,
    active: &[&Arc<Pod>],
    now: Timestamp,
    outcome: &mut Outcome,
) -> (usize, usize) {
    let wanted = wanted_active(spec, account, active.len());
    if active.len() > wanted {
        let victims = surplus(spec, active, active.len() - wanted, now);
        let removed = victims.len().min(BURST);
        for pod in victims.into_iter().take(BURST) {
            // Taken away on purpose: it counts as neither.
            if is_tracked(pod) {
                outcome.push(untrack(pod));
            }
            delete(job, pod, outcome);
        }
        return (0, removed);
    }
    let leaving = if replaces_failed_only(spec) { account.terminating } else { 0 };
    let missing = wanted.saturating_sub(active.len() + leaving).min(BURST);
    if missing == 0 {
        return (0, 0);
    }
    if let Some(pause) = backoff(account, now) {
        outcome.requeue(pause);
        return (0, 0);
    }
    let failed = world.pod_creation_failures.contains_key(&(Kind::Job, Key::of(&job.metadata)));
    if failed {
        outcome.requeue(CREATION_RETRY);
    }
    // While the last attempt failed, one pod is tried at a time.
    let missing = if failed { 1 } else { missing };
    if template::is_indexed(spec) {
        let open = account.open_indexes(spec, active, missing);
        for &(index, failures) in &open {
            outcome.push(Effect::CreatePod(Box::new(template::indexed_pod(job, spec, index, failures))));
        }
        return (open.len(), 0);
    }
    for _ in 0..missing {
        outcome.push(Effect::CreatePod(Box::new(template::pod(job, spec))));
    }
    (missing, 0)
}

/// How many pods shall be active now.
fn wanted_active(spec: &JobSpec, account: &Account<'_>, active: usize) -> usize {
    if is_suspended(spec) {
        return 0;
    }
    let parallelism = spec.parallelism.unwrap_or(1).max(0);
    let wanted = match spec.completions {
        // The first success of a work queue ends it: nothing new is started.
        None if account.succeeded() > 0 => count(active).min(parallelism),
        None => parallelism,
        Some(completions) => (completions - account.succeeded()).clamp(0, parallelism),
    };
    usize::try_from(wanted).unwrap_or(0)
}

/// The pods to delete: of an Indexed Job those that share an index or have one too many first.
fn surplus<'a>(spec: &JobSpec, active: &[&'a Arc<Pod>], surplus: usize, now: Timestamp) -> Vec<&'a Arc<Pod>> {
    let mut chosen: Vec<&Arc<Pod>> = Vec::new();
    if template::is_indexed(spec) {
        let mut seen = BTreeSet::new();
        for pod in active {
            let index = indexes::of_pod(pod).filter(|index| *index < spec.completions.unwrap_or(0));
            if index.is_none_or(|index| !seen.insert(index)) {
                chosen.push(pod);
            }
        }
    }
    chosen.truncate(surplus);
    let rest: Vec<&Arc<Pod>> =
        active.iter().copied().filter(|pod| !chosen.iter().any(|other| Arc::ptr_eq(pod, other))).collect();
    let missing = surplus - chosen.len();
    chosen.extend(victims(&rest, missing, now));
    chosen
}

/// How long the next pod has to wait after pods have failed.
fn backoff(account: &Account<'_>, now: Timestamp) -> Option<Duration> {
    let (failures, last) = account.recent_failures()?;
    let pause = BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(BACKOFF_LIMIT);
    Some(pause.saturating_sub(pods::since(last, now))).filter(|pause| !pause.is_zero())
}

/// The Job's pods: its own, and matching ones without a controller, which are adopted.
fn claim<'a>(world: &'a World, job: &Job, outcome: &mut Outcome) -> Vec<&'a Arc<Pod>> {
    let Some(wanted) = job.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else { return Vec::new() };
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    for (key, pod) in world.pods.in_namespace(namespace) {
        if controller_of(&pod.metadata).is_none()
            && pods::is_active(pod)
            && selector::matches(wanted, pod.metadata.labels.as_ref())
        {
            let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
            owners.push(owner(Kind::Job, &job.metadata));
            let mut finalizers = pod.metadata.finalizers.clone().unwrap_or_default();
            if !is_tracked(pod) {
                finalizers.push(TRACKING.to_owned());
            }
            outcome.push(Effect::adopt(
                job,
                Kind::Pod,
                key,
                json!({"metadata": {"ownerReferences": owners, "finalizers": finalizers}}),
            ));
        }
    }
    owned(world, job)
}

fn owned<'a>(world: &'a World, job: &Job) -> Vec<&'a Arc<Pod>> {
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
    let pods = world.pods.in_namespace(namespace).map(|(_, pod)| pod);
    pods.filter(|pod| crate::world::is_controlled_by(&pod.metadata, uid)).collect()
}

/// Pods whose Job is gone, or going, have nobody to count them.
fn let_go_of_strangers(world: &World, key: &Key, job: Option<&Job>, outcome: &mut Outcome) {
    let counts = job.filter(|job| job.metadata.deletion_timestamp.is_none());
    let uid = counts.and_then(|job| job.metadata.uid.as_deref());
    for (pod_key, pod) in world.pods.in_namespace(&key.namespace) {
        if is_tracked(pod) && key_of(pod_key, pod) == *key {
            let is_ours = match controller_of(&pod.metadata) {
                Some(owner) => uid == Some(owner.uid.as_str()),
                // It may be adopted.
                None => uid.is_some() && pods::is_active(pod),
            };
            if !is_ours {
                outcome.push(untrack(pod));
            }
        }
    }
}

fn delete(job: &Job, pod: &Pod, outcome: &mut Outcome) {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    outcome.push(Effect::note(job, COMPONENT, false, "SuccessfulDelete", format!("Deleted pod: {name}")));
    outcome.push(Effect::delete(pod));
}

/// Takes the finalizer off a pod.
fn untrack(pod: &Pod) -> Effect {
    let rest: Vec<&String> =
        pod.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != TRACKING).collect();
    Effect::Patch {
        kind: Kind::Pod,
        key: Key::of(&pod.metadata),
        status: false,
        patch: json!({"metadata": {"uid": pod.metadata.uid, "finalizers": rest}}),
    }
}
