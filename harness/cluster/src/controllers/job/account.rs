//! The account of a Job's pods: which have succeeded and failed, and which of them the counters hold.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::{
    api::{
        batch::v1::{JobSpec, JobStatus, UncountedTerminatedPods},
        core::v1::Pod,
    },
    jiff::Timestamp,
};

use super::{
    count, indexes, is_tracked,
    policy::{Verdict, verdict},
    replaces_failed_only, template,
};
use crate::controllers::pods;

/// What is known of a Job's finished pods.
pub(super) struct Account<'a> {
    pods: Vec<&'a Arc<Pod>>,
    /// Counted before, or by this call, for good.
    counted_succeeded: i32,
    counted_failed: i32,
    /// Uids that the status holds until their finalizer is gone.
    waiting_succeeded: Vec<String>,
    waiting_failed: Vec<String>,
    /// Pods that neither count as failed nor as succeeded.
    ignored: Vec<&'a Arc<Pod>>,
    completed_indexes: BTreeSet<i32>,
    failed_indexes: BTreeSet<i32>,
    /// Why the Job has failed, by a rule of its policy.
    pub(super) fatal: Option<String>,
    /// Pods that are being deleted and have not come to their end.
    pub(super) terminating: usize,
}

impl<'a> Account<'a> {
    /// Takes the account over from the status and looks at the pods.
    pub(super) fn take(spec: &JobSpec, status: &mut JobStatus, owned: &[&'a Arc<Pod>]) -> Self {
        let uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
        let limit = spec.completions.unwrap_or(0);
        let of = |text: &Option<String>| indexes::parse(text.as_deref().unwrap_or_default(), limit);
        let mut account = Self {
            pods: owned.to_vec(),
            counted_succeeded: status.succeeded.unwrap_or(0),
            counted_failed: status.failed.unwrap_or(0),
            waiting_succeeded: Vec::new(),
            waiting_failed: Vec::new(),
            ignored: Vec::new(),
            completed_indexes: of(&status.completed_indexes),
            failed_indexes: of(&status.failed_indexes),
            fatal: None,
            terminating: owned
                .iter()
                .filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod))
                .count(),
        };
        let is_held =
            |uid: &String| owned.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid) && is_tracked(pod));
        for uid in uncounted.succeeded.into_iter().flatten() {
            if is_held(&uid) {
                account.waiting_succeeded.push(uid);
            } else {
                account.counted_succeeded += 1;
            }
        }
        for uid in uncounted.failed.into_iter().flatten() {
            if is_held(&uid) {
                account.waiting_failed.push(uid);
            } else {
                account.counted_failed += 1;
            }
        }
        for pod in owned {
            account.look_at(spec, pod);
        }
        account
    }

    /// Pods that were told to end because the Job is decided count as failed at once.
    pub(super) fn count_terminating(&mut self, owned: &[&'a Arc<Pod>], is_decided: bool) {
        if !is_decided {
            return;
        }
        for pod in owned.iter().filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod)) {
            let Some(uid) = pod.metadata.uid.clone() else { continue };
            if is_tracked(pod) && !self.is_known(&uid) {
                self.waiting_failed.push(uid);
            }
        }
    }

    fn is_known(&self, uid: &String) -> bool {
        self.waiting_succeeded.contains(uid) || self.waiting_failed.contains(uid)
    }

    fn look_at(&mut self, spec: &JobSpec, pod: &'a Arc<Pod>) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        if !is_tracked(pod) || self.is_known(&uid) {
            return;
        }
        let index = indexes::of_pod(pod).filter(|index| *index < spec.completions.unwrap_or(0));
        let is_indexed = template::is_indexed(spec);
        match pods::phase(pod) {
            "Succeeded" => match index {
                Some(index) if is_indexed => {
                    if self.completed_indexes.insert(index) {
                        self.waiting_succeeded.push(uid);
                    } else {
                        self.ignored.push(pod);
                    }
                }
                None if is_indexed => self.ignored.push(pod),
                _ => self.waiting_succeeded.push(uid),
            },
            "Failed" => match verdict(spec, pod) {
                Verdict::Ignore => self.ignored.push(pod),
                Verdict::FailJob(message) => {
                    self.fatal.get_or_insert(message);
                    self.waiting_failed.push(uid);
                }
                Verdict::FailIndex => {
                    self.failed_indexes.extend(index);
                    self.waiting_failed.push(uid);
                }
                Verdict::Count => {
                    if let (Some(limit), Some(index)) = (spec.backoff_limit_per_index, index)
                        && indexes::failures(pod) >= limit
                    {
                        self.failed_indexes.insert(index);
                    }
                    self.waiting_failed.push(uid);
                }
            },
            // A pod that is being deleted counts as failed, unless only failed ones are replaced.
            _ if pods::is_terminating(pod) && !replaces_failed_only(spec) => {
                self.waiting_failed.push(uid);
            }
            _ => {}
        }
    }

    /// Pods that have succeeded; of an Indexed Job the indexes.
    pub(super) fn succeeded(&self) -> i32 {
        self.counted_succeeded + count(self.waiting_succeeded.len())
    }

    /// Pods that have failed.
    pub(super) fn failed(&self) -> i32 {
        self.counted_failed + count(self.waiting_failed.len())
    }

    pub(super) fn completed_indexes(&self) -> &BTreeSet<i32> {
        &self.completed_indexes
    }

    pub(super) fn failed_indexes(&self) -> &BTreeSet<i32> {
        &self.failed_indexes
    }

    /// Whether every finished pod is in the counters.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting_succeeded.is_empty() && self.waiting_failed.is_empty() && self.ignored.is_empty()
    }

    /// Pods whose finalizer goes now.
    pub(super) fn untracked(&self) -> Vec<&'a Arc<Pod>> {
        let is_waiting = |pod: &&&Arc<Pod>| pod.metadata.uid.as_ref().is_some_and(|uid| self.is_known(uid));
        self.pods.iter().filter(is_waiting).chain(&self.ignored).copied().collect()
    }

    /// Indexes that need a pod, lowest first, with how often they have failed.
    pub(super) fn open_indexes(
        &self,
        spec: &JobSpec,
        active: &[&Arc<Pod>],
        limit: usize,
    ) -> Vec<(i32, Option<i32>)> {
        let mut taken: BTreeSet<i32> = active.iter().filter_map(|pod| indexes::of_pod(pod)).collect();
        if replaces_failed_only(spec) {
            let leaving = self.pods.iter().filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod));
            taken.extend(leaving.filter_map(|pod| indexes::of_pod(pod)));
        }
        let is_open = |index: &i32| {
            !taken.contains(index)
                && !self.completed_indexes.contains(index)
                && !self.failed_indexes.contains(index)
        };
        let failures = |index: i32| {
            spec.backoff_limit_per_index?;
            let last = self.pods.iter().filter(|pod| indexes::of_pod(pod) == Some(index));
            let failed = last.filter(|pod| pods::phase(pod) == "Failed" || pods::is_terminating(pod));
            Some(failed.map(|pod| indexes::failures(pod) + 1).max().unwrap_or(0))
        };
        let open = (0..spec.completions.unwrap_or(0)).filter(is_open).take(limit);
        open.map(|index| (index, failures(index))).collect()
    }

    /// How many pods have failed since the last one that succeeded, and when the last of them did.
    pub(super) fn recent_failures(&self) -> Option<(u32, Timestamp)> {
        let of = |phase: &str| {
            let pods = self.pods.iter().filter(move |pod| pods::phase(pod) == phase);
            pods.filter_map(|pod| ended_at(pod)).collect::<Vec<_>>()
        };
        let success = of("Succeeded").into_iter().max();
        let failures: Vec<Timestamp> =
            of("Failed").into_iter().filter(|at| success.is_none_or(|success| *at > success)).collect();
        let last = failures.iter().max().copied()?;
        Some((u32::try_from(failures.len()).unwrap_or(u32::MAX), last))
    }

    /// Writes the account into the status.
    pub(super) fn write(&self, spec: &JobSpec, status: &mut JobStatus) {
        let some = |count: i32| Some(count).filter(|count| *count > 0);
        let list = |uids: &Vec<String>| Some(uids.clone()).filter(|uids| !uids.is_empty());
        status.succeeded = some(self.counted_succeeded);
        status.failed = some(self.counted_failed);
        if template::is_indexed(spec) {
            status.completed_indexes = indexes::format(&self.completed_indexes);
            if spec.backoff_limit_per_index.is_some() {
                status.failed_indexes = Some(indexes::format(&self.failed_indexes).unwrap_or_default());
            }
        }
        status.uncounted_terminated_pods = Some(UncountedTerminatedPods {
            failed: list(&self.waiting_failed),
            succeeded: list(&self.waiting_succeeded),
        });
    }
}

/// When a pod came to its end: when its last container did, or it was deleted.
fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let ends = status.container_statuses.iter().flatten().filter_map(|container| {
        container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0)
    });
    let deleted = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    ends.max().or(deleted)
}
