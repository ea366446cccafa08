//! Autoscalers: how many replicas a workload should have.

pub mod kpa;
