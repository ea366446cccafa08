//! One revision's configuration: its `autoscaling.knative.dev/` annotations over the cluster's defaults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::{
    ConfigError, GlobalConfig, PANIC_WINDOW, Range, Reader, WINDOW_MAXIMUM_NS, WINDOW_MINIMUM_NS, Whole,
    refuse,
};
use super::target::{self, TargetInput};
use super::{Aggregation, Bugs, SECOND_NS, ScalingMetric, TARGET_MINIMUM};

/// The prefix of the annotations.
pub const ANNOTATION_PREFIX: &str = "autoscaling.knative.dev/";

/// Everything that the autoscaling of one revision depends on, resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// What it scales on.
    pub metric: ScalingMetric,
    /// How its windows weigh their buckets; fixed when the windows are made.
    pub aggregation: Aggregation,
    /// What one pod should carry: requests in flight, or requests a second.
    pub target_value: f64,
    /// What one pod can carry, in the same unit.
    pub total_value: f64,
    /// Burst that must fit without queueing, requests; 0 = activator only at zero, -1 = always in the path.
    pub target_burst_capacity: f64,
    /// Requests that one activator can hold.
    pub activator_capacity: f64,
    /// Stable window, nanoseconds.
    pub stable_window_ns: u64,
    /// Panic window, nanoseconds.
    pub panic_window_ns: u64,
    /// Ratio of wanted to ready pods that starts a panic.
    pub panic_threshold: f64,
    /// Most pods wanted at once, as a factor of ready ones.
    pub max_scale_up_rate: f64,
    /// Fewest pods wanted at once: ready ones divided by this.
    pub max_scale_down_rate: f64,
    /// How long fewer pods must be wanted before they are, nanoseconds; fixed when the autoscaler is made.
    pub scale_down_delay_ns: u64,
    /// Fewest pods when not idle; 0 or 1 = no such rule.
    pub activation_scale: u32,
    /// Fewest pods while reachable.
    pub min_scale: u32,
    /// Most pods; 0 = unlimited.
    pub max_scale: u32,
    /// Pods that the revision must reach once before it may be smaller. A new Deployment starts with as many.
    pub initial_scale: u32,
    /// Whether zero pods are allowed.
    pub enable_scale_to_zero: bool,
    /// How long the activator must have been in the path before the last pod goes, nanoseconds.
    pub scale_to_zero_grace_period_ns: u64,
    /// How long the last pod stays after the revision became inactive, nanoseconds.
    pub scale_to_zero_pod_retention_period_ns: u64,
    /// How long a start may take, nanoseconds; 30 s later an activation is given up.
    pub progress_deadline_ns: u64,
    /// Hard limit of requests in flight a pod; 0 = none.
    pub container_concurrency: u32,
    /// Upstream's likely bugs.
    #[serde(default)]
    pub bugs: Bugs,
}

impl Default for Config {
    fn default() -> Self {
        let global = GlobalConfig::default();
        let carried = target::resolve(&target_input(&global, ScalingMetric::Concurrency, 0));
        Self {
            metric: ScalingMetric::Concurrency,
            aggregation: Aggregation::Linear,
            target_value: carried.target,
            total_value: carried.total,
            target_burst_capacity: global.target_burst_capacity,
            activator_capacity: global.activator_capacity,
            stable_window_ns: global.stable_window_ns,
            panic_window_ns: target::panic_window_ns(global.stable_window_ns, global.panic_window_percentage),
            panic_threshold: global.panic_threshold_percentage / 100.0,
            max_scale_up_rate: global.max_scale_up_rate,
            max_scale_down_rate: global.max_scale_down_rate,
            scale_down_delay_ns: global.scale_down_delay_ns,
            activation_scale: 0,
            min_scale: global.min_scale,
            max_scale: global.max_scale,
            initial_scale: global.initial_scale,
            enable_scale_to_zero: global.enable_scale_to_zero,
            scale_to_zero_grace_period_ns: global.scale_to_zero_grace_period_ns,
            scale_to_zero_pod_retention_period_ns: global.scale_to_zero_pod_retention_period_ns,
            progress_deadline_ns: 600 * SECOND_NS,
            container_concurrency: 0,
            bugs: Bugs::of(global.profile),
        }
    }
}

impl Config {
    /// Pods that make a new revision ready: those that it starts with, or the fewest that it may have where these are
    /// more.
    #[must_use]
    pub fn first_scale(&self) -> u32 {
        self.initial_scale.max(self.min_scale)
    }

