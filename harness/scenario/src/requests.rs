//! The rows that a load sends, with the answers that a model should give.
//!
//! A request set is a file of JSON Lines. Each line is `{"body": {…}, "expect": {"URI": {…}}}`: `body` is the
//! JSON to send, `expect` (optional) is the reference answer of each model version by its storage URI.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::fault::{Fault, Faults};
use crate::suggest;

/// How many faulty lines are reported before the rest is left unread.
const MAX_FAULTS: usize = 20;

/// The longest line that is read.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRow {
    /// The JSON to send.
    pub body: serde_json::Value,
    /// The same as text, ready to be sent.
    pub payload: String,
    /// Reference answers by the storage URI of the model version that gives them.
    pub expect: BTreeMap<String, serde_json::Value>,
}

/// All rows, at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestSet {
    rows: Vec<RequestRow>,
}

impl RequestSet {
    /// Reads a request set.
    ///
    /// # Errors
    /// Up to 20 faulty lines at once, each with its place and a hint; or that there is no row.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        let fault = |line: usize, column: usize, message: String, hint: String| Fault {
            file: path.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX).max(1),
            message,
            hint,
        };
        let file = File::open(path).map_err(|error| {
            Faults::one(fault(1, 1, format!("the requests cannot be read: {error}"), "check the path".into()))
        })?;
        let mut source = BufReader::new(file);
        let mut rows = Vec::new();
        let mut faults = Vec::new();
        let mut text = String::new();
        for line in 1.. {
            text.clear();
            match source.by_ref().take(MAX_LINE_BYTES).read_line(&mut text) {
                Ok(0) => break,
                Ok(_) if text.trim().is_empty() => continue,
                Ok(_) => match row(text.trim_end()) {
                    Ok(row) => rows.push(row),
                    Err((column, message, hint)) => faults.push(fault(line, column, message, hint)),
                },
                Err(error) => {
                    let message = format!("the line cannot be read: {error}");
                    faults.push(fault(line, 1, message, "give a text file in UTF-8".into()));
                    break;
                }
            }
            if faults.len() >= MAX_FAULTS {
                break;
            }
        }
        if rows.is_empty() && faults.is_empty() {
            let hint = "add at least one line such as {\"body\": {\"instances\": [[1, 2]]}}".to_owned();
            faults.push(fault(1, 1, "the request set is empty".to_owned(), hint));
        }
        if faults.is_empty() { Ok(Self { rows }) } else { Err(Faults(faults)) }
    }

    /// From rows that are already in memory; `None` when there are none.
    pub fn from_rows(rows: Vec<RequestRow>) -> Option<Self> {
        (!rows.is_empty()).then_some(Self { rows })
    }

    /// The row of an arrival; numbers beyond the last row start again at the first.
    pub fn get(&self, row: u32) -> &RequestRow {
        &self.rows[row as usize % self.rows.len()]
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never: a request set has at least one row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Column, message and hint of a fault in one line.
type LineFault = (usize, String, String);

fn row(text: &str) -> Result<RequestRow, LineFault> {
    use serde_json::Value;
    let shape = || "write {\"body\": {…}, \"expect\": {\"s3://models/v1\": {…}}}".to_owned();
    let value: Value = serde_json::from_str(text)
        .map_err(|error| (error.column(), format!("not JSON: {}", without_place(&error)), shape()))?;
    let Value::Object(mut fields) = value else {
        return Err((1, "the line is not a JSON object".to_owned(), shape()));
    };
    let body = fields.remove("body").ok_or_else(|| {
        let near = fields.keys().find(|key| !suggest::nearest(key, ["body"]).is_empty());
        let hint = near.map_or_else(shape, |key| format!("did you mean \"body\" instead of \"{key}\"?"));
        (1, "\"body\" is missing".to_owned(), hint)
    })?;
    let expect = match fields.remove("expect") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(Value::Object(expect)) => expect.into_iter().collect(),
        Some(_) => {
            let hint = "write the reference answer of each version by its storage URI".to_owned();
            return Err((1, "\"expect\" is not an object".to_owned(), hint));
        }
    };
    if let Some(unknown) = fields.keys().next() {
        return Err((
            1,
            format!("unknown key \"{unknown}\""),
            suggest::hint(unknown, "keys", ["body", "expect"]),
        ));
    }
    let payload = body.to_string();
    Ok(RequestRow { body, payload, expect })
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}
