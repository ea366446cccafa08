//! A decision on paper: what an autoscaler would do with metrics that were written down, and what would change it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::autoscaler::{Autoscaler, Decision, History};
use super::metrics_file::{HpaStatus, MetricsFile, NOW_NS};
use super::observation::{Observation, Reading};
use super::spec::{MetricSpec, ObjectReference};
use super::{HpaSpec, Options, Quantity, SpecError};

/// The greatest average or value that is tried in search of a flip, thousandths.
const SEARCH_LIMIT_MILLI: i64 = 1_000_000_000_000_000;

/// Metrics that cannot be decided upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DryRunError {
    /// The manifest is not allowed.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A field of the metrics file.
    #[error("{place}: {message}")]
    Metrics {
        /// The field, such as `pods[0].count`.
        place: String,
        /// What is wrong, and what to do about it.
        message: String,
    },
}

/// A decision, and what would change it. Displays as several lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// What is scaled.
    pub target: ObjectReference,
    /// Replicas now.
    pub current: i32,
    /// Replicas after the decision.
    pub replicas: i32,
    /// The decision.
    pub decision: Decision,
    /// What would change it, metric by metric; both directions where there are both.
    pub flips: Vec<Flip>,
    /// Metrics that were written down and not used, and other things worth knowing.
    pub notes: Vec<String>,
}

/// The nearest value of one metric, all others unchanged, at which the decision is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flip {
    /// Index of the metric in the spec.
    pub metric: usize,
    /// Its name.
    pub name: String,
    /// The value of pods (average), an object or an external metric (total), thousandths.
    pub value_milli: i64,
    /// Average usage in percent of the requests at that value, of utilization targets only.
    pub utilization: Option<i32>,
    /// Replicas from there on.
    pub replicas: i32,
}

/// What an autoscaler with this spec would decide, without touching anything.
///
/// `status` is the HorizontalPodAutoscaler's own, if there is one; it answers how many replicas there are where the
/// metrics file does not. Pods' metrics are varied in proportion to find what would flip the decision.
///
/// # Errors
/// A spec that the API server would refuse, or a metrics file from which nothing can be decided.
pub fn dry_run(
    spec: &HpaSpec,
    status: Option<&HpaStatus>,
    options: &Options,
    metrics: &MetricsFile,
) -> Result<DryRun, DryRunError> {
    let spec = spec.clone().defaulted();
    spec.check()?;
    let observation = metrics.observation(&spec, status)?;
    let current = observation.scale.map_or(0, |scale| scale.spec_replicas);
    let history = History {
        recommendations: metrics.recommendations(),
        events: metrics.events()?,
        scaled_to_zero: metrics.scaled_to_zero || status.is_some_and(HpaStatus::is_scaled_to_zero),
    };
    let before = Autoscaler::resume(spec, options.clone(), history, NOW_NS)?;
    let decision = before.clone().step(&observation);
    let replicas = decision.replicas.unwrap_or(current);
    let mut flips = Vec::new();
    for metric in 0..observation.readings.len() {
        let search = Search { before: &before, observation: &observation, metric, replicas, current };
        flips.extend(search.flip(true));
        flips.extend(search.flip(false));
    }
    Ok(DryRun {
        target: before.spec().scale_target_ref.clone(),
        current,
        replicas,
        decision,
        flips,
        notes: metrics.unused(before.spec()),
    })
}

/// The search for a flip of one metric.
struct Search<'a> {
    before: &'a Autoscaler,
    observation: &'a Observation,
    metric: usize,
    replicas: i32,
    current: i32,
}

