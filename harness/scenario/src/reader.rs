//! Reading a tree field by field while collecting what is wrong with it.
//!
//! Every read returns an `Option` and records a fault when there is nothing to return, so that one pass over
//! the file finds them all.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::fault::Fault;
use crate::quantity::{self, Duration, QuantityError, Rate};
use crate::suggest;
use crate::yaml::{Entry, Node, Place, Value};

/// The file that is read and the faults found so far.
pub struct Reader<'a> {
    /// The file's name, for messages.
    pub file: &'a Path,
    /// Its text.
    pub source: &'a str,
    /// What is wrong with it so far.
    pub faults: Vec<Fault>,
    /// What overrides are called, by their number.
    overrides: &'a [String],
}

/// A mapping whose keys are asked for one after the other. What was never asked for is unknown.
pub struct Fields<'n> {
    place: Place,
    path: String,
    entries: &'n [Entry],
    asked: Vec<&'static str>,
    absent: Vec<(&'static str, String)>,
}

impl<'a> Reader<'a> {
    /// A reader of this file; `overrides` is what overrides are called, by their number.
    pub fn new(file: &'a Path, source: &'a str, overrides: &'a [String]) -> Self {
        Self { file, source, faults: Vec::new(), overrides }
    }

    /// Records what is wrong at a place, and what to do about it.
    pub fn fault(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        let source = place.over().and_then(|index| self.overrides.get(index));
        let file = source.map_or_else(|| self.file.to_owned(), PathBuf::from);
        let Place { line, column, .. } = place;
        self.faults.push(Fault { file, line, column, message: message.into(), hint: hint.into() });
    }

    /// Where something stands, `FILE:LINE` or the override that it comes from.
    pub fn position(&self, place: Place) -> String {
        match place.over().and_then(|index| self.overrides.get(index)) {
            Some(source) => source.clone(),
            None => format!("{}:{}", self.file.display(), place.line),
        }
    }

