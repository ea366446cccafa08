//! Targets, windows and the decider.

use windtunnel_kernel::autoscale::kpa::ScalingMetric;
use windtunnel_kernel::autoscale::kpa::decider::{Decider, DeciderSpec};
use windtunnel_kernel::autoscale::kpa::metrics::Averages;
use windtunnel_kernel::autoscale::kpa::target::{self, TargetInput};

use super::super::check::Checks;
use super::super::fields::{Fields, Length};
use super::instant_ns;

pub(super) fn resolve_target(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let found = target::resolve(&TargetInput {
        metric: metric(inputs)?,
        container_concurrency: inputs.get("cc")?,
        concurrency_default: inputs.get("cc_default")?,
        concurrency_fraction: inputs.get("cc_fraction")?,
        rps_default: inputs.get("rps_default")?,
        rps_fraction: inputs.get("target_utilization")?,
        target: inputs.opt("target")?,
        utilization_percentage: inputs.opt("tu_annotation")?,
    });
    checks.near(expect, "target", found.target, None)?;
    checks.near(expect, "total", found.total, None)
}

pub(super) fn panic_window(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let stable_ns = inputs.get::<Length>("stable_window_s")?.ns;
    let found_ns = target::panic_window_ns(stable_ns, inputs.get("panic_window_percentage")?);
    checks.near(expect, "panic_window_s", found_ns as f64 / 1e9, None)
}

/// A decider starts in a panic when it finds more than one pod.
pub(super) fn init(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let deciders: Vec<Decider> = inputs
        .get::<Vec<u32>>("ready_counts")?
        .into_iter()
        .map(|ready| Decider::new(ready, 0, instant_ns(0.0)))
        .collect();
    let panic: Vec<bool> = deciders.iter().map(|decider| decider.panic_since_ns.is_some()).collect();
    let pods: Vec<i32> = deciders.iter().map(|decider| decider.max_panic_pods).collect();
    checks.equal(expect, "panic", &panic)?;
    checks.equal(expect, "max_panic_pods", &pods)
}

pub(super) fn scale(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let (mut spec, mut decider) = read_spec(&inputs.get("spec")?)?;
    let steps: Vec<Fields<'_>> = inputs.get("steps")?;
    let expected: Vec<Fields<'_>> = expect.get("steps")?;
    if !checks.count("expect.steps", expected.len(), steps.len()) {
        return Ok(());
    }
    for (step, expected) in steps.iter().zip(&expected) {
        let now_ns = instant_ns(step.get("t_s")?);
        if let Some(changed) = step.opt::<Fields<'_>>("spec")? {
            change_spec(&changed, &mut spec)?;
        }
        spec.reachable = step.or("reachable", spec.reachable)?;
        let seen = read_seen(step, expected)?;
        step.finish()?;
        let evaluation = seen.map(|(ready, averages)| decider.decide(&spec, ready, averages, now_ns));
        checks.equal(expected, "valid", &evaluation.is_some())?;
        let (desired, capacity) =
            evaluation.map_or((0, 0), |found| (found.desired, found.excess_burst_capacity));
        checks.equal(expected, "desired", &desired)?;
        checks.equal(expected, "ebc", &capacity)?;
        let is_panicking = decider.panic_since_ns.is_some();
        checks.equal(expected, "panicking", &is_panicking)?;
        checks.equal(expected, "panic", &is_panicking)?;
        checks.equal(expected, "max_panic_pods", &decider.max_panic_pods)?;
        if let Some(since_s) = expected.opt::<f64>("panic_since_s")? {
            checks.equal_instant(&expected.at("panic_since_s"), instant_ns(since_s), decider.panic_since_ns);
        }
        expected.finish_filled()?;
    }
    Ok(())
}

/// Ready pods and averages; `None` where either cannot be had: null, `error: true`, or averages that are left out of a
/// step that is expected to be invalid.
fn read_seen(step: &Fields<'_>, expected: &Fields<'_>) -> Result<Option<(u32, Averages)>, String> {
    let ready: Option<u32> = step.nullable("ready")?;
    let is_invalid = step.or("error", false)?
        || (expected.opt("valid")? == Some(false) && !step.has("stable") && !step.has("panic"));
    let read = |key| if is_invalid { step.opt::<f64>(key) } else { step.nullable(key) };
    let (stable, panic) = (read("stable")?, read("panic")?);
    let averages = stable.zip(panic).map(|(stable, panic)| Averages { stable, panic });
    Ok(ready.zip(averages).filter(|_| !is_invalid))
}

fn read_spec(spec: &Fields<'_>) -> Result<(DeciderSpec, Decider), String> {
    // Nothing here depends on the metric, the averages are given.
    metric_or_default(spec)?;
    let read = DeciderSpec {
        target_value: spec.get("target_value")?,
        total_value: spec.get("total_value")?,
        target_burst_capacity: spec.get("target_burst_capacity")?,
        panic_threshold: spec.get("panic_threshold")?,
        max_scale_up_rate: spec.get("max_scale_up_rate")?,
        max_scale_down_rate: spec.get("max_scale_down_rate")?,
        stable_window_ns: spec.get::<Length>("stable_window_s")?.ns,
        activation_scale: spec.get("activation_scale")?,
        reachable: spec.get("reachable")?,
        forgetful_delay: false,
    };
    let delay_ns = spec.get::<Length>("scale_down_delay_s")?.ns;
    let mut decider = Decider::new(spec.get("initial_ready")?, delay_ns, instant_ns(0.0));
    if let Some(state) = spec.opt::<Fields<'_>>("state")? {
        decider.panic_since_ns = state.nullable::<f64>("panic_since_s")?.map(instant_ns);
        decider.max_panic_pods = state.get("max_panic_pods")?;
        state.finish()?;
    }
    spec.finish()?;
    Ok((read, decider))
}

/// A spec that is changed on the way: what is left out stays.
fn change_spec(changed: &Fields<'_>, spec: &mut DeciderSpec) -> Result<(), String> {
    metric_or_default(changed)?;
    let stable_window = Length { ns: spec.stable_window_ns };
    *spec = DeciderSpec {
        target_value: changed.or("target_value", spec.target_value)?,
        total_value: changed.or("total_value", spec.total_value)?,
        target_burst_capacity: changed.or("target_burst_capacity", spec.target_burst_capacity)?,
        panic_threshold: changed.or("panic_threshold", spec.panic_threshold)?,
        max_scale_up_rate: changed.or("max_scale_up_rate", spec.max_scale_up_rate)?,
        max_scale_down_rate: changed.or("max_scale_down_rate", spec.max_scale_down_rate)?,
        stable_window_ns: changed.or("stable_window_s", stable_window)?.ns,
        activation_scale: changed.or("activation_scale", spec.activation_scale)?,
        reachable: changed.or("reachable", spec.reachable)?,
        ..*spec
    };
    // The delay window is made with the decider and stays, as upstream's does.
    changed.opt::<Length>("scale_down_delay_s")?;
    changed.finish()
}

fn metric(fields: &Fields<'_>) -> Result<ScalingMetric, String> {
    match fields.get::<String>("metric")?.as_str() {
        "concurrency" => Ok(ScalingMetric::Concurrency),
        "rps" => Ok(ScalingMetric::Rps),
        other => Err(format!("{}: {other:?} is not known, take concurrency or rps", fields.at("metric"))),
    }
}

fn metric_or_default(fields: &Fields<'_>) -> Result<ScalingMetric, String> {
    if fields.opt::<String>("metric")?.is_none() {
        return Ok(ScalingMetric::Concurrency);
    }
    metric(fields)
}
