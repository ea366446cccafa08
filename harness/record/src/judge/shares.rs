//! Error rate and the canary's share.

use windtunnel_kernel::statistics::binomial::{clopper_pearson, two_sided_p_value};
use windtunnel_kernel::statistics::early_stopping::{self, Rule};
use windtunnel_scenario::objective::{Metric, Objective};

use super::latency::undecided;
use super::{CONFIDENCE, Evidence, Finding, SPLIT_ALPHA, SPLIT_MIN_REQUESTS, Verdict, requests_text};

pub(super) fn error_rate(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let (samples, failed) = (evidence.group.samples, evidence.group.failed);
    if samples == 0 {
        return Finding::nothing();
    }
    let observed = failed as f64 / samples as f64;
    let seen = format!("{failed} of {} failed", requests_text(samples));
    let (verdict, reason) = if objective.limit <= 0.0 || objective.limit >= 1.0 {
        // No sample can prove a rate of exactly nothing (or disprove one of everything): this is a count.
        let verdict =
            if objective.operator.holds(observed, objective.limit) { Verdict::Pass } else { Verdict::Fail };
        (verdict, format!("{seen}."))
    } else {
        let rule = Rule { percentile: 1.0 - objective.limit, confidence: CONFIDENCE, tolerance: 0.0 };
        match rule.judge(samples, failed) {
            early_stopping::Verdict::Kept => (
                Verdict::Pass,
                format!("{seen}: few enough to promise {} at 99 % confidence.", objective.limit_text()),
            ),
            early_stopping::Verdict::Broken => (
                Verdict::Fail,
                format!("{seen}: too many for {} at 99 % confidence.", objective.limit_text()),
            ),
            early_stopping::Verdict::Inconclusive { more } => (Verdict::Inconclusive, undecided(&seen, more)),
        }
    };
    Finding { verdict, observed: Some(observed), samples, reason }
}

pub(super) fn canary_share(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let (samples, canary) = evidence.everyone.split;
    if samples == 0 {
        return Finding {
            reason: "No request was routed while the traffic was split.".to_owned(),
            ..Finding::nothing()
        };
    }
    let observed = canary as f64 / samples as f64;
    let p_value = two_sided_p_value(canary, samples, objective.limit);
    let (low, high) = clopper_pearson(canary, samples, CONFIDENCE);
    let show = |share| Metric::CanaryShare.show(share);
    let seen = format!(
        "{canary} of {} of the split went to the canary ({} to {} at 99 % confidence)",
        requests_text(samples),
        show(low),
        show(high)
    );
    let (verdict, reason) = if p_value < SPLIT_ALPHA {
        (
            Verdict::Fail,
            format!(
                "{seen}: chance does this to a share of {} less than once in a million runs.",
                show(objective.limit)
            ),
        )
    } else if samples < SPLIT_MIN_REQUESTS {
        let more = SPLIT_MIN_REQUESTS - samples;
        (
            Verdict::Inconclusive,
            format!("{seen}: a split is judged on {SPLIT_MIN_REQUESTS} requests; {more} more would do."),
        )
    } else {
        (
            Verdict::Pass,
            format!(
                "{seen}: in keeping with {} (exact binomial test, p = {p_value:.2}).",
                show(objective.limit)
            ),
        )
    };
    Finding { verdict, observed: Some(observed), samples, reason }
}
