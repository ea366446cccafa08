//! Reading a trigger's `metadata`: texts, with defaults.

use std::collections::BTreeMap;

use super::super::KedaError;

/// A trigger's `metadata`. Keys that nobody asks for are left alone: addresses and secrets decide nothing.
pub struct Metadata<'a> {
    index: usize,
    values: &'a BTreeMap<String, String>,
}

impl<'a> Metadata<'a> {
    /// The metadata of the trigger with this index.
    #[must_use]
    pub fn new(index: usize, values: &'a BTreeMap<String, String>) -> Self {
        Self { index, values }
    }

    /// A refusal of a key.
    pub(crate) fn refuse(&self, key: &str, expected: &str) -> KedaError {
        let found = match self.text(key) {
            Some(text) => format!("{text:?}"),
            None => "nothing".to_string(),
        };
        KedaError::new(format!("triggers[{}].metadata.{key}", self.index), found, expected)
    }

    /// A text; empty counts as absent.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.values.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A text that must be there, as it is or from the environment.
    pub(crate) fn needed(&self, key: &str) -> Result<String, KedaError> {
        let from_environment = self.text(&format!("{key}FromEnv"));
        let text = self.text(key).or(from_environment).ok_or_else(|| self.refuse(key, "a text"))?;
        Ok(text.to_string())
    }

    /// A number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, KedaError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number.map(Some).ok_or_else(|| self.refuse(key, "a number"))
    }

    /// A whole number.
    pub(crate) fn whole(&self, key: &str) -> Result<Option<i64>, KedaError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        text.parse::<i64>().map(Some).map_err(|_| self.refuse(key, "a whole number"))
    }

    /// A truth value, as Go reads it.
    pub(crate) fn truth(&self, key: &str, default: bool) -> Result<bool, KedaError> {
        match self.text(key) {
            None => Ok(default),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(_) => Err(self.refuse(key, "true or false")),
        }
    }
}

/// A text as part of a query, as Go escapes it.
pub(crate) fn query_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'-' | b'_' | b'.' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                escaped.push(char::from(byte));
            }
            _ => {
                escaped.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
                    escaped.push(digit.to_ascii_uppercase());
                }
            }
        }
    }
    escaped
}
