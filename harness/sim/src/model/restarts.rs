//! Containers that die in a pod: their requests are lost, and the kubelet starts them again after a back-off.

use serde::{Deserialize, Serialize};

use super::clients::{Failure, Request, Stage};
use super::pods::{self, Life};
use super::server::Server;
use super::start::Phase;
use super::workloads::Readiness;
use super::{Event as Any, World};
use crate::engine::{Key, Schedule};

/// The kubelet's back-off begins here, after a first restart at once.
const FIRST_NS: u64 = 10_000_000_000;
/// It doubles up to here.
const MOST_NS: u64 = 300_000_000_000;
/// A container that ran so long begins anew (twice the longest back-off).
const FORGOTTEN_NS: u64 = 2 * MOST_NS;

/// The restarts of one pod's container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Restarts {
    /// Deaths that are remembered.
    recent: u32,
    /// The latest of them.
    last_ns: u64,
}

impl Restarts {
    /// The container dies now: how long until it is started again. 0, 10 s, 20 s, 40 s, … 5 min, as
    /// `CrashLoopBackOff` has it.
    pub(super) fn next_delay_ns(&mut self, now_ns: u64) -> u64 {
        if now_ns.saturating_sub(self.last_ns) > FORGOTTEN_NS {
            self.recent = 0;
        }
        self.last_ns = now_ns;
        let delay_ns = match self.recent {
            0 => 0,
            // The sixth is over the most already.
            recent => (FIRST_NS << (recent - 1).min(5)).min(MOST_NS),
        };
        self.recent = self.recent.saturating_add(1);
        delay_ns
    }
}

impl World<'_> {
    /// The container of a pod dies. All its requests fail with `failure`; a pod that was stopping is gone, any
    /// other starts its container again after a back-off: image and model are there, the model is loaded anew.
    pub(super) fn crash(
        &mut self,
        now_ns: u64,
        key: Key,
        why: &str,
        failure: Failure,
        schedule: &mut Schedule<Any>,
    ) {
        let Some(pod) = self.state.pods.get(key).filter(|pod| !pod.is_cut_off) else { return };
        let (index, name) = (pod.workload, pod.name.clone());
        let (was_ready, is_stopping) = (pod.is_ready(), matches!(pod.life, Life::Stopping));
        if was_ready {
            self.leave_endpoints(key);
        }
        let was_probed = self.leave_probing(key);
        let freed = self.lose_requests(now_ns, key, failure, schedule);
        if !is_stopping {
            self.consumer_gone(now_ns, key, schedule);
        }
        if is_stopping {
            self.note(now_ns, "pod", &name, &format!("{why} while it stopped"));
            self.remove_pod(now_ns, key, schedule);
        } else if let Some(pod) = self.state.pods.get_mut(key) {
            pod.server = Server::new(&self.profiles[usize::from(index)]);
            pod.condition.set_ready(now_ns, false);
            let delay_ns = pod.restarts.next_delay_ns(now_ns);
            match &mut pod.life {
                Life::Starting(start) => start.again(now_ns, Phase::Load),
                life => *life = Life::Starting(super::start::Start::again_from(now_ns, Phase::Load)),
            }
            schedule.at(now_ns.saturating_add(delay_ns), Any::Pod(key, pods::Event::Restart));
            let after = windtunnel_scenario::Duration::from_ns(delay_ns);
            self.note(now_ns, "pod", &name, &format!("{why}; the container restarts after {after}"));
        }
        if was_ready {
            self.endpoints_changed(now_ns, index, Readiness::Lost, schedule);
        } else if was_probed {
            self.readiness_changed(now_ns, index, Readiness::Lost, schedule);
        }
        for _ in 0..freed {
            self.slot_freed(now_ns, index, schedule);
        }
    }

    /// The back-off of a container is over: it loads its model.
    pub(super) fn restart(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        // A node that was lost and is back has begun another start meanwhile.
        let awaits = |life: &Life| match life {
            Life::Starting(start) => start.phase() == Phase::Load && !start.is_timed(),
            Life::Probing(_) | Life::Ready | Life::Stopping => false,
        };
        if self.state.pods.get(key).is_some_and(|pod| awaits(&pod.life) && !pod.is_cut_off) {
            self.begin_phase(now_ns, key, Phase::Load, schedule);
        }
    }

    /// Everything that a pod computes for is lost. Returns how many places in its workload's line that frees,
    /// which the caller gives away once the endpoints are right.
    pub(super) fn lose_requests(
        &mut self,
        now_ns: u64,
        key: Key,
        failure: Failure,
        schedule: &mut Schedule<Any>,
    ) -> u32 {
        let Some(pod) = self.state.pods.get_mut(key) else { return 0 };
        if std::mem::take(&mut pod.in_flight) == 0 {
            return 0;
        }
        let index = pod.workload;
        let lost: Vec<(Key, Request)> = self
            .state
            .requests
            .iter()
            .filter(|(_, request)| {
                matches!(request.stage, Stage::Running { pod, .. } | Stage::Abandoned { pod } if pod == key)
            })
            .map(|(request_key, request)| (request_key, *request))
            .collect();
        let mut freed = 0;
        for (request_key, request) in &lost {
            self.state.requests.remove(*request_key);
            match request.stage {
                Stage::Running { .. } => self.close_failed(now_ns, request, failure, schedule),
                Stage::Abandoned { .. } => self.forget_abandoned(index),
                Stage::Waiting { .. } | Stage::Returning { .. } => {}
            }
            freed += u32::from(request.is_in_line());
        }
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// A crash loop that restarted more often than the kubelet would look less bad than it is.
    #[test]
    fn the_back_off_doubles_to_five_minutes_and_is_forgotten_after_ten() {
        let mut restarts = Restarts::default();
        let mut now_ns = 1_000_000 * S;
        let delays: Vec<u64> = (0..8)
            .map(|_| {
                let delay_ns = restarts.next_delay_ns(now_ns);
                now_ns += delay_ns + S;
                delay_ns / S
            })
            .collect();
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(restarts.next_delay_ns(now_ns + 601 * S), 0);
    }
}
