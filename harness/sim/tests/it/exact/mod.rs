//! Traces computed by hand: deterministic arrivals, constant service times, and every instant told beforehand.
//!
//! The rules are Knative's; each test works them out in its comment. A simulator that agrees with a person and a pencil
//! on every instant of a cold start, of the activator's line and of a panic can be asked about what no person computes.

mod cold_start;
mod double_scrapes;
mod line;
mod network;
mod panic_mode;
mod to_zero;

use windtunnel_record::Recording;

use crate::setting::MS;

/// The decisions as (milliseconds, replicas from then on).
fn replicas(recording: &Recording) -> Vec<(u64, i64)> {
    recording.decisions.iter().map(|decision| (decision.t_ns / MS, decision.to)).collect()
}

/// The samples of a series at whole seconds, as (second, value), where the value changes.
fn steps(recording: &Recording, name: &str) -> Vec<(u64, f64)> {
    let mut steps: Vec<(u64, f64)> = Vec::new();
    for point in recording.points(name, &[("revision", "digits-predictor-00001")]) {
        if steps.last().is_none_or(|(_, last)| last.to_bits() != point.value.to_bits()) {
            steps.push((point.t_ns / (1_000 * MS), point.value));
        }
    }
    steps
}
