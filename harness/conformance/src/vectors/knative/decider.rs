//! Targets, windows and the decider.

use windtunnel_kernel::autoscale::kpa::decider::{Decider, DeciderSpec};
use windtunnel_kernel::autoscale::kpa::metrics::Averages;
use windtunnel_kernel::autoscale::kpa::target::{self, TargetInput};
use windtunnel_kernel::autoscale::kpa::{GlobalConfig, ScalingMetric};

use super::super::check::Checks;
use super::super::fields::{Fields, Length};
use super::instant_ns;

pub(super) fn resolve_target(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let global = GlobalConfig::default();
    let found = target::resolve(&TargetInput {
        metric: metric(inputs)?,
        container_concurrency: inputs.or("cc", 0)?,
        concurrency_default: inputs.or("cc_default", global.container_concurrency_target_default)?,
        concurrency_fraction: inputs.or("cc_fraction", global.container_concurrency_target_fraction)?,
        rps_default: inputs.or("rps_default", global.requests_per_second_target_default)?,
        rps_fraction: inputs.or("target_utilization", global.target_utilization)?,
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
    let global = GlobalConfig::default();
    let stable_ns = inputs.or("stable_window_s", Length::seconds(60))?.ns;
    let percentage = inputs.or("panic_window_percentage", global.panic_window_percentage)?;
    let found_ns = target::panic_window_ns(stable_ns, percentage);
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
        let now_ns = instant_ns(step.or("t_s", 0.0)?);
        let ready = step.or("ready", 0)?;
        spec.reachable = step.or("reachable", spec.reachable)?;
        // An average that is not there is an error of the metrics.
        let averages = step.opt("stable")?.zip(step.opt("panic")?);
        step.finish()?;
        let evaluation =
            averages.map(|(stable, panic)| decider.decide(&spec, ready, Averages { stable, panic }, now_ns));
        checks.equal(expected, "valid", &evaluation.is_some())?;
        let (desired, capacity) =
            evaluation.map_or((0, 0), |found| (found.desired, found.excess_burst_capacity));
        checks.equal(expected, "desired", &desired)?;
        checks.equal(expected, "ebc", &capacity)?;
        checks.equal(expected, "panicking", &decider.panic_since_ns.is_some())?;
        checks.equal(expected, "max_panic_pods", &decider.max_panic_pods)?;
        expected.finish_filled()?;
    }
    Ok(())
}

fn read_spec(spec: &Fields<'_>) -> Result<(DeciderSpec, Decider), String> {
    let global = GlobalConfig::default();
    // Nothing here depends on the metric, the averages are given.
    metric(spec)?;
    let read = DeciderSpec {
        target_value: spec.or("target_value", 70.0)?,
        total_value: spec.or("total_value", 100.0)?,
        target_burst_capacity: spec.or("target_burst_capacity", global.target_burst_capacity)?,
        panic_threshold: spec.or("panic_threshold", global.panic_threshold_percentage / 100.0)?,
        max_scale_up_rate: spec.or("max_scale_up_rate", global.max_scale_up_rate)?,
        max_scale_down_rate: spec.or("max_scale_down_rate", global.max_scale_down_rate)?,
        stable_window_ns: spec.or("stable_window_s", Length::seconds(60))?.ns,
        activation_scale: spec.or("activation_scale", 0)?,
        reachable: spec.or("reachable", true)?,
    };
    let delay_ns = spec.or("scale_down_delay_s", Length::seconds(0))?.ns;
    let mut decider = Decider::new(spec.or("initial_ready", 0)?, delay_ns, instant_ns(0.0));
    if let Some(state) = spec.opt::<Fields<'_>>("state")? {
        decider.panic_since_ns = state.opt::<f64>("panic_since_s")?.map(instant_ns);
        decider.max_panic_pods = state.or("max_panic_pods", 0)?;
        state.finish()?;
    }
    spec.finish()?;
    Ok((read, decider))
}

fn metric(fields: &Fields<'_>) -> Result<ScalingMetric, String> {
    match fields.opt::<String>("metric")?.as_deref() {
        None | Some("concurrency") => Ok(ScalingMetric::Concurrency),
        Some("rps") => Ok(ScalingMetric::Rps),
        Some(other) => Err(format!("{}: {other:?} is not concurrency or rps", fields.at("metric"))),
    }
}
