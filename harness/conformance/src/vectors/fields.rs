//! Reading mappings strictly: every key must be asked for, every message names its place.

use std::cell::RefCell;

use serde_json::{Map, Value};

/// A mapping of a vector. Keys that nobody asked for by the time of [`finish`](Fields::finish) are an error.
pub(crate) struct Fields<'a> {
    place: String,
    map: &'a Map<String, Value>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(place: &str, value: &'a Value) -> Result<Self, String> {
        match value {
            Value::Object(map) => Ok(Self { place: place.to_string(), map, known: RefCell::new(Vec::new()) }),
            other => Err(format!("{place}: expected a mapping, found {}", kind(other))),
        }
    }

    /// A value that may be absent (or null).
    pub(crate) fn opt<T: FromValue<'a>>(&self, key: &'static str) -> Result<Option<T>, String> {
        self.known.borrow_mut().push(key);
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::read(&self.at(key), value).map(Some),
        }
    }

    /// A value that must be there.
    pub(crate) fn get<T: FromValue<'a>>(&self, key: &'static str) -> Result<T, String> {
        self.opt(key)?.ok_or_else(|| format!("{}: is missing, add it", self.at(key)))
    }

    /// A whole number from 0 that must be there.
    pub(crate) fn count(&self, key: &'static str) -> Result<i32, String> {
        match self.get::<i32>(key)? {
            negative if negative < 0 => {
                Err(format!("{}: expected a whole number of at least 0, found {negative}", self.at(key)))
            }
            count => Ok(count),
        }
    }

    /// A value that must be there, though it may be null.
    pub(crate) fn nullable<T: FromValue<'a>>(&self, key: &'static str) -> Result<Option<T>, String> {
        let value = self.opt(key)?;
        if value.is_none() && !self.map.contains_key(key) {
            return Err(format!("{}: is missing, add it (null where there is none)", self.at(key)));
        }
        Ok(value)
    }

    /// Whether a key is there, even if it is null.
    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.map.contains_key(key)
    }

    /// A value with a default.
    pub(crate) fn or<T: FromValue<'a>>(&self, key: &'static str, default: T) -> Result<T, String> {
        Ok(self.opt(key)?.unwrap_or(default))
    }

    /// The full name of a key.
    pub(crate) fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    /// [`finish`](Self::finish), and refuses a mapping that says nothing.
    pub(crate) fn finish_filled(&self) -> Result<(), String> {
        if self.map.is_empty() {
            return Err(format!("{}: nothing is expected, add an expectation", self.place));
        }
        self.finish()
    }

    /// Refuses keys that nobody asked for.
    pub(crate) fn finish(&self) -> Result<(), String> {
        let known = self.known.borrow();
        match self.map.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let known = known.join(", ");
                Err(format!("{}: is not known here, remove it or take one of {known}", self.at(unknown)))
            }
        }
    }
}

/// A type that can be read out of a value; the error says what is wrong at `place`.
pub(crate) trait FromValue<'a>: Sized {
    fn read(place: &str, value: &'a Value) -> Result<Self, String>;
}

impl<'a> FromValue<'a> for f64 {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        let number = if value.is_number() { value.as_f64() } else { None };
        number.filter(|number| number.is_finite()).ok_or_else(|| wrong(place, "a finite number", value))
    }
}

/// A length of time, written in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Length {
    pub(crate) ns: u64,
}

impl Length {
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self { ns: seconds * 1_000_000_000 }
    }
}

impl<'a> FromValue<'a> for Length {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        let seconds = f64::read(place, value).ok().filter(|&seconds| seconds >= 0.0);
        let seconds = seconds.ok_or_else(|| wrong(place, "a number of seconds of at least 0", value))?;
        Ok(Self { ns: (seconds * 1e9).round() as u64 })
    }
}

impl<'a> FromValue<'a> for i64 {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        value.as_i64().ok_or_else(|| wrong(place, "a whole number", value))
    }
}

impl<'a> FromValue<'a> for i32 {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        let number = value.as_i64().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| wrong(place, "a whole number of 32 bits", value))
    }
}

impl<'a> FromValue<'a> for u32 {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        let number = value.as_u64().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| wrong(place, "a whole number of at least 0", value))
    }
}

impl<'a> FromValue<'a> for u64 {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        value.as_u64().ok_or_else(|| wrong(place, "a whole number of at least 0", value))
    }
}

impl<'a> FromValue<'a> for bool {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| wrong(place, "true or false", value))
    }
}

impl<'a> FromValue<'a> for String {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        value.as_str().map(str::to_string).ok_or_else(|| wrong(place, "a text", value))
    }
}

impl<'a> FromValue<'a> for Fields<'a> {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        Self::new(place, value)
    }
}

impl<'a, T: FromValue<'a>> FromValue<'a> for Vec<T> {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        let Value::Array(items) = value else { return Err(wrong(place, "a list", value)) };
        let read = |(index, item)| T::read(&format!("{place}[{index}]"), item);
        items.iter().enumerate().map(read).collect()
    }
}

/// A text, or a truth value as YAML reads `true` and `false`.
pub(crate) struct Word {
    pub(crate) text: String,
}

impl<'a> FromValue<'a> for Word {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        let text = match value {
            Value::Bool(truth) => truth.to_string(),
            other => String::read(place, other)?,
        };
        Ok(Self { text })
    }
}

/// `[name, argument, …]`, or a bare name.
pub(crate) struct Operation {
    pub(crate) place: String,
    pub(crate) name: String,
    pub(crate) arguments: Vec<f64>,
    /// A text at the end.
    pub(crate) label: Option<String>,
}

impl Operation {
    /// The arguments, if there are exactly `N`.
    pub(crate) fn take<const N: usize>(&self) -> Result<[f64; N], String> {
        if let Some(label) = &self.label {
            return Err(format!(
                "{}: {:?} takes numbers only, found the text {label:?}",
                self.place, self.name
            ));
        }
        self.take_labelled()
    }

    /// [`take`](Self::take), whether or not there is a text at the end.
    pub(crate) fn take_labelled<const N: usize>(&self) -> Result<[f64; N], String> {
        self.arguments.as_slice().try_into().map_err(|_| {
            format!("{}: {:?} takes {N} numbers, found {}", self.place, self.name, self.arguments.len())
        })
    }

    pub(crate) fn unknown(&self, known: &str) -> String {
        format!("{}: {:?} is not known here, known are {known}", self.place, self.name)
    }
}

impl<'a> FromValue<'a> for Operation {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        let (name, mut arguments) = match value {
            Value::Array(items) => items.split_first().ok_or_else(|| wrong(place, "an operation", value))?,
            bare => (bare, [].as_slice()),
        };
        let name = String::read(place, name)?;
        let mut label = None;
        if let Some((Value::String(text), rest)) = arguments.split_last() {
            (label, arguments) = (Some(text.clone()), rest);
        }
        let read = |(index, item)| f64::read(&format!("{place}[{}]", index + 1), item);
        let arguments = arguments.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Self { place: place.to_string(), name, arguments, label })
    }
}

fn wrong(place: &str, expected: &str, found: &Value) -> String {
    format!("{place}: expected {expected}, found {}", kind(found))
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_string(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "a list".to_string(),
        Value::Object(_) => "a mapping".to_string(),
    }
}
