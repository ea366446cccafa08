//! Assertion trees: readable partial matches of objects.
//!
//! A tree is matched against a value:
//! - a mapping holds for a mapping that has at least these keys; `null` says that a key is absent;
//! - a list holds for a list of the same length, item by item;
//! - a text, number or truth value holds for its equal;
//! - a mapping whose keys begin with `$` applies operators ([`OPERATORS`]);
//! - in a mapping against a list, `$KEY: {VALUE: TREE}` picks the item whose field KEY is VALUE (`$name`, `$type`);
//! - a key in parentheses is a CEL expression over the value, `self`: `(size(self)): 2`.
//!
//! What does not hold comes back as [`Mismatch`]es, each with path, what was expected and what was seen.

mod operators;

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::expression;

pub use operators::OPERATORS;

/// One place at which a value is not as expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mismatch {
    /// Where, such as `spec.template.spec.containers[name=kserve-container].image`.
    pub path: String,
    /// What the case expects there.
    pub expected: String,
    /// What was there.
    pub seen: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "(the whole)" } else { &self.path };
        write!(f, "{path}: expected {}, seen {}", self.expected, self.seen)
    }
}

/// Where a value is not as the tree says; empty when it is.
#[must_use]
pub fn mismatches(tree: &Value, value: &Value) -> Vec<Mismatch> {
    let mut found = Vec::new();
    compare(tree, Some(value), "", &mut found);
    found
}

/// Whether a tree can be matched at all.
///
/// # Errors
/// The first thing in it that is no assertion.
pub fn check(tree: &Value) -> Result<(), String> {
    match tree {
        Value::Object(fields) => {
            for (key, inner) in fields {
                if let Some(source) = expression_of(key) {
                    expression::Expression::compile(source)?;
                } else if let Some(name) = key.strip_prefix('$') {
                    operators::check(name, inner)?;
                } else {
                    check(inner)?;
                }
            }
            let special = fields.keys().filter(|key| key.starts_with('$')).count();
            if special > 0 && special < fields.keys().filter(|key| expression_of(key).is_none()).count() {
                let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
                return Err(format!(
                    "operators stand beside plain keys: {}; put them apart",
                    keys.join(", ")
                ));
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(check),
        _ => Ok(()),
    }
}

fn expression_of(key: &str) -> Option<&str> {
    key.strip_prefix('(')?.strip_suffix(')')
}

/// `None` is a key that is not there.
fn compare(tree: &Value, value: Option<&Value>, path: &str, found: &mut Vec<Mismatch>) {
    match tree {
        Value::Null => {
            if let Some(seen) = value.filter(|value| !value.is_null()) {
                found.push(mismatch(path, "nothing".to_owned(), Some(seen)));
            }
        }
        Value::Object(fields) => compare_map(fields, value, path, found),
        Value::Array(items) => match value {
            Some(Value::Array(seen)) if seen.len() == items.len() => {
                for (index, (item, seen)) in items.iter().zip(seen).enumerate() {
                    compare(item, Some(seen), &format!("{path}[{index}]"), found);
                }
            }
            Some(Value::Array(seen)) => found.push(Mismatch {
                path: path.to_owned(),
                expected: format!("{} items: {}", items.len(), brief(tree)),
                seen: format!("{} items: {}", seen.len(), brief(&Value::Array(seen.clone()))),
            }),
            other => found.push(mismatch(path, brief(tree), other)),
        },
        scalar => {
            if !value.is_some_and(|value| equal(scalar, value)) {
                found.push(mismatch(path, brief(scalar), value));
            }
        }
    }
}

fn compare_map(fields: &Map<String, Value>, value: Option<&Value>, path: &str, found: &mut Vec<Mismatch>) {
    for (key, inner) in fields {
        if let Some(source) = expression_of(key) {
            let result = expression::of_self(source, value.unwrap_or(&Value::Null));
            let path = format!("{path} ({source})");
            match result {
                Ok(result) => compare(inner, Some(&result), path.trim(), found),
                Err(error) => found.push(Mismatch { path, expected: brief(inner), seen: error }),
            }
        } else if let Some(name) = key.strip_prefix('$') {
            operators::apply(name, inner, value, path, found);
        } else {
            match value {
                Some(Value::Object(seen)) => compare(inner, seen.get(key), &join(path, key), found),
                None | Some(Value::Null) => compare(inner, None, &join(path, key), found),
                Some(other) => found.push(mismatch(path, brief(&Value::Object(fields.clone())), Some(other))),
            }
        }
    }
    if fields.is_empty() && !matches!(value, Some(Value::Object(_))) {
        found.push(mismatch(path, "a mapping".to_owned(), value));
    }
}

/// Equal, where numbers compare by value: 1 and 1.0 are one number.
fn equal(expected: &Value, seen: &Value) -> bool {
    match (expected, seen) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| one == other)
        }
        _ => expected == seen,
    }
}

fn join(path: &str, key: &str) -> String {
    let key = if key.contains(['.', '/']) { format!("[{key}]") } else { key.to_owned() };
    match path {
        "" => key,
        path if key.starts_with('[') => format!("{path}{key}"),
        path => format!("{path}.{key}"),
    }
}

fn mismatch(path: &str, expected: String, seen: Option<&Value>) -> Mismatch {
    let seen = seen.map_or_else(|| "nothing".to_owned(), brief);
    Mismatch { path: path.to_owned(), expected, seen }
}

/// A value on one line, cut where it gets long.
pub(crate) fn brief(value: &Value) -> String {
    const LONGEST: usize = 400;
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let cut: String = text.chars().take(LONGEST).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests;
