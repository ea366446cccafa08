//! Autoscalers: how many replicas a workload should have.

pub mod hpa;
pub mod keda;
pub mod kpa;
