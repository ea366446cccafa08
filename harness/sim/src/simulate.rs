//! Runs a plan.

use std::time::Instant;

use windtunnel_record::Recorder;
use windtunnel_scenario::Duration;
use windtunnel_scenario::load::Arrival;

use crate::engine::{Ended, Ledger, Schedule, Stop, run};
use crate::error::SimError;
use crate::model::{Event, Sources, State, World, start_ns};
use crate::plan::Plan;
use crate::snapshot::Snapshot;

/// How a simulation went. What happened in it is in the recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Events that happened.
    pub events: u64,
    /// Requests and messages that arrived; tries of one request count once.
    pub requests: u64,
    /// Requests with an answer of the model.
    pub answered: u64,
    /// Requests without one.
    pub failed: u64,
    /// How often clients tried again.
    pub retries: u64,
    /// Mean time between gateway and answer, over all tries, or between broker and acknowledgement.
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
    let sources = Sources::of(plan, seed)?;
    Ok(Flown::from_start(plan, seed, sources, recorder, u64::MAX)?.summary(plan))
}

/// Like [`simulate`], with arrivals of the caller's own, in order of time, instead of those of the plan's first
/// load.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_arrivals<'a>(
    plan: &'a Plan,
    seed: u64,
    arrivals: impl Iterator<Item = Arrival> + 'a,
    recorder: &'a mut dyn Recorder,
) -> Result<Summary, SimError> {
    let sources = Sources::with_first(plan, seed, Some(Box::new(arrivals)))?;
    Ok(Flown::from_start(plan, seed, sources, recorder, u64::MAX)?.summary(plan))
}

/// Like [`simulate`], up to `at_ns` of the run: what is due then, or later, has not happened in the snapshot.
///
/// # Errors
/// As [`simulate`], and when the run is over before `at_ns`.
pub fn simulate_until(
    plan: &Plan,
    seed: u64,
    at_ns: u64,
    recorder: &mut dyn Recorder,
) -> Result<Snapshot, SimError> {
    if at_ns > plan.duration_ns {
        return Err(SimError::Snapshot {
            message: format!(
                "{} lies after the end of the run, which is at {}",
                Duration::from_ns(at_ns),
                Duration::from_ns(plan.duration_ns)
            ),
            remedy: "name an instant within the run".to_owned(),
        });
    }
    let sources = Sources::of(plan, seed)?;
    // The last instant before it.
    let until_ns = plan.epoch_ns.saturating_add(at_ns).saturating_sub(1);
    let flown = Flown::from_start(plan, seed, sources, recorder, until_ns)?;
    Ok(Snapshot::new(plan, at_ns, flown.events, flown.state, flown.schedule))
}

/// Goes on from a snapshot to the end, and writes what happens from there on through `recorder`.
///
/// Under the plan that the snapshot was taken of, the recording of the first part and of the rest together is that
/// of the whole run. Under another plan this is the what-if: its differences happen at the instant of the
/// snapshot, and the same requests come with the same luck. Autoscaling settings alone are taken over by the
/// revisions that run; another template becomes a new revision; load and environment hold from here on. Counts of
/// the summary are those of the whole run; `wall` is that of the rest.
///
/// # Errors
/// As [`simulate`], and when the plan has other services than the snapshot.
pub fn resume(plan: &Plan, snapshot: Snapshot, recorder: &mut dyn Recorder) -> Result<Summary, SimError> {
    let began = Instant::now();
    snapshot.check(plan)?;
    let sources = Sources::of(plan, snapshot.seed())?;
    let Snapshot { at_ns, events, way_ns, state, mut schedule, .. } = snapshot;
    let world = World::resumed(plan, state, sources, recorder, (at_ns, way_ns), &mut schedule);
    Ok(Flown::from(plan, world, schedule, events, u64::MAX, began)?.summary(plan))
}

/// A simulation up to some instant.
struct Flown {
    state: State,
    schedule: Schedule<Event>,
    events: u64,
    wall: std::time::Duration,
}

impl Flown {
    fn from_start<'a>(
        plan: &'a Plan,
        seed: u64,
        sources: Sources<'a>,
        recorder: &'a mut dyn Recorder,
        until_ns: u64,
    ) -> Result<Self, SimError> {
        let began = Instant::now();
        let start_ns = start_ns(plan, seed)?;
        let mut schedule = Schedule::starting_at(start_ns);
        let mut world = World::new(plan, seed, start_ns, sources, recorder);
        world.prime(&mut schedule);
        Self::from(plan, world, schedule, 0, until_ns, began)
    }

    /// Lets a world go on after so many events.
    fn from(
        plan: &Plan,
        mut world: World<'_>,
        mut schedule: Schedule<Event>,
        events: u64,
        until_ns: u64,
        began: Instant,
    ) -> Result<Self, SimError> {
        let stop = Stop { until_ns, events: plan.most_events.saturating_sub(events) };
        let done = run(&mut world, &mut schedule, &stop)?;
        let events = events + done.events;
        if let Some(error) = world.take_fault() {
            return Err(error);
        }
        if done.ended == Ended::Events {
            let seconds = schedule.now_ns().saturating_sub(plan.epoch_ns) / 1_000_000_000;
            return Err(SimError::TooLong { events, seconds });
        }
        Ok(Self { state: world.into_state(), schedule, events, wall: began.elapsed() })
    }

    fn summary(&self, plan: &Plan) -> Summary {
        let retries = self.state.retries();
        let of = |count: fn(&Ledger) -> u64| self.state.ledgers().map(count).sum::<u64>();
        let (answered, failed) = (of(Ledger::answered), of(Ledger::failed));
        let sojourns_ns = self
            .state
            .ledgers()
            .map(|ledger| ledger.mean_sojourn_ns() * (ledger.answered() + ledger.failed()) as f64);
        Summary {
            events: self.events,
            // Each try again is one more that came, after one more that failed.
            requests: of(Ledger::arrived).saturating_sub(retries),
            answered,
            failed: failed.saturating_sub(retries),
            retries,
            mean_sojourn_ns: sojourns_ns.sum::<f64>() / (answered + failed).max(1) as f64,
            mean_in_flight: self.state.ledgers().map(|ledger| ledger.mean_in_flight(plan.epoch_ns)).sum(),
            virtual_ns: self.schedule.now_ns().saturating_sub(self.state.started_ns()),
            wall: self.wall,
        }
    }
}
