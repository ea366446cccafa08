//! Objectives: what must hold, in the rule grammar that load-testers know.
//!
//! ```text
//! objective = metric operator value [unit] ["for" name]
//! metric    = "p" number | "p(" number ")" | "avg" | "max" | "error-rate" | "rps"
//!           | "cold-starts" | "cold-requests" | "canary-share" | "mismatches"
//! operator  = "<" | "<=" | ">" | ">=" | "=" | "=="
//! ```
//!
//! Latencies take a duration (`300ms`, `1.5s`) or a bare number of milliseconds, shares take a percentage,
//! `rps` a bare number or a rate (`200/s`), counts a bare whole number. `<` is strict. Spaces are free.

mod grammar;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::quantity::Duration;

/// One objective, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// What is measured.
    pub metric: Metric,
    /// How it is compared.
    pub operator: Operator,
    /// The limit in the metric's own unit: nanoseconds for latencies, a fraction for shares, requests a
    /// second for `rps`, a count for counts.
    pub limit: f64,
    /// The requests that it is about.
    pub scope: Scope,
    /// Start of the window in scenario time; `None` is the start of the scenario.
    pub from: Option<Duration>,
    /// End of the window in scenario time, exclusive; `None` is the end of the scenario.
    pub to: Option<Duration>,
    /// Whether it is judged on the simulation.
    pub on_simulated: bool,
    /// Whether it is judged on the live flight.
    pub on_live: bool,
    /// The rule as it was written, without the blanks around it.
    pub text: String,
    /// Where it stands, `FILE:LINE`, once it was read from a file.
    pub position: Option<String>,
}

impl Objective {
    /// Parses a rule. It covers the whole run, simulated and live.
    ///
    /// # Errors
    /// The first fault with its column in `text`.
    pub fn parse(text: &str) -> Result<Self, ObjectiveError> {
        grammar::parse(text)
    }

    /// The limit as people write it, with its operator: `< 300ms`, `= 10%`.
    pub fn limit_text(&self) -> String {
        format!("{} {}", self.operator, self.metric.show(self.limit))
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What an objective measures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// A latency percentile between 0 and 100, both exclusive.
    Percentile(f64),
    /// Mean latency.
    Average,
    /// The slowest request.
    Maximum,
    /// Share of requests without a successful answer.
    ErrorRate,
    /// Successful answers a second.
    Throughput,
    /// How often the service had to start from zero because a request waited.
    ColdStarts,
    /// Requests that waited for a pod.
    ColdRequests,
    /// Share of requests that went to the newest revision while the traffic was split.
    CanaryShare,
    /// Answers that differ from the reference prediction.
    Mismatches,
}

/// How a metric's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Latency,
    /// A fraction between 0 and 1.
    Share,
    /// Events a second.
    Rate,
    /// A whole number.
    Count,
}

impl Metric {
    /// The names of all metrics but the percentiles, as they are written in a rule.
    pub const NAMES: [&'static str; 8] =
        ["avg", "max", "error-rate", "rps", "cold-starts", "cold-requests", "canary-share", "mismatches"];

    /// The unit of its values.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Percentile(_) | Self::Average | Self::Maximum => Unit::Latency,
            Self::ErrorRate | Self::CanaryShare => Unit::Share,
            Self::Throughput => Unit::Rate,
            Self::ColdStarts | Self::ColdRequests | Self::Mismatches => Unit::Count,
        }
    }

    /// A value of this metric for people.
    pub fn show(self, value: f64) -> String {
        match self.unit() {
            Unit::Latency if value.is_finite() => show_latency(value),
            Unit::Latency => "no answer".to_owned(),
            Unit::Share => format!("{}%", rounded(value * 100.0)),
            Unit::Rate => format!("{}/s", rounded(value)),
            Unit::Count => format!("{value:.0}"),
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "avg" => Self::Average,
            "max" => Self::Maximum,
            "error-rate" => Self::ErrorRate,
            "rps" => Self::Throughput,
            "cold-starts" => Self::ColdStarts,
            "cold-requests" => Self::ColdRequests,
            "canary-share" => Self::CanaryShare,
            "mismatches" => Self::Mismatches,
            _ => return None,
        })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(percentile) => write!(f, "p{percentile}"),
            Self::Average => f.write_str("avg"),
            Self::Maximum => f.write_str("max"),
            Self::ErrorRate => f.write_str("error-rate"),
            Self::Throughput => f.write_str("rps"),
            Self::ColdStarts => f.write_str("cold-starts"),
            Self::ColdRequests => f.write_str("cold-requests"),
            Self::CanaryShare => f.write_str("canary-share"),
            Self::Mismatches => f.write_str("mismatches"),
        }
    }
}

/// Four significant digits at most, so that neighbouring numbers in a table are read, not counted.
fn show_latency(ns: f64) -> String {
    let (value, unit) = match ns {
        _ if ns >= 1e9 => (ns / 1e9, "s"),
        _ if ns >= 1e6 => (ns / 1e6, "ms"),
        _ if ns >= 1e3 => (ns / 1e3, "us"),
        _ => (ns, "ns"),
    };
    format!("{}{unit}", rounded(value))
}

fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let decimals = (3 - value.abs().log10().floor() as i32).max(0);
    format!("{value:.*}", decimals as usize).parse().unwrap_or(value)
}

/// How an observation is compared with the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operator {
    /// `<`, strict.
    Less,
    /// `<=`
    AtMost,
    /// `>`, strict.
    Greater,
    /// `>=`
    AtLeast,
    /// `=`
    Equal,
}

impl Operator {
    /// Whether `observed` meets `limit`.
    pub fn holds(self, observed: f64, limit: f64) -> bool {
        match self {
            Self::Less => observed < limit,
            Self::AtMost => observed <= limit,
            Self::Greater => observed > limit,
            Self::AtLeast => observed >= limit,
            Self::Equal => observed == limit,
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Equal => "=",
        })
    }
}

/// The requests that an objective is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All of them.
    #[default]
    All,
    /// Those that the newest revision answered while the traffic was split.
    Canary,
    /// Those that an older revision answered while the traffic was split.
    Stable,
    /// Those that the revision of this name answered.
    Revision(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all requests"),
            Self::Canary => f.write_str("canary"),
            Self::Stable => f.write_str("stable"),
            Self::Revision(name) => f.write_str(name),
        }
    }
}

/// Why a rule is not an objective.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct ObjectiveError {
    /// Column in characters within the rule, counted from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}
