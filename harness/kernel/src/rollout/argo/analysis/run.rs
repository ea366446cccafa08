//! One `AnalysisRun`: the schedule, and what is kept. Upstream: `analysis/analysis.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::super::value::Value;
use super::Phase;
use super::assess::{Assessment, Tally, assess_metric, evaluate_result, passed_limit};
use super::pattern::Pattern;
use super::spec::{AnalysisSpec, MEASUREMENT_HISTORY, Metric, limit};

/// How long after an error a metric is measured again: 10 s.
pub const ERROR_RETRY_NS: u64 = 10_000_000_000;

/// A measurement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Measurement {
    /// How it stands.
    pub phase: Phase,
    /// What was measured, as a text.
    pub value: String,
    /// What is to be said about it.
    pub message: String,
    /// When it began, nanoseconds since the Unix epoch.
    pub started_at_ns: u64,
    /// When it ended; `None` = it is under way.
    pub finished_at_ns: Option<u64>,
    /// When to look at it again, while it is under way.
    pub resume_at_ns: Option<u64>,
}

/// A metric's `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricResult {
    /// Counts and phase.
    #[serde(flatten)]
    pub tally: Tally,
    /// The latest measurements, oldest first.
    pub measurements: Vec<Measurement>,
    /// Whether it does not count.
    pub dry_run: bool,
    /// What is to be said about it.
    pub message: String,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Measured {
    /// A result; the metric's conditions say what it means.
    Result(Value),
    /// The provider says itself what it means, such as a job.
    Phase(Phase),
    /// It could not be measured.
    Error(String),
    /// Not yet.
    UnderWay {
        /// When to look again, nanoseconds since the Unix epoch; `None` = when told.
        resume_at_ns: Option<u64>,
    },
}

/// What a due metric needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Begin a measurement.
    Measure,
    /// Look at the one that is under way.
    Resume,
    /// End the one that is under way.
    Terminate,
}

/// What a reconcile has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// How the run stands.
    pub phase: Phase,
    /// What is to be said about it.
    pub message: String,
    /// Metrics that are due now, by name, and what they need.
    pub due: BTreeMap<String, Task>,
    /// Reconcile again after this; `None` = nothing more is planned.
    pub requeue_after_ns: Option<u64>,
    /// Why.
    pub explanation: Explanation,
}

/// How every metric stands, and by which rule. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// By name; metrics that have not begun are missing.
    pub metrics: BTreeMap<String, Assessment>,
    /// Names of those that do not count.
    pub dry_run: Vec<String>,
    /// Whether the run is to end.
    pub terminating: bool,
    /// How the run stands.
    pub phase: Phase,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.phase)?;
        if self.terminating {
            f.write_str(", terminating")?;
        }
        for (name, assessment) in &self.metrics {
            let dry = if self.dry_run.contains(name) { " (dry run)" } else { "" };
            write!(f, "; {name}{dry} {assessment}")?;
        }
        Ok(())
    }
}

/// One `AnalysisRun`. It can be stored after any step and goes on with the same decisions.
///
/// Call [`step`](Self::step) when it begins, after each [`requeue_after_ns`](Decision::requeue_after_ns), and with
/// the measurements of what a step said to be [`due`](Decision::due).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    spec: AnalysisSpec,
    phase: Phase,
    message: String,
    terminate: bool,
    started_at_ns: Option<u64>,
    completed_at_ns: Option<u64>,
    results: BTreeMap<String, MetricResult>,
}

impl Run {
    /// A run that has not begun.
    #[must_use]
    pub fn new(spec: AnalysisSpec) -> Self {
        Self {
            spec,
            phase: Phase::Pending,
            message: String::new(),
            terminate: false,
            started_at_ns: None,
            completed_at_ns: None,
            results: BTreeMap::new(),
        }
    }

    /// The same run, as if it had begun at `started_at_ns` and come to `results`.
    #[must_use]
    pub fn resumed(mut self, started_at_ns: Option<u64>, results: BTreeMap<String, MetricResult>) -> Self {
        self.phase = Phase::Running;
        self.started_at_ns = started_at_ns;
        self.results = results;
        for result in self.results.values_mut() {
            result.tally.last = result.measurements.last().map(|measurement| measurement.phase);
        }
        self
    }

    /// Asks it to end: what is not decided counts as good.
    pub fn terminate(&mut self) {
        self.terminate = true;
    }

