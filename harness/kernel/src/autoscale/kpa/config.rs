//! The cluster's configuration: the `config-autoscaler` ConfigMap.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{SECOND_NS, TARGET_MINIMUM};
use crate::Profile;
use crate::duration;

/// Shortest stable window.
pub(crate) const WINDOW_MINIMUM_NS: u64 = 6 * SECOND_NS;
/// Longest stable window, scale-down delay and pod retention.
pub(crate) const WINDOW_MAXIMUM_NS: u64 = 3600 * SECOND_NS;

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {value:?} is not usable, expected {expected}")]
pub struct ConfigError {
    /// Key of the ConfigMap or annotation.
    pub key: String,
    /// What it holds.
    pub value: String,
    /// What it may hold.
    pub expected: String,
}

/// The keys of `config-autoscaler`, with upstream's defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GlobalConfig {
    /// `pod-autoscaler-class`: which autoscaler takes a revision that names none.
    pub pod_autoscaler_class: String,
    /// `enable-scale-to-zero`.
    pub enable_scale_to_zero: bool,
    /// `allow-zero-initial-scale`.
    pub allow_zero_initial_scale: bool,
    /// `max-scale-up-rate`: most pods wanted, as a factor of ready ones; above 1.
    pub max_scale_up_rate: f64,
    /// `max-scale-down-rate`: fewest pods wanted, ready ones divided by this; above 1.
    pub max_scale_down_rate: f64,
    /// `container-concurrency-target-percentage`, as a fraction.
    pub container_concurrency_target_fraction: f64,
    /// `container-concurrency-target-default`: requests in flight a pod.
    pub container_concurrency_target_default: f64,
    /// `requests-per-second-target-default`, a pod.
    pub requests_per_second_target_default: f64,
    /// How far a requests-per-second target is used, as a fraction (not configurable upstream).
    pub target_utilization: f64,
    /// `target-burst-capacity`: requests; 0 = activator only at zero, -1 = always in the path.
    pub target_burst_capacity: f64,
    /// `panic-window-percentage` of the stable window.
    pub panic_window_percentage: f64,
    /// `panic-threshold-percentage`: wanted over ready pods that starts a panic.
    pub panic_threshold_percentage: f64,
    /// `activator-capacity`: requests that one activator can hold.
    pub activator_capacity: f64,
    /// `initial-scale`: pods that a new revision must reach once.
    pub initial_scale: u32,
    /// `min-scale`.
    pub min_scale: u32,
    /// `max-scale`; 0 = unlimited.
    pub max_scale: u32,
    /// `max-scale-limit` that no revision's max-scale may exceed; 0 = none.
    pub max_scale_limit: u32,
    /// `stable-window`, nanoseconds.
    pub stable_window_ns: u64,
    /// `scale-down-delay`, nanoseconds.
    pub scale_down_delay_ns: u64,
    /// `scale-to-zero-grace-period`, nanoseconds.
    pub scale_to_zero_grace_period_ns: u64,
    /// `scale-to-zero-pod-retention-period`, nanoseconds.
    pub scale_to_zero_pod_retention_period_ns: u64,
    /// Whether upstream's likely bugs are reproduced; no key of the ConfigMap.
    #[serde(default)]
    pub profile: Profile,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        Self {
            pod_autoscaler_class: "kpa.autoscaling.knative.dev".to_string(),
            enable_scale_to_zero: true,
            allow_zero_initial_scale: false,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            container_concurrency_target_fraction: 0.7,
            container_concurrency_target_default: 100.0,
            requests_per_second_target_default: 200.0,
            target_utilization: 0.7,
            target_burst_capacity: 211.0,
            panic_window_percentage: 10.0,
            panic_threshold_percentage: 200.0,
            activator_capacity: 100.0,
            initial_scale: 1,
            min_scale: 0,
            max_scale: 0,
            max_scale_limit: 0,
            stable_window_ns: 60 * SECOND_NS,
            scale_down_delay_ns: 0,
            scale_to_zero_grace_period_ns: 30 * SECOND_NS,
            scale_to_zero_pod_retention_period_ns: 0,
            profile: Profile::Windtunnel,
        }
    }
}

