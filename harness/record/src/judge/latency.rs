//! Percentiles, means and maxima of latency.

use windtunnel_kernel::statistics::early_stopping::{self, Rule};
use windtunnel_kernel::statistics::student;
use windtunnel_scenario::objective::{Metric, Objective};

use super::group::Group;
use super::{CONFIDENCE, Evidence, Finding, Verdict, requests_text};
use crate::recording::Measure;

/// Blocks of a mean. Neighbouring latencies are alike; the means of long blocks are nearly independent.
const BLOCKS: usize = 20;

/// The fewest requests for a mean: two a block.
const MIN_FOR_MEAN: u64 = 2 * BLOCKS as u64;

pub(super) fn percentile(objective: &Objective, percentile: f64, evidence: &Evidence<'_>) -> Finding {
    let group = evidence.group;
    let samples = group.samples;
    if samples == group.failed && group.measure != Measure::Latency {
        let reason = "No answer with tokens was measured: name a service of a language model, and simulate it with \
                      server.llm.";
        return Finding { reason: reason.to_owned(), samples, ..Finding::nothing() };
    }
    if samples == 0 {
        return Finding::nothing();
    }
    let (over, over_in_time) = group.over(objective);
    let rule = Rule { percentile: percentile / 100.0, confidence: CONFIDENCE, tolerance: 0.0 };
    let seen = format!("{over} of {} did not keep {}", requests_text(samples), objective.limit_text());
    let (verdict, reason) = match rule.judge(samples, over) {
        early_stopping::Verdict::Kept => {
            (Verdict::Pass, format!("{seen}: few enough to promise p{percentile} at 99 % confidence."))
        }
        early_stopping::Verdict::Broken => match late_by_the_client(&rule, group, over_in_time) {
            Some(late) => (Verdict::Inconclusive, format!("{seen}, but {late}")),
            None => (Verdict::Fail, format!("{seen}: too many for p{percentile} at 99 % confidence.")),
        },
        early_stopping::Verdict::Inconclusive { more } => (Verdict::Inconclusive, undecided(&seen, more)),
    };
    Finding { verdict, observed: group.quantile(percentile / 100.0), samples, reason }
}

/// The sentence for a limit that is broken only because requests left later than intended: then the machine that sends
/// was too slow, and nothing is known of the service. Latencies count from the intended moment all the same, so lateness
/// never helps an objective to pass.
fn late_by_the_client(rule: &Rule, group: &Group, over_in_time: u64) -> Option<String> {
    if rule.judge(group.samples, over_in_time) == early_stopping::Verdict::Broken {
        return None;
    }
    let worst_ms = group.worst_lag_ns / 1_000_000;
    Some(format!(
        "the client was the bottleneck: only {over_in_time} would have been over it had they been sent in time (they left \
         up to {worst_ms} ms late). Run it on a quieter machine or with less load."
    ))
}

/// The sentence for a sample that is too small.
pub(super) fn undecided(seen: &str, more: u64) -> String {
    format!("{seen}: not enough to decide at 99 % confidence; {more} more that all keep the limit would do.")
}

pub(super) fn average(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let group = evidence.group;
    let (samples, failed) = (group.samples, group.failed);
    if samples == 0 {
        return Finding::nothing();
    }
    if failed > 0 {
        return Finding {
            verdict: Verdict::Fail,
            observed: Some(f64::INFINITY),
            samples,
            reason: format!(
                "{failed} of {} got no successful answer, which counts as slower than any limit.",
                requests_text(samples)
            ),
        };
    }
    let blocks = group.blocks(BLOCKS);
    let mean = blocks.iter().map(|(_, sum)| sum).sum::<f64>() / samples as f64;
    if samples < MIN_FOR_MEAN {
        let more = MIN_FOR_MEAN - samples;
        return Finding {
            verdict: Verdict::Inconclusive,
            observed: Some(mean),
            samples,
            reason: format!(
                "A mean needs at least {MIN_FOR_MEAN} requests to be judged; {more} more would do."
            ),
        };
    }
    let Some(error) = error_of_mean(&blocks, mean) else {
        return Finding {
            verdict: Verdict::Inconclusive,
            observed: Some(mean),
            samples,
            reason: "All requests came at once: a mean is judged by how it changes over time. Send them over a longer time."
                .to_owned(),
        };
    };
    let margin = student::quantile(CONFIDENCE, (blocks.len() - 1) as f64) * error;
    let (low, high) = (mean - margin, mean + margin);
    let (operator, limit) = (objective.operator, objective.limit);
    let interval = format!(
        "The mean of {} lies between {} and {} (99 % one-sided, {} blocks in order of time)",
        requests_text(samples),
        Metric::Average.show(low.max(0.0)),
        Metric::Average.show(high),
        blocks.len()
    );
    let (verdict, reason) = if operator.holds(high, limit) {
        (Verdict::Pass, format!("{interval}, which keeps {}.", objective.limit_text()))
    } else if operator.holds(low, limit) {
        // The interval shrinks with the root of the number of requests.
        let needed = (margin / (limit - mean)).powi(2) * samples as f64;
        let advice = if mean < limit && needed.is_finite() && needed < 1e12 {
            format!("about {:.0} more requests would do", (needed.ceil() - samples as f64).max(1.0))
        } else {
            "more requests are needed".to_owned()
        };
        (Verdict::Inconclusive, format!("{interval}, on both sides of the limit; {advice}."))
    } else {
        (Verdict::Fail, format!("{interval}, which does not keep {}.", objective.limit_text()))
    };
    Finding { verdict, observed: Some(mean), samples, reason }
}

pub(super) fn maximum(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let (samples, group) = (evidence.group.samples, evidence.group);
    if samples == 0 {
        return Finding::nothing();
    }
    // A failed request is slower than every limit.
    let slowest = if group.failed > 0 { f64::INFINITY } else { group.slowest_ns as f64 };
    let holds = objective.operator.holds(slowest, objective.limit);
    let reason = if slowest.is_infinite() {
        format!(
            "One of {} got no successful answer, which counts as slower than any limit.",
            requests_text(samples)
        )
    } else {
        format!("The slowest of {} took {}.", requests_text(samples), Metric::Maximum.show(slowest))
    };
    let verdict = if holds { Verdict::Pass } else { Verdict::Fail };
    Finding { verdict, observed: Some(slowest), samples, reason }
}

/// The standard error of the mean from blocks of requests (count, sum); `None` with fewer than two of them.
///
/// Blocks need not have the same number of requests: this is the ratio estimator of batch means.
fn error_of_mean(blocks: &[(f64, f64)], mean: f64) -> Option<f64> {
    if blocks.len() < 2 {
        return None;
    }
    let count = blocks.len() as f64;
    let size = blocks.iter().map(|(requests, _)| requests).sum::<f64>() / count;
    let squares: f64 = blocks.iter().map(|(requests, sum)| ((sum - mean * requests) / size).powi(2)).sum();
    Some((squares / (count - 1.0) / count).sqrt())
}
