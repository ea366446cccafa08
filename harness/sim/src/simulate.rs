//! Runs a plan.

use std::time::Instant;

use windtunnel_record::Recorder;
use windtunnel_scenario::load::{self, Arrival};

use crate::engine::{Ended, Schedule, Stop, run};
use crate::error::SimError;
use crate::model::World;
use crate::plan::Plan;

/// How a simulation went. What happened in it is in the recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Events that happened.
    pub events: u64,
    /// Requests that arrived.
    pub requests: u64,
    /// Requests with an answer of the model.
    pub answered: u64,
    /// Requests without one.
    pub failed: u64,
    /// Mean time between gateway and answer, over all requests.
    pub mean_sojourn_ns: f64,
    /// Mean number of requests in the system over the simulated time.
    pub mean_in_flight: f64,
    /// Simulated time, from the manifests to the last answer.
    pub virtual_ns: u64,
    /// What it took. The only figure that differs from run to run; it is in no recording.
    pub wall: std::time::Duration,
}

impl Summary {
    /// Requests simulated in a second of wall time.
    pub fn requests_per_s(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64().max(1e-9)
    }
}

/// Simulates `plan` with `seed` and writes what happens through `recorder`.
///
/// The same plan and seed give the same observations, byte for byte.
///
/// # Errors
/// When the load cannot be read any more, when the plan's bound on events is reached, or when the simulator
/// finds itself broken.
pub fn simulate(plan: &Plan, seed: u64, recorder: &mut dyn Recorder) -> Result<Summary, SimError> {
    let arrivals = if plan.scenario.seed == seed {
        load::arrivals(&plan.scenario, plan.flight)?
    } else {
        let mut scenario = plan.scenario.clone();
        scenario.seed = seed;
        load::arrivals(&scenario, plan.flight)?
    };
    simulate_arrivals(plan, seed, arrivals, recorder)
}

/// Like [`simulate`], with arrivals of the caller's own, in order of time, instead of the scenario's.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_arrivals<'a>(
    plan: &'a Plan,
    seed: u64,
    arrivals: impl Iterator<Item = Arrival> + 'a,
    recorder: &'a mut dyn Recorder,
) -> Result<Summary, SimError> {
    let began = Instant::now();
    let start_ns = plan.start_ns();
    let mut schedule = Schedule::starting_at(start_ns);
    let mut world = World::new(plan, seed, start_ns, Box::new(arrivals), recorder);
    world.prime(&mut schedule);
    let done = run(&mut world, &mut schedule, &Stop { events: plan.most_events, ..Stop::default() })?;
    if let Some(error) = world.take_fault() {
        return Err(error);
    }
    if done.ended == Ended::Events {
        let seconds = schedule.now_ns().saturating_sub(plan.epoch_ns) / 1_000_000_000;
        return Err(SimError::TooLong { events: done.events, seconds });
    }
    let ledger = world.ledger();
    Ok(Summary {
        events: done.events,
        requests: ledger.arrived(),
        answered: ledger.answered(),
        failed: ledger.failed(),
        mean_sojourn_ns: ledger.mean_sojourn_ns(),
        mean_in_flight: ledger.mean_in_flight(plan.epoch_ns),
        virtual_ns: schedule.now_ns() - start_ns,
        wall: began.elapsed(),
    })
}
