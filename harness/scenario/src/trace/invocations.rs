//! Invocations in order of their end, with how long they took: the Azure Functions trace of 2021.

use super::TraceError;
use super::table::{Table, quoted};
use super::timestamp::seconds_ns;
use crate::quantity::MAX_DURATION;
use crate::scenario::Trace;

const COLUMNS: [&str; 4] = ["app", "func", "end_timestamp", "duration"];
const HEADER: &str = "app,func,end_timestamp,duration";

/// Arrivals within `from_ns..to_ns` and durations, both in nanoseconds, in order of arrival.
///
/// The file's own order is that of ends, so nothing can be said of arrivals before the last line is read. What
/// began before the trace did is not part of it, as what is before `from_ns` is not part of the slice.
pub(super) fn read(trace: &Trace, from_ns: u64, to_ns: u64) -> Result<Vec<(u64, u64)>, TraceError> {
    let mut table = Table::open(&trace.file)?;
    let [app, func, end, duration] = table.columns(COLUMNS, HEADER)?;
    let mut rows = Vec::new();
    let mut data = false;
    while table.next_line()? {
        data = true;
        let end_ns = seconds(&table, end, "end_timestamp")?;
        let duration_ns = seconds(&table, duration, "duration")?;
        if !passes(&table, app, trace.app.as_deref())? || !passes(&table, func, trace.func.as_deref())? {
            continue;
        }
        let Some(at_ns) = end_ns.checked_sub(duration_ns) else { continue };
        if (from_ns..to_ns).contains(&at_ns) {
            rows.push((at_ns, duration_ns));
        }
    }
    if !data {
        let hint = "give a file with at least one arrival";
        return Err(table.fault(1, "the trace has no rows", hint));
    }
    // Equal rows are interchangeable, so the order of the file does not matter.
    rows.sort_unstable();
    Ok(rows)
}

fn passes(table: &Table, column: usize, wanted: Option<&str>) -> Result<bool, TraceError> {
    Ok(match wanted {
        Some(wanted) => table.cell(column)? == wanted.as_bytes(),
        None => true,
    })
}

fn seconds(table: &Table, column: usize, what: &str) -> Result<u64, TraceError> {
    let cell = table.cell(column)?;
    let ns = std::str::from_utf8(cell).ok().and_then(seconds_ns);
    match ns {
        Some(ns) if ns < 0 => Err(table.fault_here(
            format!("{what} {} is negative", quoted(cell)),
            "write seconds from the start of the trace",
        )),
        Some(ns) => match u64::try_from(ns) {
            Ok(ns) if ns <= MAX_DURATION.as_ns() => Ok(ns),
            _ => Err(table.fault_here(
                format!("{what} {} is longer than 100 years", quoted(cell)),
                "write seconds from the start of the trace, not milliseconds or nanoseconds of an epoch",
            )),
        },
        None if cell.is_empty() => Err(table.fault_here(
            format!("{what} is missing"),
            format!("write seconds in column {}, such as 57.15", column + 1),
        )),
        None => Err(table.fault_here(
            format!("{what} {} is not a number", quoted(cell)),
            "write seconds from the start of the trace, such as 57.15",
        )),
    }
}
