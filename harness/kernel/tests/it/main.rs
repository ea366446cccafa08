//! Integration tests of the kernels.

mod balance;
mod breaker;
mod config;
mod decider;
mod flight;
mod laws;
mod scale_to_zero;
mod scaler;
mod split;
mod statistics;
mod throttler;
mod traces;
mod windows;
