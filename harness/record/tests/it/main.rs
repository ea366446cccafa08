//! Recordings, and what they allow to be said.

mod comparison;
mod early_stopping;
mod false_alarms;
mod files;
mod flights;
mod gates;
mod quantiles;
mod results;
