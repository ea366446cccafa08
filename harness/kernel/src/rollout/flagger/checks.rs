//! Metrics against their thresholds.

use serde::{Deserialize, Serialize};

use super::spec::{Analysis, Metric};

/// What a metric provider says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Sample {
    /// A number. One that is not a number counts as no values, as the providers have it.
    Number(f64),
    /// It knows nothing: no traffic, most likely.
    NoValues,
    /// It could not be asked.
    Failed(String),
}

const SUCCESS_RATE: &str = "request-success-rate";
const DURATION: &str = "request-duration";

/// Why a check failed: everything an event needs but the canary's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// `Halt <canary> advancement <text>`.
    Halt(String),
    /// As it is.
    Plain(String),
}

/// Runs the checks in upstream's order: the built-in ones and those with a query, then those with a template. The
/// first failure ends them.
///
/// `sample` is asked with the metric's name and whether it comes from a template.
pub(super) fn run<'a>(
    analysis: &'a Analysis,
    target: &str,
    mut sample: impl FnMut(&'a Metric) -> Sample,
) -> Result<(), Failure> {
    for metric in &analysis.metrics {
        let mut read = |what: &str, of: &str| match sample(metric) {
            Sample::Number(number) if !number.is_nan() => Ok(number),
            Sample::Number(_) | Sample::NoValues => Err(Failure::Plain(what.to_string())),
            Sample::Failed(reason) => Err(Failure::Plain(format!("Prometheus query failed{of}: {reason}"))),
        };
        let silent = format!(
            "Halt advancement no values found for metric {} probably {target} is not receiving traffic",
            metric.name
        );
        if metric.name == SUCCESS_RATE {
            in_range(metric, read(&silent, "")?, "success rate", "%", true)?;
        }
        if metric.name == DURATION {
            duration_in_range(metric, read(&silent, "")?)?;
        }
        if !metric.query.is_empty() {
            let silent = format!("Halt advancement no values found for metric: {}", metric.name);
            in_range(metric, read(&silent, &format!(" for {}", metric.name))?, &metric.name, "", false)?;
        }
    }
    for metric in &analysis.metrics {
        if metric.template_ref.is_some() {
            match sample(metric) {
                Sample::Number(number) if !number.is_nan() => {
                    in_range(metric, number, &metric.name, "", false)?;
                }
                Sample::Number(_) | Sample::NoValues => {
                    return Err(Failure::Plain(format!(
                        "Halt advancement no values found for custom metric: {}",
                        metric.name
                    )));
                }
                Sample::Failed(reason) => {
                    return Err(Failure::Plain(format!("Metric query failed for {}: {reason}", metric.name)));
                }
            }
        } else if metric.name != SUCCESS_RATE && metric.name != DURATION && metric.query.is_empty() {
            return Err(Failure::Plain(
                "Metric query failed for no usable metrics template and query were configured".to_string(),
            ));
        }
    }
    Ok(())
}

/// Both ends of the range are good. The deprecated `threshold` is a minimum for the success rate and a maximum for
/// everything else.
fn in_range(metric: &Metric, value: f64, name: &str, unit: &str, is_rate: bool) -> Result<(), Failure> {
    let below = |least: f64| Failure::Halt(format!("{name} {value:.2}{unit} < {least}{unit}"));
    let above = |most: f64| Failure::Halt(format!("{name} {value:.2}{unit} > {most}{unit}"));
    match metric.threshold_range {
        Some(range) => {
            if let Some(least) = range.min.filter(|&least| value < least) {
                return Err(below(least));
            }
            if let Some(most) = range.max.filter(|&most| value > most) {
                return Err(above(most));
            }
        }
        None if is_rate && metric.threshold > value => return Err(below(metric.threshold)),
        None if !is_rate && value > metric.threshold => return Err(above(metric.threshold)),
        None => {}
    }
    Ok(())
}

/// As [`in_range`], in whole milliseconds: value and thresholds are cut off.
fn duration_in_range(metric: &Metric, value_ms: f64) -> Result<(), Failure> {
    let whole = |number: f64| number as i64;
    let value = whole(value_ms);
    let below = |least: f64| Failure::Halt(format!("request duration {value}ms < {}ms", whole(least)));
    let above = |most: f64| Failure::Halt(format!("request duration {value}ms > {}ms", whole(most)));
    match metric.threshold_range {
        Some(range) => {
            if let Some(least) = range.min.filter(|&least| value < whole(least)) {
                return Err(below(least));
            }
            if let Some(most) = range.max.filter(|&most| value > whole(most)) {
                return Err(above(most));
            }
        }
        None if value > whole(metric.threshold) => return Err(above(metric.threshold)),
        None => {}
    }
    Ok(())
}
