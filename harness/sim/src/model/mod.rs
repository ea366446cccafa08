//! The model: clients, gateway with activator, workloads with their controllers, pods, rollouts.
//!
//! Each concept has its own file, its own part of [`State`] and its own events; they meet in [`World::handle`].
//! Every decision is taken by a kernel or rendered by the resource types' own functions, never here: this is the
//! part of the world that a live flight has for real.
//!
//! Simplifications, on purpose: controllers react at once (what they take is part of the pod-start phase
//! `schedule`), the gateway sees a stopping pod leave at once, the latency of the way lies in front of the
//! gateway, and a waiting line in the activator is served first come first served.

mod clients;
mod condition;
mod control;
mod deadlines;
mod deployments;
mod drift;
mod faults;
mod fork;
mod gateway;
mod laws;
mod line;
mod metrics;
mod nodes;
mod outputs;
mod pods;
mod queue;
mod reach;
mod restarts;
mod rollout;
mod server;
mod settle;
mod start;
mod state;
mod workloads;

use serde::{Deserialize, Serialize};
use windtunnel_record::Recorder;

use crate::engine::{Key, Model, Schedule, Violation};
use crate::error::SimError;
use crate::plan::{ModelProfile, Plan, draw_of, environment_error};
use crate::server::{Draw, Finished};

pub(crate) use clients::Sources;
use nodes::Cluster;
pub(crate) use settle::start_ns;
pub(crate) use state::State;

/// What can happen. A concept with more than one kind of event has an enum of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The next request of a load reaches the gateway.
    Arrival(u16),
    /// A pod has computed an answer.
    Answer(Key),
    /// To a pod's server.
    Server(server::Event),
    /// To the clients.
    Client(clients::Event),
    /// In a queue.
    Queue(queue::Event),
    /// In the gateway.
    Gateway(gateway::Event),
    /// To a workload's controller.
    Control(u16, control::Event),
    /// To a pod.
    Pod(Key, pods::Event),
    /// To the services.
    Rollout(rollout::Event),
    /// To a Deployment or its autoscaler.
    Deployment(u16, deployments::Event),
    /// To machines, or of what moves to them.
    Node(nodes::Event),
    /// Something goes wrong, or does so no longer.
    Fault(faults::Event),
    /// Inputs or predictions begin to drift.
    Drift(drift::Signal),
    /// Metrics of pods are read.
    Scrape,
    /// A whole second: series are sampled.
    Sample,
    /// The run's time is over: nothing new arrives, what is under way is awaited.
    End,
}

// Every pending answer is one of these in the schedule's heap.
const _: () = assert!(size_of::<Event>() <= 16, "an event is at most 16 bytes");

/// The state with what surrounds it: the plan that it follows, the arrivals that it reads and the recorder that
/// it writes to.
pub(crate) struct World<'a> {
    plan: &'a Plan,
    recorder: &'a mut dyn Recorder,
    sources: Sources<'a>,
    state: State,
    /// What the model of each workload does: the plan's, by storage URI.
    profiles: Vec<ModelProfile>,
    /// What a server is through with, kept for its room.
    finished: Vec<Finished>,
    /// Of the answer that is just being closed: time to the first token, and of a further one.
    tokens: Option<(u64, Option<u64>)>,
    /// There and back between the gateway and a pod.
    round_trip_ns: u64,
    /// How long the autoscaler takes to scrape a revision's pods.
    scrape_time: Option<Draw>,
    /// Where the recorder keeps series.
    book: outputs::Book,
    /// Something that the plan's checks should have found; ends the run.
    fault: Option<SimError>,
}

impl<'a> World<'a> {
    /// The world before anything was applied, at `start_ns`.
    pub(crate) fn new(
        plan: &'a Plan,
        seed: u64,
        start_ns: u64,
        sources: Sources<'a>,
        recorder: &'a mut dyn Recorder,
    ) -> Self {
        let mut state = State::new(plan, seed, start_ns);
        let mut fault = None;
        match Cluster::of(plan, start_ns) {
            Ok(cluster) => state.cluster = cluster,
            Err(error) => fault = Some(error),
        }
        let scrape_time = scrape_time_of(plan).unwrap_or_else(|error| {
            fault = Some(error);
            None
        });
        Self {
            plan,
            recorder,
            sources,
            state,
            profiles: Vec::new(),
            finished: Vec::new(),
            tokens: None,
            round_trip_ns: plan.environment.network.round_trip.as_ns(),
            scrape_time,
            book: outputs::Book::default(),
            fault,
        }
    }

