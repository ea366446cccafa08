//! Whether objectives hold: verdicts that are statistics.
//!
//! * A percentile passes only when so few requests were over the limit that a service which misses it would
//!   hardly show so few (MLPerf's early-stopping rule at 99 %), and fails only when there were so many that a
//!   service which keeps it would hardly show so many. In between it is inconclusive, with the number of
//!   further requests that would settle it. An error rate is judged in the same way.
//! * A mean is judged by the confidence interval of twenty blocks in order of time, because neighbouring
//!   latencies are alike.
//! * The canary's share is judged by one exact two-sided binomial test with a false-alarm probability of 10⁻⁶.
//! * Counts, maxima and throughput are what they are.
//! * A failed request counts as over every latency limit.
//! * Nothing measured is never a pass.

mod canary;
mod counts;
mod latency;
mod shares;

use std::fmt;

use serde::{Deserialize, Serialize};
use windtunnel_scenario::Scenario;
use windtunnel_scenario::objective::{Metric, Objective, Scope};

use crate::recording::{Recording, Request, Source};
use canary::CanaryClock;

/// The confidence of one-sided verdicts.
pub const CONFIDENCE: f64 = 0.99;

/// The false-alarm probability of the test of the canary's share.
pub const SPLIT_ALPHA: f64 = 1e-6;

/// The fewest requests on which a split can pass.
pub const SPLIT_MIN_REQUESTS: u64 = 1_000;

/// What became of an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not hold.
    Fail,
    /// The run does not allow to say.
    Inconclusive,
    /// It was not looked at, see the reason.
    NotJudged,
}

impl Verdict {
    /// The exit code of a run with this verdict: 0, 1 or 3.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Inconclusive | Self::NotJudged => 3,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::NotJudged => "NOT JUDGED",
        })
    }
}

/// One objective, judged on one recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// The rule as it was written, with its window.
    pub objective: String,
    /// What is measured.
    pub metric: String,
    /// Which run it was judged on.
    pub source: Source,
    /// The outcome.
    pub verdict: Verdict,
    /// What was observed, in the metric's own unit (nanoseconds, a fraction, a rate, a count); `None` when
    /// nothing was, or when it is without bound (a percentile that no answer reached).
    pub observed: Option<f64>,
    /// The same for people.
    pub observed_text: String,
    /// The limit with its operator.
    pub limit_text: String,
    /// How many requests it rests on.
    pub samples: u64,
    /// Why, in one sentence; when it is inconclusive, what would settle it.
    pub reason: String,
    /// Where the rule stands, `FILE:LINE`.
    pub position: Option<String>,
}

/// What judging one metric gives.
struct Finding {
    verdict: Verdict,
    observed: Option<f64>,
    samples: u64,
    reason: String,
}

impl Finding {
    fn nothing() -> Self {
        Self {
            verdict: Verdict::Inconclusive,
            observed: None,
            samples: 0,
            reason: "No request was measured, and nothing measured is never a pass.".to_owned(),
        }
    }
}

/// The part of a recording that an objective is about.
struct Evidence<'a> {
    recording: &'a Recording,
    canaries: &'a CanaryClock,
    /// In order of intended time.
    requests: Vec<&'a Request>,
    /// Start and end in nanoseconds of the run.
    window: (u64, u64),
    /// The factor by which the run was compressed in time.
    compression: f64,
}

