//! The gateway: traffic split, activator, endpoint choice, concurrency reports.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::kpa::{REPORT_PERIOD_NS, next_on_grid};
use windtunnel_scenario::load::Arrival;

use super::clients::{Caller, Failure, Request, Stage};
use super::control::Cause;
use super::line::Admission;
use super::workloads::Readiness;
use super::{Event as Any, World};
use crate::engine::{Key, Schedule, Slab, Violation};
use crate::error::SimError;

/// What happens in the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// It reports concurrency.
    Report,
    /// The oldest request of a workload may have run out of the route's time.
    RouteDeadline(u16),
    /// What a pod has answered to a request is here.
    Returned(Key),
}

/// The gateway's own state; what it knows of a workload is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gateway {
    pub(super) started_ns: u64,
    report_armed: bool,
}

impl Gateway {
    pub(super) fn starting_at(now_ns: u64) -> Self {
        Self { started_ns: now_ns, report_armed: false }
    }
}

impl World<'_> {
    /// Something that the gateway waited for.
    pub(super) fn gateway_event(&mut self, now_ns: u64, event: Event, schedule: &mut Schedule<Any>) {
        match event {
            Event::Report => self.report(now_ns, schedule),
            Event::RouteDeadline(workload) => self.route_deadline(now_ns, workload, schedule),
            Event::Returned(request) => self.returned(now_ns, request, schedule),
        }
    }

    /// A request of a load is at the gateway: it goes to a workload, and there to a pod or into the activator's
    /// queue.
    pub(super) fn route(
        &mut self,
        now_ns: u64,
        load: u16,
        arrival: Arrival,
        caller: Caller,
        schedule: &mut Schedule<Any>,
    ) {
        let service = self.plan.loads[usize::from(load)].service;
        let is_match = self.state.services[service].is_tested() && self.is_match(load, &arrival, caller);
        let Some(backend) = self.state.services[service].choose_backend(is_match) else {
            return self.turn_away(now_ns, load, arrival, caller, schedule);
        };
        match self.state.services[service].choose_mirror() {
            None => self.admit(now_ns, load, arrival, caller, backend, schedule),
            Some(copied_to) => {
                let number = self.number_of(&arrival, caller);
                self.admit(now_ns, load, arrival, caller, backend, schedule);
                self.mirror(now_ns, load, arrival, number, copied_to, schedule);
            }
        }
    }

    /// A copy of a request goes to a workload, and its answer to nobody. What chance has for it is what it has for the
    /// request with this number.
    fn mirror(
        &mut self,
        now_ns: u64,
        load: u16,
        arrival: Arrival,
        number: u64,
        index: u16,
        schedule: &mut Schedule<Any>,
    ) {
        self.state.mirrored += 1;
        let mirrored = &mut self.state.workloads[usize::from(index)].mirrored;
        mirrored.inside += 1;
        mirrored.sum += 1;
        self.admit(now_ns, load, arrival, Caller::Mirror(number), (index, 100), schedule);
    }

    /// A request, or a copy, goes to a pod of a workload, or waits for one.
    fn admit(
        &mut self,
        now_ns: u64,
        load: u16,
        arrival: Arrival,
        caller: Caller,
        (index, weight_percent): (u16, u8),
        schedule: &mut Schedule<Any>,
    ) {
        let demand_ns = self.demand_ns(load, &arrival, caller, index);
        let is_crowded = self.state.ledger.in_flight() > self.plan.most_in_flight;
        let workload = &mut self.state.workloads[usize::from(index)];
        self.state.touched = Some(index);
        workload.routed += 1;
        workload.waiting_live += 1;
        let poked = workload.control.request_in(now_ns);
        let rests = workload.rests_since_ns.is_some();
        let held = workload.endpoints.is_empty();
        let admission = if is_crowded { Admission::Refused } else { workload.line.offer() };
        let stage = Stage::Waiting { held };
        // Made where it is kept: moving it there right away would cost more than making it.
        let request = || Request {
            arrival,
            load,
            entered_ns: now_ns,
            demand_ns,
            workload: index,
            weight_percent,
            caller,
            stage,
        };
        if rests {
            self.wake_control(now_ns, index, schedule);
        }
        self.arm_report(now_ns, schedule);
        match admission {
            Admission::Refused => {
                let waits = self.state.workloads[usize::from(index)].line.waits();
                let failure = if held && !waits { Failure::NoEndpoint } else { Failure::QueueFull };
                self.close_failed(now_ns, &request(), failure, schedule);
            }
            Admission::Start => {
                let key = self.state.requests.insert_with(request);
                self.watch(key, schedule);
                self.start(now_ns, index, key, schedule);
            }
            Admission::Wait => {
                let key = self.state.requests.insert_with(request);
                self.watch(key, schedule);
                let workload = &mut self.state.workloads[usize::from(index)];
                workload.waiting.push_back(key);
                if held && workload.waiting_live == 1 {
                    let name = workload.name.clone();
                    self.note(now_ns, "activation", &name, "a request waits: there is no ready pod");
                }
            }
        }
        if poked {
            self.decide(now_ns, index, Cause::Poke, schedule);
        }
    }

    /// The endpoints of a workload changed: the activator learns it first, then whoever waits for the
    /// workload to become ready, then the controller.
    pub(super) fn endpoints_changed(
        &mut self,
        now_ns: u64,
        index: u16,
        change: Readiness,
        schedule: &mut Schedule<Any>,
    ) {
        self.endpoints_known(now_ns, index, change, schedule);
        self.readiness_changed(now_ns, index, change, schedule);
    }

    /// The activator has learned it.
    pub(super) fn endpoints_known(
        &mut self,
        now_ns: u64,
        index: u16,
        change: Readiness,
        schedule: &mut Schedule<Any>,
    ) {
        let workload = &mut self.state.workloads[usize::from(index)];
        let freed = workload.line.update(workload.endpoints.len());
        let released = self.release(now_ns, index, freed, schedule);
        if change == Readiness::Gained
            && released > 0
            && self.state.workloads[usize::from(index)].endpoints.len() == 1
        {
            let name = self.state.workloads[usize::from(index)].name.clone();
            let plural = if released == 1 { "" } else { "s" };
            self.note(now_ns, "activation", &name, &format!("{released} waiting request{plural} released"));
        }
    }

    /// A request left its pod: the next one may start.
    pub(super) fn slot_freed(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        let freed = self.state.workloads[usize::from(index)].line.finish();
        if freed > 0 {
            self.release(now_ns, index, freed, schedule);
        }
    }

    /// A request gave up waiting.
    pub(super) fn leave_queue(&mut self, index: u16) {
        self.state.workloads[usize::from(index)].line.abandon();
    }

    /// Each second: what was counted of every workload goes to its controller.
    fn report(&mut self, now_ns: u64, schedule: &mut Schedule<Any>) {
        self.state.touched = None;
        self.state.gateway.report_armed = false;
        for position in 0..self.state.workloads.len() {
            let workload = &mut self.state.workloads[position];
            let (index, report) =
                (workload.index, workload.control.report(now_ns, self.scrape_time.as_ref()));
            self.reported(now_ns, index, report, schedule);
        }
        if self.state.workloads.iter().any(|workload| workload.control.awaits_report()) {
            self.arm_report(now_ns, schedule);
        }
    }

    /// Reports are due on a grid of whole periods, but only while there is something to report.
    fn arm_report(&mut self, now_ns: u64, schedule: &mut Schedule<Any>) {
        if self.state.gateway.report_armed {
            return;
        }
        self.state.gateway.report_armed = true;
        let phase_ns =
            self.plan.phases.reports.grid_from_ns(self.state.gateway.started_ns, self.plan.epoch_ns);
        schedule.at(next_on_grid(now_ns, phase_ns, REPORT_PERIOD_NS), Any::Gateway(Event::Report));
    }

    /// Requests whose route has no more time for them are answered by the gateway.
    fn route_deadline(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Any>) {
        loop {
            let requests = &self.state.requests;
            let is_live = |key| requests.get(key).is_some_and(Request::is_awaited);
            let deadlines = &mut self.state.workloads[usize::from(index)].route_deadlines;
            let Some(key) = deadlines.overdue(now_ns, is_live) else { break };
            self.give_up(now_ns, key, Failure::RouteTimeout, schedule);
        }
        if let Some(timer_ns) = self.state.workloads[usize::from(index)].route_deadlines.rearm() {
            schedule.at(timer_ns, Any::Gateway(Event::RouteDeadline(index)));
        }
    }

    /// Starts up to `count` waiting requests; returns how many there were.
    fn release(&mut self, now_ns: u64, index: u16, count: u32, schedule: &mut Schedule<Any>) -> u32 {
        let mut released = 0;
        while released < count {
            let workload = &mut self.state.workloads[usize::from(index)];
            let Some(key) = next_waiting(&mut workload.waiting, &self.state.requests) else { break };
            self.start(now_ns, index, key, schedule);
            released += 1;
        }
        released
    }

    /// Sends an admitted request to a pod.
    fn start(&mut self, now_ns: u64, index: u16, key: Key, schedule: &mut Schedule<Any>) {
        let workload = &mut self.state.workloads[usize::from(index)];
        match workload.line.choose(&workload.loads, &mut workload.choices) {
            Some(position) => self.start_on(now_ns, key, position, schedule),
            None => {
                let detail = format!("{} admitted more than its pods take", workload.name);
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
