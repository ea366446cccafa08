//! The simulations of a run.

use std::collections::BTreeMap;

use windtunnel_record::replications::{self, Figures, Interval, Stopping};
use windtunnel_record::{Digest, Recording};
use windtunnel_scenario::load::{self, Flight};
use windtunnel_sim::study::{self, Fork, Replication, Setting, Source};
use windtunnel_sim::{Plan, SimError, simulate};

/// Flights of more requests than this are counted as they happen; every request of a shorter one is kept.
const MOST_KEPT: usize = 3_000_000;

/// What a simulation left behind.
pub(super) enum Simulated {
    /// Everything.
    Recorded(Box<Recording>),
    /// What can be said without keeping every request.
    Counted(Box<Digest>),
    /// Two futures of one past.
    Forked(Box<Fork>),
}

impl Simulated {
    /// Simulates a flight with the scenario's own seed.
    pub(super) fn flight(source: &Source, flight: Flight) -> Result<Self, SimError> {
        let (scenario, manifests) = source.read_with(&[])?;
        let plan = Plan::new(&scenario, &manifests, flight)?;
        let seed = scenario.seed;
        let recording = plan.recording(seed);
        if is_long(&plan)? {
            let mut digest = Digest::judging(recording.meta, &scenario);
            simulate(&plan, seed, &mut digest)?;
            return Ok(Self::Counted(Box::new(digest)));
        }
        let mut recording = recording;
        simulate(&plan, seed, &mut recording)?;
        Ok(Self::Recorded(Box::new(recording)))
    }

    /// Simulates the whole scenario, and what it would have been with `settings` from `at_ns` on.
    pub(super) fn fork(source: &Source, at_ns: u64, settings: &[Setting]) -> Result<Self, SimError> {
        Ok(Self::Forked(Box::new(study::fork(source, at_ns, settings)?)))
    }
}

/// Whether a plan has more requests than can be kept. Users who wait for their answers are not counted: their requests come out
/// of the simulation.
fn is_long(plan: &Plan) -> Result<bool, SimError> {
    let mut requests = 0;
    for index in 0..plan.scenario.loads.len() {
        requests += load::arrivals(&plan.scenario, index, plan.flight)?.take(MOST_KEPT + 1).count();
    }
    Ok(requests > MOST_KEPT)
}

/// Every figure with its interval over `count` replications.
pub(super) fn intervals(source: &Source, count: u64) -> Result<BTreeMap<String, Interval>, SimError> {
    let plan = source.plan(&[])?;
    let stopping = Stopping { least: count, most: count, ..Stopping::default() };
    let done = study::replicate(&plan, plan.scenario.seed, &stopping, &[], None)?;
    let figures: Vec<Figures> = done.iter().map(Replication::figures).collect();
    Ok(replications::intervals(&figures, replications::CONFIDENCE))
}
