//! Counts and throughput: no statistics, but nothing measured is never a pass.

use windtunnel_scenario::objective::{Metric, Objective, Scope};

use super::tally::Start;
use super::{Evidence, Finding, Verdict, requests_text};

pub(super) fn throughput(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let samples = evidence.group.samples;
    if samples == 0 {
        return Finding::nothing();
    }
    let answered = evidence.group.succeeded();
    let flown_s = (evidence.window.1 - evidence.window.0) as f64 / 1e9;
    // In scenario time, for a compressed flight offers its load that much faster.
    let observed = answered as f64 / (flown_s * evidence.compression);
    let mut reason = format!(
        "{answered} of {} were answered successfully in {}.",
        requests_text(samples),
        Metric::Maximum.show(flown_s * 1e9)
    );
    if evidence.compression != 1.0 {
        reason.push_str(&format!(
            " The flight was compressed by {}; the rate is given in scenario time.",
            evidence.compression
        ));
    }
    Finding { verdict: compared(objective, observed), observed: Some(observed), samples, reason }
}

pub(super) fn cold_starts(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    // The scope narrows the pods, not the requests: with any request at all there was something to measure.
    let samples = evidence.everyone.samples;
    if samples == 0 {
        return Finding::nothing();
    }
    let (from_ns, to_ns) = evidence.window;
    let starts = evidence
        .tallies
        .starts
        .iter()
        .filter(|start| (from_ns..to_ns).contains(&start.t_ns))
        .filter(|start| evidence.is_start_in_scope(&objective.scope, start))
        .count() as u64
        + evidence.tallies.more_starts;
    let times = if starts == 1 { "once".to_owned() } else { format!("{starts} times") };
    let reason =
        format!("The service had to start from zero {times} while {} came in.", requests_text(samples));
    Finding { verdict: compared(objective, starts as f64), observed: Some(starts as f64), samples, reason }
}

pub(super) fn cold_requests(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let samples = evidence.group.samples;
    if samples == 0 {
        return Finding::nothing();
    }
    let held = evidence.group.held;
    let reason = format!("{held} of {} waited for a pod.", requests_text(samples));
    Finding { verdict: compared(objective, held as f64), observed: Some(held as f64), samples, reason }
}

pub(super) fn mismatches(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    if evidence.group.samples == 0 {
        return Finding::nothing();
    }
    let different = evidence.group.different;
    let checked = different + evidence.group.equal;
    if checked == 0 {
        return Finding {
            reason: "No answer was checked against a reference prediction.".to_owned(),
            ..Finding::nothing()
        };
    }
    let reason = format!(
        "{different} of {checked} checked answers differ from the reference prediction of their version."
    );
    Finding {
        verdict: compared(objective, different as f64),
        observed: Some(different as f64),
        samples: checked,
        reason,
    }
}

fn compared(objective: &Objective, observed: f64) -> Verdict {
    if objective.operator.holds(observed, objective.limit) { Verdict::Pass } else { Verdict::Fail }
}

impl Evidence<'_> {
    fn is_start_in_scope(&self, scope: &Scope, start: &Start) -> bool {
        let is_canary = || Some(self.tallies.clock.canary_at(start.t_ns)? == usize::from(start.revision));
        match scope {
            Scope::All => true,
            Scope::Canary => is_canary() == Some(true),
            Scope::Stable => is_canary() == Some(false),
            Scope::Revision(_) => self
                .tallies
                .revisions
                .get(usize::from(start.revision))
                .is_some_and(|name| self.tallies.is_in_scope(scope, name)),
        }
    }
}