    /// How it stands as of the latest step.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What is to be said about it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Its metrics as of the latest step.
    #[must_use]
    pub fn results(&self) -> &BTreeMap<String, MetricResult> {
        &self.results
    }

    /// Whether it is to end: asked for, or a metric that counts has come to something else than good.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        let is_bad = |phase: Phase| matches!(phase, Phase::Failed | Phase::Error | Phase::Inconclusive);
        self.terminate || self.results.values().any(|result| !result.dry_run && is_bad(result.tally.phase))
    }

    /// Metrics that are due at `now_ns`, and what they need.
    #[must_use]
    pub fn due(&self, now_ns: u64) -> BTreeMap<String, Task> {
        if self.phase.is_completed() {
            return BTreeMap::new();
        }
        let metrics = self.spec.metrics.iter();
        metrics.filter_map(|metric| Some((metric.name.clone(), self.task(metric, now_ns)?))).collect()
    }

    fn task(&self, metric: &Metric, now_ns: u64) -> Option<Task> {
        let terminating = self.is_terminating();
        let result = self.results.get(&metric.name);
        if result.is_some_and(|result| result.tally.phase.is_completed()) {
            return None;
        }
        let last = result.and_then(|result| result.measurements.last());
        let Some(last) = last else {
            let delay_ns = metric.initial_delay_ns().ok()?;
            let is_due = match (delay_ns, self.started_at_ns) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(delay_ns), Some(started_ns)) => started_ns.saturating_add(delay_ns) <= now_ns,
            };
            return (is_due && !terminating).then_some(Task::Measure);
        };
        let Some(finished_at_ns) = last.finished_at_ns else {
            let is_early = last.resume_at_ns.is_some_and(|resume_at_ns| resume_at_ns > now_ns);
            return match (terminating, is_early) {
                (true, _) => Some(Task::Terminate),
                (false, true) => None,
                (false, false) => Some(Task::Resume),
            };
        };
        let count = result.map_or(0, |result| result.tally.count);
        if terminating || metric.effective_count().is_some_and(|most| count >= most) {
            return None;
        }
        let interval_ns = match last.phase {
            Phase::Error => ERROR_RETRY_NS,
            _ => metric.interval_ns().ok()?.unwrap_or(ERROR_RETRY_NS),
        };
        (now_ns > finished_at_ns.saturating_add(interval_ns)).then_some(Task::Measure)
    }

    /// Takes measurements of what is due, and decides. Measurements of anything else are left aside.
    pub fn step(&mut self, now_ns: u64, measured: &BTreeMap<String, Measured>) -> Decision {
        if self.phase.is_completed() {
            return self.decision(now_ns, BTreeMap::new());
        }
        let dry_run = match self.matching(&self.spec.dry_run) {
            Ok(dry_run) => dry_run,
            Err(message) => return self.give_up(now_ns, message),
        };
        if let Some(message) = fault_of(&self.spec.metrics) {
            return self.give_up(now_ns, message);
        }
        let terminating = self.is_terminating();
        let due = self.due(now_ns);
        for metric in &self.spec.metrics {
            if let (Some(task), Some(measured)) = (due.get(&metric.name), measured.get(&metric.name)) {
                let result = self.results.entry(metric.name.clone()).or_default();
                if result.tally.phase == Phase::Pending {
                    result.tally.phase = Phase::Running;
                }
                result.dry_run = dry_run.contains(&metric.name);
                let kept = kept_measurements(&self.spec, &metric.name);
                take(metric, result, *task, measured, now_ns, kept);
            }
        }
        // As before the measurements: a metric that fails ends the others from the next step on.
        let assessments = self.assess(terminating, &dry_run, now_ns);
        self.decision(now_ns, assessments)
    }

    /// Assesses every metric, then the run: the worst of what is completed, once all are or it is to end.
    fn assess(&mut self, terminating: bool, dry_run: &[String], now_ns: u64) -> BTreeMap<String, Assessment> {
        self.started_at_ns.get_or_insert(now_ns);
        let mut assessments = BTreeMap::new();
        let mut worst: Option<Phase> = None;
        let mut message = if self.terminate { "Run Terminated".to_string() } else { String::new() };
        let mut all_completed = true;
        for metric in &self.spec.metrics {
            let Some(result) = self.results.get_mut(&metric.name) else {
                all_completed = false;
                continue;
            };
            let assessment = assess_metric(metric, &result.tally, terminating);
            if result.tally.phase != assessment.phase {
                if let Some(last) = result.measurements.last() {
                    result.message.clone_from(&last.message);
                }
                result.tally.phase = assessment.phase;
            }
            let phase = assessment.phase;
            if !phase.is_completed() {
                all_completed = false;
            } else if dry_run.contains(&metric.name) {
                worst.get_or_insert(Phase::Successful);
            } else if worst.is_none_or(|worst| phase.is_worse_than(worst)) {
                worst = Some(phase);
                if let Some(passed) = passed_limit(metric, &result.tally) {
                    message = format!("Metric \"{}\" assessed {phase} due to {}", metric.name, passed.rule);
                    if !result.message.is_empty() {
                        message = format!("{message}: \"Error Message: {}\"", result.message);
                    }
                }
            }
            assessments.insert(metric.name.clone(), assessment);
        }
        let (phase, message) = match worst {
            _ if terminating => (worst.unwrap_or(Phase::Successful), message),
            Some(worst) if all_completed => (worst, message),
            _ => (Phase::Running, String::new()),
        };
        if phase != self.phase {
            (self.phase, self.message) = (phase, message);
            if phase.is_completed() {
                self.completed_at_ns.get_or_insert(now_ns);
            }
        }
        assessments
    }

    fn give_up(&mut self, now_ns: u64, message: String) -> Decision {
        (self.phase, self.message) = (Phase::Error, message);
        self.completed_at_ns.get_or_insert(now_ns);
        self.decision(now_ns, BTreeMap::new())
    }

    fn decision(&self, now_ns: u64, assessments: BTreeMap<String, Assessment>) -> Decision {
        let dry = self.results.iter().filter(|(_, result)| result.dry_run);
        // A moment later: an interval has passed only after its end. A run that is to end does so at once.
        let later = |at_ns: u64| at_ns.saturating_sub(now_ns).saturating_add(1);
        let next_ns = if self.is_terminating() { Some(0) } else { self.next_reconcile_ns(now_ns).map(later) };
        Decision {
            phase: self.phase,
            message: self.message.clone(),
            due: self.due(now_ns),
            requeue_after_ns: next_ns.filter(|_| !self.phase.is_completed()),
            explanation: Explanation {
                metrics: assessments,
                dry_run: dry.map(|(name, _)| name.clone()).collect(),
                terminating: self.is_terminating(),
                phase: self.phase,
            },
        }
    }

    /// When something is due next, nanoseconds since the Unix epoch; `None` = nothing is planned. May lie in the
    /// past.
    #[must_use]
    pub fn next_reconcile_ns(&self, now_ns: u64) -> Option<u64> {
        self.spec.metrics.iter().filter_map(|metric| self.next_ns(metric, now_ns)).min()
    }

    fn next_ns(&self, metric: &Metric, now_ns: u64) -> Option<u64> {
        let result = self.results.get(&metric.name);
        let Some(last) = result.and_then(|result| result.measurements.last()) else {
            let delay_ns = metric.initial_delay_ns().ok()??;
            return Some(self.started_at_ns.unwrap_or(now_ns).saturating_add(delay_ns));
        };
        let tally = &result?.tally;
        if tally.phase.is_completed() {
            return None;
        }
        let Some(finished_at_ns) = last.finished_at_ns else { return last.resume_at_ns };
        if metric.effective_count().is_some_and(|most| tally.count >= most) {
            return None;
        }
        let interval_ns = match last.phase {
            Phase::Error => ERROR_RETRY_NS,
            _ => metric.interval_ns().ok()??,
        };
        Some(finished_at_ns.saturating_add(interval_ns))
    }

    /// Names of metrics that a dry run's patterns mean.
    fn matching(&self, patterns: &[super::spec::DryRun]) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        for (index, rule) in patterns.iter().enumerate() {
            let pattern = Pattern::parse(&rule.metric_name);
            let matched = |name: &str| pattern.as_ref().is_some_and(|pattern| pattern.matches(name));
            let before = names.len();
            let metrics = self.spec.metrics.iter().map(|metric| &metric.name);
            names.extend(metrics.filter(|name| matched(name)).cloned());
            if names.len() == before {
                return Err(format!(
                    "Analysis spec invalid: dryRun[{index}]: Rule didn't match any metric name(s)"
                ));
            }
        }
        Ok(names)
    }
}

