//! What users of the simulator rely on: exact traces, queueing theory, reproducibility, clear errors.

mod analytic;
mod clients;
mod cold_starts;
mod commands;
mod delivery;
mod drift;
mod exact;
mod interrupted;
mod loads;
mod machines;
mod messages;
mod mirrored;
mod reproducibility;
mod rollouts;
mod scaling;
mod servers;
mod setting;
mod shipped;
mod snapshots;
mod standard;
mod wrong_input;
