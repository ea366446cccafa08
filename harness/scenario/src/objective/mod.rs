//! Objectives: what must hold, in the rule grammar that load-testers know.
//!
//! ```text
//! objective = ( metric operator value [unit] | "stable" ) ["for" name]
//! metric    = "p" number | "p(" number ")" | "ttft-p" number | "tpot-p" number | "avg" | "max" | "error-rate" | "rps"
//!           | "cold-starts" | "cold-requests" | "canary-share" | "mismatches"
//!           | "queued" | "replicas" | "cost" | "cost-per-million" | "drift-detected" | "recovery"
//! operator  = "<" | "<=" | ">" | ">=" | "=" | "=="
//! name      = "canary" | "stable" | name of a service | name of a revision
//! ```
//!
//! Latencies take a duration (`300ms`, `1.5s`) or a bare number of milliseconds, other times a duration, shares
//! take a percentage, `rps` a bare number or a rate (`200/s`), counts a bare whole number, `cost` a price
//! (`2.5/h`), `cost-per-million` a bare number. `<` is strict. Spaces are free. `stable` is a metric without a
//! limit: the run must not pile up work.

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
    /// second for `rps`, a count for counts, money an hour for `cost`; 1 for `stable`.
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
        match self.metric.unit() {
            Unit::Verdict => self.metric.show(self.limit),
            _ => format!("{} {}", self.operator, self.metric.show(self.limit)),
        }
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
    /// A percentile of the time to the first token of a language model's answer, from when the request was meant to be
    /// sent.
    FirstToken(f64),
    /// A percentile of the mean time of a further token of a language model's answer.
    PerToken(f64),
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
    /// The most requests, or messages, that waited at once.
    Queued,
    /// Ready replicas; the highest number for an upper limit and the lowest for a lower one.
    Replicas,
    /// Mean cost of the nodes.
    Cost,
    /// Cost of the nodes for a million successful answers.
    CostPerMillion,
    /// Whether the system keeps up with its load: work does not pile up.
    Stable,
    /// From the beginning of a drift to its alarm.
    DriftDetected,
    /// From a fault to the last trouble after it, the longest of the window's faults: a request that fails, answers that are
    /// slower than before the fault, or fewer ready pods than before it although they are wanted.
    Recovery,
}

/// How a metric's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds of a request.
    Latency,
    /// Nanoseconds of the system.
    Time,
    /// A fraction between 0 and 1.
    Share,
    /// Events a second.
    Rate,
    /// A whole number.
    Count,
    /// Money an hour.
    Price,
    /// Money.
    Money,
    /// 1 when it holds, 0 when it does not.
    Verdict,
}

impl Metric {
    /// The names of all metrics but the percentiles, as they are written in a rule.
    pub const NAMES: [&'static str; 15] = {
        let mut names = [""; 15];
        let mut index = 0;
        while index < NAMED.len() {
            names[index] = NAMED[index].0;
            index += 1;
        }
        names
    };

    /// The unit of its values.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Percentile(_) | Self::FirstToken(_) | Self::PerToken(_) | Self::Average | Self::Maximum => {
                Unit::Latency
            }
            Self::DriftDetected | Self::Recovery => Unit::Time,
            Self::ErrorRate | Self::CanaryShare => Unit::Share,
            Self::Throughput => Unit::Rate,
            Self::ColdStarts | Self::ColdRequests | Self::Mismatches | Self::Queued | Self::Replicas => {
                Unit::Count
            }
            Self::Cost => Unit::Price,
            Self::CostPerMillion => Unit::Money,
            Self::Stable => Unit::Verdict,
        }
    }

    /// Whether it is measured on single requests, so that some of them can be left out.
    pub const fn of_requests(self) -> bool {
        match self {
            Self::Percentile(_)
            | Self::FirstToken(_)
            | Self::PerToken(_)
            | Self::Average
            | Self::Maximum
            | Self::ErrorRate
            | Self::Throughput
            | Self::ColdStarts
            | Self::ColdRequests
            | Self::CanaryShare
            | Self::Mismatches => true,
            Self::Queued
            | Self::Replicas
            | Self::Cost
            | Self::CostPerMillion
            | Self::Stable
            | Self::DriftDetected
            | Self::Recovery => false,
        }
    }

    /// A value of this metric for people.
    pub fn show(self, value: f64) -> String {
        match self.unit() {
            Unit::Latency if value.is_finite() => show_latency(value),
            Unit::Latency => "no answer".to_owned(),
            Unit::Time if value.is_finite() => show_latency(value),
            Unit::Time => "never".to_owned(),
            Unit::Share => format!("{}%", rounded(value * 100.0)),
            Unit::Rate => format!("{}/s", rounded(value)),
            Unit::Count => format!("{value:.0}"),
            Unit::Price => format!("{}/h", rounded(value)),
            Unit::Money => rounded(value).to_string(),
            Unit::Verdict if value >= 1.0 => "stable".to_owned(),
            Unit::Verdict => "not stable".to_owned(),
        }
    }

    fn named(name: &str) -> Option<Self> {
        NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, metric)| metric)
    }
}

const NAMED: [(&str, Metric); 15] = [
    ("avg", Metric::Average),
    ("max", Metric::Maximum),
    ("error-rate", Metric::ErrorRate),
    ("rps", Metric::Throughput),
    ("cold-starts", Metric::ColdStarts),
    ("cold-requests", Metric::ColdRequests),
    ("canary-share", Metric::CanaryShare),
    ("mismatches", Metric::Mismatches),
    ("queued", Metric::Queued),
    ("replicas", Metric::Replicas),
    ("cost", Metric::Cost),
    ("cost-per-million", Metric::CostPerMillion),
    ("stable", Metric::Stable),
    ("drift-detected", Metric::DriftDetected),
    ("recovery", Metric::Recovery),
];

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percentile(percentile) => write!(f, "p{percentile}"),
            Self::FirstToken(percentile) => write!(f, "ttft-p{percentile}"),
            Self::PerToken(percentile) => write!(f, "tpot-p{percentile}"),
            named => {
                let name = NAMED.iter().find(|(_, metric)| metric == named).map_or("", |(name, _)| name);
                f.write_str(name)
            }
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
    /// Those that the service, or the revision, of this name answered.
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
