//! Measurements and metrics.

use serde_json::Value;
use windtunnel_kernel::rollout::argo::AnalysisPhase;
use windtunnel_kernel::rollout::argo::analysis::assess::{
    Tally, assess_metric as assess, evaluate_result as evaluate,
};
use windtunnel_kernel::rollout::argo::analysis::spec::Metric;
use windtunnel_kernel::rollout::value::{IntOrText, Value as Data};

use super::super::check::Checks;
use super::super::fields::{Fields, FromValue};

pub(super) fn assess_metric(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let metric = read_metric(&inputs.get("metric")?)?;
    let tally = read_tally(&inputs.get("result")?)?;
    let found = assess(&metric, &tally, inputs.get("terminating")?);
    checks.equal(expect, "phase", &found.phase.to_string())
}

/// A condition is given by its value, or as a text that is evaluated.
pub(super) fn evaluate_result(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let condition = |key: &'static str| {
        let condition = inputs.nullable::<Condition>(key)?;
        Ok::<_, String>(condition.map_or(String::new(), |condition| condition.0))
    };
    let metric = Metric {
        success_condition: condition("success_condition_value")?,
        failure_condition: condition("failure_condition_value")?,
        ..Metric::default()
    };
    let result = inputs.opt::<Measured>("result")?.map_or(Data::Bool(true), |measured| measured.0);
    let found = evaluate(&metric, &result).unwrap_or(AnalysisPhase::Error);
    checks.equal(expect, "phase", &found.to_string())
}

fn read_metric(fields: &Fields<'_>) -> Result<Metric, String> {
    let limit = |key: &'static str| Ok::<_, String>(fields.opt::<Limit>(key)?.map(|limit| limit.0));
    let metric = Metric {
        name: fields.or("name", String::new())?,
        interval: fields.or("interval", String::new())?,
        initial_delay: fields.or("initialDelay", String::new())?,
        count: limit("count")?,
        failure_limit: limit("failureLimit")?,
        inconclusive_limit: limit("inconclusiveLimit")?,
        consecutive_error_limit: limit("consecutiveErrorLimit")?,
        consecutive_success_limit: limit("consecutiveSuccessLimit")?,
        ..Metric::default()
    };
    fields.finish()?;
    Ok(metric)
}

fn read_tally(fields: &Fields<'_>) -> Result<Tally, String> {
    let last = read_phase(fields, "last")?;
    let tally = Tally {
        phase: read_phase(fields, "phase")?.unwrap_or_default(),
        last,
        count: fields.or("count", 0)?,
        successful: fields.or("successful", 0)?,
        failed: fields.or("failed", 0)?,
        inconclusive: fields.or("inconclusive", 0)?,
        error: fields.or("error", 0)?,
        consecutive_error: fields.or("consecutiveError", 0)?,
        consecutive_success: fields.or("consecutiveSuccess", 0)?,
    };
    let measurements: u32 = fields.get("measurements")?;
    if (measurements > 0) != last.is_some() {
        return Err(format!("{}: does not go with {measurements} measurements", fields.at("last")));
    }
    fields.finish()?;
    Ok(tally)
}

fn read_phase(fields: &Fields<'_>, key: &'static str) -> Result<Option<AnalysisPhase>, String> {
    let Some(text) = fields.opt::<String>(key)? else { return Ok(None) };
    serde_json::from_value(Value::String(text.clone()))
        .map(Some)
        .map_err(|_| format!("{}: {text:?} is no phase", fields.at(key)))
}

struct Condition(String);

impl<'a> FromValue<'a> for Condition {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        match value {
            Value::Bool(truth) => Ok(Self(truth.to_string())),
            Value::String(text) if !text.is_empty() => Ok(Self(text.clone())),
            _ => Err(format!("{place}: expected true, false or a condition")),
        }
    }
}

struct Limit(IntOrText);

impl<'a> FromValue<'a> for Limit {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        match value {
            Value::String(text) if text.parse::<i32>().is_ok() => Ok(Self(IntOrText::Text(text.clone()))),
            other => i32::read(place, other).map(|number| Self(IntOrText::Int(number))),
        }
    }
}

struct Measured(Data);

impl<'a> FromValue<'a> for Measured {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        serde_json::from_value(value.clone()).map(Self).map_err(|error| format!("{place}: {error}"))
    }
}
