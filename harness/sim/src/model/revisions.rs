//! Revisions: replicas, activator bookkeeping, and the autoscaler that decides about them.

use std::collections::VecDeque;

use windtunnel_kernel::autoscale::kpa::{
    Autoscaler, ConcurrencyReporter, Observation, Reachability, TICK_NS, Trigger, next_on_grid,
};
use windtunnel_record::Decision as Record;

use super::deadlines::Deadlines;
use super::line::Line;
use super::{Event, World};
use crate::engine::{Key, Schedule};
use crate::plan::RevisionPlan;

/// One immutable version of a service, with its pods and its part of the activator.
pub(super) struct Revision {
    pub(super) name: String,
    /// Its place in the world.
    pub(super) index: u16,
    /// Its place in the recording.
    pub(super) observed: u16,
    /// The service that it is a version of.
    pub(super) service: usize,
    pub(super) timeout_ns: u64,
    pub(super) autoscaler: Autoscaler,
    pub(super) reachability: Reachability,

    /// What the autoscaler wants of it: the replicas of its Deployment.
    pub(super) wanted: u32,
    /// Pods that are not stopping, oldest first.
    pub(super) pods: Vec<Key>,
    pub(super) pods_made: u32,
    /// Ready pods in the order in which they became so, and how many requests each one has.
    pub(super) endpoints: Vec<Key>,
    pub(super) loads: Vec<u32>,

    pub(super) reporter: ConcurrencyReporter,
    pub(super) line: Line,
    pub(super) waiting: VecDeque<Key>,
    pub(super) route_deadlines: Deadlines,

    /// Requests sent to it so far, and where they are: each is in exactly one of the five.
    pub(super) routed: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) waiting_live: u64,
    pub(super) running: u64,
    /// Those among the failed that a pod still computes for.
    pub(super) abandoned: u64,

    requeue_ns: Option<u64>,
}

/// How the endpoints of a revision changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Gained,
    Lost,
}

impl Revision {
    fn ready(&self) -> u32 {
        u32::try_from(self.endpoints.len()).unwrap_or(u32::MAX)
    }
}

/// From a status that the autoscaler writes until it sees it: one write to the API server and one watch event.
const STATUS_WRITE_NS: u64 = 5_000_000;

impl World<'_> {
    /// Creates a revision with its initial pods and its autoscaler.
    pub(super) fn create_revision(
        &mut self,
        now_ns: u64,
        service: usize,
        plan: &RevisionPlan,
        schedule: &mut Schedule<Event>,
    ) -> u16 {
        let index = u16::try_from(self.revisions.len()).unwrap_or(u16::MAX);
        let observed = self.recorder.revision(windtunnel_record::Revision {
            name: plan.name.clone(),
            storage_uri: plan.storage_uri.clone(),
            created_ns: self.run_ns(now_ns),
        });
        self.revisions.push(Revision {
            name: plan.name.clone(),
            index,
            observed,
            service,
            timeout_ns: plan.timeout_ns,
            autoscaler: Autoscaler::new(plan.autoscaler.clone(), 0, now_ns),
            reachability: Reachability::Unknown,
            wanted: plan.autoscaler.initial_scale,
            pods: Vec::new(),
            pods_made: 0,
            endpoints: Vec::new(),
            loads: Vec::new(),
            reporter: ConcurrencyReporter::new(),
            line: Line::new(plan.autoscaler.container_concurrency),
            waiting: VecDeque::new(),
            route_deadlines: Deadlines::default(),
            routed: 0,
            answered: 0,
            failed: 0,
            waiting_live: 0,
            running: 0,
            abandoned: 0,
            requeue_ns: None,
        });
        self.note(now_ns, "revision", &plan.name, "created");
        self.scale_pods(now_ns, index, schedule);
        let phase_ns = self.plan.phases.ticks.grid_from_ns(now_ns, self.plan.epoch_ns);
        schedule.at(next_on_grid(now_ns, phase_ns, TICK_NS), Event::Tick(index));
        self.step(now_ns, index, Trigger::Reconcile, schedule);
        index
    }

    /// The autoscaler decides, and its decision is carried out.
    pub(super) fn step(&mut self, now_ns: u64, index: u16, trigger: Trigger, schedule: &mut Schedule<Event>) {
        self.touched = None;
        let revision = &mut self.revisions[usize::from(index)];
        let active_before = revision.autoscaler.active().status;
        let decision = revision.autoscaler.step(
            trigger,
            &Observation {
                now_ns,
                ready: revision.ready(),
                current_replicas: revision.wanted,
                reachability: revision.reachability,
                activator_answers: true,
            },
        );
        // Every step says anew when to look again; and a status that has changed comes back as soon as it is written.
        let written_ns = (decision.active.status != active_before).then_some(STATUS_WRITE_NS);
        let look_after_ns = [decision.requeue_after_ns, written_ns].into_iter().flatten().min();
        revision.requeue_ns = look_after_ns.map(|after_ns| now_ns.saturating_add(after_ns.max(1)));
        if let Some(at_ns) = revision.requeue_ns {
            schedule.at(at_ns, Event::Requeue(index));
        }
        let Some(replicas) = decision.replicas.filter(|replicas| *replicas != revision.wanted) else {
            return;
        };
        let from = revision.wanted;
        revision.wanted = replicas;
        let target = revision.name.clone();
        if self.is_observed(now_ns) {
            self.recorder.decision(Record {
                t_ns: self.run_ns(now_ns),
                actor: "kpa".to_owned(),
                target,
                from: i64::from(from),
                to: i64::from(replicas),
                text: decision.explanation.to_string(),
                explanation: serde_json::to_value(&decision.explanation).unwrap_or_default(),
            });
        }
        self.scale_pods(now_ns, index, schedule);
    }

    /// Every two seconds.
    pub(super) fn tick(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Event>) {
        self.step(now_ns, index, Trigger::Tick, schedule);
    }

    /// A wake-up that a decision asked for, unless another step came first.
    pub(super) fn requeue(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Event>) {
        let revision = &mut self.revisions[usize::from(index)];
        if revision.requeue_ns == Some(now_ns) {
            revision.requeue_ns = None;
            self.step(now_ns, index, Trigger::Reconcile, schedule);
        }
    }

    /// Pods became ready or went away.
    pub(super) fn readiness_changed(
        &mut self,
        now_ns: u64,
        index: u16,
        change: Readiness,
        schedule: &mut Schedule<Event>,
    ) {
        if change == Readiness::Gained {
            self.revision_gained(now_ns, index, schedule);
        }
        self.step(now_ns, index, Trigger::Reconcile, schedule);
    }
}
