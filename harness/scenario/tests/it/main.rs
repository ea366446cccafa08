//! Scenario files, their faults, and the load that they make.

mod arrivals;
mod faults;
mod keys;
mod properties;
mod requests;
mod room;
mod shipped;
mod traces;