impl GlobalConfig {
    /// Reads the data of a `config-autoscaler` ConfigMap over the defaults. Keys that it does not know (such as
    /// `_example`) are left alone, as upstream does.
    ///
    /// # Errors
    /// The first value that does not parse or lies outside its range.
    pub fn from_config_map(data: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let reader = Reader { prefix: "", data };
        if let Some(class) = data.get("pod-autoscaler-class") {
            config.pod_autoscaler_class = class.trim().to_string();
        }
        reader.boolean("enable-scale-to-zero", &mut config.enable_scale_to_zero)?;
        reader.boolean("allow-zero-initial-scale", &mut config.allow_zero_initial_scale)?;
        for (key, value, range) in [
            ("max-scale-up-rate", &mut config.max_scale_up_rate, ABOVE_ONE),
            ("max-scale-down-rate", &mut config.max_scale_down_rate, ABOVE_ONE),
            (
                "container-concurrency-target-percentage",
                &mut config.container_concurrency_target_fraction,
                Range(f64::MIN_POSITIVE, 100.0, "a percentage in (0, 100], or a fraction in (0, 1]"),
            ),
            (
                "container-concurrency-target-default",
                &mut config.container_concurrency_target_default,
                AT_LEAST_TARGET_MINIMUM,
            ),
            (
                "requests-per-second-target-default",
                &mut config.requests_per_second_target_default,
                AT_LEAST_TARGET_MINIMUM,
            ),
            ("panic-window-percentage", &mut config.panic_window_percentage, PANIC_WINDOW),
            (
                "panic-threshold-percentage",
                &mut config.panic_threshold_percentage,
                Range(f64::MIN_POSITIVE, f64::MAX, "a positive percentage"),
            ),
            (
                "activator-capacity",
                &mut config.activator_capacity,
                Range(1.0, f64::MAX, "a number of at least 1"),
            ),
        ] {
            if let Some(read) = reader.number(key, range)? {
                *value = read;
            }
        }
        if let Some(capacity) = reader.burst_capacity("target-burst-capacity")? {
            config.target_burst_capacity = capacity;
        }
        for (key, value) in [
            ("initial-scale", &mut config.initial_scale),
            ("min-scale", &mut config.min_scale),
            ("max-scale", &mut config.max_scale),
            ("max-scale-limit", &mut config.max_scale_limit),
        ] {
            if let Some(read) = reader.count(key)? {
                *value = read;
            }
        }
        if let Some(window) =
            reader.duration_ns("stable-window", WINDOW_MINIMUM_NS, WINDOW_MAXIMUM_NS, Whole::Seconds)?
        {
            config.stable_window_ns = window;
        }
        if let Some(delay) = reader.duration_ns("scale-down-delay", 0, u64::MAX, Whole::Seconds)? {
            config.scale_down_delay_ns = delay;
        }
        if let Some(grace) =
            reader.duration_ns("scale-to-zero-grace-period", 1, u64::MAX, Whole::Nanoseconds)?
        {
            config.scale_to_zero_grace_period_ns = grace;
        }
        if let Some(retention) =
            reader.duration_ns("scale-to-zero-pod-retention-period", 0, u64::MAX, Whole::Nanoseconds)?
        {
            config.scale_to_zero_pod_retention_period_ns = retention;
        }
        if config.container_concurrency_target_fraction > 1.0 {
            config.container_concurrency_target_fraction /= 100.0;
        }
        config.check()?;
        Ok(config)
    }

