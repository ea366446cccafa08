//! The model: clients, gateway with activator, revisions with their autoscaler, pods, rollout.
//!
//! Each concept has its own file and its own part of [`World`]; they meet in [`World::handle`]. Every decision
//! is taken by a kernel or rendered by the resource types' own functions, never here: this is the part of the
//! world that a live flight has for real.
//!
//! Simplifications, on purpose: controllers react at once (what they take is part of the pod-start phase
//! `schedule`), the gateway sees a stopping pod leave at once, the latency of the way lies in front of the
//! gateway, and a waiting line in the activator is served first come first served.

mod clients;
mod deadlines;
mod gateway;
mod line;
mod observe;
mod pods;
mod processor;
mod revisions;
mod rollout;
mod service_time;

use windtunnel_kernel::autoscale::kpa::TICK_NS;
use windtunnel_record::Recorder;
use windtunnel_scenario::load::Arrival;

use crate::engine::{Key, Ledger, Model, Schedule, Slab, Stream, Violation};
use crate::error::SimError;
use crate::plan::Plan;

use clients::Request;
use deadlines::Deadlines;
use pods::Pod;
use revisions::Revision;
use rollout::Service;
pub use service_time::ServiceTime;

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// The manifests are applied.
    Apply,
    /// The next request reaches the gateway.
    Arrival,
    /// A pod has computed an answer.
    Answer(Key),
    /// A pod with shared cores has computed an answer, if nothing changed on the pod since.
    SharedAnswer(Key, u32),
    /// The oldest request may have run out of its client's patience.
    ClientDeadline,
    /// The oldest request of a revision may have run out of the route's time.
    RouteDeadline(u16),
    /// The gateway reports concurrency.
    Report,
    /// The autoscaler evaluates a revision.
    Tick(u16),
    /// A wake-up that a decision asked for.
    Requeue(u16),
    /// A starting pod is through with a phase.
    PodPhase(Key),
    /// A stopping pod's grace has passed.
    PodKill(Key),
    /// The scenario changes something.
    Change(u32),
    /// A whole second: series are sampled.
    Sample,
    /// The run's time is over: nothing new arrives, what is under way is awaited.
    End,
}

/// Everything that there is, in virtual time: instants are nanoseconds since the Unix epoch.
pub(crate) struct World<'a> {
    plan: &'a Plan,
    recorder: &'a mut dyn Recorder,
    arrivals: Box<dyn Iterator<Item = Arrival> + 'a>,
    next_arrival: Option<Arrival>,
    ledger: Ledger,
    requests: Slab<Request>,
    client_deadlines: Deadlines,
    services: Vec<Service>,
    revisions: Vec<Revision>,
    pods: Slab<Pod>,
    service_times: Stream,
    choices: Stream,
    report_armed: bool,
    gateway_started_ns: u64,
    /// The revision whose bookkeeping the last event may have changed.
    touched: Option<u16>,
    /// Something that the plan's checks should have found; ends the run.
    fault: Option<SimError>,
    /// Requests that a pod computes for although nobody waits for the answer.
    abandoned: u64,
    time_is_over: bool,
    samples_are_over: bool,
}

impl<'a> World<'a> {
    /// The world before anything was applied, at `start_ns`.
    pub(crate) fn new(
        plan: &'a Plan,
        seed: u64,
        start_ns: u64,
        mut arrivals: Box<dyn Iterator<Item = Arrival> + 'a>,
        recorder: &'a mut dyn Recorder,
    ) -> Self {
        let next_arrival = arrivals.next();
        Self {
            plan,
            recorder,
            next_arrival,
            arrivals,
            ledger: Ledger::starting_at(start_ns),
            requests: Slab::default(),
            client_deadlines: Deadlines::default(),
            services: plan.services.iter().map(Service::new).collect(),
            revisions: Vec::new(),
            pods: Slab::default(),
            service_times: Stream::named(seed, "service-time"),
            choices: Stream::named(seed, "endpoint-choice"),
            report_armed: false,
            gateway_started_ns: start_ns,
            touched: None,
            fault: None,
            abandoned: 0,
            time_is_over: false,
            samples_are_over: false,
        }
    }

    /// Schedules what is known beforehand: the manifests, the first request, changes and samples.
    pub(crate) fn prime(&mut self, schedule: &mut Schedule<Event>) {
        schedule.at(self.gateway_started_ns, Event::Apply);
        for (index, change) in (0_u32..).zip(&self.plan.changes) {
            schedule.at(self.plan.epoch_ns + change.at_ns, Event::Change(index));
        }
        schedule.at(self.plan.epoch_ns, Event::Sample);
        schedule.at(self.plan.epoch_ns + self.plan.duration_ns, Event::End);
        self.expect_arrival(schedule);
    }

