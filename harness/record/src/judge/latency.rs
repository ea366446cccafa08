//! Percentiles, means and maxima of latency.

use windtunnel_kernel::statistics::early_stopping::{self, Rule};
use windtunnel_kernel::statistics::quantile::nearest_rank;
use windtunnel_scenario::objective::{Metric, Objective};

use super::{CONFIDENCE, Evidence, Finding, Verdict, requests_text};
use crate::recording::Request;

/// Blocks of a mean. Neighbouring latencies are alike; the means of long blocks are nearly independent.
const BLOCKS: usize = 20;

/// The fewest requests for a mean: two a block.
const MIN_FOR_MEAN: u64 = 2 * BLOCKS as u64;

/// 99 % quantile of Student's t distribution with `BLOCKS - 1` degrees of freedom.
const T_99: f64 = 2.539_483_190_622_288_5;

/// A failed request is slower than every limit.
fn latency(request: &Request) -> f64 {
    if request.succeeded() { request.latency_ns as f64 } else { f64::INFINITY }
}

pub(super) fn percentile(objective: &Objective, percentile: f64, evidence: &Evidence<'_>) -> Finding {
    let mut latencies: Vec<f64> = evidence.requests.iter().map(|request| latency(request)).collect();
    if latencies.is_empty() {
        return Finding::nothing();
    }
    latencies.sort_by(f64::total_cmp);
    let samples = latencies.len() as u64;
    let under = latencies.partition_point(|latency| objective.operator.holds(*latency, objective.limit));
    let over = samples - under as u64;
    let rule = Rule { percentile: percentile / 100.0, confidence: CONFIDENCE, tolerance: 0.0 };
    let seen = format!("{over} of {} did not keep {}", requests_text(samples), objective.limit_text());
    let (verdict, reason) = match rule.judge(samples, over) {
        early_stopping::Verdict::Kept => {
            (Verdict::Pass, format!("{seen}: few enough to promise p{percentile} at 99 % confidence."))
        }
        early_stopping::Verdict::Broken => match late_by_the_client(objective, &rule, evidence) {
            Some(late) => (Verdict::Inconclusive, format!("{seen}, but {late}")),
            None => (Verdict::Fail, format!("{seen}: too many for p{percentile} at 99 % confidence.")),
        },
        early_stopping::Verdict::Inconclusive { more } => (Verdict::Inconclusive, undecided(&seen, more)),
    };
    Finding { verdict, observed: nearest_rank(&latencies, percentile / 100.0), samples, reason }
}

/// The sentence for a limit that is broken only because requests left later than intended: then the machine that sends
/// was too slow, and nothing is known of the service. Latencies count from the intended moment all the same, so lateness
/// never helps an objective to pass.
fn late_by_the_client(objective: &Objective, rule: &Rule, evidence: &Evidence<'_>) -> Option<String> {
    let lag_ns = |request: &Request| request.sent_ns.saturating_sub(request.intended_ns);
    let own = |request: &&&Request| latency(request) - lag_ns(request) as f64;
    let samples = evidence.requests.len() as u64;
    let over = evidence
        .requests
        .iter()
        .filter(|request| !objective.operator.holds(own(request), objective.limit))
        .count();
    if rule.judge(samples, over as u64) == early_stopping::Verdict::Broken {
        return None;
    }
    let worst_ms = evidence.requests.iter().map(|request| lag_ns(request)).max().unwrap_or(0) / 1_000_000;
    Some(format!(
        "the client was the bottleneck: only {over} would have been over it had they been sent in time (they left up to \
         {worst_ms} ms late). Run it on a quieter machine or with less load."
    ))
}

/// The sentence for a sample that is too small.
pub(super) fn undecided(seen: &str, more: u64) -> String {
    format!("{seen}: not enough to decide at 99 % confidence; {more} more that all keep the limit would do.")
}

pub(super) fn average(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let latencies: Vec<f64> = evidence.requests.iter().map(|request| latency(request)).collect();
    if latencies.is_empty() {
        return Finding::nothing();
    }
    let samples = latencies.len() as u64;
    let failed = latencies.iter().filter(|latency| latency.is_infinite()).count() as u64;
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
    let mean = mean(&latencies);
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
    let margin = T_99 * error_of_mean(&latencies);
    let (low, high) = (mean - margin, mean + margin);
    let (operator, limit) = (objective.operator, objective.limit);
    let interval = format!(
        "The mean of {} lies between {} and {} (99 % one-sided, {BLOCKS} blocks in order of time)",
        requests_text(samples),
        Metric::Average.show(low.max(0.0)),
        Metric::Average.show(high)
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
    let samples = evidence.requests.len() as u64;
    let Some(slowest) = evidence.requests.iter().map(|request| latency(request)).max_by(f64::total_cmp)
    else {
        return Finding::nothing();
    };
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

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The standard error of the mean from the means of blocks.
fn error_of_mean(values: &[f64]) -> f64 {
    let mut means = [0.0; BLOCKS];
    for (block, slot) in means.iter_mut().enumerate() {
        let (from, to) = (block * values.len() / BLOCKS, (block + 1) * values.len() / BLOCKS);
        *slot = mean(&values[from..to]);
    }
    let centre = mean(&means);
    let variance = means.iter().map(|value| (value - centre).powi(2)).sum::<f64>() / (BLOCKS - 1) as f64;
    (variance / BLOCKS as f64).sqrt()
}
