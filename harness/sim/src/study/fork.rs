//! Two futures of one past: what if something had been different from some instant on?

use windtunnel_record::Recording;

use super::{Setting, Source};
use crate::error::SimError;
use crate::simulate::{resume, simulate_until};

/// A run and what it would have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Fork {
    /// When the futures part, nanoseconds since the start of the run.
    pub at_ns: u64,
    /// The settings of the other future, as they were given.
    pub change: String,
    /// The run as it is.
    pub original: Recording,
    /// The same run up to the fork, with the settings from there on.
    pub changed: Recording,
}

/// Simulates a scenario to `at_ns`, and from there on twice: as it is, and with `settings`. Both futures have the same
/// random numbers.
///
/// # Errors
/// As [`Source::plan`] and [`resume`].
pub fn fork(source: &Source, at_ns: u64, settings: &[Setting]) -> Result<Fork, SimError> {
    let plan = source.plan(&[])?;
    let other = source.plan(settings)?;
    let seed = plan.scenario.seed;
    let mut past = plan.recording(seed);
    let snapshot = simulate_until(&plan, seed, at_ns, &mut past)?;
    let (mut original, mut changed) = (past.clone(), past);
    resume(&plan, snapshot.clone(), &mut original)?;
    resume(&other, snapshot, &mut changed)?;
    let change = settings.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Ok(Fork { at_ns, change, original, changed })
}