/// Judges every objective of a scenario on a recording, in the order of the scenario.
pub fn judge(scenario: &Scenario, recording: &Recording) -> Vec<Gate> {
    let mut ordered: Vec<&Request> = recording.requests.iter().collect();
    ordered.sort_by_key(|request| request.intended_ns);
    let canaries = CanaryClock::new(&ordered, &recording.revisions);
    scenario
        .objectives
        .iter()
        .map(|objective| {
            let finding = not_judged(objective, recording.meta.source).unwrap_or_else(|| {
                let flight = recording.meta.flight;
                match scenario.window_in(flight, objective.from, objective.to) {
                    None => skipped("Its window lies outside of the slice that was flown."),
                    Some(window) => {
                        let in_window =
                            |request: &&Request| (window.0..window.1).contains(&request.intended_ns);
                        let requests = ordered
                            .iter()
                            .copied()
                            .filter(in_window)
                            .filter(|request| in_scope(&objective.scope, request, recording, &canaries))
                            .collect();
                        let compression = scenario.compression_of(flight);
                        finding(
                            objective,
                            &Evidence { recording, canaries: &canaries, requests, window, compression },
                        )
                    }
                }
            });
            gate(objective, recording.meta.source, finding)
        })
        .collect()
}

/// The verdict over all gates: a failure outweighs everything, an inconclusive gate outweighs passes, and
/// without a judged gate it is inconclusive.
pub fn overall(gates: &[Gate]) -> Verdict {
    let any = |verdict| gates.iter().any(|gate| gate.verdict == verdict);
    if any(Verdict::Fail) {
        Verdict::Fail
    } else if any(Verdict::Inconclusive) || !any(Verdict::Pass) {
        Verdict::Inconclusive
    } else {
        Verdict::Pass
    }
}

fn not_judged(objective: &Objective, source: Source) -> Option<Finding> {
    match source {
        Source::Simulated if objective.metric == Metric::Mismatches => {
            Some(skipped("A simulation computes no predictions; this is judged on the live flight."))
        }
        Source::Simulated if !objective.on_simulated => {
            Some(skipped("It is judged on the live flight only."))
        }
        Source::Live if !objective.on_live => Some(skipped("It is judged on the simulation only.")),
        _ => None,
    }
}

fn skipped(reason: &str) -> Finding {
    Finding { verdict: Verdict::NotJudged, observed: None, samples: 0, reason: reason.to_owned() }
}

fn in_scope(scope: &Scope, request: &Request, recording: &Recording, canaries: &CanaryClock) -> bool {
    match scope {
        Scope::All => true,
        Scope::Canary => canaries.is_canary(request) == Some(true),
        Scope::Stable => canaries.is_canary(request) == Some(false),
        Scope::Revision(name) => {
            recording.revision_of(request).is_some_and(|revision| revision.name == *name)
        }
    }
}

fn finding(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    match objective.metric {
        Metric::Percentile(percentile) => latency::percentile(objective, percentile, evidence),
        Metric::Average => latency::average(objective, evidence),
        Metric::Maximum => latency::maximum(objective, evidence),
        Metric::ErrorRate => shares::error_rate(objective, evidence),
        Metric::CanaryShare => shares::canary_share(objective, evidence),
        Metric::Throughput => counts::throughput(objective, evidence),
        Metric::ColdStarts => counts::cold_starts(objective, evidence),
        Metric::ColdRequests => counts::cold_requests(objective, evidence),
        Metric::Mismatches => counts::mismatches(objective, evidence),
    }
}

fn gate(objective: &Objective, source: Source, finding: Finding) -> Gate {
    let window = match (objective.from, objective.to) {
        (None, None) => String::new(),
        (Some(from), None) => format!(" (from {from})"),
        (None, Some(to)) => format!(" (to {to})"),
        (Some(from), Some(to)) => format!(" (from {from} to {to})"),
    };
    let observed_text = match finding.observed {
        Some(observed) => objective.metric.show(observed),
        None => "-".to_owned(),
    };
    Gate {
        objective: format!("{}{window}", objective.text),
        metric: objective.metric.to_string(),
        source,
        verdict: finding.verdict,
        observed: finding.observed.filter(|observed| observed.is_finite()),
        observed_text,
        limit_text: objective.limit_text(),
        samples: finding.samples,
        reason: finding.reason,
        position: objective.position.clone(),
    }
}

/// `1 request`, `12 requests`.
fn requests_text(count: u64) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{count} requests") }
}
