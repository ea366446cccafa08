//! Readers of recorded arrivals.
//!
//! Traces are read line by line in bounded memory, so they must be in order of time. A trace that is not is
//! refused with the two lines that are the wrong way round, never sorted silently and never cut short.

mod reader;
mod timestamp;

use std::path::PathBuf;

use crate::quantity::Duration;
use crate::scenario::Trace;

/// Why a trace cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: {message}", file.display())]
pub struct TraceError {
    /// The trace.
    pub file: PathBuf,
    /// Line, counted from 1.
    pub line: u64,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// The error of the system, when it is one.
    #[source]
    pub source: Option<std::io::Error>,
}

/// Arrival times of a slice of a trace in nanoseconds from the start of the slice, as they are read.
pub(crate) fn times(
    trace: &Trace,
    scenario: Duration,
) -> Result<Box<dyn Iterator<Item = Result<u64, TraceError>> + Send>, TraceError> {
    let from_ns = trace.from.as_ns();
    // The scenario's clock starts where the slice does, and it stops the load at its own end too.
    let end_ns = from_ns.saturating_add(scenario.as_ns());
    let to_ns = trace.to.map_or(end_ns, |to| to.as_ns().min(end_ns));
    let rows = reader::open(&trace.file, trace.format)?;
    let slice = rows
        .skip_while(move |row| matches!(row, Ok(at_ns) if *at_ns < from_ns))
        .take_while(move |row| !matches!(row, Ok(at_ns) if *at_ns >= to_ns))
        .map(move |row| row.map(|at_ns| at_ns - from_ns));
    Ok(Box::new(slice))
}

/// Reads a slice once and says how many arrivals it has.
///
/// # Errors
/// The first fault, or that the trace or the slice is empty.
pub fn check(trace: &Trace, scenario: Duration) -> Result<u64, TraceError> {
    let mut count = 0u64;
    for at_ns in times(trace, scenario)? {
        at_ns?;
        count += 1;
    }
    if count > 0 {
        return Ok(count);
    }
    Err(empty(trace))
}

fn empty(trace: &Trace) -> TraceError {
    let whole = Trace { from: Duration::ZERO, to: None, ..trace.clone() };
    let last_ns =
        times(&whole, crate::quantity::MAX_DURATION).into_iter().flatten().map_while(Result::ok).last();
    let (message, hint) = match last_ns {
        None => ("the trace has no rows".to_owned(), "give a file with at least one arrival".to_owned()),
        Some(last_ns) => (
            "no arrival lies in the slice of the trace".to_owned(),
            format!(
                "the trace ends {} after its start; choose from and to within it",
                Duration::from_ns(last_ns)
            ),
        ),
    };
    TraceError { file: trace.file.clone(), line: 1, message, hint, source: None }
}
