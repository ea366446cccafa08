//! Pods: the phases of a start, serving, and a stop with grace.

use windtunnel_record::ColdStart;

use super::clients::{Failure, Request, Stage};
use super::processor::SharedCores;
use super::revisions::Readiness;
use super::{Event, World};
use crate::engine::{Key, Schedule};

/// One replica of a revision.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) revision: u16,
    created_ns: u64,
    state: State,
    /// Where it stands among its revision's endpoints, while it is ready.
    pub(super) position: usize,
    /// Requests that it computes for, those that nobody waits for any more included.
    pub(super) in_flight: u32,
    cores: Option<SharedCores>,
    /// Changes whenever the cores' next end does.
    turn: u32,
    /// It exists because a request waited for a revision at zero.
    activated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In this phase of its start.
    Starting(usize),
    Ready,
    Stopping,
}

impl Pod {
    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }
}

impl World<'_> {
    /// Makes a revision's pods as many as are wanted of it.
    pub(super) fn scale_pods(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Event>) {
        let wanted = self.revisions[usize::from(index)].wanted as usize;
        while self.revisions[usize::from(index)].pods.len() < wanted {
            self.create_pod(now_ns, index, schedule);
        }
        while self.revisions[usize::from(index)].pods.len() > wanted {
            self.stop_pod(now_ns, index, schedule);
        }
    }

    fn create_pod(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Event>) {
        let revision = &mut self.revisions[usize::from(index)];
        revision.pods_made += 1;
        let name = format!("{}-deployment-{}", revision.name, revision.pods_made);
        // One wake-up is one cold start, however many pods the autoscaler asks for at once.
        let activated = revision.pods.is_empty() && revision.waiting_live > 0;
        self.note(now_ns, "pod", &name, "created");
        let key = self.pods.insert(Pod {
            name,
            revision: index,
            created_ns: now_ns,
            state: State::Starting(0),
            position: usize::MAX,
            in_flight: 0,
            cores: self.plan.cores.map(SharedCores::new),
            turn: 0,
            activated,
        });
        self.revisions[usize::from(index)].pods.push(key);
        let (_, first) = self.plan.environment.pod_start.phases()[0];
        schedule.after(first.as_ns(), Event::PodPhase(key));
    }

    /// A starting pod is through with a phase.
    pub(super) fn pod_phase(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Event>) {
        let phases = self.plan.environment.pod_start.phases();
        let Some(pod) = self.pods.get_mut(key) else { return };
        let State::Starting(phase) = pod.state else { return };
        match phases.get(phase + 1) {
            Some((_, length)) => {
                pod.state = State::Starting(phase + 1);
                schedule.after(length.as_ns(), Event::PodPhase(key));
            }
            None => self.pod_ready(now_ns, key, schedule),
        }
    }

    /// The gateway knows that the pod is ready.
    fn pod_ready(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Event>) {
        let Some(pod) = self.pods.get_mut(key) else { return };
        pod.state = State::Ready;
        let (name, index, created_ns, activated) =
            (pod.name.clone(), pod.revision, pod.created_ns, pod.activated);
        let revision = &mut self.revisions[usize::from(index)];
        pod.position = revision.endpoints.len();
        revision.endpoints.push(key);
        revision.loads.push(0);
        let cold_start = ColdStart {
            t_ns: created_ns.saturating_sub(self.plan.epoch_ns),
            revision: revision.name.clone(),
            pod: name.clone(),
            phases: self
                .plan
                .environment
                .pod_start
                .phases()
                .iter()
                .map(|(phase, length)| ((*phase).to_owned(), length.as_ns()))
                .collect(),
            activated,
        };
        if self.is_observed(now_ns) {
            self.recorder.cold_start(cold_start);
        }
        self.note(now_ns, "pod", &name, "ready");
        self.endpoints_changed(now_ns, index, Readiness::Gained, schedule);
    }

    /// Stops one pod of a revision: one that is not ready if there is one, else the one that became ready last.
    fn stop_pod(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Event>) {
        let revision = &mut self.revisions[usize::from(index)];
        let starting =
            revision.pods.iter().rposition(|key| self.pods.get(*key).is_some_and(|pod| !pod.is_ready()));
        let newest =
            revision.endpoints.last().and_then(|last| revision.pods.iter().position(|key| key == last));
        let Some(at) = starting.or(newest) else { return };
        let key = revision.pods.remove(at);
        let Some(pod) = self.pods.get_mut(key) else { return };
        let was_ready = pod.is_ready();
        pod.state = State::Stopping;
        let name = pod.name.clone();
        let is_idle = pod.in_flight == 0;
        if was_ready {
            let position = pod.position;
            revision.endpoints.remove(position);
            revision.loads.remove(position);
            for (later, key) in revision.endpoints.iter().enumerate().skip(position) {
                if let Some(pod) = self.pods.get_mut(*key) {
                    pod.position = later;
                }
            }
        }
        self.note(now_ns, "pod", &name, "stopping");
        if is_idle {
            self.pods.remove(key);
        } else {
            schedule.after(self.plan.environment.pod_stop.grace.as_ns(), Event::PodKill(key));
        }
        if was_ready {
            self.endpoints_changed(now_ns, index, Readiness::Lost, schedule);
        }
    }

    /// A stopping pod's grace has passed: what it still computes is lost.
    pub(super) fn pod_kill(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Event>) {
        let Some(pod) = self.pods.get(key) else { return };
        let index = pod.revision;
        let lost: Vec<(Key, Request)> = self
            .requests
            .iter()
            .filter(|(_, request)| {
                matches!(request.stage, Stage::Running { pod, .. } | Stage::Abandoned { pod } if pod == key)
            })
            .map(|(request_key, request)| (request_key, *request))
            .collect();
        for (request_key, request) in &lost {
            self.requests.remove(*request_key);
            match request.stage {
                Stage::Running { .. } => self.close_failed(now_ns, request, Failure::PodStopped),
                Stage::Abandoned { .. } => self.forget_abandoned(index),
                Stage::Waiting { .. } => {}
            }
        }
        self.pods.remove(key);
        for _ in &lost {
            self.slot_freed(now_ns, index, schedule);
        }
    }

    /// A pod starts to compute for a request.
    pub(super) fn start_on(
        &mut self,
        now_ns: u64,
        key: Key,
        position: usize,
        schedule: &mut Schedule<Event>,
    ) {
        let Some(request) = self.requests.get_mut(key) else { return };
        let revision = &mut self.revisions[usize::from(request.revision)];
        let pod_key = revision.endpoints[position];
        let held_ns = match request.stage {
            Stage::Waiting { held: true } => now_ns - request.entered_ns,
            _ => 0,
        };
        request.stage = Stage::Running { pod: pod_key, held_ns };
        revision.waiting_live -= 1;
        revision.running += 1;
        revision.loads[position] += 1;
        let Some(pod) = self.pods.get_mut(pod_key) else { return };
        pod.in_flight += 1;
        match &mut pod.cores {
            None => schedule.at(now_ns + request.demand_ns, Event::Answer(key)),
            Some(cores) => {
                cores.start(now_ns, request.demand_ns, key);
                self.await_shared(pod_key, schedule);
            }
        }
    }

    /// A pod has computed an answer.
    pub(super) fn answer(&mut self, now_ns: u64, key: Key, schedule: &mut Schedule<Event>) {
        let Some(request) = self.requests.remove(key) else { return };
        self.touched = Some(request.revision);
        let pod_key = match request.stage {
            Stage::Running { pod, held_ns } => {
                self.close_answered(now_ns, &request, held_ns);
                pod
            }
            Stage::Abandoned { pod } => {
                self.forget_abandoned(request.revision);
                pod
            }
            Stage::Waiting { .. } => return,
        };
        let Some(pod) = self.pods.get_mut(pod_key) else { return };
        pod.in_flight -= 1;
        match pod.state {
            State::Ready => self.revisions[usize::from(request.revision)].loads[pod.position] -= 1,
            State::Stopping if pod.in_flight == 0 => {
                self.pods.remove(pod_key);
            }
            State::Stopping | State::Starting(_) => {}
        }
        self.slot_freed(now_ns, request.revision, schedule);
    }

    /// The request on shared cores that is due ends, unless the cores' plan changed since this was scheduled.
    pub(super) fn shared_answer(&mut self, now_ns: u64, key: Key, turn: u32, schedule: &mut Schedule<Event>) {
        let Some(pod) = self.pods.get_mut(key) else { return };
        if pod.turn != turn {
            return;
        }
        let Some(request) = pod.cores.as_mut().and_then(|cores| cores.end(now_ns)) else { return };
        self.await_shared(key, schedule);
        self.answer(now_ns, request, schedule);
    }

    fn await_shared(&mut self, key: Key, schedule: &mut Schedule<Event>) {
        let Some(pod) = self.pods.get_mut(key) else { return };
        pod.turn = pod.turn.wrapping_add(1);
        if let Some(end_ns) = pod.cores.as_ref().and_then(SharedCores::next_end_ns) {
            schedule.at(end_ns, Event::SharedAnswer(key, pod.turn));
        }
    }

    fn forget_abandoned(&mut self, index: u16) {
        self.revisions[usize::from(index)].abandoned -= 1;
        self.abandoned -= 1;
    }
}
