//! When requests are sent: a reproducible sequence of arrivals from phases or from a trace.
//!
//! The simulator and the live client read the same sequence, so that they differ in what the system does
//! with the load and in nothing else.

mod curve;
mod process;
mod stream;
mod users;

use serde::{Deserialize, Serialize};

use crate::quantity::Duration;
use crate::scenario::{Arrivals, FlightPlan, Load, Scenario};
use crate::trace::{self, TraceError};

pub(crate) use curve::expected;
pub(crate) use process::States;
pub use stream::{Stream, stream};
pub use users::{Population, UserChange, users};

/// Which part of a scenario is flown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flight {
    /// All of it, as fast as it is written.
    Whole,
    /// The slice that `flight` names, compressed in time. Without one it is the same as the whole.
    Slice,
}

/// One request to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// When, in nanoseconds from the start of the flight.
    pub at_ns: u64,
    /// Its number in the whole load, counted from 0. The rows of the request set are used in turn, see
    /// [`crate::requests::RequestSet::get`]; a slice keeps the rows that the whole would send.
    pub row: u32,
    /// How much there is to do.
    pub work: Work,
}

/// How much a request gives the server to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// What the environment's service time says.
    #[default]
    Drawn,
    /// This service time in nanoseconds, as it was recorded.
    Duration(u64),
    /// These tokens, for a server of a language model.
    Tokens {
        /// Tokens that it reads.
        context: u32,
        /// Tokens that it writes.
        generated: u32,
    },
}

/// The arrivals of a flight, in order of time.
pub type ArrivalStream = Box<dyn Iterator<Item = Arrival> + Send>;

/// The arrivals of one load in a flight: `index` counts [`Scenario::loads`].
///
/// The same scenario and seed give the same sequence on every machine. It is made as it is used, in memory that
/// does not depend on its length; only traces in order of end are sorted in memory, 16 bytes a row. A trace is
/// checked in a first pass. A closed-loop load has no arrivals of its own (see [`users`]), and neither has an
/// index beyond the last load.
///
/// # Errors
/// When the trace cannot be read or is not a trace; the first fault with its line.
pub fn arrivals(scenario: &Scenario, index: usize, flight: Flight) -> Result<ArrivalStream, TraceError> {
    let Some(load) = scenario.loads.get(index) else { return Ok(Box::new(std::iter::empty())) };
    let whole = numbered(timed(load, &stream_name(load, index), scenario.seed, scenario.duration)?);
    match (flight, scenario.flight) {
        (Flight::Slice, Some(plan)) => Ok(Box::new(sliced(whole, plan))),
        _ => Ok(Box::new(whole)),
    }
}

/// The users of one load in a flight: `index` counts [`Scenario::loads`]. `None` when it is not a closed loop.
pub fn users_in(scenario: &Scenario, index: usize, flight: Flight) -> Option<Population> {
    let population = users(scenario.loads.get(index)?)?;
    Some(match (flight, scenario.flight) {
        (Flight::Slice, Some(plan)) => population.sliced(plan),
        _ => population,
    })
}

/// The first load is the one that scenarios with a single load have; the others are known by their target.
fn stream_name(load: &Load, index: usize) -> String {
    if index == 0 { "arrivals".to_owned() } else { format!("arrivals/{}", load.target) }
}

/// Arrival times and work in scenario time.
fn timed(
    load: &Load,
    name: &str,
    seed: u64,
    duration: Duration,
) -> Result<Box<dyn Iterator<Item = (u64, Work)> + Send>, TraceError> {
    let end_ns = duration.as_ns();
    match &load.arrivals {
        Arrivals::Phases { process, phases } => {
            let times = process::times(*process, phases, seed, name);
            Ok(Box::new(times.take_while(move |at_ns| *at_ns < end_ns).map(|at_ns| (at_ns, Work::Drawn))))
        }
        Arrivals::Users { .. } => Ok(Box::new(std::iter::empty())),
        Arrivals::Trace(traces) => trace::replay(traces, duration, seed, name),
    }
}

fn numbered(times: impl Iterator<Item = (u64, Work)> + Send) -> impl Iterator<Item = Arrival> + Send {
    let mut next_row = 0u32;
    times.map(move |(at_ns, work)| {
        let row = next_row;
        next_row = next_row.wrapping_add(1);
        Arrival { at_ns, row, work }
    })
}

fn sliced(
    whole: impl Iterator<Item = Arrival> + Send,
    plan: FlightPlan,
) -> impl Iterator<Item = Arrival> + Send {
    let (from_ns, to_ns) = (plan.from.as_ns(), plan.to.as_ns());
    whole
        .skip_while(move |arrival| arrival.at_ns < from_ns)
        .take_while(move |arrival| arrival.at_ns < to_ns)
        .map(move |arrival| {
            let at = Duration::from_ns(arrival.at_ns);
            Arrival { at_ns: plan.flight_time(at).as_ns(), ..arrival }
        })
}
