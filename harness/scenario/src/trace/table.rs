//! A CSV file line by line: a line in, its cells out, nothing kept.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::TraceError;

const LONGEST_QUOTE: usize = 60;

/// A file of lines with cells.
pub(super) struct Table {
    file: PathBuf,
    records: csv::Reader<BufReader<File>>,
    /// Reused for every line.
    record: csv::ByteRecord,
}

impl Table {
    /// Opens a file and reads its first line, which must be there.
    pub(super) fn open(path: &Path) -> Result<Self, TraceError> {
        let file = File::open(path).map_err(|error| TraceError {
            file: path.to_owned(),
            line: 1,
            message: format!("the trace cannot be read: {error}"),
            hint: "check the path; mark the trace optional: true to skip the scenario without it".to_owned(),
            source: Some(error),
        })?;
        let records = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .comment(Some(b'#'))
            .from_reader(BufReader::with_capacity(1 << 16, file));
        let mut table = Self { file: path.to_owned(), records, record: csv::ByteRecord::new() };
        if table.next_line()? {
            return Ok(table);
        }
        Err(table.fault(1, "the trace is empty", "give a file with at least one arrival"))
    }

    /// Goes to the next line; false at the end of the file.
    pub(super) fn next_line(&mut self) -> Result<bool, TraceError> {
        self.records.read_byte_record(&mut self.record).map_err(|error| {
            let line = error.position().map_or(self.records.position().line(), csv::Position::line);
            self.fault(line, format!("the line cannot be read: {error}"), "save the trace as plain CSV")
        })
    }

    /// The number of the current line, counted from 1.
    pub(super) fn line(&self) -> u64 {
        self.record.position().map_or(1, csv::Position::line)
    }

    /// The cells of the current line.
    pub(super) fn cells(&self) -> impl Iterator<Item = &[u8]> {
        self.record.iter().map(strip_mark)
    }

    /// A cell of the current line.
    pub(super) fn cell(&self, column: usize) -> Result<&[u8], TraceError> {
        self.record.get(column).map(strip_mark).ok_or_else(|| {
            self.fault_here(
                format!("the line has only {} columns", self.record.len()),
                format!("every line needs a value in column {}", column + 1),
            )
        })
    }

    /// Where the current line, a header, has the columns of these names.
    pub(super) fn columns<const N: usize>(
        &self,
        names: [&str; N],
        header: &str,
    ) -> Result<[usize; N], TraceError> {
        let mut columns = [0; N];
        for (column, name) in columns.iter_mut().zip(names) {
            match self.cells().position(|cell| cell.eq_ignore_ascii_case(name.as_bytes())) {
                Some(found) => *column = found,
                None => {
                    let first = quoted(self.cells().next().unwrap_or_default());
                    return Err(self.fault_here(
                        format!("column {name} is missing; the first line begins with {first}"),
                        format!("the first line must name the columns: {header}"),
                    ));
                }
            }
        }
        Ok(columns)
    }

    /// A cell of the current line as a whole number.
    pub(super) fn whole(&self, column: usize, what: &str, most: u64) -> Result<u64, TraceError> {
        let cell = self.cell(column)?;
        let read = std::str::from_utf8(cell).ok().filter(|text| !text.starts_with('+'));
        match read.and_then(|text| text.parse::<u64>().ok()) {
            Some(number) if number <= most => Ok(number),
            Some(_) => Err(self.fault_here(
                format!("{what} {} is more than {most}", quoted(cell)),
                "check the units of the column",
            )),
            None if cell.is_empty() => Err(self.fault_here(
                format!("{what} is missing"),
                format!("write a whole number in column {}, 0 for none", column + 1),
            )),
            None if cell.starts_with(b"-") => Err(self.fault_here(
                format!("{what} {} is negative", quoted(cell)),
                "write a whole number from 0 up",
            )),
            None => Err(self.fault_here(
                format!("{what} {} is not a whole number", quoted(cell)),
                "write a whole number from 0 up, without a point",
            )),
        }
    }

    /// A fault of the current line.
    pub(super) fn fault_here(&self, message: impl Into<String>, hint: impl Into<String>) -> TraceError {
        self.fault(self.line(), message, hint)
    }

    /// A fault of any line.
    pub(super) fn fault(&self, line: u64, message: impl Into<String>, hint: impl Into<String>) -> TraceError {
        TraceError { file: self.file.clone(), line, message: message.into(), hint: hint.into(), source: None }
    }

    /// The file, for commands in hints.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}

/// Without the byte order mark that spreadsheets write.
fn strip_mark(cell: &[u8]) -> &[u8] {
    cell.strip_prefix(b"\xef\xbb\xbf").unwrap_or(cell)
}

/// A cell for a message, cut to a length that a terminal can show.
pub(super) fn quoted(cell: &[u8]) -> String {
    let text = String::from_utf8_lossy(cell);
    let short: String = text.chars().take(LONGEST_QUOTE).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("\"{}{dots}\"", short.escape_debug())
}
