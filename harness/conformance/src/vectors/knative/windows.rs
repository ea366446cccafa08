//! Averaging windows and sliding maxima.

use windtunnel_kernel::autoscale::kpa::Aggregation;
use windtunnel_kernel::autoscale::kpa::max_window::{MaxWindow, TimeWindow};
use windtunnel_kernel::autoscale::kpa::window::{Window, smoothing_coefficient as coefficient_of};

use super::super::check::Checks;
use super::super::fields::{Fields, Length, Operation};
use super::{instant_ns, length_ns};

pub(super) fn window_average(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    averages(Aggregation::Linear, inputs, expect, checks)
}

pub(super) fn weighted_average(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    averages(Aggregation::WeightedExponential, inputs, expect, checks)
}

fn averages(
    aggregation: Aggregation,
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let length: Length = inputs.get("window_s")?;
    let granularity: Length = inputs.get("granularity_s")?;
    let mut window = Window::new(aggregation, length.ns, granularity.ns);
    let mut found = Vec::new();
    for operation in inputs.get::<Vec<Operation>>("ops")? {
        match operation.name.as_str() {
            "rec" => {
                let [at_s, value] = operation.take()?;
                window.record(instant_ns(at_s), value);
            }
            "avg" => {
                let [at_s] = operation.take()?;
                found.push(window.average(instant_ns(at_s)));
            }
            "resize" => {
                let [length_s, at_s] = operation.take()?;
                window.resize(length_ns(length_s), instant_ns(at_s));
            }
            _ => return Err(operation.unknown("rec, avg, resize")),
        }
    }
    let tolerance = expect.opt("abs_tol")?;
    checks.all_near(expect, "avgs", &found, tolerance)
}

pub(super) fn smoothing_coefficient(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let buckets: Vec<u32> = inputs.get("buckets")?;
    let found: Vec<f64> = buckets.into_iter().map(|count| coefficient_of(count as usize)).collect();
    let tolerance = expect.opt("abs_tol")?;
    checks.all_near(expect, "coeff", &found, tolerance)
}

pub(super) fn max_window(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let mut window = MaxWindow::new(inputs.get("size")?);
    let values: Vec<i32> = inputs.get("values")?;
    let indexes: Vec<u64> = inputs.get("indexes")?;
    if values.len() != indexes.len() {
        return Err(format!("inputs.indexes: {} for {} values", indexes.len(), values.len()));
    }
    let mut found = Vec::new();
    for (value, index) in values.into_iter().zip(indexes) {
        window.record(index, value);
        found.push(window.current());
    }
    expect.get::<Vec<i32>>("current")?;
    checks.equal(expect, "current", &found)
}

/// Every case is a window of its own; its maximum is taken after the last record.
pub(super) fn max_time_window(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let duration_ns = inputs.get::<Length>("duration_s")?.ns;
    let granularity_ns = inputs.get::<Length>("granularity_s")?.ns;
    let mut found = Vec::new();
    for (number, records) in inputs.get::<Vec<Vec<Vec<f64>>>>("cases")?.into_iter().enumerate() {
        let mut window = TimeWindow::new(duration_ns, granularity_ns);
        for record in records {
            let [at_s, value] = record[..] else {
                return Err(format!("inputs.cases[{number}]: a record is [t, value]"));
            };
            window.record(instant_ns(at_s), value as i32);
        }
        found.push(window.current());
    }
    expect.get::<Vec<i32>>("current")?;
    checks.equal(expect, "current", &found)
}
