//! Pods: the phases of a start, serving, and a stop with grace.

use serde::{Deserialize, Serialize};
use windtunnel_record::ColdStart;

use super::clients::Failure;
use super::condition::Condition;
use super::reach::Reach;
use super::restarts::Restarts;
use super::server::Server;
use super::start::{PHASES, Phase, Start};
use super::workloads::Readiness;
use super::{Event as Any, World};
use crate::engine::{Key, Schedule};
use crate::fleet::PodId;

/// What happens to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// It is through with a phase of its start.
    PhaseEnd,
    /// It was told to stop, and its grace has passed.
    Kill,
    /// Its container is started again.
    Restart,
    /// It has tolerated for long enough that its node is out of reach.
    Evict,
    /// A probe of the activator is answered or given up.
    Probed,
}

/// One replica of a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) workload: u16,
    created_ns: u64,
    pub(super) life: Life,
    /// What Kubernetes knows of it.
    pub(super) condition: Condition,
    /// Where it stands among its workload's endpoints, while it is ready.
    pub(super) position: usize,
    /// Requests that it computes for, those that nobody waits for any more included.
    pub(super) in_flight: u32,
    pub(super) server: Server,
    pub(super) restarts: Restarts,
    /// What the cluster knows it by.
    pub(super) place: Option<PodId>,
    /// Its node does not answer.
    pub(super) is_cut_off: bool,
    /// When it is evicted for that.
    pub(super) evict_due_ns: Option<u64>,
    /// It was ready before.
    was_ready: bool,
    /// It exists because a request waited for a workload at zero.
    activated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Life {
    Starting(Start),
    /// Ready, but the activator's probe has not reached it yet.
    Probing(Reach),
    Ready,
    Stopping,
}

impl Pod {
    pub(super) fn is_ready(&self) -> bool {
        self.life == Life::Ready
    }

    /// Whether its server's container runs, on a machine that answers, and is not told to stop.
    pub(super) fn has_container(&self) -> bool {
        if self.is_cut_off {
            return false;
        }
        match &self.life {
            Life::Ready | Life::Probing(_) => true,
            // One that waits for its restart has died already.
            Life::Starting(start) => start.phase() >= Phase::Load && start.is_timed(),
            Life::Stopping => false,
        }
    }
}

