//! Recordings as JSON Lines.
//!
//! One object a line, with its kind as the only key. `meta` comes first, then revisions, requests, series,
//! decisions, events and cold starts, and at last `end` with the number of lines before it, so that a file
//! that was cut off is not taken for a short run. Equal recordings give equal bytes.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::recording::{
    ColdStart, Decision, Event, Meta, Point, Recording, Request, Revision, SCHEMA, SeriesKey,
};

/// Why a recording cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be read or written.
    #[error("the recording cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// A line is not what it should be.
    #[error("line {line} of the recording: {message}")]
    Line {
        /// Line, counted from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// The file ends before its last line.
    #[error("the recording ends after line {line}, before its end: it was cut off; record it again")]
    CutOff {
        /// The last line that is there, counted from 1.
        line: u64,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum LineOut<'a> {
    Meta(&'a Meta),
    Revision(&'a Revision),
    Request(&'a Request),
    Series(SeriesOut<'a>),
    Decision(&'a Decision),
    Event(&'a Event),
    ColdStart(&'a ColdStart),
    End(End),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum LineIn {
    Meta(Meta),
    Revision(Revision),
    Request(Request),
    Series(SeriesIn),
    Decision(Decision),
    Event(Event),
    ColdStart(ColdStart),
    End(End),
}

#[derive(Serialize)]
struct SeriesOut<'a> {
    #[serde(flatten)]
    key: &'a SeriesKey,
    points: &'a [Point],
}

#[derive(Deserialize)]
struct SeriesIn {
    #[serde(flatten)]
    key: SeriesKey,
    points: Vec<Point>,
}

#[derive(Serialize, Deserialize)]
struct End {
    lines: u64,
}

impl Recording {
    /// Writes the recording as JSON Lines. Hand in a buffered writer.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write_jsonl(&self, writer: impl Write) -> Result<(), RecordingError> {
        let mut out = Lines { writer, written: 0 };
        out.write(&LineOut::Meta(&self.meta))?;
        for revision in &self.revisions {
            out.write(&LineOut::Revision(revision))?;
        }
        for request in &self.requests {
            out.write(&LineOut::Request(request))?;
        }
        for (key, points) in &self.series {
            out.write(&LineOut::Series(SeriesOut { key, points }))?;
        }
        for decision in &self.decisions {
            out.write(&LineOut::Decision(decision))?;
        }
        for event in &self.events {
            out.write(&LineOut::Event(event))?;
        }
        for start in &self.cold_starts {
            out.write(&LineOut::ColdStart(start))?;
        }
        let lines = out.written;
        out.write(&LineOut::End(End { lines }))?;
        out.writer.flush()?;
        Ok(())
    }

    /// Reads a recording.
    ///
    /// # Errors
    /// When the reader fails, a line is not of this format, or the file was cut off.
    pub fn read_jsonl(reader: impl BufRead) -> Result<Self, RecordingError> {
        let mut recording: Option<Self> = None;
        let mut line = 0;
        for text in reader.lines() {
            let text = text?;
            line += 1;
            let fault = |message: String| RecordingError::Line { line, message };
            let read: LineIn = serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?;
            match (read, recording.as_mut()) {
                (LineIn::Meta(meta), None) => {
                    if meta.schema != SCHEMA {
                        return Err(fault(format!(
                            "it is of schema {}, but {SCHEMA} is read here",
                            meta.schema
                        )));
                    }
                    recording = Some(Self::new(meta));
                }
                (LineIn::Meta(_), Some(_)) => return Err(fault("a second meta line".to_owned())),
                (_, None) => return Err(fault("the first line must be the meta line".to_owned())),
                (LineIn::Revision(revision), Some(recording)) => recording.revisions.push(revision),
                (LineIn::Request(request), Some(recording)) => recording.requests.push(request),
                (LineIn::Series(series), Some(recording)) => {
                    drop(recording.series.insert(series.key, series.points));
                }
                (LineIn::Decision(decision), Some(recording)) => recording.decisions.push(decision),
                (LineIn::Event(event), Some(recording)) => recording.events.push(event),
                (LineIn::ColdStart(start), Some(recording)) => recording.cold_starts.push(start),
                (LineIn::End(end), Some(_)) => {
                    if end.lines != line - 1 {
                        return Err(fault(format!("{} lines were written before this one", end.lines)));
                    }
                    return recording.ok_or(RecordingError::CutOff { line });
                }
            }
        }
        Err(RecordingError::CutOff { line })
    }
}

struct Lines<W> {
    writer: W,
    written: u64,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, line: &LineOut<'_>) -> Result<(), RecordingError> {
        serde_json::to_writer(&mut self.writer, line).map_err(io::Error::from)?;
        self.writer.write_all(b"\n")?;
        self.written += 1;
        Ok(())
    }
}
