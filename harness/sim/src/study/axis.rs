//! What a study varies: `PATH=V1,V2,…`, or `PATH=LOW..HIGH` to search for the least whole number that is enough.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::Setting;

/// More values than this in one axis are a mistyped number.
const MOST_VALUES: usize = 10_000;

/// A field and the values that it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Which field, as in [`Setting::path`].
    pub path: String,
    /// Its values.
    pub values: Values,
}

/// The values of an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// Each of these, YAML.
    List(Vec<String>),
    /// Whole numbers from `low` to `high`, both included, of which the smallest that meets the objectives is
    /// searched by bisection. What one number meets, all higher ones are taken to meet; the answer is checked.
    Search {
        /// The lowest.
        low: i64,
        /// The highest.
        high: i64,
    },
}

/// Why a text is no axis.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{message}; write PATH=V1,V2,… to try each value, or PATH=LOW..HIGH to search for the least that is enough"
)]
pub struct AxisError {
    /// What is wrong.
    pub message: String,
}

impl Axis {
    /// The setting of one value.
    pub(super) fn setting(&self, value: &str) -> Setting {
        Setting { path: self.path.clone(), value: value.to_owned() }
    }
}

impl fmt::Display for Axis {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.values {
            Values::List(values) => write!(f, "{}={}", self.path, values.join(",")),
            Values::Search { low, high } => write!(f, "{}={low}..{high}", self.path),
        }
    }
}

impl FromStr for Axis {
    type Err = AxisError;

    fn from_str(text: &str) -> Result<Self, AxisError> {
        let wrong = |message: String| AxisError { message };
        let Some((path, values)) = text.split_once('=') else {
            return Err(wrong(format!("{text:?} has no `=`")));
        };
        let path = path.trim().to_owned();
        if path.is_empty() {
            return Err(wrong(format!("{text:?} has no path before the `=`")));
        }
        if let Some((low, high)) = values.split_once("..") {
            let number = |text: &str| {
                let text = text.trim();
                text.parse::<i64>().map_err(|_| wrong(format!("{text:?} is no whole number")))
            };
            let (low, high) = (number(low)?, number(high)?);
            if low >= high {
                return Err(wrong(format!("{low}..{high} is empty or a single number")));
            }
            return Ok(Self { path, values: Values::Search { low, high } });
        }
        let values = split(values);
        if values.iter().any(String::is_empty) {
            return Err(wrong(format!("a value of {path} is empty")));
        }
        if values.len() > MOST_VALUES {
            return Err(wrong(format!("{path} has {} values, more than {MOST_VALUES}", values.len())));
        }
        Ok(Self { path, values: Values::List(values) })
    }
}

/// Splits at commas that are not inside of brackets, braces or quotes, so that a value may be any YAML.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_i32;
    let mut quote = None;
    for letter in text.chars() {
        match (quote, letter) {
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Values {
        text.parse::<Axis>().expect("an axis").values
    }

    /// A value with a comma of its own must stay one value.
    #[test]
    fn values_are_yaml() {
        let list = |values: &[&str]| Values::List(values.iter().map(|value| (*value).to_owned()).collect());
        assert_eq!(values("a.b=1, 2,3"), list(&["1", "2", "3"]));
        assert_eq!(values("a={x: 1, y: [2, 3]},{x: 2}"), list(&["{x: 1, y: [2, 3]}", "{x: 2}"]));
        assert_eq!(values("a='1,2',\"3,4\""), list(&["'1,2'", "\"3,4\""]));
        assert_eq!(values("a=1..64"), Values::Search { low: 1, high: 64 });
    }

    /// A mistyped axis must not become a study of something else.
    #[test]
    fn what_is_no_axis_is_refused_with_the_form() {
        for text in ["a", "=1", "a=", "a=1,,2", "a=1..x", "a=5..5", "a=9..2"] {
            let error = text.parse::<Axis>().expect_err(text).to_string();
            assert!(error.contains("PATH=V1,V2"), "{text}: {error}");
        }
    }
}
