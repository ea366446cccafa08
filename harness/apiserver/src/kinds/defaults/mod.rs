//! What the real server fills into the objects of the built-in kinds, one function a kind.
//!
//! Every function is idempotent: it runs on each write, after a patch as after a creation.

pub(crate) mod autoscaling;
pub(crate) mod autoscaling_v1;
pub(crate) mod config;
pub(crate) mod events;
pub(crate) mod network;
pub(crate) mod pod;
pub(crate) mod workload;

use serde_json::{Map, Value};

use crate::object::{as_map, map_at};

/// For kinds without defaults.
pub(crate) fn nothing(_: &mut Value) {}

/// `spec`, made where it is absent.
fn spec(object: &mut Value) -> &mut Map<String, Value> {
    map_at(as_map(object), "spec")
}

/// `status`, made where it is absent.
fn status(object: &mut Value) -> &mut Map<String, Value> {
    map_at(as_map(object), "status")
}

/// The maps in a list field.
fn each<'a>(map: &'a mut Map<String, Value>, list: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}