impl Search<'_> {
    /// The nearest value above (or below) the present one with more (or fewer) replicas.
    fn flip(&self, goes_up: bool) -> Option<Flip> {
        let now_milli = self.present_milli()?;
        let flips = |value_milli: i64| {
            let replicas = self.decide(value_milli).replicas.unwrap_or(self.current);
            if goes_up { replicas > self.replicas } else { replicas < self.replicas }
        };
        let (mut same, mut other) = (now_milli, None);
        let mut step: i64 = 1;
        while other.is_none() {
            let next = if goes_up {
                now_milli.saturating_add(step).min(SEARCH_LIMIT_MILLI)
            } else {
                now_milli.saturating_sub(step).max(0)
            };
            if (goes_up && next <= same) || (!goes_up && next >= same) {
                return None;
            }
            if flips(next) {
                other = Some(next);
            } else {
                same = next;
            }
            step = step.saturating_mul(2);
        }
        let mut other = other?;
        while same.abs_diff(other) > 1 {
            let middle = same + (other - same) / 2;
            if flips(middle) {
                other = middle;
            } else {
                same = middle;
            }
        }
        let decision = self.decide(other);
        let replicas = decision.replicas.unwrap_or(self.current);
        let outcome = decision.explanation.metrics.get(self.metric).and_then(|metric| metric.outcome);
        Some(Flip {
            metric: self.metric,
            name: self.before.spec().metrics.get(self.metric).map(MetricSpec::label).unwrap_or_default(),
            // Of pods, the average that the autoscaler sees: not all of them count.
            value_milli: match (self.observation.readings.get(self.metric), outcome) {
                (Some(Reading::Pods { .. }), Some(outcome)) => outcome.value_milli,
                _ => other,
            },
            utilization: outcome.and_then(|outcome| outcome.utilization),
            replicas,
        })
    }

    /// The value that is varied: an average of pods, or a total.
    fn present_milli(&self) -> Option<i64> {
        match self.observation.readings.get(self.metric)? {
            Reading::Failed { .. } => None,
            Reading::Pods { samples, .. } => {
                let values = || samples.iter().flatten().map(|sample| i128::from(sample.value_milli));
                let count = i128::try_from(values().count()).ok().filter(|&count| count > 0)?;
                i64::try_from(values().sum::<i128>() / count).ok()
            }
            Reading::Values { values_milli } if values_milli.is_empty() => None,
            Reading::Values { values_milli } => Some(super::calculator::total_milli(values_milli)),
        }
    }

    /// The decision with this metric at another value.
    fn decide(&self, value_milli: i64) -> Decision {
        let mut observation = self.observation.clone();
        let present_milli = self.present_milli().unwrap_or(0);
        match observation.readings.get_mut(self.metric) {
            Some(Reading::Pods { samples, .. }) => {
                for sample in samples.iter_mut().flatten() {
                    let scaled = match present_milli {
                        0 => i128::from(value_milli),
                        present => {
                            i128::from(sample.value_milli) * i128::from(value_milli) / i128::from(present)
                        }
                    };
                    sample.value_milli = i64::try_from(scaled).unwrap_or(i64::MAX);
                }
            }
            Some(Reading::Values { values_milli }) => *values_milli = vec![value_milli],
            Some(Reading::Failed { .. }) | None => {}
        }
        self.before.clone().step(&observation)
    }
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let explanation = &self.decision.explanation;
        let (kind, name) = (&self.target.kind, &self.target.name);
        match self.decision.replicas {
            Some(replicas) => writeln!(f, "{kind} {name}: {} -> {replicas} replicas", self.current)?,
            None => writeln!(f, "{kind} {name}: stays at {} replicas", self.current)?,
        }
        writeln!(f, "inputs")?;
        writeln!(
            f,
            "  replicas {} in spec, {} in status; between {} and {}",
            self.current, explanation.status_replicas, explanation.minimum, explanation.maximum
        )?;
        writeln!(
            f,
            "  Kubernetes {}; tolerance {} down, {} up",
            explanation.version.name(),
            explanation.tolerance_down,
            explanation.tolerance_up
        )?;
        if !explanation.metrics.is_empty() {
            writeln!(f, "metrics")?;
        }
        for metric in &explanation.metrics {
            let Some(outcome) = &metric.outcome else {
                writeln!(f, "  {}: {}", metric.name, metric.fault)?;
                continue;
            };
            writeln!(f, "  {}: {}, target {}", metric.name, outcome.measured(), metric.target)?;
            let pods = outcome.pods;
            if pods != super::PodCounts::default() {
                writeln!(
                    f,
                    "    pods: {} ready, {} unready, {} without metrics, {} ignored; average {}",
                    pods.ready,
                    pods.unready,
                    pods.missing,
                    pods.ignored,
                    Quantity::from_milli(outcome.value_milli)
                )?;
            }
            writeln!(f, "    {}", outcome.formula())?;
        }
        if !explanation.limits.is_empty() {
            writeln!(f, "limits")?;
        }
        for limit in &explanation.limits {
            let verdict = match limit.to {
                to if limit.bites() => format!("{} becomes {to}", limit.from),
                to => format!("{to} stays"),
            };
            writeln!(f, "  {} ({}): {verdict}", limit.name, limit.detail)?;
        }
        if !explanation.note.is_empty() {
            writeln!(f, "note: {}", explanation.note)?;
        }
        if !explanation.winner.is_empty() {
            writeln!(f, "decided by: {}", explanation.winner)?;
        }
        writeln!(f, "what would flip it")?;
        if self.flips.is_empty() {
            writeln!(f, "  no value of any one metric")?;
        }
        for flip in &self.flips {
            writeln!(f, "  {flip}{}", if flip.replicas > self.replicas { " or more" } else { " or less" })?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} replicas: {} at ", self.replicas, self.name)?;
        match self.utilization {
            Some(percent) => write!(f, "{percent} % (average {})", Quantity::from_milli(self.value_milli)),
            None => write!(f, "{}", Quantity::from_milli(self.value_milli)),
        }
    }
}
