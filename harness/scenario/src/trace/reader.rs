//! One pass over a trace file: a line in, an arrival out, nothing kept.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::TraceError;
use super::timestamp::{instant_ns, seconds_ns};
use crate::scenario::TraceFormat;

const AZURE_COLUMN: &str = "TIMESTAMP";
const LONGEST_QUOTE: usize = 60;

/// Arrivals in nanoseconds from the start of the trace.
pub(super) struct Rows {
    file: PathBuf,
    format: TraceFormat,
    records: csv::Reader<BufReader<File>>,
    /// Reused for every line.
    record: csv::ByteRecord,
    column: usize,
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
    let fault = |line, message: String, hint: &str, source| TraceError {
        file: path.to_owned(),
        line,
        message,
        hint: hint.to_owned(),
        source,
    };
    let file = File::open(path).map_err(|error| {
        let message = format!("the trace cannot be read: {error}");
        fault(
            1,
            message,
            "check the path; mark the trace optional: true to skip the scenario without it",
            Some(error),
        )
    })?;
    let mut records = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(BufReader::with_capacity(1 << 16, file));
    let mut record = csv::ByteRecord::new();
    let some = records.read_byte_record(&mut record).map_err(|error| {
        fault(1, format!("the first line cannot be read: {error}"), "save the trace as plain CSV", None)
    })?;
    if !some {
        return Err(fault(1, "the trace is empty".into(), "give a file with at least one arrival", None));
    }
    let (column, header) = match format {
        TraceFormat::AzureLlm2023 => {
            let mut names = record.iter().map(strip_mark);
            match names.position(|name| name.eq_ignore_ascii_case(AZURE_COLUMN.as_bytes())) {
                Some(column) => (column, true),
                None => {
                    let first = quoted(record.iter().next().unwrap_or_default());
                    return Err(fault(
                        1,
                        format!("column {AZURE_COLUMN} is missing; the first line begins with {first}"),
                        "the first line must name the columns: TIMESTAMP,ContextTokens,GeneratedTokens",
                        None,
                    ));
                }
            }
        }
        TraceFormat::Timestamps => {
            let first = record.iter().next().map(strip_mark).unwrap_or_default();
            (0, first.eq_ignore_ascii_case(b"timestamp"))
        }
    };
    Ok(Rows {
        file: path.to_owned(),
        format,
        records,
        record,
        column,
        header,
        pending: !header,
        clock: Clock::Undecided,
        previous: None,
        failed: false,
    })
}

/// Without the byte order mark that spreadsheets write.
fn strip_mark(cell: &[u8]) -> &[u8] {
    cell.strip_prefix(b"\xef\xbb\xbf").unwrap_or(cell)
}

fn quoted(cell: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(cell).chars().take(LONGEST_QUOTE).collect();
    format!("\"{}\"", text.escape_debug())
}

impl Rows {
    fn fault(&self, line: u64, message: impl Into<String>, hint: impl Into<String>) -> TraceError {
        TraceError { file: self.file.clone(), line, message: message.into(), hint: hint.into(), source: None }
    }

    fn row(&mut self) -> Result<Option<u64>, TraceError> {
        if self.pending {
            self.pending = false;
        } else {
            let more = self.records.read_byte_record(&mut self.record);
            match more {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => {
                    let line = error.position().map_or(self.records.position().line(), csv::Position::line);
                    return Err(self.fault(
                        line,
                        format!("the line cannot be read: {error}"),
                        "save the trace as plain CSV",
                    ));
                }
            }
        }
        let line = self.record.position().map_or(1, csv::Position::line);
        let Some(cell) = self.record.get(self.column) else {
            return Err(self.fault(
                line,
                format!("the line has only {} columns", self.record.len()),
                format!("every line needs a value in column {}", self.column + 1),
            ));
        };
        let (at_ns, clock) = self.time(line, strip_mark(cell))?;
        self.clock = clock;
        if let Some((previous_ns, previous_line)) = self.previous
            && at_ns < previous_ns
        {
            return Err(self.fault(
                line,
                format!(
                    "the trace is not in order of time: line {line} is earlier than line {previous_line}"
                ),
                self.remedy(),
            ));
        }
        self.previous = Some((at_ns, line));
        Ok(Some(at_ns))
    }

    /// A cell as nanoseconds from the start of the trace, and how the cells after it count.
    fn time(&self, line: u64, cell: &[u8]) -> Result<(u64, Clock), TraceError> {
        let text = std::str::from_utf8(cell).unwrap_or("");
        let instants_only = self.format == TraceFormat::AzureLlm2023;
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
            return Err(self.fault(line, format!("{} is not a time", quoted(cell)), hint));
        };
        match u64::try_from(since_start) {
            Ok(ns) => Ok((ns, clock)),
            // An instant before the first one is a question of order, not of sign.
            Err(_) if matches!(clock, Clock::From(_)) => Err(self.fault(
                line,
                format!("the trace is not in order of time: line {line} is earlier than its first row"),
                self.remedy(),
            )),
            Err(_) => Err(self.fault(
                line,
                format!("{} is negative", quoted(cell)),
                "count seconds from the start of the trace",
            )),
        }
    }

    fn remedy(&self) -> String {
        let file = self.file.display();
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
    type Item = Result<u64, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.row();
        self.failed = row.is_err();
        row.transpose()
    }
}
