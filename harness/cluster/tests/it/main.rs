//! Tests of the cluster: tables for the pure controllers, and real clusters with real processes.

mod clusters;
mod deployments;
mod endpoints;
mod flight;
mod latency;
mod model;
mod pods;
mod replica_sets;
mod scheduling;
mod statuses;
