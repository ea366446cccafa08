//! Takes a scenario to a live cluster: applies its manifests, drives its load, injects its events and records what happens.
//!
//! - [`EmbeddedStack`] is a whole serving platform in this process: embedded cluster, gateway and control plane.
//! - [`fly`] runs one scenario on it and returns a [`Recording`](windtunnel_record::Recording) of the same shape that the
//!   simulator writes.
//!
//! Load is open loop: a request leaves when the scenario says so, whatever became of the ones before it, and its latency
//! counts from that intended moment. A slow service can't slow the load down and so hide its own slowness.

mod arrivals;
mod client;
mod error;
mod flight;
mod flyable;
mod manifests;
mod observe;
mod pilot;
mod readiness;
mod stack;

pub use error::FlightError;
pub use flight::{Progress, fly};
pub use stack::{EmbeddedStack, StackOptions};
