//! Traces in order of time: timestamps, and requests to language models with their tokens.

use std::path::Path;

use super::TraceError;
use super::table::{Table, quoted};
use super::timestamp::{instant_ns, seconds_ns};
use crate::load::Work;
use crate::quantity::MAX_DURATION;
use crate::scenario::TraceFormat;

const LLM_COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];
const LLM_HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";

/// Arrivals in nanoseconds from the start of the trace.
pub(super) struct Rows {
    table: Table,
    /// Where the time is.
    column: usize,
    /// Where the tokens are, for a format that has them.
    tokens: Option<[usize; 2]>,
    /// Whether the first line names the columns.
    header: bool,
    /// A first line that turned out to be data.
    pending: bool,
    clock: Clock,
    previous: Option<(u64, u64)>,
    failed: bool,
}

/// How the first value decided to count time.
#[derive(Clone, Copy)]
enum Clock {
    Undecided,
    /// Instants, counted from the first.
    From(i128),
    /// Seconds, already counted from the start.
    Seconds,
}

pub(super) fn open(path: &Path, format: TraceFormat) -> Result<Rows, TraceError> {
    let table = Table::open(path)?;
    let (column, tokens, header) = if format == TraceFormat::AzureLlm2023 {
        let [time, context, generated] = table.columns(LLM_COLUMNS, LLM_HEADER)?;
        (time, Some([context, generated]), true)
    } else {
        let first = table.cells().next().unwrap_or_default();
        (0, None, first.eq_ignore_ascii_case(b"timestamp"))
    };
    Ok(Rows {
        table,
        column,
        tokens,
        header,
        pending: !header,
        clock: Clock::Undecided,
        previous: None,
        failed: false,
    })
}

impl Rows {
    fn row(&mut self) -> Result<Option<(u64, Work)>, TraceError> {
        if self.pending {
            self.pending = false;
        } else if !self.table.next_line()? {
            return Ok(None);
        }
        let line = self.table.line();
        let (at_ns, clock) = self.time(self.table.cell(self.column)?)?;
        self.clock = clock;
        if let Some((previous_ns, previous_line)) = self.previous
            && at_ns < previous_ns
        {
            return Err(self.table.fault_here(
                format!(
                    "the trace is not in order of time: line {line} is earlier than line {previous_line}"
                ),
                self.remedy(),
            ));
        }
        self.previous = Some((at_ns, line));
        let work = match self.tokens {
            None => Work::Drawn,
            Some([context, generated]) => {
                Work::Tokens { context: self.tokens(context)?, generated: self.tokens(generated)? }
            }
        };
        Ok(Some((at_ns, work)))
    }

    fn tokens(&self, column: usize) -> Result<u32, TraceError> {
        let tokens = self.table.whole(column, "the number of tokens", u32::MAX.into())?;
        Ok(u32::try_from(tokens).unwrap_or(u32::MAX))
    }

    /// A cell as nanoseconds from the start of the trace, and how the cells after it count.
    fn time(&self, cell: &[u8]) -> Result<(u64, Clock), TraceError> {
        let text = std::str::from_utf8(cell).unwrap_or("");
        let instants_only = self.tokens.is_some();
        let seconds = if instants_only { None } else { seconds_ns(text) };
        let read = match (self.clock, seconds) {
            (Clock::Undecided | Clock::Seconds, Some(ns)) => Some((ns, Clock::Seconds)),
            (Clock::Undecided, None) => instant_ns(text).map(|first| (0, Clock::From(first))),
            (Clock::From(first), None) => instant_ns(text).map(|instant| (instant - first, self.clock)),
            (Clock::From(_), Some(_)) | (Clock::Seconds, None) => None,
        };
        let Some((since_start, clock)) = read else {
            let hint = match self.clock {
                Clock::Seconds => {
                    "write seconds since the start of the trace, such as 12.5, as the lines before"
                }
                _ if instants_only => "write an instant such as 2023-11-16 18:17:03.97996",
                Clock::From(_) => "write an instant such as 2023-11-16T18:17:03.97Z, as the lines before",
                Clock::Undecided => "write seconds since the start of the trace or an RFC 3339 instant",
            };
            return Err(self.table.fault_here(format!("{} is not a time", quoted(cell)), hint));
        };
        if since_start < 0 {
            // An instant before the first one is a question of order, not of sign.
            let line = self.table.line();
            return Err(if matches!(clock, Clock::From(_)) {
                let message =
                    format!("the trace is not in order of time: line {line} is earlier than its first row");
                self.table.fault_here(message, self.remedy())
            } else {
                let message = format!("{} is negative", quoted(cell));
                self.table.fault_here(message, "count seconds from the start of the trace")
            });
        }
        match u64::try_from(since_start) {
            Ok(ns) if ns <= MAX_DURATION.as_ns() => Ok((ns, clock)),
            _ => Err(self.table.fault_here(
                format!("{} is more than 100 years after the start of the trace", quoted(cell)),
                "count seconds from the start of the trace, not milliseconds or nanoseconds of an epoch",
            )),
        }
    }

    fn remedy(&self) -> String {
        let file = self.table.file().display();
        let key = self.column + 1;
        // Numbers are compared as such, instants as text.
        let order = if matches!(self.clock, Clock::Seconds) { "g" } else { "" };
        let sort = format!("sort -t, -k{key},{key}{order}");
        if self.header {
            format!("sort it first: (head -n 1 {file}; tail -n +2 {file} | {sort}) > sorted.csv")
        } else {
            format!("sort it first: {sort} {file} > sorted.csv")
        }
    }
}

impl Iterator for Rows {
    type Item = Result<(u64, Work), TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.row();
        self.failed = row.is_err();
        row.transpose()
    }
}
