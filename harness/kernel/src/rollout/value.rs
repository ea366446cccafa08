//! What manifests and metric providers say: numbers that may be written as texts, and data of any form.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Kubernetes' `IntOrString`: a number, or a text such as `25%`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrText {
    /// Written as a number.
    Int(i32),
    /// Written as a text.
    Text(String),
}

impl IntOrText {
    /// The number, as apimachinery's `IntValue` reads it: a text that is no number is 0.
    #[must_use]
    pub fn int(&self) -> i32 {
        match self {
            Self::Int(number) => *number,
            Self::Text(text) => text.parse().unwrap_or(0),
        }
    }

    /// This many of `total`, as apimachinery's *deprecated* `GetValueFromIntOrPercent` reads it: every text is a
    /// percentage, with or without the sign. A text that is no number is 0, as it is where upstream drops the error.
    ///
    /// ```
    /// use windtunnel_kernel::rollout::value::IntOrText;
    ///
    /// assert_eq!(IntOrText::Text("25".to_string()).of(10, true), 3);
    /// assert_eq!(IntOrText::Text("25%".to_string()).of(10, false), 2);
    /// assert_eq!(IntOrText::Int(25).of(10, true), 25);
    /// ```
    #[must_use]
    pub fn of(&self, total: i32, round_up: bool) -> i32 {
        match self {
            Self::Int(number) => *number,
            Self::Text(text) => {
                let percent: i64 = text.replace('%', "").parse().unwrap_or(0);
                let scaled = i128::from(percent) * i128::from(total);
                let rest = i128::from(round_up && scaled.rem_euclid(100) != 0);
                saturate(scaled.div_euclid(100) + rest)
            }
        }
    }
}

impl From<i32> for IntOrText {
    fn from(number: i32) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for IntOrText {
    fn from(text: &str) -> Self {
        Self::Text(text.to_string())
    }
}

impl fmt::Display for IntOrText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// The nearest number that fits.
pub(crate) fn saturate(number: i128) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

/// Data of any form: a metric's result, or a part of a manifest that is kept but not decided upon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Nothing.
    #[default]
    Nil,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number. Not finite where a metric is not.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A mapping.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// The word for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// A vector as Prometheus returns it: a list of numbers.
    #[must_use]
    pub fn numbers(numbers: &[f64]) -> Self {
        Self::List(numbers.iter().map(|&number| Self::Float(number)).collect())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(truth) => truth.fmt(f),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                for (index, (key, item)) in entries.iter().enumerate() {
                    write!(f, "{}{key}:{item}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("}")
            }
        }
    }
}
