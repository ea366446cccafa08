//! The network between the gateway and the pods: answers travel over it, and the activator probes new pods over it.
//!
//! The whole round trip of a request lies behind its pod: the pod begins when the gateway sends, and its answer is at the
//! gateway a round trip after it was computed. Nothing else would change for anybody but the pod, which does everything half
//! a round trip early. What the gateway counts (concurrency, places in the line) includes the round trip; what the pod counts
//! does not. Pods that die are noticed at once. Messages of a queue do not come this way.

use serde::{Deserialize, Serialize};
use windtunnel_kernel::routing::probe::{LateConnections, Prober};
use windtunnel_scenario as scenario;

use super::clients::{Failure, Stage};
use super::pods::{self, Life};
use super::workloads::Readiness;
use super::{Event as Any, World, gateway};
use crate::engine::{Key, Schedule};

/// How far the activator is with its probes of a ready pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reach {
    prober: Prober,
    /// When the present probe is answered or given up; `None` when none can ever be answered.
    due_ns: Option<u64>,
    /// Which of the two it will be.
    is_answered: bool,
}

impl World<'_> {
    /// What a pod that becomes ready has to go through before it gets requests; `None` where probes take no time.
    pub(super) fn reach(&self) -> Option<Reach> {
        (self.round_trip_ns > 0).then(|| {
            let activator = &self.plan.environment.control.activator;
            let late = match activator.late_connections {
                scenario::LateConnections::Kept => LateConnections::Kept,
                scenario::LateConnections::Dropped => LateConnections::Dropped,
            };
            let prober = Prober::new(activator.probe_timeout.as_ns(), late);
            Reach { prober, due_ns: None, is_answered: false }
        })
    }

    /// The activator sends a probe to a ready pod.
    pub(super) fn probe(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let round_trip_ns = self.round_trip_ns;
        let timeout_ns = self.plan.environment.control.activator.probe_timeout.as_ns();
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        let Life::Probing(reach) = &mut pod.life else { return };
        if pod.is_cut_off {
            reach.due_ns = None;
            return;
        }
        let probes = &mut self.state.workloads[usize::from(pod.workload)].probes;
        let is_hopeless = !reach.prober.can_reach(round_trip_ns);
        // What would fail for ever need not be tried for ever.
        let answered_ns =
            if is_hopeless { None } else { reach.prober.probe(round_trip_ns, &mut || probes.unit()) };
        reach.is_answered = answered_ns.is_some();
        reach.due_ns = (!is_hopeless).then(|| now_ns.saturating_add(answered_ns.unwrap_or(timeout_ns)));
        if let Some(due_ns) = reach.due_ns {
            schedule.at(due_ns, Any::Pod(key, pods::Event::Probed));
        } else {
            let name = pod.name.clone();
            self.note(
                now_ns,
                "pod",
                &name,
                "out of reach: no probe of the activator can be answered in time",
            );
        }
    }

    /// A probe is answered, or given up.
    pub(super) fn probed(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        let Life::Probing(reach) = &pod.life else { return };
        if reach.due_ns != Some(now_ns) {
            return;
        }
        if !reach.is_answered || pod.is_cut_off {
            return self.probe(now_ns, key, schedule);
        }
        let (index, name) = (pod.workload, pod.name.clone());
        pod.life = Life::Ready;
        let workload = &mut self.state.workloads[usize::from(index)];
        workload.probing -= 1;
        pod.position = workload.endpoints.len();
        workload.endpoints.push(key);
        workload.loads.push(0);
        self.note(now_ns, "pod", &name, "reached by the activator");
        self.consumer_ready(now_ns, key, schedule);
        self.endpoints_known(now_ns, index, Readiness::Gained, schedule);
    }

    /// A pod is not ready any more. True when the activator had not reached it yet.
    pub(super) fn leave_probing(&mut self, key: Key) -> bool {
        let Some(pod) = self.state.pods.get(key) else { return false };
        let is_probed = matches!(pod.life, Life::Probing(_));
        self.state.workloads[usize::from(pod.workload)].probing -= u32::from(is_probed);
        is_probed
    }

    /// After a change of the network: pods that were out of reach may not be so any more.
    pub(super) fn probe_again(&mut self, now_ns: u64, schedule: &mut Schedule<Any>) {
        let is_stuck = |life: &Life| matches!(life, Life::Probing(reach) if reach.due_ns.is_none());
        let stuck: Vec<Key> =
            self.state.pods.iter().filter(|(_, pod)| is_stuck(&pod.life)).map(|(key, _)| key).collect();
        for key in stuck {
            let reach = self.reach().unwrap_or_else(Reach::at_once);
            if !reach.prober.can_reach(self.round_trip_ns) {
                return;
            }
            if let Some(pod) = self.state.pods.get_mut(key) {
                pod.life = Life::Probing(reach);
            }
            self.probe(now_ns, key, schedule);
        }
    }

    /// A pod is through with a request: its answer leaves for the gateway. False when it does not go there.
    #[cold]
    pub(super) fn sends_back(
        &mut self,
        now_ns: u64,
        key: Key,
        failure: Option<Failure>,
        schedule: &mut Schedule<Any>,
    ) -> bool {
        let Some(request) = self.state.requests.get_mut(key) else { return false };
        let Stage::Running { pod, held_ns } = request.stage else { return false };
        if !request.is_in_line() {
            return false;
        }
        request.stage = Stage::Returning { held_ns, failure };
        let index = request.workload;
        self.state.touched = Some(index);
        let workload = &mut self.state.workloads[usize::from(index)];
        workload.running -= 1;
        workload.returning += 1;
        let due_ns = now_ns.saturating_add(self.round_trip_ns);
        schedule.at(due_ns, Any::Gateway(gateway::Event::Returned(key)));
        self.leave_pod(now_ns, pod, failure.is_none(), schedule);
        true
    }

    /// The answer of a pod is at the gateway.
    pub(super) fn returned(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        // Whoever gave up meanwhile is not here any more.
        let Some(request) = self.state.requests.remove(key) else { return };
        self.state.touched = Some(request.workload);
        let Stage::Returning { held_ns, failure } = request.stage else { return };
        match failure.or_else(|| self.model_failure(&request)) {
            Some(failure) => self.close_failed(now_ns, &request, failure, schedule),
            None => {
                let workload = &mut self.state.workloads[usize::from(request.workload)];
                workload.returning -= 1;
                workload.running += 1;
                self.close_answered(now_ns, &request, held_ns, schedule);
            }
        }
        self.slot_freed(now_ns, request.workload, schedule);
    }
}

impl Reach {
    /// On a network without a round trip.
    fn at_once() -> Self {
        let timeout_ns = windtunnel_kernel::routing::probe::PROBE_TIMEOUT_NS;
        Self { prober: Prober::new(timeout_ns, LateConnections::Kept), due_ns: None, is_answered: false }
    }
}
