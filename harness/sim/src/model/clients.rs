//! Clients: open-loop arrivals, patience, and the record of every request.

use windtunnel_record::{Prediction, Request as Record};
use windtunnel_scenario::load::Arrival;

use super::{Event, World};
use crate::engine::{Key, Outcome, Schedule};

/// A request between its arrival at the gateway and its last trace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) arrival: Arrival,
    /// When it reached the gateway.
    pub(super) entered_ns: u64,
    /// How long the model computes for it.
    pub(super) demand_ns: u64,
    pub(super) revision: u16,
    pub(super) weight_percent: u8,
    pub(super) stage: Stage,
}

/// Where a request is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// In the activator.
    Waiting {
        /// There was no ready pod when it came.
        held: bool,
    },
    /// On a pod.
    Running { pod: Key, held_ns: u64 },
    /// Its client was told that it failed, but a pod still computes.
    Abandoned { pod: Key },
}

impl Request {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting { .. })
    }

    /// Whether somebody still waits for the answer.
    pub(super) fn is_awaited(&self) -> bool {
        !matches!(self.stage, Stage::Abandoned { .. })
    }
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The service has no revision to route to.
    NoRoute,
    /// The activator's queue is full.
    QueueFull,
    /// The gateway gave up after the route's timeout.
    RouteTimeout,
    /// The client gave up.
    ClientTimeout,
    /// Its pod stopped before the answer was computed.
    PodStopped,
}

impl Failure {
    /// The HTTP status; 0 when the client got none.
    fn status(self) -> u16 {
        match self {
            Self::NoRoute => 404,
            Self::QueueFull => 503,
            Self::RouteTimeout => 504,
            Self::ClientTimeout => 0,
            Self::PodStopped => 502,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NoRoute => "the service routes to no revision",
            Self::QueueFull => "the activator's queue is full",
            Self::RouteTimeout => "the route's timeout passed before a pod answered",
            Self::ClientTimeout => "the client's timeout passed before an answer came",
            Self::PodStopped => "the pod's termination grace passed before it answered",
        }
    }
}

