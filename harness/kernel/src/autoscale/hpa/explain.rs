//! Why a decision fell so.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::calculator::{PodCounts, Proposal, Rule};
use super::spec::Target;
use super::{Quantity, Version};

/// Inputs, what each metric proposes, and every rule after that. Displays as one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// `spec.replicas` of the target; `None` = it could not be read.
    pub current: Option<i32>,
    /// `status.replicas` of the target.
    pub status_replicas: i32,
    /// `minReplicas`.
    pub minimum: i32,
    /// `maxReplicas`.
    pub maximum: i32,
    /// Release of Kubernetes.
    pub version: Version,
    /// Tolerance below 1.
    pub tolerance_down: f64,
    /// Tolerance above 1.
    pub tolerance_up: f64,
    /// Each metric, in the order of the spec; empty where metrics were not looked at.
    pub metrics: Vec<MetricExplanation>,
    /// The highest proposal.
    pub proposal: Option<i32>,
    /// Every rule that was applied after that, in order, whether it changed the count or not.
    pub limits: Vec<Limit>,
    /// What decided: the metric with the highest proposal, or the last rule that changed its count.
    pub winner: String,
    /// Why nothing was calculated; empty otherwise.
    pub note: String,
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricExplanation {
    /// Upstream's name for it, such as `cpu resource utilization (percentage of request)`.
    pub name: String,
    /// What it should be.
    pub target: Target,
    /// What was calculated; `None` = nothing could be.
    pub outcome: Option<Outcome>,
    /// Why nothing could be; empty otherwise.
    pub fault: String,
}

/// What was calculated from one metric. Numbers that are not finite are left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Average usage in percent of the requests, of utilization targets only.
    pub utilization: Option<i32>,
    /// The value, or the average a pod, thousandths.
    pub value_milli: i64,
    /// Usage divided by target.
    pub ratio: Option<f64>,
    /// The ratio with unready and missing pods counted.
    pub dampened_ratio: Option<f64>,
    /// What the ratio was multiplied with.
    pub multiplier: i64,
    /// How the count came about.
    pub rule: Rule,
    /// Pods by class.
    pub pods: PodCounts,
    /// Replicas.
    pub replicas: i32,
}

impl From<Proposal> for Outcome {
    fn from(proposal: Proposal) -> Self {
        let finite = |number: f64| Some(number).filter(|number| number.is_finite());
        Self {
            utilization: proposal.utilization,
            value_milli: proposal.value_milli,
            ratio: finite(proposal.ratio),
            dampened_ratio: proposal.dampened_ratio.and_then(finite),
            multiplier: proposal.multiplier,
            rule: proposal.rule,
            pods: proposal.pods,
            replicas: proposal.replicas,
        }
    }
}

/// A rule that a count went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The rule, such as `stabilisation` or `maxReplicas`.
    pub name: String,
    /// Its numbers.
    pub detail: String,
    /// Replicas before it.
    pub from: i32,
    /// Replicas after it.
    pub to: i32,
}

impl Limit {
    /// Whether it changed the count.
    #[must_use]
    pub fn bites(&self) -> bool {
        self.from != self.to
    }
}

impl Outcome {
    /// The measured number next to its target: percent, or a quantity.
    pub(crate) fn measured(&self) -> String {
        match self.utilization {
            Some(percent) => format!("{percent} %"),
            None => Quantity::from_milli(self.value_milli).to_string(),
        }
    }

    /// The calculation in numbers.
    pub(crate) fn formula(&self) -> String {
        let (ratio, dampened) = (Ratio(self.ratio), Ratio(self.dampened_ratio));
        let (count, replicas) = (self.multiplier, self.replicas);
        match self.rule {
            Rule::Ratio => format!("ceil({ratio} x {count} ready) = {replicas}"),
            Rule::WithinTolerance => format!("ratio {ratio} is within the tolerance: stays at {replicas}"),
            Rule::Dampened => format!(
                "ratio {ratio}, {dampened} with unready and missing pods counted: stays at {replicas}"
            ),
            Rule::DampenedRatio => format!(
                "ratio {ratio}, with unready and missing pods counted ceil({dampened} x {count}) = {replicas}"
            ),
            Rule::Quotient => format!("ceil(value / target) = {replicas}"),
            Rule::FromZero => format!("from zero ceil({ratio}) = {replicas}"),
        }
    }
}

/// At most four decimals, no trailing zeros.
struct Ratio(Option<f64>);

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(number) = self.0 else { return f.write_str("unbounded") };
        let text = format!("{number:.4}");
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl fmt::Display for MetricExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Some(outcome) => write!(
                f,
                "{} {} (target {}): {}",
                self.name,
                outcome.measured(),
                self.target,
                outcome.formula()
            ),
            None => write!(f, "{}: {}", self.name, self.fault),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, metric) in self.metrics.iter().enumerate() {
            write!(f, "{}{metric}", if index == 0 { "" } else { "; " })?;
        }
        if !self.note.is_empty() {
            write!(f, "{}{}", if self.metrics.is_empty() { "" } else { "; " }, self.note)?;
        }
        for limit in self.limits.iter().filter(|limit| limit.bites()) {
            let verb = if limit.to < limit.from { "lowered" } else { "raised" };
            write!(f, "; {verb} to {} by {} ({})", limit.to, limit.name, limit.detail)?;
        }
        Ok(())
    }
}
