//! A discrete-event engine: a clock that jumps from event to event, and the laws that hold in between.
//!
//! - [`Schedule`] is the future event list, with a total order of events;
//! - [`Slab`] holds entities whose [`Key`]s go stale when they do, so that a late event finds nothing;
//! - [`Stream`] is a random stream that depends on the seed and its own name only, [`Streams`] a family of them;
//! - [`Ledger`] keeps conservation and Little's law exact;
//! - [`run`] drives a [`Model`] until a [`Stop`] condition holds and checks the model's laws on the way, in release
//!   builds too: a simulator that is wrong must say so instead of printing a capacity plan.
//!
//! ```
//! use windtunnel_sim::engine::{run, Ended, Model, Schedule, Stop, Violation};
//! struct Countdown(u32);
//! impl Model for Countdown {
//!     type Event = ();
//!     fn handle(&mut self, _now_ns: u64, (): (), schedule: &mut Schedule<()>) {
//!         self.0 -= 1;
//!         schedule.after(1_000, ());
//!     }
//!     fn check(&self, _now_ns: u64) -> Result<(), Violation> {
//!         Ok(())
//!     }
//!     fn is_finished(&self) -> bool {
//!         self.0 == 0
//!     }
//! }
//! let mut schedule = Schedule::starting_at(0);
//! schedule.at(0, ());
//! let run = run(&mut Countdown(3), &mut schedule, &Stop::default()).unwrap();
//! assert_eq!((run.ended, run.events, schedule.now_ns()), (Ended::Finished, 3, 2_000));
//! ```

mod ledger;
mod schedule;
mod slab;
mod stream;
mod ziggurat;

pub use ledger::{Ledger, Outcome, Violation};
pub use schedule::Schedule;
pub use slab::{Key, Slab};
pub use stream::{Stream, Streams};

/// What the engine drives.
pub trait Model {
    /// What can happen; small and `Copy`, entities are named by [`Key`].
    type Event: Copy;

    /// Lets `event` happen at `now_ns` and schedules what follows from it.
    fn handle(&mut self, now_ns: u64, event: Self::Event, schedule: &mut Schedule<Self::Event>);

    /// The laws of the model: called after every event, or after some of those that [`Model::is_routine`].
    ///
    /// # Errors
    /// The law that is broken.
    fn check(&self, now_ns: u64) -> Result<(), Violation>;

    /// True when the last event was one of very many of its kind whose laws are kept in books: what one breaks is
    /// still broken after the next.
    fn is_routine(&self) -> bool {
        false
    }

    /// True when nothing of interest is left, whatever is still scheduled.
    fn is_finished(&self) -> bool;
}

/// When a run ends although its model is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// No event after this instant happens; those that are due later stay in the schedule.
    pub until_ns: u64,
    /// At most this many events happen.
    pub events: u64,
}

impl Default for Stop {
    fn default() -> Self {
        Self { until_ns: u64::MAX, events: u64::MAX }
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model said so.
    Finished,
    /// Nothing was scheduled any more.
    Quiet,
    /// The last instant was reached.
    Time,
    /// The bound on events was reached.
    Events,
}

/// After how many events one that is routine is checked.
const CHECK_EVERY: u64 = if cfg!(debug_assertions) { 1 } else { 64 };

/// What [`run`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Why it ended.
    pub ended: Ended,
    /// How many events happened.
    pub events: u64,
}

/// Lets events happen until `stop` or the model says that it is enough.
///
/// # Errors
/// The first law that the model breaks.
pub fn run<M: Model>(
    model: &mut M,
    schedule: &mut Schedule<M::Event>,
    stop: &Stop,
) -> Result<Run, Violation> {
    let mut events = 0;
    let ended = loop {
        if model.is_finished() {
            break Ended::Finished;
        }
        if events == stop.events {
            break Ended::Events;
        }
        let Some((now_ns, event)) = schedule.pop_until(stop.until_ns) else {
            break if schedule.is_empty() { Ended::Quiet } else { Ended::Time };
        };
        model.handle(now_ns, event, schedule);
        events += 1;
        if !model.is_routine() || events.is_multiple_of(CHECK_EVERY) {
            model.check(now_ns)?;
        }
    };
    model.check(schedule.now_ns())?;
    Ok(Run { ended, events })
}
