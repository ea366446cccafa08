//! The `spec` of an `AnalysisTemplate` (and of an `AnalysisRun`), with upstream's defaults.

use serde::{Deserialize, Serialize};

use super::super::super::value::{IntOrText, Value};
use crate::duration::parse_ns;

/// Errors in a row that a metric bears where its manifest does not say.
pub const CONSECUTIVE_ERROR_LIMIT: i32 = 4;

/// Measurements that are kept where the manifest does not say.
pub const MEASUREMENT_HISTORY: usize = 10;

/// An `AnalysisTemplate`'s `spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisSpec {
    /// What is measured.
    pub metrics: Vec<Metric>,
    /// Arguments of the metrics' queries. Read, not decided upon.
    pub args: Vec<Value>,
    /// Metrics that do not count, as patterns of their names.
    pub dry_run: Vec<DryRun>,
    /// How many measurements are kept, as patterns of metrics' names.
    pub measurement_retention: Vec<MeasurementRetention>,
}

/// A pattern of names of metrics that do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DryRun {
    /// The pattern.
    pub metric_name: String,
}

/// A pattern of names of metrics, and how many measurements of theirs are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeasurementRetention {
    /// The pattern.
    pub metric_name: String,
    /// Measurements; 10 where it is not above 0.
    pub limit: i32,
}

/// A metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metric {
    /// Name.
    pub name: String,
    /// Time between measurements, as Go writes it; empty = there is one.
    pub interval: String,
    /// Time before the first measurement, as Go writes it.
    pub initial_delay: String,
    /// Measurements; without it one where there is no interval, else without end.
    pub count: Option<IntOrText>,
    /// What a good result is.
    pub success_condition: String,
    /// What a bad result is.
    pub failure_condition: String,
    /// Failures that are borne; 0 if absent, less than 0 = all.
    pub failure_limit: Option<IntOrText>,
    /// Measurements that are neither good nor bad that are borne; 0 if absent.
    pub inconclusive_limit: Option<IntOrText>,
    /// Errors in a row that are borne; 4 if absent.
    pub consecutive_error_limit: Option<IntOrText>,
    /// Successes in a row that are enough; 0 or absent = there is no such number.
    pub consecutive_success_limit: Option<IntOrText>,
    /// Who is asked. Read, not decided upon.
    pub provider: Value,
}

impl Metric {
    /// Measurements until it is done; `None` = without end.
    #[must_use]
    pub fn effective_count(&self) -> Option<i32> {
        match self.count.as_ref().map_or(0, IntOrText::int) {
            0 if self.interval.is_empty() => Some(1),
            0 => None,
            count => Some(count),
        }
    }

    /// Time between measurements, nanoseconds: `Ok(None)` where there is none, an error where it is no duration.
    pub(super) fn interval_ns(&self) -> Result<Option<u64>, ()> {
        read(&self.interval)
    }

    /// Time before the first measurement, nanoseconds: as [`interval_ns`](Self::interval_ns).
    pub(super) fn initial_delay_ns(&self) -> Result<Option<u64>, ()> {
        read(&self.initial_delay)
    }
}

fn read(text: &str) -> Result<Option<u64>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    let length_ns = parse_ns(text).ok_or(())?;
    Ok(Some(u64::try_from(length_ns).unwrap_or(0)))
}

/// The number of a limit; `or` where it is absent.
pub(super) fn limit(limit: Option<&IntOrText>, or: i32) -> i32 {
    limit.map_or(or, IntOrText::int)
}
