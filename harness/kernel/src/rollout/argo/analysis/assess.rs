//! Measurement, metric and run phases. Upstream: `analysis/analysis.go`, `utils/evaluate/evaluate.go`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::super::value::Value;
use super::Phase;
use super::condition::{ConditionError, evaluate};
use super::spec::{CONSECUTIVE_ERROR_LIMIT, Metric, limit};

/// What a metric has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tally {
    /// How it was assessed last. Once it is completed, it stays.
    pub phase: Phase,
    /// The latest measurement; `None` = there was none.
    pub last: Option<Phase>,
    /// Measurements, without those that were errors.
    pub count: i32,
    /// Good ones.
    pub successful: i32,
    /// Bad ones.
    pub failed: i32,
    /// Neither.
    pub inconclusive: i32,
    /// Errors.
    pub error: i32,
    /// Errors since the latest measurement that was none.
    pub consecutive_error: i32,
    /// Good ones since the latest measurement that was not.
    pub consecutive_success: i32,
}

impl Tally {
    /// Counts a measurement that is completed.
    pub fn add(&mut self, phase: Phase) {
        let add = |count: &mut i32| *count = count.saturating_add(1);
        self.last = Some(phase);
        match phase {
            Phase::Successful => {
                add(&mut self.successful);
                add(&mut self.consecutive_success);
            }
            Phase::Failed => add(&mut self.failed),
            Phase::Inconclusive => add(&mut self.inconclusive),
            Phase::Error => {
                add(&mut self.error);
                add(&mut self.consecutive_error);
            }
            Phase::Pending | Phase::Running => return,
        }
        if phase != Phase::Error {
            add(&mut self.count);
            self.consecutive_error = 0;
        }
        if phase != Phase::Successful {
            self.consecutive_success = 0;
        }
    }
}

/// A phase, and the rule that it follows from. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// The phase.
    pub phase: Phase,
    /// The rule.
    pub rule: String,
}

impl fmt::Display for Assessment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.phase, self.rule)
    }
}

/// What a result means.
///
/// A failure condition that holds wins. With both conditions, and neither true, it is inconclusive; with one of
/// them the other follows; without any it is good. A condition that cannot be evaluated is an error.
///
/// # Errors
/// What could not be evaluated.
pub fn evaluate_result(metric: &Metric, result: &Value) -> Result<Phase, ResultError> {
    let check = |which: &'static str, text: &str| {
        if text.is_empty() {
            return Ok(None);
        }
        evaluate(text, result).map(Some).map_err(|cause| ResultError {
            which,
            condition: text.to_string(),
            is_empty: matches!(result, Value::Nil)
                || matches!(result, Value::List(items) if items.is_empty()),
            cause,
        })
    };
    let success = check("successCondition", &metric.success_condition)?;
    let failure = check("failureCondition", &metric.failure_condition)?;
    Ok(match (success, failure) {
        (_, Some(true)) | (Some(false), None) => Phase::Failed,
        (None, _) | (Some(true), _) => Phase::Successful,
        (Some(false), Some(false)) => Phase::Inconclusive,
    })
}

/// A condition that could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not evaluate {which} \"{condition}\": {}",
    if *.is_empty { "metric result is nil or empty: no data returned from the metric provider".to_string() }
    else { .cause.to_string() })]
pub struct ResultError {
    /// Which of the two.
    pub which: &'static str,
    /// The condition.
    pub condition: String,
    /// Whether there was no data.
    pub is_empty: bool,
    /// What is wrong with it.
    pub cause: ConditionError,
}

/// Whether a limit is passed. Of several the later one wins: failed, inconclusive, errors in a row.
#[must_use]
pub fn passed_limit(metric: &Metric, tally: &Tally) -> Option<Assessment> {
    let failure_limit = limit(metric.failure_limit.as_ref(), 0);
    let inconclusive_limit = limit(metric.inconclusive_limit.as_ref(), 0);
    let error_limit = limit(metric.consecutive_error_limit.as_ref(), CONSECUTIVE_ERROR_LIMIT);
    let (phase, rule) = if tally.consecutive_error > error_limit {
        let count = tally.consecutive_error;
        (Phase::Error, format!("consecutiveErrors ({count}) > consecutiveErrorLimit ({error_limit})"))
    } else if tally.inconclusive > inconclusive_limit {
        let count = tally.inconclusive;
        (Phase::Inconclusive, format!("inconclusive ({count}) > inconclusiveLimit ({inconclusive_limit})"))
    } else if failure_limit >= 0 && tally.failed > failure_limit {
        (Phase::Failed, format!("failed ({}) > failureLimit ({failure_limit})", tally.failed))
    } else {
        return None;
    };
    Some(Assessment { phase, rule })
}

/// How a metric stands. `terminating` = the run is to end: what is not decided then counts as good.
#[must_use]
pub fn assess_metric(metric: &Metric, tally: &Tally, terminating: bool) -> Assessment {
    let assessed = |phase: Phase, rule: &str| Assessment { phase, rule: rule.to_string() };
    if tally.phase.is_completed() {
        return assessed(tally.phase, "it was completed");
    }
    match tally.last {
        None if terminating => return assessed(Phase::Successful, "run terminated"),
        None => return assessed(Phase::Pending, "no measurement yet"),
        Some(last) if !last.is_completed() => return assessed(Phase::Running, "a measurement is under way"),
        Some(_) => {}
    }
    if let Some(assessment) = passed_limit(metric, tally) {
        return assessment;
    }
    let success_limit = limit(metric.consecutive_success_limit.as_ref(), 0);
    if success_limit > 0 && tally.consecutive_success >= success_limit {
        return assessed(Phase::Successful, &format!("consecutiveSuccessLimit ({success_limit}) reached"));
    }
    if let Some(count) = metric.effective_count().filter(|&count| tally.count >= count) {
        let limits_failures = limit(metric.failure_limit.as_ref(), 0) >= 0;
        return match (success_limit > 0, limits_failures) {
            (true, true) => assessed(
                Phase::Inconclusive,
                &format!("count ({count}) reached, neither consecutiveSuccessLimit nor failureLimit was"),
            ),
            (true, false) => assessed(
                Phase::Failed,
                &format!("count ({count}) reached, consecutiveSuccessLimit ({success_limit}) was not"),
            ),
            (false, _) => assessed(Phase::Successful, &format!("count ({count}) reached")),
        };
    }
    if terminating {
        return assessed(Phase::Successful, "run terminated");
    }
    assessed(Phase::Running, "more measurements to come")
}
