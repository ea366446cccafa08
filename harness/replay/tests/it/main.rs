//! A whole platform in this process, with sources of metrics that others wrote.

mod brokers;
mod keda;
mod on_demand;
