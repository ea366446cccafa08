//! Readers of recorded arrivals.
//!
//! A file is read line by line in bounded memory, so it must be in order of time. One that is not is refused with
//! the two lines that are the wrong way round, never sorted silently and never cut short. Only the format whose
//! order is that of ends is sorted by arrival, 16 bytes a row of the slice.

mod counts;
mod invocations;
mod reader;
mod scale;
mod table;
mod timestamp;

use std::path::PathBuf;

use crate::load::{Work, stream};
use crate::quantity::{Duration, MAX_DURATION};
use crate::scenario::{Trace, TraceFormat};

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

/// Arrivals in nanoseconds from the start of the trace, with what they give to do.
type Rows = Box<dyn Iterator<Item = Result<(u64, Work), TraceError>> + Send>;

/// Arrivals in nanoseconds from the start of the scenario, with what they give to do.
pub(crate) type Replay = Box<dyn Iterator<Item = (u64, Work)> + Send>;

/// A length of trace time as scenario time.
pub(crate) fn stretched(length: Duration, stretch: f64) -> Duration {
    if stretch == 1.0 { length } else { Duration::from_ns((length.as_ns() as f64 * stretch) as u64) }
}

/// The arrivals of traces one after the other, in scenario time. A trace without an end ends with its last
/// arrival, one of counts with its last minute.
///
/// # Errors
/// The first fault of the first trace that has one. All are read before the first arrival comes out: a load that
/// ends early because of a bad line would look like a quiet one.
pub(crate) fn replay(
    traces: &[Trace],
    scenario: Duration,
    seed: u64,
    name: &str,
) -> Result<Replay, TraceError> {
    let mut parts: Vec<Replay> = Vec::with_capacity(traces.len());
    let mut start_ns = 0u64;
    for (index, trace) in traces.iter().enumerate() {
        let left = Duration::from_ns(scenario.as_ns().saturating_sub(start_ns));
        if left == Duration::ZERO {
            break;
        }
        let name = if index == 0 { name.to_owned() } else { format!("{name}/{index}") };
        let slice = slice(trace, left, seed, &name)?;
        let length = stretched(slice.length, trace.stretch);
        parts.push(placed(slice.rows, trace, start_ns, scenario, (seed, &name)));
        start_ns = start_ns.saturating_add(length.as_ns());
    }
    Ok(Box::new(parts.into_iter().flatten()))
}

/// Reads a slice once and says how many arrivals it has, before scaling.
///
/// # Errors
/// The first fault, or that the trace or the slice is empty.
pub fn check(trace: &Trace, scenario: Duration) -> Result<u64, TraceError> {
    slice(trace, scenario, 0, "check").map(|slice| slice.count)
}

/// A slice that was read once and found good.
struct Slice {
    /// From the start of the slice, in trace time.
    rows: Rows,
    count: u64,
    /// In trace time.
    length: Duration,
}