    /// The requests' bookkeeping.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What went wrong, if something did.
    pub(crate) fn take_fault(&mut self) -> Option<SimError> {
        self.fault.take()
    }

    /// Nanoseconds since the start of the run; 0 for everything before it.
    fn run_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.plan.epoch_ns)
    }

    /// Whether the run has started: what happens before is how the world came to be and is not observed.
    fn is_observed(&self, now_ns: u64) -> bool {
        now_ns >= self.plan.epoch_ns
    }

    fn check_revision(&self, revision: &Revision, now_ns: u64) -> Result<(), Violation> {
        let violated = |law, detail: String| Err(Violation { now_ns, law, detail });
        let pods = revision.pods.len();
        let ready = revision.endpoints.len();
        if ready > pods {
            return violated("ready <= pods", format!("{}: {ready} of {pods}", revision.name));
        }
        let inside = revision.waiting_live + revision.running;
        if revision.routed != revision.answered + revision.failed + inside {
            return violated(
                "conservation on a revision (routed = answered + failed + waiting + running)",
                format!(
                    "{}: {} = {} + {} + {} + {}",
                    revision.name,
                    revision.routed,
                    revision.answered,
                    revision.failed,
                    revision.waiting_live,
                    revision.running
                ),
            );
        }
        Ok(())
    }

    /// The laws that need a walk over everything: after each event that is not about one request.
    fn check_all(&self, now_ns: u64) -> Result<(), Violation> {
        let mut occupied = 0_u64;
        for revision in &self.revisions {
            self.check_revision(revision, now_ns)?;
            for key in &revision.pods {
                let Some(pod) = self.pods.get(*key) else {
                    let detail = format!("{} lists a pod that is gone", revision.name);
                    return Err(Violation { now_ns, law: "a listed pod exists", detail });
                };
                if revision.endpoints.get(pod.position).is_some_and(|at| at == key) != pod.is_ready() {
                    let detail = format!("{} of {}", pod.name, revision.name);
                    return Err(Violation { now_ns, law: "a pod is an endpoint while it is ready", detail });
                }
            }
        }
        for (_, pod) in self.pods.iter() {
            occupied += u64::from(pod.in_flight);
        }
        let running: u64 = self.revisions.iter().map(|revision| revision.running + revision.abandoned).sum();
        if occupied != running {
            let detail = format!("pods hold {occupied}, revisions run {running}");
            return Err(Violation { now_ns, law: "every running request is on one pod", detail });
        }
        Ok(())
    }
}

impl Model for World<'_> {
    type Event = Event;

    fn handle(&mut self, now_ns: u64, event: Event, schedule: &mut Schedule<Event>) {
        self.touched = None;
        match event {
            Event::Arrival => self.arrive(now_ns, schedule),
            Event::Answer(request) => self.answer(now_ns, request, schedule),
            Event::SharedAnswer(pod, turn) => self.shared_answer(now_ns, pod, turn, schedule),
            Event::ClientDeadline => self.client_deadline(now_ns, schedule),
            Event::RouteDeadline(revision) => self.route_deadline(now_ns, revision, schedule),
            Event::Report => self.report(now_ns, schedule),
            Event::Tick(revision) => {
                schedule.after(TICK_NS, event);
                self.tick(now_ns, revision, schedule);
            }
            Event::Requeue(revision) => self.requeue(now_ns, revision, schedule),
            Event::PodPhase(pod) => self.pod_phase(now_ns, pod, schedule),
            Event::PodKill(pod) => self.pod_kill(now_ns, pod, schedule),
            Event::Apply => self.apply(now_ns, schedule),
            Event::Change(index) => self.change(now_ns, index, schedule),
            Event::Sample => self.sample(now_ns, schedule),
            Event::End => self.time_is_over = true,
        }
    }

    fn check(&self, now_ns: u64) -> Result<(), Violation> {
        self.ledger.check(now_ns)?;
        if self.requests.len() as u64 != self.ledger.in_flight() + self.abandoned {
            let detail = format!("{} kept, {} in flight", self.requests.len(), self.ledger.in_flight());
            return Err(Violation { now_ns, law: "a request is kept while it is in flight", detail });
        }
        match self.touched {
            Some(revision) => self.check_revision(&self.revisions[usize::from(revision)], now_ns),
            None => self.check_all(now_ns),
        }
    }

    fn is_finished(&self) -> bool {
        let is_over = self.time_is_over && self.samples_are_over && self.next_arrival.is_none();
        self.fault.is_some() || (is_over && self.ledger.in_flight() == 0)
    }
}
