//! Recordings, and what they allow to be said.

mod comparison;
mod digest;
mod early_stopping;
mod false_alarms;
mod files;
mod flights;
mod futures;
mod gates;
mod objectives;
mod quantiles;
mod replications;
mod results;
mod stability;
