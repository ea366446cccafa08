//! Configurations to choose from, and whether they meet the objectives.

use std::num::NonZeroUsize;

use windtunnel_record::judge::{Gate, Verdict};
use windtunnel_record::replications::{Difference, Interval, Stopping, paired};

use super::replicate::{Replication, replicate, samples};
use super::{Axis, Setting, Source, Values};
use crate::error::SimError;

/// Confidence of the intervals.
const CONFIDENCE: f64 = 0.95;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The scenario, with the objectives that must hold.
    pub source: &'a Source,
    /// What varies; every combination is tried, except along an axis that is searched.
    pub axes: Vec<Axis>,
    /// How many seeds every candidate is simulated with.
    pub stopping: Stopping,
    /// How many simulations run at once; all cores when `None`.
    pub threads: Option<NonZeroUsize>,
    /// More combinations than this are refused.
    pub most_candidates: usize,
}

/// A configuration and what its simulations came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What differs from the files; nothing for the configuration as it is.
    pub settings: Vec<Setting>,
    /// Its simulations, with the same seeds as those of every other candidate.
    pub replications: Vec<Replication>,
    /// Pass when every simulation passes, fail when one fails.
    pub verdict: Verdict,
    /// Why it does not pass: the gravest gate and in how many simulations; empty when it passes.
    pub reason: String,
}

impl Candidate {
    fn new(settings: Vec<Setting>, replications: Vec<Replication>) -> Self {
        let verdicts: Vec<Verdict> = replications.iter().map(Replication::verdict).collect();
        let verdict = [Verdict::Fail, Verdict::Inconclusive]
            .into_iter()
            .find(|grave| verdicts.contains(grave))
            .unwrap_or(if verdicts.is_empty() { Verdict::Inconclusive } else { Verdict::Pass });
        let reason = if verdict == Verdict::Pass { String::new() } else { reason(&replications, verdict) };
        Self { settings, replications, verdict, reason }
    }

    /// A figure (see [`windtunnel_record::summary::Summary::figures`]) with its interval over the replications.
    pub fn figure(&self, name: &str) -> Option<Interval> {
        let [values] = samples(&self.replications, &[name]).try_into().ok()?;
        let measured: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        Interval::of(&measured, CONFIDENCE)
    }

    /// By how much a figure of this candidate differs from that of another one, seed by seed.
    pub fn difference(&self, other: &Self, name: &str) -> Option<Difference> {
        let [own] = samples(&self.replications, &[name]).try_into().ok()?;
        let [others] = samples(&other.replications, &[name]).try_into().ok()?;
        let count = own.len().min(others.len());
        paired(&own[..count], &others[..count], CONFIDENCE)
    }
}

/// The gravest gate, in how many replications it did not pass, and what it saw in the first of them.
fn reason(replications: &[Replication], verdict: Verdict) -> String {
    let grave = |gate: &&Gate| gate.verdict == verdict;
    let Some(first) = replications.iter().flat_map(|one| &one.gates).find(grave) else {
        return "no objective was judged".to_owned();
    };
    let count = replications
        .iter()
        .filter(|one| one.gates.iter().any(|gate| grave(&gate) && gate.objective == first.objective))
        .count();
    format!(
        "{} in {count} of {} simulations: {}",
        first.objective,
        replications.len(),
        first.reason.trim_end_matches('.')
    )
}

/// The figure that the replications of a candidate are to be sure of.
const LATENCY: &str = "latency.p99";

/// Simulates the configuration as it is, then every candidate in the order of the axes.
///
/// # Errors
/// A faulty file or setting, too many combinations, or a simulation that fails.
pub fn plan(question: &Question<'_>) -> Result<Vec<Candidate>, SimError> {
    let points = grid(question)?;
    let mut candidates = vec![try_out(question, Vec::new())?];
    let searched = question.axes.iter().find_map(|axis| match axis.values {
        Values::Search { low, high } => Some((axis, low, high)),
        Values::List(_) => None,
    });
    for settings in points {
        match searched {
            Some(search_axis) => search(question, &settings, search_axis, &mut candidates)?,
            None if settings.is_empty() => {}
            None => candidates.push(try_out(question, settings)?),
        }
    }
    Ok(candidates)
}

fn try_out(question: &Question<'_>, settings: Vec<Setting>) -> Result<Candidate, SimError> {
    let plan = question.source.plan(&settings)?;
    let about = [LATENCY, "cost.per-hour"];
    let replications = replicate(&plan, plan.scenario.seed, &question.stopping, &about, question.threads)?;
    Ok(Candidate::new(settings, replications))
}

/// Every combination of the values of the listed axes.
fn grid(question: &Question<'_>) -> Result<Vec<Vec<Setting>>, SimError> {
    let searched = question.axes.iter().filter(|axis| matches!(axis.values, Values::Search { .. })).count();
    if searched > 1 {
        return Err(SimError::Study {
            message: format!("{searched} axes are searched"),
            remedy: "search one (PATH=LOW..HIGH) and list the values of the others".to_owned(),
        });
    }
    let mut points = vec![Vec::new()];
    for axis in &question.axes {
        let Values::List(values) = &axis.values else { continue };
        let count = points.len().saturating_mul(values.len());
        if count > question.most_candidates {
            return Err(SimError::Study {
                message: format!("the axes have more than {} combinations", question.most_candidates),
                remedy: "leave values out, or search one axis (PATH=LOW..HIGH)".to_owned(),
            });
        }
        points = points
            .iter()
            .flat_map(|point: &Vec<Setting>| {
                values.iter().map(|value| {
                    let mut longer = point.clone();
                    longer.push(axis.setting(value));
                    longer
                })
            })
            .collect();
    }
    Ok(points)
}

/// Bisects one axis on top of `settings`: the smallest number that passes, and the one below it that does not.
fn search(
    question: &Question<'_>,
    settings: &[Setting],
    (axis, low, high): (&Axis, i64, i64),
    candidates: &mut Vec<Candidate>,
) -> Result<(), SimError> {
    let first = candidates.len();
    let mut passes = |number: i64| -> Result<bool, SimError> {
        let mut settings = settings.to_vec();
        settings.push(axis.setting(&number.to_string()));
        let candidate = try_out(question, settings)?;
        let passes = candidate.verdict == Verdict::Pass;
        candidates.push(candidate);
        Ok(passes)
    };
    // The ends first: where the lowest is enough or the highest is not, there is nothing to search.
    if !passes(low)? && passes(high)? {
        let (mut short, mut enough) = (low, high);
        while enough - short > 1 {
            let middle = short + (enough - short) / 2;
            if passes(middle)? { enough = middle } else { short = middle }
        }
    }
    let number = |candidate: &Candidate| {
        candidate.settings.last().and_then(|setting| setting.value.parse::<i64>().ok()).unwrap_or(0)
    };
    candidates[first..].sort_by_key(number);
    Ok(())
}
