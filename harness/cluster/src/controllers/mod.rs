//! The built-in controllers, each a pure function `reconcile(world, key, now) -> Outcome`.
//!
//! They hold no state and do no I/O: called twice on the same world they say the same, called on the world that
//! their effects produced they say nothing more (or the next step).

pub mod autoscaler;
pub mod deployment;
pub mod disruption;
pub mod endpoint_slices;
pub mod endpoints;
pub mod job;
pub mod namespace;
pub mod pods;
pub mod replica_set;
pub mod scheduler;
pub mod selector;
pub mod stateful_set;
pub mod volumes;
