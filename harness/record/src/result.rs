//! The outcome of a run, as it is written to `result.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::Comparison;
use crate::futures::Futures;
use crate::judge::{Gate, Verdict, overall};
use crate::replications::Interval;
use crate::stability::Stability;
use crate::summary::{Cost, ErrorRow, LatencyRow, PhaseRow, Summary};

/// Version of the result format.
pub const SCHEMA: &str = "windtunnel.dev/result/v1";

/// The outcome of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunResult {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the scenario.
    pub scenario: String,
    /// The verdict over all gates.
    pub verdict: Verdict,
    /// What the program exits with: 0 pass, 1 fail, 3 inconclusive.
    pub exit_code: u8,
    /// Why, one sentence each, the gravest first.
    pub reasons: Vec<String>,
    /// Every objective on every run.
    pub gates: Vec<Gate>,
    /// Simulation against flight, when there were both.
    pub comparison: Option<Comparison>,
    /// Seed of the run.
    pub seed: u64,
    /// Versions of what took part, by name.
    pub versions: BTreeMap<String, String>,
    /// Wall time in seconds by stage, such as `simulate` or `fly`.
    pub wall: BTreeMap<String, f64>,
    /// The command that does the same again.
    pub reproduce: String,
    /// How the first described run coped with its load, and what it was short of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stability: Option<Stability>,
    /// What the first described run cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Latencies of every described run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<LatencyRow>,
    /// Failures by cause of every described run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ErrorRow>,
    /// Cold starts by phase of every described run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cold_starts: Vec<PhaseRow>,
    /// Figures with their confidence intervals, when there were several replications.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub intervals: BTreeMap<String, Interval>,
    /// Both futures, when the run was forked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub futures: Option<Futures>,
}

impl RunResult {
    /// Sums up judged gates; the caller fills in versions and wall times.
    pub fn new(
        scenario: &str,
        seed: u64,
        gates: Vec<Gate>,
        comparison: Option<Comparison>,
        reproduce: String,
    ) -> Self {
        let verdict = overall(&gates);
        Self {
            schema: SCHEMA.to_owned(),
            scenario: scenario.to_owned(),
            verdict,
            exit_code: verdict.exit_code(),
            reasons: reasons(&gates),
            gates,
            comparison,
            seed,
            versions: BTreeMap::new(),
            wall: BTreeMap::new(),
            reproduce,
            stability: None,
            cost: None,
            latency: Vec::new(),
            errors: Vec::new(),
            cold_starts: Vec::new(),
            intervals: BTreeMap::new(),
            futures: None,
        }
    }

    /// Adds the figures of a run. Stability and cost are those of the first run that has them; describe the
    /// simulation of the whole load before a flight.
    pub fn describe(&mut self, summary: Summary) {
        let Summary { latency, errors, cold_starts, cost, stability, .. } = summary;
        self.latency.extend(latency);
        self.errors.extend(errors);
        self.cold_starts.extend(cold_starts);
        self.cost = self.cost.or(cost);
        self.stability = self.stability.take().or(stability);
    }

    /// Makes the run inconclusive for a reason outside of its gates (the client was the bottleneck, the run
    /// was interrupted), unless it failed anyway.
    pub fn doubt(&mut self, reason: String) {
        if self.verdict != Verdict::Fail {
            self.verdict = Verdict::Inconclusive;
            self.exit_code = self.verdict.exit_code();
        }
        self.reasons.push(reason);
    }

    /// How many gates have a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.gates.iter().filter(|gate| gate.verdict == verdict).count()
    }
}

fn reasons(gates: &[Gate]) -> Vec<String> {
    let with = |verdict| gates.iter().filter(move |gate: &&Gate| gate.verdict == verdict);
    let mut reasons: Vec<String> = with(Verdict::Fail)
        .chain(with(Verdict::Inconclusive))
        .map(|gate| {
            let place = gate.position.as_deref().map(|place| format!(" [{place}]")).unwrap_or_default();
            format!(
                "{} {} ({}): observed {}, limit {}, n={}. {}{place}",
                gate.verdict,
                gate.objective,
                gate.source,
                gate.observed_text,
                gate.limit_text,
                gate.samples,
                gate.reason
            )
        })
        .collect();
    let judged = gates.iter().filter(|gate| gate.verdict != Verdict::NotJudged).count();
    if judged == 0 {
        reasons.push("No objective was judged, and nothing measured is never a pass.".to_owned());
    } else if reasons.is_empty() {
        reasons.push(format!("All {judged} gates passed."));
    }
    reasons
}