/// Reads and checks a slice of at most `left` of scenario time.
fn slice(trace: &Trace, left: Duration, seed: u64, name: &str) -> Result<Slice, TraceError> {
    let from_ns = trace.from.as_ns();
    // The scenario stops the load at its own end too.
    let most_ns = (left.as_ns() as f64 / trace.stretch).min(MAX_DURATION.as_ns() as f64) as u64;
    let most_ns = if trace.stretch == 1.0 { left.as_ns() } else { most_ns };
    let end_ns = from_ns.saturating_add(most_ns);
    let to_ns = trace.to.map_or(end_ns, |to| to.as_ns().min(end_ns));
    let (rows, count, last_ns): (Rows, u64, u64) = match trace.format {
        TraceFormat::AzureLlm2023 | TraceFormat::Timestamps => {
            let open = || reader::open(&trace.file, trace.format);
            let (mut count, mut last_ns) = (0u64, from_ns);
            for row in within(open()?, from_ns, to_ns) {
                last_ns = row?.0;
                count += 1;
            }
            (Box::new(within(open()?, from_ns, to_ns)), count, last_ns)
        }
        TraceFormat::AzureFunctions2021 => {
            let rows = invocations::read(trace, from_ns, to_ns)?;
            let (count, last_ns) = (rows.len() as u64, rows.last().map_or(from_ns, |row| row.0));
            let rows = rows.into_iter().map(|(at_ns, ns)| Ok((at_ns, Work::Duration(ns))));
            (Box::new(rows), count, last_ns)
        }
        TraceFormat::AzureFunctions2019 => {
            let minutes = counts::read(trace)?;
            let (count, last_ns) = (minutes.count(from_ns, to_ns), minutes.end_ns().min(to_ns));
            let times = minutes.spread(trace.process, seed, name).map(|at_ns| Ok((at_ns, Work::Drawn)));
            (Box::new(within(times, from_ns, to_ns)), count, last_ns)
        }
    };
    if count == 0 {
        return Err(empty(trace, last_arrival(trace)?));
    }
    let length = Duration::from_ns(trace.to.map_or(last_ns, |to| to.as_ns()).saturating_sub(from_ns));
    let rows = rows.map(move |row| row.map(|(at_ns, work)| (at_ns - from_ns, work)));
    Ok(Slice { rows: Box::new(rows), count, length })
}

/// The rows from `from_ns` to before `to_ns`. Faults after the slice are not looked for.
fn within(
    rows: impl Iterator<Item = Result<(u64, Work), TraceError>> + Send + 'static,
    from_ns: u64,
    to_ns: u64,
) -> impl Iterator<Item = Result<(u64, Work), TraceError>> + Send {
    rows.skip_while(move |row| matches!(row, Ok((at_ns, _)) if *at_ns < from_ns))
        .take_while(move |row| !matches!(row, Ok((at_ns, _)) if *at_ns >= to_ns))
}

/// A slice in its place in the scenario: scaled, stretched and moved.
fn placed(rows: Rows, trace: &Trace, start_ns: u64, scenario: Duration, random: (u64, &str)) -> Replay {
    let (end_ns, stretch) = (scenario.as_ns(), trace.stretch);
    let scaling = stream(random.0, &format!("{}/scale", random.1));
    let scaled = scale::scaled(rows.map_while(Result::ok), trace.scale, scaling);
    let placed = scaled.map(move |(at_ns, work)| {
        let at = stretched(Duration::from_ns(at_ns), stretch);
        (start_ns.saturating_add(at.as_ns()), work)
    });
    Box::new(placed.take_while(move |(at_ns, _)| *at_ns < end_ns))
}

/// When the last arrival of the whole trace is.
fn last_arrival(trace: &Trace) -> Result<Option<u64>, TraceError> {
    Ok(match trace.format {
        TraceFormat::AzureLlm2023 | TraceFormat::Timestamps => {
            let rows = reader::open(&trace.file, trace.format)?;
            rows.map_while(Result::ok).last().map(|(at_ns, _)| at_ns)
        }
        TraceFormat::AzureFunctions2021 => {
            invocations::read(trace, 0, u64::MAX)?.last().map(|(at_ns, _)| *at_ns)
        }
        TraceFormat::AzureFunctions2019 => {
            let minutes = counts::read(trace)?;
            (minutes.count(0, u64::MAX) > 0).then(|| minutes.end_ns())
        }
    })
}

/// Why a slice has no arrivals.
fn empty(trace: &Trace, last_ns: Option<u64>) -> TraceError {
    let filters: Vec<String> = [("app", &trace.app), ("func", &trace.func)]
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key} {}", value.as_ref()?)))
        .collect();
    let (message, hint) = match last_ns {
        None if !filters.is_empty() => (
            format!("no row of the trace has {}", filters.join(" and ")),
            "give a name as it stands in the file, all of it, or leave the filter out".to_owned(),
        ),
        None if trace.format == TraceFormat::AzureFunctions2019 => (
            "all counts of the trace are zero".to_owned(),
            "give a file with at least one arrival".to_owned(),
        ),
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
