//! Verdicts in words: the one sentence, the order of gates, the caveats. Every format says the same.

use windtunnel_record::Source;
use windtunnel_record::judge::{Gate, Verdict};
use windtunnel_record::result::RunResult;

/// What every report says under its percentiles.
pub(crate) const AUTOCORRELATION: &str = "Latencies of one run are autocorrelated: requests that wait in the same \
queue are slow together, so a run carries less evidence than its number of requests says. Take a narrow pass as \
narrow.";

/// A verdict as a word.
pub(crate) fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "INCONCLUSIVE",
        Verdict::NotJudged => "NOT JUDGED",
    }
}

/// A verdict as a sign beside its word, and the class of its colour.
pub(crate) fn sign(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Pass => ("✓", "pass"),
        Verdict::Fail => ("✗", "fail"),
        Verdict::Inconclusive => ("?", "inconclusive"),
        Verdict::NotJudged => ("–", "not-judged"),
    }
}

/// Where an observation was made.
pub(crate) fn source(source: Source) -> &'static str {
    match source {
        Source::Simulated => "simulated",
        Source::Live => "live",
    }
}

/// Gates in reading order: failed, inconclusive, passed, not judged; live before simulated within each; else as
/// the scenario has them.
pub(crate) fn in_reading_order(gates: &[Gate]) -> Vec<&Gate> {
    let mut sorted: Vec<&Gate> = gates.iter().collect();
    sorted.sort_by_key(|gate| {
        let verdict = match gate.verdict {
            Verdict::Fail => 0,
            Verdict::Inconclusive => 1,
            Verdict::Pass => 2,
            Verdict::NotJudged => 3,
        };
        (verdict, gate.source != Source::Live)
    });
    sorted
}

/// How many gates there are of each verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Held.
    pub(crate) passed: u64,
    /// Did not hold.
    pub(crate) failed: u64,
    /// Could not be decided.
    pub(crate) inconclusive: u64,
    /// Not meant for this source.
    pub(crate) not_judged: u64,
}

impl Counts {
    /// Counts `gates`.
    pub(crate) fn of(gates: &[Gate]) -> Self {
        let mut counts = Self::default();
        for gate in gates {
            *match gate.verdict {
                Verdict::Pass => &mut counts.passed,
                Verdict::Fail => &mut counts.failed,
                Verdict::Inconclusive => &mut counts.inconclusive,
                Verdict::NotJudged => &mut counts.not_judged,
            } += 1;
        }
        counts
    }

    /// Gates that were judged, decided or not.
    pub(crate) fn judged(self) -> u64 {
        self.passed + self.failed + self.inconclusive
    }

    /// `5 passed, 1 failed`: what is zero is left out, but `passed` only when something else is there.
    pub(crate) fn text(self) -> String {
        let parts: Vec<String> = [
            (self.failed, "failed"),
            (self.inconclusive, "inconclusive"),
            (self.passed, "passed"),
            (self.not_judged, "not judged"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
        if parts.is_empty() { "no gates".to_owned() } else { parts.join(", ") }
    }
}

/// The sentence that a reviewer reads first.
pub(crate) fn sentence(result: &RunResult) -> String {
    let counts = Counts::of(&result.gates);
    let judged = counts.judged();
    let gates = crate::figures::plural(judged, "gate");
    let first =
        |verdict: Verdict| in_reading_order(&result.gates).into_iter().find(|gate| gate.verdict == verdict);
    let reason = || {
        let reasons: Vec<&str> =
            result.reasons.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        if reasons.is_empty() { None } else { Some(reasons.join(" ")) }
    };
    match result.verdict {
        Verdict::Fail => match first(Verdict::Fail) {
            Some(gate) => format!("{} of {gates} failed: {}.", counts.failed, observation(gate)),
            None => reason().unwrap_or_else(|| "The run failed.".to_owned()),
        },
        Verdict::Inconclusive => match first(Verdict::Inconclusive) {
            Some(gate) => format!(
                "{} of {gates} could not be decided: {} ({}).",
                counts.inconclusive,
                gate.objective,
                source(gate.source)
            ),
            None => reason()
                .unwrap_or_else(|| "Nothing was judged, and nothing measured is never a pass.".to_owned()),
        },
        Verdict::Pass if judged == 1 => "The only gate passed.".to_owned(),
        Verdict::Pass => format!("All {gates} passed."),
        Verdict::NotJudged => reason().unwrap_or_else(|| "Nothing was judged.".to_owned()),
    }
}

/// `p99<300ms on live is 412 ms, limit < 300ms`.
pub(crate) fn observation(gate: &Gate) -> String {
    format!(
        "{} on {} observed {}, limit {}",
        gate.objective,
        source(gate.source),
        if gate.observed_text.is_empty() { "nothing" } else { &gate.observed_text },
        gate.limit_text
    )
}

/// Wall time of all stages together, seconds.
pub(crate) fn wall_s(result: &RunResult) -> f64 {
    result.wall.values().filter(|seconds| seconds.is_finite()).sum()
}