impl World<'_> {
    /// Puts the next arrival into the schedule's lane.
    pub(super) fn expect_arrival(&mut self, schedule: &mut Schedule<Event>) {
        let duration_ns = self.plan.duration_ns;
        self.next_arrival = self.next_arrival.filter(|arrival| arrival.at_ns < duration_ns);
        if let Some(arrival) = &self.next_arrival {
            let way_ns = self.plan.environment.network.gateway.as_ns();
            schedule.lane(self.plan.epoch_ns + arrival.at_ns + way_ns, Event::Arrival);
        }
    }

    /// A request reaches the gateway.
    pub(super) fn arrive(&mut self, now_ns: u64, schedule: &mut Schedule<Event>) {
        let Some(arrival) = self.next_arrival.take() else { return };
        self.next_arrival = self.arrivals.next();
        self.expect_arrival(schedule);
        self.ledger.enter(now_ns);
        let demand_ns = self.plan.service_time.draw(&mut self.service_times);
        self.route(now_ns, arrival, demand_ns, schedule);
    }

    /// A request that reached no revision has failed.
    pub(super) fn turn_away(&mut self, now_ns: u64, arrival: Arrival, failure: Failure) {
        self.ledger.leave(now_ns, now_ns, Outcome::Failed);
        self.recorder.request(Record {
            status: failure.status(),
            error: Some(failure.text().to_owned()),
            ..self.record(now_ns, arrival)
        });
    }

    /// The client of `request` has its answer.
    pub(super) fn close_answered(&mut self, now_ns: u64, request: &Request, held_ns: u64) {
        self.ledger.leave(now_ns, request.entered_ns, Outcome::Answered);
        let revision = &mut self.revisions[usize::from(request.revision)];
        revision.reporter.request_out(now_ns);
        revision.running -= 1;
        revision.answered += 1;
        let observed = revision.observed;
        self.recorder.request(Record {
            status: 200,
            revision: Some(observed),
            weight_percent: request.weight_percent,
            held_ns,
            ..self.record(now_ns, request.arrival)
        });
    }

    /// The client of `request` is told that it failed. What a pod computes for it is not touched.
    pub(super) fn close_failed(&mut self, now_ns: u64, request: &Request, failure: Failure) {
        self.ledger.leave(now_ns, request.entered_ns, Outcome::Failed);
        let revision = &mut self.revisions[usize::from(request.revision)];
        revision.reporter.request_out(now_ns);
        revision.failed += 1;
        let held_ns = match request.stage {
            Stage::Waiting { held: true } => {
                revision.waiting_live -= 1;
                now_ns - request.entered_ns
            }
            Stage::Waiting { held: false } => {
                revision.waiting_live -= 1;
                0
            }
            Stage::Running { held_ns, .. } => {
                revision.running -= 1;
                held_ns
            }
            Stage::Abandoned { .. } => 0,
        };
        let observed = revision.observed;
        self.recorder.request(Record {
            status: failure.status(),
            revision: Some(observed),
            weight_percent: request.weight_percent,
            held_ns,
            error: Some(failure.text().to_owned()),
            ..self.record(now_ns, request.arrival)
        });
    }

    /// Watches over a request that was let in.
    pub(super) fn watch(&mut self, key: Key, schedule: &mut Schedule<Event>) {
        let Some(request) = self.requests.get(key).copied() else { return };
        let client_due_ns = self.plan.epoch_ns + request.arrival.at_ns + self.plan.client_timeout_ns;
        let requests = &self.requests;
        let is_live = |key| requests.get(key).is_some_and(Request::is_awaited);
        if let Some(timer_ns) = self.client_deadlines.push(client_due_ns, key, is_live) {
            schedule.at(timer_ns, Event::ClientDeadline);
        }
        let revision = &mut self.revisions[usize::from(request.revision)];
        let route_due_ns = request.entered_ns + revision.timeout_ns;
        if route_due_ns < client_due_ns
            && let Some(timer_ns) = revision.route_deadlines.push(route_due_ns, key, is_live)
        {
            schedule.at(timer_ns, Event::RouteDeadline(request.revision));
        }
    }

    /// Clients whose patience ends now go away.
    pub(super) fn client_deadline(&mut self, now_ns: u64, schedule: &mut Schedule<Event>) {
        loop {
            let requests = &self.requests;
            let is_live = |key| requests.get(key).is_some_and(Request::is_awaited);
            let Some(key) = self.client_deadlines.overdue(now_ns, is_live) else { break };
            self.give_up(now_ns, key, Failure::ClientTimeout);
        }
        if let Some(timer_ns) = self.client_deadlines.rearm() {
            schedule.at(timer_ns, Event::ClientDeadline);
        }
    }

    /// Requests whose route has no more time for them are answered by the gateway.
    pub(super) fn route_deadline(&mut self, now_ns: u64, index: u16, schedule: &mut Schedule<Event>) {
        loop {
            let requests = &self.requests;
            let is_live = |key| requests.get(key).is_some_and(Request::is_awaited);
            let deadlines = &mut self.revisions[usize::from(index)].route_deadlines;
            let Some(key) = deadlines.overdue(now_ns, is_live) else { break };
            self.give_up(now_ns, key, Failure::RouteTimeout);
        }
        if let Some(timer_ns) = self.revisions[usize::from(index)].route_deadlines.rearm() {
            schedule.at(timer_ns, Event::RouteDeadline(index));
        }
    }

    /// Nobody waits for `key` any more. A pod that computes for it goes on.
    fn give_up(&mut self, now_ns: u64, key: Key, failure: Failure) {
        let Some(request) = self.requests.get(key).copied() else { return };
        self.close_failed(now_ns, &request, failure);
        match request.stage {
            Stage::Running { pod, .. } => {
                self.revisions[usize::from(request.revision)].abandoned += 1;
                self.abandoned += 1;
                if let Some(request) = self.requests.get_mut(key) {
                    request.stage = Stage::Abandoned { pod };
                }
            }
            Stage::Waiting { .. } => {
                self.requests.remove(key);
                self.leave_queue(request.revision);
            }
            Stage::Abandoned { .. } => {}
        }
    }

    fn record(&self, now_ns: u64, arrival: Arrival) -> Record {
        Record {
            intended_ns: arrival.at_ns,
            sent_ns: arrival.at_ns,
            latency_ns: self.run_ns(now_ns) - arrival.at_ns,
            status: 0,
            revision: None,
            weight_percent: 100,
            held_ns: 0,
            row: arrival.row,
            prediction: Prediction::Unchecked,
            error: None,
        }
    }
}