    /// Resolves a revision's annotations over the cluster's configuration. Annotations of other domains, and
    /// unknown ones of this one, are left alone.
    ///
    /// # Errors
    /// The first annotation whose value upstream's webhook would refuse.
    pub fn resolve(
        global: &GlobalConfig,
        annotations: &BTreeMap<String, String>,
        container_concurrency: u32,
        progress_deadline_s: u64,
    ) -> Result<Self, ConfigError> {
        let reader = Reader { prefix: ANNOTATION_PREFIX, data: annotations };
        let metric = match reader.text("metric") {
            None | Some("concurrency") => ScalingMetric::Concurrency,
            Some("rps") => ScalingMetric::Rps,
            Some(other) => return Err(refuse(&reader.name("metric"), other, "concurrency or rps")),
        };
        let aggregation = match reader.text("metric-aggregation-algorithm") {
            None | Some("" | "linear") => Aggregation::Linear,
            Some("weighted-exponential" | "weightedExponential") => Aggregation::WeightedExponential,
            Some(other) => {
                let key = reader.name("metric-aggregation-algorithm");
                return Err(refuse(&key, other, "linear, weightedExponential or weighted-exponential"));
            }
        };
        let carried = target::resolve(&TargetInput {
            target: reader.number("target", Range(TARGET_MINIMUM, f64::MAX, "a number of at least 0.01"))?,
            utilization_percentage: reader
                .number("target-utilization-percentage", Range(1.0, 100.0, "a percentage in [1, 100]"))?,
            ..target_input(global, metric, container_concurrency)
        });
        let stable_window_ns = reader
            .duration_ns("window", WINDOW_MINIMUM_NS, WINDOW_MAXIMUM_NS, Whole::Seconds)?
            .unwrap_or(global.stable_window_ns);
        let panic_window_percentage =
            reader.number("panic-window-percentage", PANIC_WINDOW)?.unwrap_or(global.panic_window_percentage);
        let panic_threshold_percentage = reader
            .number("panic-threshold-percentage", Range(110.0, 1000.0, "a percentage in [110, 1000]"))?
            .unwrap_or(global.panic_threshold_percentage);
        let (min_scale, max_scale, activation_scale) = bounds(&reader, global)?;
        // Zero falls back to the cluster's scale where the cluster does not allow it.
        let initial_scale = reader
            .count("initial-scale")?
            .filter(|&scale| scale > 0 || global.allow_zero_initial_scale)
            .unwrap_or(global.initial_scale);
        Ok(Self {
            metric,
            aggregation,
            target_value: carried.target,
            total_value: carried.total,
            target_burst_capacity: reader
                .burst_capacity("target-burst-capacity")?
                .unwrap_or(global.target_burst_capacity),
            activator_capacity: global.activator_capacity,
            stable_window_ns,
            panic_window_ns: target::panic_window_ns(stable_window_ns, panic_window_percentage),
            panic_threshold: panic_threshold_percentage / 100.0,
            max_scale_up_rate: global.max_scale_up_rate,
            max_scale_down_rate: global.max_scale_down_rate,
            scale_down_delay_ns: reader
                .duration_ns("scale-down-delay", 0, WINDOW_MAXIMUM_NS, Whole::Seconds)?
                .unwrap_or(global.scale_down_delay_ns),
            activation_scale,
            min_scale,
            max_scale,
            initial_scale,
            enable_scale_to_zero: global.enable_scale_to_zero,
            scale_to_zero_grace_period_ns: global.scale_to_zero_grace_period_ns,
            scale_to_zero_pod_retention_period_ns: reader
                .duration_ns("scale-to-zero-pod-retention-period", 0, WINDOW_MAXIMUM_NS, Whole::Nanoseconds)?
                .unwrap_or(global.scale_to_zero_pod_retention_period_ns),
            progress_deadline_ns: progress_deadline_s.saturating_mul(SECOND_NS),
            container_concurrency,
            bugs: Bugs::of(global.profile),
        })
    }

    /// Whether pods are scraped at all. With a burst capacity of -1 the activator sees every request, so it alone
    /// reports.
    #[must_use]
    pub fn has_scrape_target(&self) -> bool {
        self.target_burst_capacity != -1.0
    }
}

fn target_input(global: &GlobalConfig, metric: ScalingMetric, container_concurrency: u32) -> TargetInput {
    TargetInput {
        metric,
        container_concurrency,
        concurrency_default: global.container_concurrency_target_default,
        concurrency_fraction: global.container_concurrency_target_fraction,
        rps_default: global.requests_per_second_target_default,
        rps_fraction: global.target_utilization,
        target: None,
        utilization_percentage: None,
    }
}

/// (min, max, activation scale), checked against each other as annotations.
fn bounds(reader: &Reader<'_>, global: &GlobalConfig) -> Result<(u32, u32, u32), ConfigError> {
    let annotated_min = reader.count("min-scale")?;
    let annotated_max = reader.count("max-scale")?;
    let activation = reader.count("activation-scale")?;
    let (min, max) = (annotated_min.unwrap_or(0), annotated_max.unwrap_or(0));
    if max != 0 && max < min {
        return Err(refuse(&reader.name("max-scale"), max, format!("at least min-scale ({min})")));
    }
    if let Some(max) = annotated_max
        && global.max_scale_limit > 0
        && !(1..=global.max_scale_limit).contains(&max)
    {
        let expected = format!("1 to the cluster's max-scale-limit ({})", global.max_scale_limit);
        return Err(refuse(&reader.name("max-scale"), max, expected));
    }
    if let Some(activation) = activation {
        let least = min.max(2);
        if activation < least || (max != 0 && activation > max) {
            let expected =
                if max == 0 { format!("at least {least}") } else { format!("{least} to max-scale ({max})") };
            return Err(refuse(&reader.name("activation-scale"), activation, expected));
        }
    }
    Ok((
        annotated_min.unwrap_or(global.min_scale),
        annotated_max.unwrap_or(global.max_scale),
        activation.unwrap_or(0),
    ))
}