    /// A mapping. `path` is what it is called in messages, such as `spec.load`.
    pub fn fields<'n>(&mut self, node: &'n Node, path: &str) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.fault(
                node.place,
                format!("{path} is {}, not a mapping", node.describe()),
                format!("write keys and values below {path}, each on its own line"),
            );
            return None;
        };
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = entries[..index].iter().find(|first| first.key == entry.key) {
                let line = first.place.line;
                self.fault(
                    entry.place,
                    format!("{path} has \"{}\" twice", entry.key),
                    format!("it is already on line {line}; keep one of them"),
                );
            }
        }
        Some(Fields {
            place: node.place,
            path: path.to_owned(),
            entries,
            asked: Vec::new(),
            absent: Vec::new(),
        })
    }

    /// A list.
    pub fn list<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => {
                self.fault(
                    node.place,
                    format!("{path} is {}, not a list", node.describe()),
                    "write one item a line, each after a dash, or [one, two]",
                );
                None
            }
        }
    }

    /// A text that is not empty.
    pub fn text<'n>(&mut self, node: &'n Node, path: &str, example: &str) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => Some(text),
            _ => {
                let found = match &node.value {
                    Value::Text(_) => "empty".to_owned(),
                    _ => node.describe(),
                };
                self.fault(
                    node.place,
                    format!("{path} is {found}, not a text"),
                    format!("write one such as {example}"),
                );
                None
            }
        }
    }

    /// True or false.
    pub fn boolean(&mut self, node: &Node, path: &str) -> Option<bool> {
        match &node.value {
            Value::Bool(value) => Some(*value),
            _ => {
                self.fault(
                    node.place,
                    format!("{path} is {}, not true or false", node.describe()),
                    "write true or false, without quotes",
                );
                None
            }
        }
    }

    /// A whole number from 0 up.
    pub fn whole(&mut self, node: &Node, path: &str) -> Option<u64> {
        match &node.value {
            Value::Whole(value) => Some(*value),
            _ => {
                self.fault(
                    node.place,
                    format!("{path} is {}, not a whole number", node.describe()),
                    "write a number from 0 up, without quotes and without a point",
                );
                None
            }
        }
    }

    /// A finite number.
    pub fn number(&mut self, node: &Node, path: &str) -> Option<f64> {
        match &node.value {
            Value::Whole(value) => Some(*value as f64),
            Value::Negative(value) => Some(*value as f64),
            Value::Float(value) if value.is_finite() => Some(*value),
            _ => {
                self.fault(
                    node.place,
                    format!("{path} is {}, not a number", node.describe()),
                    "write a number without quotes, such as 0.2",
                );
                None
            }
        }
    }

    /// A duration or a rate.
    pub fn quantity<T: FromStr<Err = QuantityError>>(
        &mut self,
        node: &Node,
        path: &str,
        example: &str,
    ) -> Option<T> {
        // A bare number reaches the grammar as a text, whose message then says that the unit is missing.
        let text = match &node.value {
            Value::Bool(_) | Value::Null | Value::List(_) | Value::Map(_) => None,
            _ => node.scalar_text(),
        };
        let Some(text) = text else {
            self.fault(
                node.place,
                format!("{path} is {}, not a quantity", node.describe()),
                format!("write one such as {example}"),
            );
            return None;
        };
        match text.parse() {
            Ok(quantity) => Some(quantity),
            Err(QuantityError { message, hint }) => {
                self.fault(node.place, format!("{path}: {message}"), hint);
                None
            }
        }
    }

    /// A duration.
    pub fn duration(&mut self, node: &Node, path: &str) -> Option<Duration> {
        self.quantity(node, path, "300ms, 75s or 1m30s")
    }

    /// A duration above zero.
    pub fn positive_duration(&mut self, node: &Node, path: &str) -> Option<Duration> {
        let duration = self.duration(node, path)?;
        if duration == Duration::ZERO {
            self.fault(node.place, format!("{path} is zero"), "write a duration above zero, such as 75s");
            return None;
        }
        Some(duration)
    }

    /// An instant before the end of the scenario.
    pub fn before_end(&mut self, node: &Node, path: &str, duration: Option<Duration>) -> Option<Duration> {
        let at = self.duration(node, path)?;
        match duration {
            Some(duration) if at >= duration => {
                self.fault(
                    node.place,
                    format!("{path} ({at}) is not before the end of the scenario"),
                    format!(
                        "the scenario lasts {duration}; choose an earlier time or a longer spec.duration"
                    ),
                );
                None
            }
            _ => Some(at),
        }
    }

    /// A rate.
    pub fn rate(&mut self, node: &Node, path: &str) -> Option<Rate> {
        self.quantity(node, path, "20/s or 90/min")
    }

    /// A rate above zero.
    pub fn positive_rate(&mut self, node: &Node, path: &str) -> Option<Rate> {
        let rate = self.rate(node, path)?;
        if rate.as_per_second() <= 0.0 {
            self.fault(node.place, format!("{path} is zero"), "write a rate above zero, such as 60/s");
            return None;
        }
        Some(rate)
    }

    /// A percentage as a fraction between 0 and 1.
    pub fn percent(&mut self, node: &Node, path: &str) -> Option<f64> {
        let text = match &node.value {
            Value::Bool(_) => None,
            _ => node.scalar_text(),
        };
        let read = match text {
            Some(text) => quantity::parse_percent(&text),
            None => Err(QuantityError::new(
                format!("{} is not a percentage", node.describe()),
                "write a percentage such as 1% or 0.5%",
            )),
        };
        match read {
            Ok(share) => Some(share),
            Err(QuantityError { message, hint }) => {
                self.fault(node.place, format!("{path}: {message}"), hint);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn count(&mut self, node: &Node, path: &str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let whole = self.whole(node, path)?;
        match u32::try_from(whole) {
            Ok(count) if bounds.contains(&count) => Some(count),
            _ => {
                let (least, most) = (bounds.start(), bounds.end());
                self.fault(
                    node.place,
                    format!("{path} cannot be {whole}"),
                    format!("write a whole number from {least} to {most}"),
                );
                None
            }
        }
    }

    /// A number within bounds.
    pub fn number_in(&mut self, node: &Node, path: &str, bounds: RangeInclusive<f64>) -> Option<f64> {
        let number = self.number(node, path)?;
        if bounds.contains(&number) {
            return Some(number);
        }
        let (least, most) = (bounds.start(), bounds.end());
        self.fault(
            node.place,
            format!("{path} cannot be {number}"),
            format!("write a number from {least} to {most}"),
        );
        None
    }

    /// The beginning of a storage URI.
    pub fn storage_prefix(&mut self, node: &Node, path: &str) -> Option<String> {
        let text = self.text(node, path, "s3://models/")?;
        if text.contains("://") {
            return Some(text.to_owned());
        }
        self.fault(
            node.place,
            format!("{path}: \"{}\" is not the beginning of a storage URI", text.escape_debug()),
            "write a prefix such as s3://models/",
        );
        None
    }

    /// The items of a list that must not be empty, each read; `None` when one of them could not be.
    pub fn items<T>(
        &mut self,
        node: &Node,
        path: &str,
        example: &str,
        mut read: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.list(node, path)?;
        if items.is_empty() {
            self.fault(node.place, format!("{path} is empty"), format!("add one such as {example}"));
            return None;
        }
        let read: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| read(self, item, &format!("{path}[{index}]")))
            .collect();
        read.into_iter().collect()
    }

    /// One of the named choices.
    pub fn choice<T: Copy>(&mut self, node: &Node, path: &str, choices: &[(&str, T)]) -> Option<T> {
        let names = choices.iter().map(|(name, _)| *name);
        let Value::Text(text) = &node.value else {
            let all: Vec<&str> = names.collect();
            self.fault(
                node.place,
                format!("{path} is {}", node.describe()),
                format!("write one of: {}", all.join(", ")),
            );
            return None;
        };
        match choices.iter().find(|(name, _)| name == text) {
            Some((_, choice)) => Some(*choice),
            None => {
                let hint = suggest::hint(text, "values", names);
                self.fault(node.place, format!("{path} cannot be \"{}\"", text.escape_debug()), hint);
                None
            }
        }
    }
}

impl<'n> Fields<'n> {
    /// The top of the file, whose keys stand for themselves in messages.
    pub fn at_top(&mut self) {
        self.path.clear();
    }

    /// Where the mapping begins.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The full name of a key, for messages.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A key that may be absent; an empty value counts as absent.
    pub fn optional(&mut self, key: &'static str) -> Option<&'n Node> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        let entry = self.entries.iter().rev().find(|entry| entry.key == key)?;
        (!matches!(entry.node.value, Value::Null)).then_some(&entry.node)
    }

    /// A key that must be there, with an example for the hint when it is not.
    pub fn required(&mut self, key: &'static str, example: &str) -> Option<&'n Node> {
        let node = self.optional(key);
        if node.is_none() {
            self.missing(key, example);
        }
        node
    }

    /// A key that may be absent, read: `Some(None)` when it is absent, `None` when it is wrong.
    pub fn maybe<'r, T>(
        &mut self,
        reader: &mut Reader<'r>,
        key: &'static str,
        read: impl FnOnce(&mut Reader<'r>, &'n Node, &str) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.optional(key) {
            Some(node) => read(reader, node, &self.path(key)).map(Some),
            None => Some(None),
        }
    }

    /// A key that may be absent and then counts as `default`.
    pub fn or<'r, T>(
        &mut self,
        reader: &mut Reader<'r>,
        key: &'static str,
        default: T,
        read: impl FnOnce(&mut Reader<'r>, &'n Node, &str) -> Option<T>,
    ) -> Option<T> {
        Some(self.maybe(reader, key, read)?.unwrap_or(default))
    }

    /// A key that must be there, read.
    pub fn need<'r, T>(
        &mut self,
        reader: &mut Reader<'r>,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&mut Reader<'r>, &'n Node, &str) -> Option<T>,
    ) -> Option<T> {
        let node = self.required(key, example)?;
        read(reader, node, &self.path(key))
    }

    /// A key that turned out to be needed.
    pub fn missing(&mut self, key: &'static str, example: &str) {
        self.absent.push((key, example.to_owned()));
    }

    /// Whether an unknown key looks like one of `keys`, so that its absence needs no fault of its own.
    pub fn mistyped(&self, keys: &[&str]) -> bool {
        let unknown = self.entries.iter().filter(|entry| !self.asked.contains(&entry.key.as_str()));
        unknown.into_iter().any(|entry| !suggest::nearest(&entry.key, keys.iter().copied()).is_empty())
    }

    /// Whether there are keys that were not asked for.
    pub fn has_strangers(&self) -> bool {
        self.entries.iter().any(|entry| !self.asked.contains(&entry.key.as_str()))
    }

    /// Reports the keys that were not asked for and those that are missing. A key that is missing because
    /// it is mistyped is reported once.
    pub fn finish(self, reader: &mut Reader<'_>) {
        let present = |key: &str| self.entries.iter().any(|entry| entry.key == key);
        let mut explained: Vec<&str> = Vec::new();
        for entry in self.entries.iter().filter(|entry| !self.asked.contains(&entry.key.as_str())) {
            // What is already there was hardly meant once more.
            let absent = || self.asked.iter().copied().filter(|key| !present(key));
            let mut near = suggest::nearest(&entry.key, absent());
            if near.is_empty() {
                near = suggest::nearest(&entry.key, self.asked.iter().copied());
            }
            let hint = if near.is_empty() {
                format!("known keys: {}", self.asked.join(", "))
            } else {
                suggest::hint(&entry.key, "keys", near.clone())
            };
            explained.extend(near);
            let inside = if self.path.is_empty() { String::new() } else { format!(" in {}", self.path) };
            reader.fault(entry.place, format!("unknown key \"{}\"{inside}", entry.key.escape_debug()), hint);
        }
        for (key, example) in &self.absent {
            if explained.contains(key) {
                continue;
            }
            let empty = self.entries.iter().find(|entry| entry.key == *key);
            let place = empty.map_or(self.place, |entry| entry.place);
            let what = if empty.is_some() { "has no value" } else { "is missing" };
            reader.fault(place, format!("{} {what}", self.path(key)), format!("add {example}"));
        }
    }
}
