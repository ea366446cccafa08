//! Validation of the built-in kinds, in the words of the real server, one function a kind.

pub(crate) mod access;
pub(crate) mod config;
pub(crate) mod definition;
pub(crate) mod metadata;
pub(crate) mod network;
pub(crate) mod pod;
pub(crate) mod webhook;
pub(crate) mod workload;

use serde_json::Value;

use crate::status::FieldError;

/// For kinds without rules of their own.
pub(crate) fn nothing(_: &Value, _: Option<&Value>, _: &mut Vec<FieldError>) {}

/// Refuses a change of the field at `path`.
fn immutable(path: &[&str], new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let Some(old) = old else { return };
    let (before, after) = (crate::object::at(old, path), crate::object::at(new, path));
    if before != after {
        errors.push(FieldError::invalid(path.join("."), after.unwrap_or(&Value::Null), "field is immutable"));
    }
}
