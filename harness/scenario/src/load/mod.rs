//! When requests are sent: a reproducible sequence of arrivals from phases or from a trace.
//!
//! The simulator and the live client read the same sequence, so that they differ in what the system does
//! with the load and in nothing else.

mod phases;
mod stream;

use serde::{Deserialize, Serialize};

use crate::scenario::{Arrivals, FlightPlan, Scenario};
use crate::trace::{self, TraceError};

pub use stream::{Stream, stream};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, in nanoseconds from the start of the flight.
    pub at_ns: u64,
    /// Its number in the whole load, counted from 0. The rows of the request set are used in turn, see
    /// [`crate::requests::RequestSet::get`]; a slice keeps the rows that the whole would send.
    pub row: u32,
}

/// The arrivals of a flight, in order of time.
pub type ArrivalStream = Box<dyn Iterator<Item = Arrival> + Send>;

/// The arrivals of a flight.
///
/// The same scenario and seed give the same sequence on every machine. A trace is read as the sequence is
/// used, in bounded memory, after a first pass that checks it.
///
/// # Errors
/// When the trace cannot be read or is not a trace; the first fault with its line.
pub fn arrivals(scenario: &Scenario, flight: Flight) -> Result<ArrivalStream, TraceError> {
    let end_ns = scenario.duration.as_ns();
    let whole: ArrivalStream = match &scenario.load.arrivals {
        Arrivals::Phases { process, phases } => {
            let times = phases::Times::new(*process, phases, stream(scenario.seed, "arrivals"));
            Box::new(numbered(times.take_while(move |at_ns| *at_ns < end_ns)))
        }
        Arrivals::Trace(slice) => {
            // Checked first: a load that ends early because of a bad line would look like a quiet one.
            trace::check(slice, scenario.duration)?;
            let times = trace::times(slice, scenario.duration)?;
            Box::new(numbered(times.map_while(Result::ok)))
        }
    };
    match (flight, scenario.flight) {
        (Flight::Slice, Some(plan)) => Ok(Box::new(sliced(whole, plan))),
        _ => Ok(whole),
    }
}

fn numbered(times: impl Iterator<Item = u64> + Send + 'static) -> impl Iterator<Item = Arrival> + Send {
    let mut next_row = 0u32;
    times.map(move |at_ns| {
        let row = next_row;
        next_row = next_row.wrapping_add(1);
        Arrival { at_ns, row }
    })
}

fn sliced(whole: ArrivalStream, plan: FlightPlan) -> impl Iterator<Item = Arrival> + Send {
    let (from_ns, to_ns) = (plan.from.as_ns(), plan.to.as_ns());
    whole
        .skip_while(move |arrival| arrival.at_ns < from_ns)
        .take_while(move |arrival| arrival.at_ns < to_ns)
        .map(move |arrival| {
            let at = crate::quantity::Duration::from_ns(arrival.at_ns);
            Arrival { at_ns: plan.flight_time(at).as_ns(), row: arrival.row }
        })
}
