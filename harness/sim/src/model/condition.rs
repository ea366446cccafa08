//! What Kubernetes knows of a pod: its start, its `Ready` condition, and what it has done.

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::hpa;

use super::start::Phase;

/// A pod's status as controllers and the metrics server see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Condition {
    /// `status.startTime`: a node has taken the pod. `None` before.
    started_ns: Option<u64>,
    /// When its server's container was started.
    container_ns: Option<u64>,
    /// Whether it is ready, and since when it is so.
    is_ready: bool,
    since_ns: u64,
    /// Requests that it was through with.
    pub(super) finished: u64,
}

impl Condition {
    /// A phase of the pod's start begins.
    pub(super) fn phase_begins(&mut self, now_ns: u64, phase: Phase) {
        match phase {
            Phase::Schedule => {}
            Phase::ImagePull => {
                self.started_ns = Some(now_ns);
                self.since_ns = now_ns;
            }
            Phase::Load => self.container_ns = Some(now_ns),
            Phase::Download | Phase::Probe | Phase::Propagate => {}
        }
    }

    /// Whether the pod gets requests from now on.
    pub(super) fn set_ready(&mut self, now_ns: u64, is_ready: bool) {
        if self.is_ready != is_ready {
            self.is_ready = is_ready;
            self.since_ns = now_ns;
        }
    }

    /// Since when its container runs.
    pub(super) fn container_ns(&self) -> Option<u64> {
        self.container_ns
    }

    /// Whether it is ready and has been for so long.
    pub(super) fn is_available(&self, now_ns: u64, min_ready_ns: u64) -> bool {
        self.is_ready && self.since_ns.saturating_add(min_ready_ns) <= now_ns
    }

    /// When it becomes available, if it only has to stay ready for that.
    pub(super) fn available_at_ns(&self, min_ready_ns: u64) -> Option<u64> {
        self.is_ready.then(|| self.since_ns.saturating_add(min_ready_ns))
    }

    /// As the HorizontalPodAutoscaler's kernel sees it.
    pub(super) fn as_seen(&self) -> hpa::Pod {
        let status = if self.is_ready { hpa::ReadyStatus::True } else { hpa::ReadyStatus::False };
        hpa::Pod {
            phase: if self.container_ns.is_some() { hpa::Phase::Running } else { hpa::Phase::Pending },
            deleting: false,
            ready: self.started_ns.map(|_| hpa::Readiness { status, since_ns: self.since_ns }),
            started_ns: self.started_ns,
        }
    }
}
