//! Stabilisation, rate limits and bounds.

use windtunnel_kernel::autoscale::hpa::behavior::{Rate, limit_rate, limit_to_double};
use windtunnel_kernel::autoscale::hpa::history::{Windows, stabilize, stabilize_one_way, stabilize_within};
use windtunnel_kernel::autoscale::hpa::spec::{PolicyKind, ScalingPolicy, SelectPolicy};
use windtunnel_kernel::autoscale::hpa::{
    Bounds, Recommendation, ScaleEvent, ScaleEvents, ScalingRules, Version,
};

use super::super::check::Checks;
use super::super::fields::Fields;
use super::{instant_ns, now_ns, options};

/// Rules of one direction; with all defaults where there are none.
fn rules(fields: Option<&Fields<'_>>, goes_up: bool) -> Result<ScalingRules, String> {
    let read = fields.map(read_rules).transpose()?;
    Ok(if goes_up { ScalingRules::up(read) } else { ScalingRules::down(read) })
}

fn read_rules(fields: &Fields<'_>) -> Result<ScalingRules, String> {
    let select_policy = match fields.opt::<String>("select")?.as_deref() {
        None => None,
        Some("Max") => Some(SelectPolicy::Max),
        Some("Min") => Some(SelectPolicy::Min),
        Some("Disabled") => Some(SelectPolicy::Disabled),
        Some(other) => return Err(format!("{}: {other:?} is not known", fields.at("select"))),
    };
    let policies = match fields.opt::<Vec<Fields<'_>>>("policies")? {
        None => None,
        Some(policies) => Some(policies.iter().map(policy).collect::<Result<_, _>>()?),
    };
    let rules = ScalingRules {
        stabilization_window_seconds: fields.opt("stabilization_s")?,
        select_policy,
        policies,
        tolerance: None,
    };
    fields.finish()?;
    Ok(rules)
}

fn policy(fields: &Fields<'_>) -> Result<ScalingPolicy, String> {
    let kind = match fields.get::<String>("type")?.as_str() {
        "Pods" => PolicyKind::Pods,
        "Percent" => PolicyKind::Percent,
        other => return Err(format!("{}: {other:?} is not known", fields.at("type"))),
    };
    let policy = ScalingPolicy { kind, value: fields.get("value")?, period_seconds: fields.get("period_s")? };
    fields.finish()?;
    Ok(policy)
}

/// `[number, seconds relative to now]` each.
fn past(inputs: &Fields<'_>, key: &'static str) -> Result<Vec<(i32, u64)>, String> {
    let pairs: Vec<Vec<f64>> = inputs.or(key, Vec::new())?;
    let read = |(index, pair): (usize, Vec<f64>)| {
        let place = format!("{}[{index}]", inputs.at(key));
        let [number, seconds] = pair[..] else {
            return Err(format!("{place}: expected a number and seconds"));
        };
        if number.fract() != 0.0 || number.abs() > f64::from(i32::MAX) {
            return Err(format!("{place}: expected a whole number, found {number}"));
        }
        Ok((number as i32, instant_ns(seconds)))
    };
    pairs.into_iter().enumerate().map(read).collect()
}

fn events(inputs: &Fields<'_>) -> Result<ScaleEvents, String> {
    let read = |key| -> Result<Vec<ScaleEvent>, String> {
        let event = |(change, at_ns)| ScaleEvent { change, at_ns, outdated: false };
        Ok(past(inputs, key)?.into_iter().map(event).collect())
    };
    Ok(ScaleEvents { up: read("up_events")?, down: read("down_events")? })
}

fn recommendations(inputs: &Fields<'_>) -> Result<Vec<Recommendation>, String> {
    let read = |(replicas, at_ns)| Recommendation { replicas, at_ns };
    Ok(past(inputs, "recommendations")?.into_iter().map(read).collect())
}

fn bounds(inputs: &Fields<'_>) -> Result<Bounds, String> {
    Ok(Bounds { minimum: inputs.get("min")?, maximum: inputs.get("max")? })
}

pub(super) fn rate(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let up = rules(inputs.opt("up_rules")?.as_ref(), true)?;
    let down = rules(inputs.opt("down_rules")?.as_ref(), false)?;
    let events = events(inputs)?;
    let both_directions = options(inputs)?.version >= Version::V1_27;
    let rate = Rate { up: &up, down: &down, events: &events, both_directions, now_ns: now_ns() };
    let found = limit_rate(inputs.get("current")?, inputs.get("desired")?, bounds(inputs)?, rate);
    checks.equal(expect, "replicas", &found.replicas)?;
    checks.equal(expect, "reason", &found.reason.name().to_string())
}

pub(super) fn convert_with_rules(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let found = limit_to_double(inputs.get("current")?, inputs.get("desired")?, bounds(inputs)?);
    checks.equal(expect, "replicas", &found.replicas)?;
    checks.equal(expect, "reason", &found.reason.name().to_string())
}

pub(super) fn scale_up_limit(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let up = rules(Some(&inputs.get("rules")?), true)?;
    let (down, events) = (ScalingRules::down(None), events(inputs)?);
    let both_directions = options(inputs)?.version >= Version::V1_27;
    let rate = Rate { up: &up, down: &down, events: &events, both_directions, now_ns: now_ns() };
    checks.equal(expect, "limit", &rate.up_limit(inputs.get("current")?))
}

pub(super) fn scale_down_limit(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let down = rules(Some(&inputs.get("rules")?), false)?;
    let (up, events) = (ScalingRules::up(None), events(inputs)?);
    let both_directions = options(inputs)?.version >= Version::V1_27;
    let rate = Rate { up: &up, down: &down, events: &events, both_directions, now_ns: now_ns() };
    checks.equal(expect, "limit", &rate.down_limit(inputs.get("current")?))
}

pub(super) fn stabilize_legacy(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let mut log = recommendations(inputs)?;
    let window = inputs.or("window_s", super::super::fields::Length::seconds(300))?;
    let found = stabilize(&mut log, inputs.get("desired")?, window.ns, now_ns());
    checks.equal(expect, "replicas", &found)?;
    checks.equal(expect, "log_len", &u32::try_from(log.len()).unwrap_or(u32::MAX))?;
    compare_log(expect, checks, &log)
}

pub(super) fn stabilize_behaviour(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let mut log = recommendations(inputs)?;
    let windows = Windows { up_s: inputs.or("up_window_s", 0)?, down_s: inputs.or("down_window_s", 0)? };
    for (key, seconds) in [("up_window_s", windows.up_s), ("down_window_s", windows.down_s)] {
        if seconds < 0 {
            return Err(format!("{}: expected at least 0", inputs.at(key)));
        }
    }
    let (current, desired) = (inputs.get("current")?, inputs.get("desired")?);
    let found = if options(inputs)?.version >= Version::V1_21 {
        stabilize_within(&mut log, current, desired, windows, now_ns())
    } else {
        stabilize_one_way(&mut log, current, desired, windows, now_ns())
    };
    checks.equal(expect, "replicas", &found)?;
    checks.equal(expect, "log_len", &u32::try_from(log.len()).unwrap_or(u32::MAX))?;
    compare_log(expect, checks, &log)
}

/// Compares the log after the decision, if it is expected: its recommendations in order.
fn compare_log(expect: &Fields<'_>, checks: &mut Checks, log: &[Recommendation]) -> Result<(), String> {
    let found: Vec<i32> = log.iter().map(|entry| entry.replicas).collect();
    checks.equal(expect, "log", &found)
}
