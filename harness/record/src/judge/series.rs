//! Objectives about series and events: queues, replicas, cost, recovery, drift.

use windtunnel_scenario::objective::{Metric, Objective, Operator};

use super::gauge::Measured;
use super::tally::Tallies;
use super::{Evidence, Finding, Verdict, requests_text};

const SECOND_NS: f64 = 1e9;
const HOUR_NS: f64 = 3_600e9;

/// The value of a sampled series that an objective is about: its highest, or for a lower limit its least.
pub(super) fn extreme(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let what = match objective.metric {
        Metric::Queued => "requests waited",
        _ => "pods were ready",
    };
    let Some(measured) = evidence.gauge() else {
        return nothing(&format!("No sample says how many {what}."));
    };
    let is_lower = matches!(objective.operator, Operator::Greater | Operator::AtLeast);
    let observed = if is_lower { measured.least } else { measured.most };
    let holds = match objective.operator {
        Operator::Equal => measured.least == objective.limit && measured.most == objective.limit,
        operator => operator.holds(observed, objective.limit),
    };
    let reason = if is_lower {
        format!("At least {observed:.0} {what} at each of {} samples.", measured.samples)
    } else {
        format!(
            "At most {observed:.0} {what}, first at {} s, over {} samples; the mean is {:.2}.",
            seconds(measured.most_at_ns),
            measured.samples,
            measured.mean().unwrap_or(observed),
        )
    };
    Finding {
        verdict: if holds { Verdict::Pass } else { Verdict::Fail },
        observed: Some(observed),
        samples: measured.samples,
        reason,
    }
}

pub(super) fn cost(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let Some((measured, mean)) = priced(evidence) else {
        return nothing("No sample says what the run costs; give the node pools a price.");
    };
    let reason = format!(
        "The mean over {} is {}, between {} and {}.",
        span(measured.span_ns),
        objective.metric.show(mean),
        objective.metric.show(measured.least),
        objective.metric.show(measured.most),
    );
    compared(objective, mean, measured.samples, reason)
}

pub(super) fn cost_per_million(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let Some((measured, mean)) = priced(evidence) else {
        return nothing("No sample says what the run costs; give the node pools a price.");
    };
    let answered = evidence.group.succeeded();
    if answered == 0 {
        return Finding::nothing();
    }
    // In scenario time: a compressed flight offers the same load in less time.
    let total = mean * measured.span_ns as f64 * evidence.compression / HOUR_NS;
    let observed = total / answered as f64 * 1e6;
    let reason = format!(
        "{total:.4} in all for {} of {} answered successfully.",
        answered,
        requests_text(evidence.group.samples)
    );
    compared(objective, observed, evidence.group.samples, reason)
}

fn priced(evidence: &Evidence<'_>) -> Option<(Measured, f64)> {
    let measured = evidence.gauge()?;
    Some((measured, measured.mean()?))
}

pub(super) fn recovery(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let Some((recovery, _)) =
        evidence.place.recovery.and_then(|place| evidence.tallies.recoveries.get(place))
    else {
        return Finding::nothing();
    };
    let end_ns = evidence.window.1;
    let episodes = recovery.episodes();
    let samples = evidence.group.samples;
    let Some(worst) = episodes.iter().max_by_key(|episode| episode.length_ns()) else {
        return nothing("No fault struck in the window, so there was nothing to recover from.");
    };
    if samples == 0 {
        return Finding::nothing();
    }
    let faults =
        if episodes.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", episodes.len()) };
    let length_ns = worst.length_ns() as f64 * evidence.compression;
    let seen = format!(
        "After {faults} the slowest recovery took {} from {} s on ({}), with {} failed.",
        objective.metric.show(length_ns),
        seconds(worst.from_ns),
        worst.text,
        requests_text(worst.failed)
    );
    let open = episodes.iter().rev().find(|episode| !episode.is_over(end_ns, recovery.calm_ns));
    if let Some(open) = open {
        let at_least = end_ns.saturating_sub(open.from_ns) as f64 * evidence.compression;
        let verdict = if objective.operator.holds(at_least, objective.limit) {
            Verdict::Inconclusive
        } else {
            Verdict::Fail
        };
        return Finding {
            verdict,
            observed: Some(at_least),
            samples,
            reason: format!(
                "The fault at {} s ({}) was not over when the window ended, {} later; run it longer.",
                seconds(open.from_ns),
                open.text,
                objective.metric.show(at_least)
            ),
        };
    }
    compared(objective, length_ns, samples, seen)
}

pub(super) fn drift(objective: &Objective, evidence: &Evidence<'_>) -> Finding {
    let Tallies { drift, .. } = evidence.tallies;
    let (from_ns, end_ns) = evidence.window;
    let samples = evidence.group.samples;
    let mut worst: Option<(f64, String)> = None;
    let mut missed: Option<(f64, String)> = None;
    let mut false_alarms = 0_usize;
    for (feature, began_ns) in &drift.began_ns {
        if !(from_ns..end_ns).contains(began_ns) {
            continue;
        }
        let alarms = drift.detected_ns.get(feature).map_or(&[][..], Vec::as_slice);
        false_alarms += alarms.iter().filter(|alarm_ns| *alarm_ns < began_ns).count();
        let found = alarms.iter().find(|alarm_ns| (*began_ns..end_ns).contains(alarm_ns));
        let (delay_ns, slot) = match found {
            Some(alarm_ns) => (alarm_ns - began_ns, &mut worst),
            None => (end_ns - began_ns, &mut missed),
        };
        let delay_ns = delay_ns as f64 * evidence.compression;
        if slot.as_ref().is_none_or(|(held, _)| delay_ns > *held) {
            *slot = Some((delay_ns, feature.clone()));
        }
    }
    let alarms = match false_alarms {
        0 => String::new(),
        1 => " There was 1 false alarm before.".to_owned(),
        more => format!(" There were {more} false alarms before."),
    };
    if let Some((delay_ns, feature)) = missed {
        let verdict = if objective.operator.holds(delay_ns, objective.limit) {
            Verdict::Inconclusive
        } else {
            Verdict::Fail
        };
        let reason = format!(
            "The drift of {feature} was not detected within {}, when the window ended.{alarms}",
            objective.metric.show(delay_ns)
        );
        return Finding { verdict, observed: Some(delay_ns), samples, reason };
    }
    match worst {
        None => nothing("Nothing drifted in the window, so there was nothing to detect."),
        Some((delay_ns, feature)) => {
            let reason = format!(
                "The drift of {feature} was detected after {}.{alarms}",
                objective.metric.show(delay_ns)
            );
            compared(objective, delay_ns, samples, reason)
        }
    }
}

fn compared(objective: &Objective, observed: f64, samples: u64, reason: String) -> Finding {
    let holds = objective.operator.holds(observed, objective.limit);
    let verdict = if holds { Verdict::Pass } else { Verdict::Fail };
    Finding { verdict, observed: Some(observed), samples, reason }
}

pub(super) fn nothing(reason: &str) -> Finding {
    Finding { reason: reason.to_owned(), ..Finding::nothing() }
}

fn seconds(t_ns: u64) -> String {
    format!("{:.0}", t_ns as f64 / SECOND_NS)
}

fn span(ns: u64) -> String {
    Metric::Maximum.show(ns as f64)
}