    /// Schedules what is known beforehand: the manifests, the first request, changes and samples.
    pub(crate) fn prime(&mut self, schedule: &mut Schedule<Event>) {
        schedule.at(self.state.gateway.started_ns, Event::Rollout(rollout::Event::Apply));
        self.schedule_changes(0, schedule);
        self.start_drift(0, schedule);
        self.schedule_faults(0, schedule);
        self.start_users(schedule);
        schedule.at(self.plan.epoch_ns, Event::Sample);
        schedule.at(self.end_ns(), Event::End);
        for load in 0..self.state.loads.len() {
            self.draw_arrival(load);
        }
        self.schedule_close(schedule);
        self.expect_arrival(schedule);
    }

    /// The state as it is now.
    pub(crate) fn into_state(self) -> State {
        self.state
    }

    /// What went wrong, if something did.
    pub(crate) fn take_fault(&mut self) -> Option<SimError> {
        self.fault.take()
    }

    /// When the load ends.
    fn end_ns(&self) -> u64 {
        self.plan.epoch_ns.saturating_add(self.plan.duration_ns)
    }

    /// Nanoseconds since the start of the run; 0 for everything before it.
    fn run_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.plan.epoch_ns)
    }

    /// Whether the run has started: what happens before is how the world came to be and is not observed.
    fn is_observed(&self, now_ns: u64) -> bool {
        now_ns >= self.plan.epoch_ns
    }
}

impl Model for World<'_> {
    type Event = Event;

    fn handle(&mut self, now_ns: u64, event: Event, schedule: &mut Schedule<Event>) {
        self.state.touched = None;
        match event {
            Event::Arrival(load) => self.arrive(now_ns, load, schedule),
            Event::Answer(request) => self.answer(now_ns, request, schedule),
            _ => self.handle_rarer(now_ns, event, schedule),
        }
    }

    fn check(&self, now_ns: u64) -> Result<(), Violation> {
        self.check_touched(now_ns)
    }

    fn is_routine(&self) -> bool {
        self.state.touched.is_some()
    }

    fn is_finished(&self) -> bool {
        let state = &self.state;
        let is_over = state.time_is_over && state.outputs.is_over && self.is_silent();
        self.fault.is_some() || (is_over && state.in_flight() == 0 && state.calls.is_empty())
    }
}

impl World<'_> {
    /// What does not happen once or twice a request: apart, so that the two events that do stay short.
    #[inline(never)]
    fn handle_rarer(&mut self, now_ns: u64, event: Event, schedule: &mut Schedule<Event>) {
        match event {
            Event::Arrival(_) | Event::Answer(_) => {}
            Event::Server(event) => self.server_event(now_ns, event, schedule),
            Event::Client(event) => self.client_event(now_ns, event, schedule),
            Event::Queue(event) => self.queue_event(now_ns, event, schedule),
            Event::Gateway(event) => self.gateway_event(now_ns, event, schedule),
            Event::Control(workload, event) => self.control_event(now_ns, workload, event, schedule),
            Event::Pod(pod, event) => self.pod_event(now_ns, pod, event, schedule),
            Event::Rollout(_) | Event::Deployment(..) if self.puts_off(now_ns, event, schedule) => {}
            Event::Rollout(event) => self.rollout_event(now_ns, event, schedule),
            Event::Deployment(index, event) => self.deployment_event(now_ns, index, event, schedule),
            Event::Node(event) => self.node_event(now_ns, event, schedule),
            Event::Fault(event) => self.fault_event(now_ns, event, schedule),
            Event::Drift(signal) => self.drift_begins(now_ns, signal),
            Event::Scrape => self.scrape(now_ns, schedule),
            Event::Sample => self.sample(now_ns, schedule),
            Event::End => self.state.time_is_over = true,
        }
    }
}

/// How long a scrape takes in a plan's environment; `None` is no time.
///
/// # Errors
/// A distribution with parameters that cannot be.
fn scrape_time_of(plan: &Plan) -> Result<Option<Draw>, SimError> {
    let scrape_time = plan.environment.control.kpa.scrape_time.as_ref();
    scrape_time
        .map(draw_of)
        .transpose()
        .map_err(|error| environment_error("spec.environment.control.kpa.scrape-time", &error))
}