/// What is wrong with a run that cannot be run: upstream's validation, `utils/analysis/factory.go`.
fn fault_of(metrics: &[Metric]) -> Option<String> {
    let mut names = BTreeSet::new();
    let duplicate = metrics.iter().position(|metric| !names.insert(&metric.name));
    let fault = if metrics.is_empty() {
        "no metrics specified".to_string()
    } else if let Some(index) = duplicate {
        format!("metrics[{index}]: duplicate name '{}'", metrics[index].name)
    } else {
        let (index, fault) =
            metrics.iter().enumerate().find_map(|(index, metric)| Some((index, fault_in(metric)?)))?;
        format!("metrics[{index}]: {fault}")
    };
    Some(format!("Analysis spec invalid: {fault}"))
}

fn fault_in(metric: &Metric) -> Option<&'static str> {
    let count = limit(metric.count.as_ref(), 0);
    let failures = limit(metric.failure_limit.as_ref(), 0);
    let successes = limit(metric.consecutive_success_limit.as_ref(), 0);
    let inconclusive = limit(metric.inconclusive_limit.as_ref(), 0);
    let together = if failures >= 0 { failures.saturating_add(successes) } else { successes };
    let faults = [
        (successes < 0, "consecutiveSuccessLimit must be >= 0"),
        (failures < -1, "failureLimit must be >= 0, or -1 to be disabled"),
        (
            successes == 0 && failures == -1,
            "failureLimit and consecutiveSuccessLimit cannot both be disabled",
        ),
        (inconclusive < 0, "inconclusiveLimit must be >= 0"),
        (limit(metric.consecutive_error_limit.as_ref(), 0) < 0, "consecutiveErrorLimit must be >= 0"),
        (count > 0 && count < together, "count must be >= failureLimit + consecutiveSuccessLimit"),
        (count > 0 && count < inconclusive, "count must be >= inconclusiveLimit"),
        (count > 1 && metric.interval.is_empty(), "interval must be specified when count > 1"),
        (metric.interval_ns().is_err(), "invalid interval string"),
        (metric.initial_delay_ns().is_err(), "invalid startDelay string"),
    ];
    faults.into_iter().find_map(|(is_fault, message)| is_fault.then_some(message))
}

