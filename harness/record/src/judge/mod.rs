//! Whether objectives hold: verdicts that are statistics.
//!
//! * A percentile passes only when so few requests were over the limit that a service which misses it would
//!   hardly show so few (MLPerf's early-stopping rule at 99 %), and fails only when there were so many that a
//!   service which keeps it would hardly show so many. In between it is inconclusive, with the number of
//!   further requests that would settle it. An error rate is judged in the same way.
//! * A mean is judged by the confidence interval of twenty blocks in order of time, because neighbouring
//!   latencies are alike.
//! * The canary's share is judged by one exact two-sided binomial test with a false-alarm probability of 10⁻⁶.
//! * Counts, maxima, throughput, queues, replicas, cost, recovery and the delay of a drift alarm are what they are.
//! * Whether a run is stable is a statistical test of its own, see [`crate::stability`].
//! * A failed request counts as over every latency limit, and as over every limit of a token's time. Answers without
//!   tokens are not counted for those; an answer of one token has no further one.
//! * Nothing measured is never a pass.
//!
//! Everything is counted in bounded memory as a run goes ([`crate::Digest`]); a [`Recording`] is counted afterwards, in
//! the same way. So both get the same verdicts.

mod canary;
mod counts;
mod gauge;
mod group;
mod latency;
mod recovery;
mod series;
mod shares;
mod tally;

use std::fmt;

use serde::{Deserialize, Serialize};
use windtunnel_scenario::Scenario;
use windtunnel_scenario::objective::{Metric, Objective, Scope};

use crate::digest::Digest;
use crate::recording::{Recording, Source};
use crate::stability::{self, Level, Stability};
use gauge::Measured;
use group::Group;
use tally::Place;
pub(crate) use tally::Tallies;

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

/// The part of a run that an objective is about.
struct Evidence<'a> {
    tallies: &'a Tallies,
    place: &'a Place,
    /// Requests of its scope and window.
    group: &'a Group,
    /// All requests in its window.
    everyone: &'a Group,
    /// Start and end in nanoseconds of the run.
    window: (u64, u64),
    /// The factor by which the run was compressed in time.
    compression: f64,
    /// How the run coped, when the objective asks for it.
    stability: Option<Stability>,
}

impl Evidence<'_> {
    /// What the objective's series was; `None` when it was not sampled.
    fn gauge(&self) -> Option<Measured> {
        let (gauge, _) = self.tallies.gauges.get(self.place.gauge?)?;
        Some(gauge.measured()).filter(|measured| measured.samples > 0)
    }
}

/// Judges every objective of a scenario on a recording, in the order of the scenario.
pub fn judge(scenario: &Scenario, recording: &Recording) -> Vec<Gate> {
    let tallies = Tallies::of(scenario, recording);
    // Counting everything is only worth it when an objective asks for it.
    let mut digest = None;
    gates(&tallies, |window| {
        let digest = digest.get_or_insert_with(|| Digest::of(recording));
        stability::assess_in(digest, window)
    })
}

/// Judges every objective on what was counted, in the order of the scenario.
pub(crate) fn gates(
    tallies: &Tallies,
    mut stability: impl FnMut((u64, u64)) -> Option<Stability>,
) -> Vec<Gate> {
    let tallies = tallies.settled();
    tallies
        .places
        .iter()
        .map(|place| {
            let objective = &place.objective;
            let finding = not_judged(objective, tallies.source).unwrap_or_else(|| match place.window {
                None => skipped("Its window lies outside of the slice that was flown."),
                Some(window) => finding(
                    objective,
                    &Evidence {
                        tallies: &tallies,
                        place,
                        group: &tallies.groups[place.group],
                        everyone: &tallies.groups[place.everyone],
                        window,
                        compression: tallies.compression,
                        stability: if objective.metric == Metric::Stable { stability(window) } else { None },
                    },
                ),
            });
            gate(objective, tallies.source, finding)
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

fn finding(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let is_of_split = matches!(objective.scope, Scope::Canary | Scope::Stable);
    if is_of_split && (evidence.place.gauge.is_some() || objective.metric == Metric::Recovery) {
        return series::nothing(
            "This is not measured for the canary or the stable revision; name a revision or a service.",
        );
    }
    match objective.metric {
        Metric::Percentile(percentile) | Metric::FirstToken(percentile) | Metric::PerToken(percentile) => {
            latency::percentile(objective, percentile, evidence)
        }
        Metric::Average => latency::average(objective, evidence),
        Metric::Maximum => latency::maximum(objective, evidence),
        Metric::ErrorRate => shares::error_rate(objective, evidence),
        Metric::CanaryShare => shares::canary_share(objective, evidence),
        Metric::Throughput => counts::throughput(objective, evidence),
        Metric::ColdStarts => counts::cold_starts(objective, evidence),
        Metric::ColdRequests => counts::cold_requests(objective, evidence),
        Metric::Mismatches => counts::mismatches(objective, evidence),
        Metric::Queued | Metric::Replicas => series::extreme(objective, evidence),
        Metric::Cost => series::cost(objective, evidence),
        Metric::CostPerMillion => series::cost_per_million(objective, evidence),
        Metric::Recovery => series::recovery(objective, evidence),
        Metric::DriftDetected => series::drift(objective, evidence),
        Metric::Stable => stable(evidence),
    }
}

fn stable(evidence: &Evidence<'_>) -> Finding {
    let samples = evidence.group.samples;
    match &evidence.stability {
        None => Finding {
            reason: "The run is too short, or nothing says how many requests were in flight; run it longer."
                .to_owned(),
            samples,
            ..Finding::nothing()
        },
        Some(stability) => Finding {
            verdict: if stability.level == Level::Stable { Verdict::Pass } else { Verdict::Fail },
            observed: Some(f64::from(u8::from(stability.level == Level::Stable))),
            samples,
            reason: stability.sentences(),
        },
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
