//! Recorded times for an empirical distribution: the latencies of a recording, or one number a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::fault::Fault;
use crate::quantity::{Duration, plain_number};

/// How many times are kept at most: 80 MB of them.
const MAX_TIMES: usize = 10_000_000;

/// The longest line that is read; those of a recording hold whole series.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// The times in nanoseconds, sorted; at least one.
///
/// Of a recording (JSON Lines) these are the latencies of the successful requests from the moment at which they
/// were sent, less the time for which they waited for a pod. Any other file holds one time in milliseconds a
/// line; blank lines and lines that begin with `#` do not count.
///
/// # Errors
/// The first line that is not a time, or that there is none.
pub(crate) fn times(path: &Path) -> Result<Arc<[u64]>, Fault> {
    let fault = |line: u32, message: String, hint: &str| Fault {
        file: path.to_owned(),
        line,
        column: 1,
        message,
        hint: hint.to_owned(),
    };
    let file = File::open(path)
        .map_err(|error| fault(1, format!("the recording cannot be read: {error}"), "check the path"))?;
    let mut source = BufReader::with_capacity(1 << 16, file);
    let mut times: Vec<u64> = Vec::new();
    let mut text = String::new();
    for line in 1u32.. {
        text.clear();
        let read = source.by_ref().take(MAX_LINE_BYTES).read_line(&mut text).map_err(|error| {
            fault(line, format!("the line cannot be read: {error}"), "give a text file in UTF-8")
        })?;
        if read == 0 {
            break;
        }
        match time_of(text.trim_start_matches('\u{feff}').trim()) {
            Ok(None) => {}
            Ok(Some(_)) if times.len() == MAX_TIMES => {
                return Err(fault(
                    line,
                    format!("there are more than {MAX_TIMES} times"),
                    "give a sample of them; a million are plenty",
                ));
            }
            Ok(Some(ns)) => times.push(ns),
            Err(message) => {
                return Err(fault(
                    line,
                    message,
                    "give a recording of windtunnel, or one time in milliseconds a line, such as 12.5",
                ));
            }
        }
    }
    if times.is_empty() {
        let message = "the recording holds no time of a successful request".to_owned();
        return Err(fault(1, message, "give a file with at least one"));
    }
    if times.iter().all(|ns| *ns == 0) {
        return Err(fault(1, "all times are zero".to_owned(), "give a file with at least one above zero"));
    }
    times.sort_unstable();
    Ok(times.into())
}

/// The lines of a recording that count; all others are of other kinds.
#[derive(Deserialize)]
struct Line {
    request: Option<Request>,
}

#[derive(Deserialize)]
struct Request {
    intended_ns: u64,
    sent_ns: u64,
    latency_ns: u64,
    status: u16,
    #[serde(default)]
    held_ns: u64,
    #[serde(default)]
    error: Option<String>,
}

fn time_of(text: &str) -> Result<Option<u64>, String> {
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    if text.starts_with('{') {
        let line: Line = serde_json::from_str(text)
            .map_err(|error| format!("the line is not one of a recording: {error}"))?;
        let answered = |request: &Request| (200..300).contains(&request.status) && request.error.is_none();
        return Ok(line.request.filter(answered).map(|request| {
            let done_ns = request.intended_ns.saturating_add(request.latency_ns);
            done_ns.saturating_sub(request.sent_ns).saturating_sub(request.held_ns)
        }));
    }
    let shown: String = text.chars().take(60).collect();
    let read = plain_number(text).and_then(|_| format!("{text}ms").parse::<Duration>().ok());
    match read {
        Some(time) => Ok(Some(time.as_ns())),
        None => Err(format!("\"{}\" is not a time in milliseconds", shown.escape_debug())),
    }
}