fn kept_measurements(spec: &AnalysisSpec, name: &str) -> usize {
    let rules = spec.measurement_retention.iter().rev();
    let rule = rules
        .filter(|rule| rule.limit > 0)
        .find(|rule| Pattern::parse(&rule.metric_name).is_some_and(|pattern| pattern.matches(name)));
    rule.and_then(|rule| usize::try_from(rule.limit).ok()).unwrap_or(MEASUREMENT_HISTORY)
}

/// Takes a measurement.
fn take(
    metric: &Metric,
    result: &mut MetricResult,
    task: Task,
    measured: &Measured,
    now_ns: u64,
    kept: usize,
) {
    let mut measurement = match task {
        Task::Measure => Measurement { started_at_ns: now_ns, ..Measurement::default() },
        Task::Resume | Task::Terminate => result.measurements.pop().unwrap_or_default(),
    };
    measurement.resume_at_ns = None;
    let (phase, value, message) = match measured {
        Measured::UnderWay { resume_at_ns } => {
            measurement.resume_at_ns = *resume_at_ns;
            (Phase::Running, String::new(), String::new())
        }
        Measured::Phase(phase) => (*phase, String::new(), String::new()),
        Measured::Error(reason) => (Phase::Error, String::new(), reason.clone()),
        Measured::Result(value) => match evaluate_result(metric, value) {
            Ok(phase) => (phase, value.to_string(), String::new()),
            Err(error) => (Phase::Error, value.to_string(), error.to_string()),
        },
    };
    measurement.phase = phase;
    measurement.value = value;
    measurement.message = match phase {
        Phase::Successful | Phase::Inconclusive if task == Task::Terminate => "Metric Terminated".to_string(),
        _ => message,
    };
    measurement.finished_at_ns = phase.is_completed().then_some(now_ns);
    result.tally.last = Some(phase);
    result.tally.add(phase);
    result.measurements.push(measurement);
    let excess = result.measurements.len().saturating_sub(kept);
    result.measurements.drain(..excess);
}
