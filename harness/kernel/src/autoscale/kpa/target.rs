//! What one pod should carry, how long the panic window is, how many activators are wanted.

use super::{REPORT_PERIOD_NS, SECOND_NS, ScalingMetric, TARGET_MINIMUM};

/// The fewest activators that a revision is given.
pub const ACTIVATORS_MINIMUM: u32 = 2;

/// Where a target comes from: cluster defaults, the revision's container concurrency and its annotations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetInput {
    /// What the revision scales on.
    pub metric: ScalingMetric,
    /// The revision's hard limit of requests in flight a pod; 0 = none.
    pub container_concurrency: u32,
    /// Cluster default of concurrency a pod.
    pub concurrency_default: f64,
    /// Cluster default of how far concurrency is used, as a fraction.
    pub concurrency_fraction: f64,
    /// Cluster default of requests a second a pod.
    pub rps_default: f64,
    /// How far requests a second are used, as a fraction.
    pub rps_fraction: f64,
    /// Annotation `target`.
    pub target: Option<f64>,
    /// Annotation `target-utilization-percentage`.
    pub utilization_percentage: Option<f64>,
}

/// What one pod carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// What one pod should carry: replicas are computed from it.
    pub target: f64,
    /// What one pod can carry: burst capacity is computed from it.
    pub total: f64,
}

/// Resolves what one pod carries. An annotated concurrency target never exceeds the container concurrency.
#[must_use]
pub fn resolve(input: &TargetInput) -> Target {
    let limit = f64::from(input.container_concurrency);
    let (default, fraction) = match input.metric {
        ScalingMetric::Concurrency if limit > 0.0 => (limit, input.concurrency_fraction),
        ScalingMetric::Concurrency => (input.concurrency_default, input.concurrency_fraction),
        ScalingMetric::Rps => (input.rps_default, input.rps_fraction),
    };
    let total = match input.target {
        Some(target) if input.metric == ScalingMetric::Concurrency && limit > 0.0 => target.min(limit),
        Some(target) => target,
        None => default,
    };
    let fraction = input.utilization_percentage.map_or(fraction, |percentage| percentage / 100.0);
    Target { target: at_least(TARGET_MINIMUM, total * fraction), total: at_least(0.0, total) }
}

/// A number that can be stored: never infinite, and the minimum instead of NaN.
fn at_least(minimum: f64, value: f64) -> f64 {
    if value.is_nan() { minimum } else { value.clamp(minimum, f64::MAX) }
}

/// The panic window: a percentage of the stable window, rounded to whole seconds, one second at least.
#[must_use]
pub fn panic_window_ns(stable_window_ns: u64, percentage: f64) -> u64 {
    let seconds = (stable_window_ns as f64 * percentage / 100.0 / SECOND_NS as f64).round();
    (seconds as u64).saturating_mul(SECOND_NS).max(REPORT_PERIOD_NS)
}

/// How many activators stand in the path of a revision with `ready` pods of `total` each.
#[must_use]
pub fn activators(ready: u32, total: f64, target_burst_capacity: f64, activator_capacity: f64) -> u32 {
    if target_burst_capacity == 0.0 {
        return ACTIVATORS_MINIMUM;
    }
    let to_cover = f64::from(ready) * total + target_burst_capacity.max(0.0);
    ((to_cover / activator_capacity).ceil() as u32).max(ACTIVATORS_MINIMUM)
}
