//! The kernels of Knative Serving.

mod data_plane;
mod decider;
mod metrics;
mod scaler;
mod windows;

use super::Kernel;

/// Every kernel with its name.
pub(crate) const KERNELS: &[(&str, Kernel)] = &[
    ("knative.activator.concurrency_reporter", metrics::concurrency_reporter),
    ("knative.aggregation.smoothing_coeff", windows::smoothing_coefficient),
    ("knative.aggregation.weighted_average", windows::weighted_average),
    ("knative.aggregation.window_average", windows::window_average),
    ("knative.breaker", data_plane::breaker),
    ("knative.breaker.reserve", data_plane::breaker_reserve),
    ("knative.kpa.compute_status", scaler::compute_status),
    ("knative.kpa.init", decider::init),
    ("knative.kpa.scale", decider::scale),
    ("knative.kpa.scaler", scaler::scaler),
    ("knative.max_time_window", windows::max_time_window),
    ("knative.max_window", windows::max_window),
    ("knative.metrics.collector", metrics::collector),
    ("knative.metrics.sample_size", metrics::sample_size),
    ("knative.num_activators", scaler::activators),
    ("knative.panic_window", decider::panic_window),
    ("knative.resolve_target", decider::resolve_target),
    ("knative.throttler.capacity", data_plane::throttler_capacity),
    ("knative.throttler.infer_index", data_plane::infer_index),
    ("knative.throttler.pick_indices", data_plane::pick_indices),
];

/// Where a vector's time zero lies: a whole and even second, so that buckets fall as upstream's tests have them.
const ZERO_NS: i64 = 1_000_000_000 * 1_000_000_000;

/// Seconds of a vector's own time as an instant. Vectors reach back before their zero.
fn instant_ns(seconds: f64) -> u64 {
    ZERO_NS.saturating_add((seconds * 1e9).round() as i64).max(0) as u64
}

/// Seconds of an operation as a length of time; negative ones are none.
fn length_ns(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}
