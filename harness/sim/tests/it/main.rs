//! What users of the simulator rely on: exact traces, queueing theory, reproducibility, clear errors.

mod cold_starts;
mod queues;
mod reproducibility;
mod rollouts;
mod scaling;
mod setting;
mod wrong_input;
