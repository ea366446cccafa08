//! Scenario files, their faults, and the load that they make.

mod arrivals;
mod commands;
mod faults;
mod impossible;
mod keys;
mod overrides;
mod properties;
mod requests;
mod room;
mod shapes;
mod shipped;
mod traces;
