//! The gateway: traffic split, activator, endpoint choice, concurrency reports.

use std::collections::VecDeque;

use windtunnel_kernel::autoscale::kpa::{REPORT_PERIOD_NS, Trigger, next_on_grid};
use windtunnel_scenario::load::Arrival;

use super::clients::{Failure, Request, Stage};
use super::line::Admission;
use super::revisions::Readiness;
use super::{Event, World};
use crate::engine::{Key, Schedule, Slab, Violation};
use crate::error::SimError;

impl World<'_> {
    /// A request is at the gateway: it goes to a revision, and there to a pod or into the activator's queue.
    pub(super) fn route(
        &mut self,
        now_ns: u64,
        arrival: Arrival,
        demand_ns: u64,
        schedule: &mut Schedule<Event>,
    ) {
        let Some((index, weight_percent)) = self.services[self.plan.target].choose_backend() else {
            return self.turn_away(now_ns, arrival, Failure::NoRoute);
        };
        let is_crowded = self.ledger.in_flight() > self.plan.most_in_flight;
        let revision = &mut self.revisions[usize::from(index)];
        self.touched = Some(index);
        revision.routed += 1;
        revision.waiting_live += 1;
        let poked = match revision.reporter.request_in(now_ns) {
            Some(stat) => revision.autoscaler.record(&stat),
            None => false,
        };
        let held = revision.endpoints.is_empty();
        let admission = if is_crowded { Admission::Refused } else { revision.line.offer() };
        let stage = Stage::Waiting { held };
        let request =
            Request { arrival, entered_ns: now_ns, demand_ns, revision: index, weight_percent, stage };
        self.arm_report(now_ns, schedule);
        match admission {
            Admission::Refused => self.close_failed(now_ns, &request, Failure::QueueFull),
            Admission::Start => {
                let key = self.requests.insert(request);
                self.watch(key, schedule);
                self.start(now_ns, index, key, schedule);
            }
            Admission::Wait => {
                let key = self.requests.insert(request);
                self.watch(key, schedule);
                let revision = &mut self.revisions[usize::from(index)];
                revision.waiting.push_back(key);
                if held && revision.waiting_live == 1 {
                    let name = revision.name.clone();
                    self.note(now_ns, "activation", &name, "a request waits: there is no ready pod");
                }
            }
        }
        if poked {
            self.step(now_ns, index, Trigger::Poke, schedule);
        }
    }

    /// The endpoints of a revision changed: the activator learns it first, then the autoscaler, then whoever
    /// waits for the revision to become ready.
    pub(super) fn endpoints_changed(
        &mut self,
        now_ns: u64,
        index: u16,
        change: Readiness,
        schedule: &mut Schedule<Event>,
    ) {
        let revision = &mut self.revisions[usize::from(index)];
        let freed = revision.line.update(revision.endpoints.len());
        let released = self.release(now_ns, index, freed, schedule);
        if change == Readiness::Gained
            && released > 0
            && self.revisions[usize::from(index)].endpoints.len() == 1
        {
            let name = self.revisions[usize::from(index)].name.clone();
            let plural = if released == 1 { "" } else { "s" };
            self.note(now_ns, "activation", &name, &format!("{released} waiting request{plural} released"));
        }
        self.readiness_changed(now_ns, index, change, schedule);
    }

    /// A request left its pod: the next one may start.
    pub(super) fn slot_freed(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Event>) {
        let freed = self.revisions[usize::from(index)].line.finish();
        if freed > 0 {
            self.release(now_ns, index, freed, schedule);
        }
    }

    /// A request gave up waiting.
    pub(super) fn leave_queue(&mut self, index: u16) {
        self.revisions[usize::from(index)].line.abandon();
    }

    /// Each second: every revision's concurrency goes to its autoscaler.
    pub(super) fn report(&mut self, now_ns: u64, schedule: &mut Schedule<Event>) {
        self.touched = None;
        self.report_armed = false;
        for position in 0..self.revisions.len() {
            let revision = &mut self.revisions[position];
            let Some(stat) = revision.reporter.report(now_ns) else { continue };
            if revision.autoscaler.record(&stat) {
                let index = revision.index;
                self.step(now_ns, index, Trigger::Poke, schedule);
            }
        }
        if self.revisions.iter().any(|revision| !revision.reporter.is_idle()) {
            self.arm_report(now_ns, schedule);
        }
    }

    /// Reports are due on a grid of whole periods, but only while there is something to report.
    fn arm_report(&mut self, now_ns: u64, schedule: &mut Schedule<Event>) {
        if self.report_armed {
            return;
        }
        self.report_armed = true;
        let phase_ns = self.plan.phases.reports.grid_from_ns(self.gateway_started_ns, self.plan.epoch_ns);
        schedule.at(next_on_grid(now_ns, phase_ns, REPORT_PERIOD_NS), Event::Report);
    }

    /// Starts up to `count` waiting requests; returns how many there were.
    fn release(&mut self, now_ns: u64, index: u16, count: u32, schedule: &mut Schedule<Event>) -> u32 {
        let mut released = 0;
        while released < count {
            let revision = &mut self.revisions[usize::from(index)];
            let Some(key) = next_waiting(&mut revision.waiting, &self.requests) else { break };
            self.start(now_ns, index, key, schedule);
            released += 1;
        }
        released
    }

    /// Sends an admitted request to a pod.
    fn start(&mut self, now_ns: u64, index: u16, key: Key, schedule: &mut Schedule<Event>) {
        let revision = &mut self.revisions[usize::from(index)];
        match revision.line.choose(&revision.loads, &mut self.choices) {
            Some(position) => self.start_on(now_ns, key, position, schedule),
            None => {
                let detail = format!("{} admitted more than its pods take", revision.name);
                let law = "an admitted request finds a pod";
                self.fault = Some(SimError::Violation(Violation { now_ns, law, detail }));
            }
        }
    }
}

/// The first in line that still waits; those that gave up are dropped.
fn next_waiting(waiting: &mut VecDeque<Key>, requests: &Slab<Request>) -> Option<Key> {
    while let Some(key) = waiting.pop_front() {
        if requests.get(key).is_some_and(Request::is_waiting) {
            return Some(key);
        }
    }
    None
}