    /// Rules over more than one key.
    fn check(&self) -> Result<(), ConfigError> {
        let least = self.container_concurrency_target_fraction * self.container_concurrency_target_default;
        if least < TARGET_MINIMUM {
            return Err(refuse(
                "container-concurrency-target-percentage",
                self.container_concurrency_target_fraction,
                format!(
                    "at least {TARGET_MINIMUM} when multiplied with container-concurrency-target-default"
                ),
            ));
        }
        if self.initial_scale == 0 && !self.allow_zero_initial_scale {
            return Err(refuse("initial-scale", 0, "at least 1 unless allow-zero-initial-scale is true"));
        }
        if self.max_scale_limit > 0 && !(1..=self.max_scale_limit).contains(&self.max_scale) {
            return Err(refuse(
                "max-scale",
                self.max_scale,
                format!("1 to max-scale-limit ({})", self.max_scale_limit),
            ));
        }
        if self.max_scale > 0 && self.min_scale > self.max_scale {
            return Err(refuse(
                "min-scale",
                self.min_scale,
                format!("at most max-scale ({})", self.max_scale),
            ));
        }
        Ok(())
    }
}

/// An inclusive range with its description.
#[derive(Clone, Copy)]
pub(crate) struct Range(pub(crate) f64, pub(crate) f64, pub(crate) &'static str);

const ABOVE_ONE: Range = Range(1.0 + f64::EPSILON, f64::MAX, "a number greater than 1");
const AT_LEAST_TARGET_MINIMUM: Range = Range(TARGET_MINIMUM, f64::MAX, "a number of at least 0.01");
pub(crate) const PANIC_WINDOW: Range = Range(1.0, 100.0, "a percentage in [1, 100]");

/// The precision that a duration is held to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    Seconds,
    Nanoseconds,
}

pub(crate) fn refuse(key: &str, value: impl Display, expected: impl Into<String>) -> ConfigError {
    ConfigError { key: key.to_string(), value: value.to_string(), expected: expected.into() }
}

/// Reads typed values out of string maps; every error names the whole key.
pub(crate) struct Reader<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) data: &'a BTreeMap<String, String>,
}

impl Reader<'_> {
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        if self.prefix.is_empty() {
            self.data.get(key).map(String::as_str)
        } else {
            self.data.get(&self.name(key)).map(String::as_str)
        }
    }

    pub(crate) fn number(&self, key: &str, range: Range) -> Result<Option<f64>, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(value) if (range.0..=range.1).contains(&value) => Ok(Some(value)),
            _ => Err(refuse(&self.name(key), text, range.2)),
        }
    }

    pub(crate) fn burst_capacity(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(value) if value == -1.0 || (0.0..=f64::MAX).contains(&value) => Ok(Some(value)),
            _ => Err(refuse(
                &self.name(key),
                text,
                "a number of at least 0, or -1 for the activator always in the path",
            )),
        }
    }

    pub(crate) fn count(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        const MAXIMUM: u32 = i32::MAX as u32;
        let Some(text) = self.text(key) else { return Ok(None) };
        match u32::from_str(text) {
            Ok(value) if value <= MAXIMUM => Ok(Some(value)),
            _ => Err(refuse(&self.name(key), text, format!("a whole number from 0 to {MAXIMUM}"))),
        }
    }

    pub(crate) fn duration_ns(
        &self,
        key: &str,
        minimum_ns: u64,
        maximum_ns: u64,
        whole: Whole,
    ) -> Result<Option<u64>, ConfigError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let parsed = duration::parse_ns(text)
            .and_then(|value| u64::try_from(value).ok())
            .filter(|value| (minimum_ns..=maximum_ns).contains(value))
            .filter(|value| whole == Whole::Nanoseconds || value.is_multiple_of(SECOND_NS));
        parsed.map(Some).ok_or_else(|| {
            let range = match (minimum_ns, maximum_ns) {
                (0, u64::MAX) => "a duration such as 30s".to_string(),
                (_, u64::MAX) => "a duration longer than 0, such as 30s".to_string(),
                _ => format!("a duration from {}s to {}s", minimum_ns / SECOND_NS, maximum_ns / SECOND_NS),
            };
            let precision = if whole == Whole::Seconds { ", in whole seconds" } else { "" };
            refuse(&self.name(key), text, format!("{range}{precision}"))
        })
    }

    fn boolean(&self, key: &str, value: &mut bool) -> Result<(), ConfigError> {
        let Some(text) = self.text(key) else { return Ok(()) };
        *value = match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => return Err(refuse(&self.name(key), text, "true or false")),
        };
        Ok(())
    }

    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}
