//! Tests of the cluster: tables for the pure controllers, and real clusters with real processes.

mod deployments;
mod endpoints;
mod model;
mod replica_sets;
mod scheduling;
mod statuses;
