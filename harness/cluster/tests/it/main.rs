//! Tests of the cluster: tables for the pure controllers, and real clusters with real processes.

mod autoscalers;
mod clusters;
mod deployments;
mod disruption;
mod durable;
mod endpoint_slices;
mod endpoints;
mod flight;
mod jobs;
mod kubectl;
mod kubelet;
mod latency;
mod model;
mod names;
mod oracle;
mod pods;
mod replica_sets;
mod scheduling;
mod stateful_sets;
mod statuses;
mod streams;
mod volumes;
mod workloads;