impl World<'_> {
    /// Something that a pod waited for.
    pub(super) fn pod_event(&mut self, now_ns: u64, key: Key, event: Event, schedule: &mut Schedule<Any>) {
        match event {
            Event::PhaseEnd => self.end_phase(now_ns, key, schedule),
            Event::Kill => self.pod_kill(now_ns, key, schedule),
            Event::Restart => self.restart(now_ns, key, schedule),
            Event::Evict => self.toleration_over(now_ns, key, schedule),
            Event::Probed => self.probed(now_ns, key, schedule),
        }
    }

    /// Makes a workload's pods as many as are wanted of it.
    pub(super) fn scale_pods(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        if self.api_is_out(now_ns) {
            return;
        }
        let wanted = self.state.workloads[usize::from(index)].wanted as usize;
        while self.state.workloads[usize::from(index)].pods.len() < wanted {
            self.create_pod(now_ns, index, schedule);
        }
        while self.state.workloads[usize::from(index)].pods.len() > wanted {
            self.stop_pod(now_ns, index, schedule);
        }
        self.place_pods(now_ns, schedule);
    }

    fn create_pod(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let workload = &mut self.state.workloads[usize::from(index)];
        workload.pods_made += 1;
        let name = format!("{}-deployment-{}", workload.name, workload.pods_made);
        // One wake-up is one cold start, however many pods the autoscaler asks for at once.
        let activated = workload.pods.is_empty() && workload.waiting_live > 0;
        self.note(now_ns, "pod", &name, "created");
        let key = self.state.pods.insert(Pod {
            name,
            workload: index,
            created_ns: now_ns,
            life: Life::Starting(Start::new(now_ns)),
            condition: Condition::default(),
            position: usize::MAX,
            in_flight: 0,
            server: Server::new(&self.profiles[usize::from(index)]),
            restarts: Restarts::default(),
            place: None,
            is_cut_off: false,
            evict_due_ns: None,
            was_ready: false,
            activated,
        });
        self.state.workloads[usize::from(index)].pods.push(key);
        if self.state.cluster.is_some() {
            self.submit_pod(now_ns, key);
        } else {
            self.begin_phase(now_ns, key, PHASES[0], schedule);
        }
    }

    /// A phase of a pod's start begins: here it is decided when it ends, with [`Event::PhaseEnd`].
    pub(super) fn begin_phase(&mut self, now_ns: u64, key: Key, phase: Phase, schedule: &mut Schedule<Any>) {
        if let Some(pod) = self.state.pods.get_mut(key) {
            pod.condition.phase_begins(now_ns, phase);
        }
        let length_ns = self.phase_length_ns(now_ns, key, phase);
        let due_ns = length_ns.map(|length_ns| now_ns.saturating_add(length_ns));
        if let Some(Life::Starting(start)) = self.state.pods.get_mut(key).map(|pod| &mut pod.life) {
            start.expect(due_ns);
        }
        match due_ns {
            Some(due_ns) => schedule.at(due_ns, Any::Pod(key, Event::PhaseEnd)),
            None => self.expect_cluster(now_ns, schedule),
        }
    }

    /// What the present phase of a pod's start waited for is there.
    pub(super) fn phase_is_over(&mut self, now_ns: u64, key: Key) {
        if let Some(Life::Starting(start)) = self.state.pods.get_mut(key).map(|pod| &mut pod.life) {
            start.expect(Some(now_ns));
        }
    }

    /// A starting pod is through with a phase.
    fn end_phase(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        let Life::Starting(start) = &mut pod.life else { return };
        if !start.is_due(now_ns) {
            return;
        }
        let (phase, index) = (start.phase(), usize::from(pod.workload));
        if phase == Phase::Load {
            let why = pod.server.unloadable();
            let is_looping = self.is_crash_looping(self.state.workloads[index].service);
            if let Some(why) = why.or(is_looping.then_some("crashed")) {
                return self.crash(now_ns, key, why, Failure::ContainerDied, schedule);
            }
        }
        let back_ns = self.api_back_ns(now_ns);
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        let Life::Starting(start) = &mut pod.life else { return };
        if back_ns > now_ns && matches!(phase, Phase::Schedule | Phase::Propagate) {
            // The kubelet is not told, or nobody is told that the pod is ready.
            start.expect(Some(back_ns));
            return schedule.at(back_ns, Any::Pod(key, Event::PhaseEnd));
        }
        match start.end_phase(now_ns) {
            Some(next) => self.begin_phase(now_ns, key, next, schedule),
            None => self.pod_ready(now_ns, key, schedule),
        }
    }

    /// The gateway knows that the pod is ready.
    fn pod_ready(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let reach = self.reach();
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        let Life::Starting(start) = std::mem::replace(&mut pod.life, Life::Ready) else { return };
        let (name, index) = (pod.name.clone(), pod.workload);
        let workload = &mut self.state.workloads[usize::from(index)];
        let is_probed = reach.is_some() && workload.line.waits();
        match reach.filter(|_| is_probed) {
            Some(reach) => {
                pod.life = Life::Probing(reach);
                workload.probing += 1;
            }
            None => {
                pod.position = workload.endpoints.len();
                workload.endpoints.push(key);
                workload.loads.push(0);
            }
        }
        pod.condition.set_ready(now_ns, true);
        let cold_start = ColdStart {
            t_ns: pod.created_ns.saturating_sub(self.plan.epoch_ns),
            revision: workload.name.clone(),
            pod: name.clone(),
            phases: start.lengths().map(|(phase, length_ns)| (phase.name().to_owned(), length_ns)).collect(),
            activated: pod.activated,
        };
        pod.server.open(now_ns);
        // A container that starts again is no cold start of its pod.
        if !std::mem::replace(&mut pod.was_ready, true) && self.is_observed(now_ns) {
            self.recorder.cold_start(cold_start);
        }
        self.note(now_ns, "pod", &name, "ready");
        if is_probed {
            self.readiness_changed(now_ns, index, Readiness::Gained, schedule);
            return self.probe(now_ns, key, schedule);
        }
        self.consumer_ready(now_ns, key, schedule);
        self.endpoints_changed(now_ns, index, Readiness::Gained, schedule);
    }

    /// Stops one pod of a workload: one that is not ready if there is one, else the one that became ready last.
    fn stop_pod(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let workload = &mut self.state.workloads[usize::from(index)];
        let starting = workload
            .pods
            .iter()
            .rposition(|key| self.state.pods.get(*key).is_some_and(|pod| !pod.is_ready()));
        let newest =
            workload.endpoints.last().and_then(|last| workload.pods.iter().position(|key| key == last));
        let Some(at) = starting.or(newest) else { return };
        let key = workload.pods.remove(at);
        self.terminate(now_ns, key, schedule);
    }

    /// A pod is told to stop and is replaced by its workload.
    pub(super) fn evict_pod(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let Some(index) = self.unlist(key) else { return };
        self.terminate(now_ns, key, schedule);
        self.scale_pods(now_ns, index, schedule);
    }

    /// A pod is gone with its node, which is gone for good, with everything that it computes for. It is not replaced here.
    pub(super) fn lose_pod(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        self.unlist(key);
        let Some(pod) = self.state.pods.get(key) else { return };
        let (index, name, was_ready) = (pod.workload, pod.name.clone(), pod.is_ready());
        if was_ready {
            self.leave_endpoints(key);
        }
        let was_probed = self.leave_probing(key);
        let freed = self.lose_requests(now_ns, key, Failure::NodeLost, schedule);
        self.note(now_ns, "pod", &name, "lost with its node");
        self.remove_pod(now_ns, key, schedule);
        if was_ready {
            self.endpoints_changed(now_ns, index, Readiness::Lost, schedule);
        } else if was_probed {
            self.readiness_changed(now_ns, index, Readiness::Lost, schedule);
        }
        for _ in 0..freed {
            self.slot_freed(now_ns, index, schedule);
        }
    }

    /// Takes a pod off its workload's list; `None` when it is not on it.
    fn unlist(&mut self, key: Key) -> Option<u16> {
        let index = self.state.pods.get(key)?.workload;
        let pods = &mut self.state.workloads[usize::from(index)].pods;
        let at = pods.iter().position(|listed| *listed == key)?;
        pods.remove(at);
        Some(index)
    }

    /// A pod that is on no list any more is told to stop.
    fn terminate(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let was_probed = self.leave_probing(key);
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        let index = pod.workload;
        let was_ready = pod.is_ready();
        pod.life = Life::Stopping;
        let name = pod.name.clone();
        let (is_idle, is_cut_off) = (pod.in_flight == 0, pod.is_cut_off);
        if was_ready {
            self.leave_endpoints(key);
        }
        self.note(now_ns, "pod", &name, "stopping");
        if is_cut_off {
            // Nobody there stops it; it is Terminating until the node is back or removed.
        } else if is_idle {
            self.remove_pod(now_ns, key, schedule);
        } else {
            schedule.after(self.plan.environment.pod_stop.grace.as_ns(), Any::Pod(key, Event::Kill));
        }
        if was_ready {
            self.endpoints_changed(now_ns, index, Readiness::Lost, schedule);
        } else if was_probed {
            self.readiness_changed(now_ns, index, Readiness::Lost, schedule);
        }
    }

    /// A stopping pod's grace has passed: what it still computes is lost.
    fn pod_kill(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        let Some(pod) = self.state.pods.get(key) else { return };
        if pod.is_cut_off {
            return;
        }
        let index = pod.workload;
        let freed = self.lose_requests(now_ns, key, Failure::PodStopped, schedule);
        self.remove_pod(now_ns, key, schedule);
        for _ in 0..freed {
            self.slot_freed(now_ns, index, schedule);
        }
    }

    /// A pod gets no requests any more. Its workload's line is told by whoever does this.
    pub(super) fn leave_endpoints(&mut self, key: Key) {
        self.consumer_drains(key);
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        let position = std::mem::replace(&mut pod.position, usize::MAX);
        let workload = &mut self.state.workloads[usize::from(pod.workload)];
        workload.endpoints.remove(position);
        workload.loads.remove(position);
        for (later, key) in workload.endpoints.iter().enumerate().skip(position) {
            if let Some(pod) = self.state.pods.get_mut(*key) {
                pod.position = later;
            }
        }
    }

    /// A stopping pod is gone.
    pub(super) fn remove_pod(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Any>) {
        self.consumer_gone(now_ns, key, schedule);
        let place = self.state.pods.remove(key).and_then(|pod| pod.place);
        if let Some(place) = place {
            self.release_place(now_ns, place, schedule);
        }
    }

    /// A pod is through with a request, which its server has had. A stopping pod goes with its last one.
    #[inline]
    pub(super) fn leave_pod(
        &mut self,
        now_ns: u64,
        key: Key,
        was_served: bool,
        schedule: &mut Schedule<Any>,
    ) {
        let Some(pod) = self.state.pods.get_mut(key) else { return };
        if was_served {
            pod.server.leave(now_ns);
        }
        pod.in_flight -= 1;
        pod.condition.finished += 1;
        match pod.life {
            Life::Ready => self.state.workloads[usize::from(pod.workload)].loads[pod.position] -= 1,
            Life::Stopping if pod.in_flight == 0 && !pod.is_cut_off => self.remove_pod(now_ns, key, schedule),
            Life::Stopping | Life::Starting(_) | Life::Probing(_) => {}
        }
    }

    /// One less that computes for nobody.
    pub(super) fn forget_abandoned(&mut self, index: u16) {
        self.state.workloads[usize::from(index)].abandoned -= 1;
        self.state.abandoned -= 1;
    }
}
