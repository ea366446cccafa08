//! Validation of the built-in kinds, in the words of the real server, one function a kind.

pub(crate) mod access;
pub(crate) mod autoscaling;
pub(crate) mod config;
pub(crate) mod definition;
pub(crate) mod ingress;
pub(crate) mod job;
pub(crate) mod limits;
pub(crate) mod metadata;
pub(crate) mod network;
pub(crate) mod network_policy;
pub(crate) mod pod;
pub(crate) mod schedule;
mod selector;
pub(crate) mod service;
pub(crate) mod storage;
mod structural;
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

/// A name at `field` that has to be a DNS subdomain, if it is given.
fn subdomain(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        return;
    }
    for fault in crate::kinds::names::check_subdomain(name) {
        errors.push(FieldError::invalid(field, &name.into(), fault));
    }
}
