//! YAML as a tree in which every key and value knows its place.
//!
//! A typed deserializer stops at the first fault. This tree keeps everything, also what is wrong, so that
//! all faults of a file can be reported at once.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Options, Spanned};

/// Where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Byte offset in the file, when the parser knows it.
    byte: Option<usize>,
    /// Which override it comes from, when it does not stand in the file.
    over: Option<usize>,
}

impl Place {
    /// The very beginning.
    pub const START: Self = Self { line: 1, column: 1, byte: None, over: None };

    /// The place of what an override says.
    pub fn of_override(index: usize) -> Self {
        Self { over: Some(index), ..Self::START }
    }

    /// Another column of the same line.
    pub fn at_column(self, column: u32) -> Self {
        Self { column, ..self }
    }

    /// The beginning of another line.
    #[must_use]
    pub fn at_line(self, line: u32) -> Self {
        Self { line, ..self }
    }

    /// Which override this is the place of.
    pub fn over(&self) -> Option<usize> {
        self.over
    }

    fn from(location: Location) -> Self {
        let byte = location.span().byte_offset().and_then(|byte| usize::try_from(byte).ok());
        let at_least_one = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
        Self {
            line: at_least_one(location.line()),
            column: at_least_one(location.column()),
            byte,
            over: None,
        }
    }

    /// The column of a character of the scalar `text` that begins here, if it is written on one line as it
    /// is read; otherwise the column at which the scalar begins.
    pub fn column_within(&self, source: &str, text: &str, character: u32) -> u32 {
        let Some(raw) = self.byte.and_then(|byte| source.get(byte..)) else { return self.column };
        let opening = u32::from(raw.starts_with(['"', '\'']));
        match raw.get(opening as usize..) {
            Some(inner) if inner.starts_with(text) => self.column + opening + character,
            _ => self.column,
        }
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What YAML can say.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number from 0 up.
    Whole(u64),
    /// A whole number below 0.
    Negative(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file, repeated keys and all.
    Map(Vec<Entry>),
}

/// One line of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

/// Why a text is not YAML.
#[derive(Debug)]
pub struct SyntaxError {
    /// Where reading ended.
    pub place: Place,
    /// What the parser met.
    pub message: String,
}

/// Reads a file that holds one document. An empty file is `Null`.
///
/// # Errors
/// It is not YAML, or holds a second document.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut documents = parse_all(text)?;
    if let Some(second) = documents.get(1) {
        return Err(SyntaxError {
            place: second.place,
            message: "a second document begins here, but a scenario file holds one".to_owned(),
        });
    }
    Ok(documents.pop().unwrap_or(Node { place: Place::START, value: Value::Null }))
}

/// Reads every document of a file; empty ones are left out.
///
/// # Errors
/// It is not YAML.
pub fn parse_all(text: &str) -> Result<Vec<Node>, SyntaxError> {
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().map_or(Place::START, Place::from);
        SyntaxError { place, message: one_line(&error.to_string()) }
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        // `on` and `no` are words; only true and false are booleans.
        strict_booleans: true,
        // Repeated keys are a fault among others, not the end of reading.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    }
}

/// The parser's message without its own place, which is printed in front.
fn one_line(message: &str) -> String {
    let first = message.lines().next().unwrap_or("not YAML").trim();
    match first.rsplit_once(" at line ") {
        Some((text, place)) if place.starts_with(|c: char| c.is_ascii_digit()) => text.to_owned(),
        _ => first.to_owned(),
    }
}

impl Node {
    /// What this is, for a message that says what was expected instead.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "empty".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Whole(value) => format!("the number {value}"),
            Value::Negative(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::Text(value) if value.chars().count() <= 40 => {
                format!("the text \"{}\"", value.escape_debug())
            }
            Value::Text(_) => "a text".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// Moves it and everything in it to one place.
    pub fn relocate(&mut self, place: Place) {
        self.place = place;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.relocate(place)),
            Value::Map(entries) => {
                for entry in entries {
                    entry.place = place;
                    entry.node.relocate(place);
                }
            }
            _ => {}
        }
    }

    /// The value of a key of a mapping, of the last one when it is repeated.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => {
                entries.iter().rev().find(|entry| entry.key == key).map(|entry| &entry.node)
            }
            _ => None,
        }
    }

    /// The text of a scalar as a configuration map holds it; `None` for lists, mappings and nothing.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Whole(value) => Some(value.to_string()),
            Value::Negative(value) => Some(value.to_string()),
            Value::Float(value) => Some(value.to_string()),
            Value::Text(value) => Some(value.clone()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The same without places.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::from(*value),
            Value::Whole(value) => Json::from(*value),
            Value::Negative(value) => Json::from(*value),
            Value::Float(value) => Json::from(*value),
            Value::Text(value) => Json::from(value.as_str()),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: Place::from(spanned.defined), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder)
    }
}

struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Negative(value), Value::Whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let node = map.next_value()?;
            entries.push(Entry { key: key.value, place: Place::from(key.defined), node });
        }
        Ok(Value::Map(entries))
    }
}
