//! The reconciler: bounds, scale to zero, status, activators.

use windtunnel_kernel::autoscale::kpa::activity::{
    ConditionStatus, ScaleStatus, ServeMode, compute_status as status_of,
};
use windtunnel_kernel::autoscale::kpa::scaler::{ScalerConfig, Situation, scale};
use windtunnel_kernel::autoscale::kpa::{GlobalConfig, Reachability, target};

use super::super::check::Checks;
use super::super::fields::{Fields, Length};

pub(super) fn scaler(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let config = match inputs.opt::<Fields<'_>>("config")? {
        Some(config) => read_config(&config)?,
        None => {
            ScalerConfig::of(&windtunnel_kernel::autoscale::kpa::Config::default(), Reachability::Unknown)
        }
    };
    let current: i32 = inputs.or("current_replicas", 1)?;
    let desired: i32 = inputs.get("decider_desired")?;
    let (situation, probe) = match inputs.opt::<Fields<'_>>("pa")? {
        Some(pa) => read_situation(&pa)?,
        None => (NEW, Probe::Answers),
    };
    let found = scale(&config, &situation, desired);
    if probe == Probe::Forbidden {
        let answered = Situation { activator_answers: true, ..situation };
        if scale(&config, &answered, desired) != found {
            checks.fault("inputs.pa.probe: the activator was probed".to_string());
        }
    }
    checks.equal(expect, "scale", &found.want)?;
    checks.equal(expect, "patched", &(found.apply && found.want != current))?;
    checks.equal(expect, "requeues", &u32::from(found.requeue_after_ns.is_some()))?;
    checks.equal(expect, "async_probes", &u32::from(found.probe))?;
    let after_s = found.requeue_after_ns.map_or(0.0, |after_ns| after_ns as f64 / 1e9);
    checks.near(expect, "requeue_after_s", after_s, None)
}

fn read_config(config: &Fields<'_>) -> Result<ScalerConfig, String> {
    let global = GlobalConfig::default();
    let initial_scale = config.or("initial_scale", 1)?;
    let allows_zero = config.or("allow_zero_initial", false)?;
    let reachability = match config.opt::<String>("reachability")?.as_deref() {
        Some("Reachable") => Reachability::Reachable,
        Some("Unreachable") => Reachability::Unreachable,
        None | Some("" | "Unknown") => Reachability::Unknown,
        Some(other) => {
            return Err(format!("{}: {other:?} is not known", config.at("reachability")));
        }
    };
    let read = ScalerConfig {
        min_scale: config.or("min", 0)?,
        max_scale: config.or("max", 0)?,
        initial_scale: if initial_scale == 0 && !allows_zero { 1 } else { initial_scale },
        enable_scale_to_zero: config.or("enable_scale_to_zero", global.enable_scale_to_zero)?,
        target_burst_capacity: config.or("tbc", global.target_burst_capacity)?,
        stable_window_ns: config.or("stable_window_s", Length::seconds(60))?.ns,
        grace_period_ns: config.or("grace_s", Length::seconds(30))?.ns,
        pod_retention_ns: config.or("retention_s", Length::seconds(0))?.ns,
        progress_deadline_ns: config.or("progress_deadline_s", Length::seconds(600))?.ns,
        reachability,
    };
    config.finish()?;
    Ok(read)
}

/// A revision that nobody has looked at yet.
const NEW: Situation = Situation {
    active: ConditionStatus::Unknown,
    active_for_ns: 0,
    initialized: false,
    mode: ServeMode::Serve,
    proxy_for_ns: 0,
    activator_answers: true,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Probe {
    Answers,
    Fails,
    Forbidden,
}

fn read_situation(pa: &Fields<'_>) -> Result<(Situation, Probe), String> {
    let active = match pa.opt::<String>("active")?.as_deref() {
        Some("True") => ConditionStatus::True,
        Some("False") => ConditionStatus::False,
        None | Some("Unknown") => ConditionStatus::Unknown,
        Some(other) => return Err(format!("{}: {other:?} is no condition", pa.at("active"))),
    };
    let mode = match pa.opt::<String>("sks_mode")?.as_deref() {
        None | Some("" | "Serve") => ServeMode::Serve,
        Some("Proxy") => ServeMode::Proxy,
        Some(other) => return Err(format!("{}: {other:?} is no mode", pa.at("sks_mode"))),
    };
    let probe = match pa.opt::<String>("probe")?.as_deref() {
        None | Some("ok" | "true") => Probe::Answers,
        Some("error" | "false") => Probe::Fails,
        Some("must-not-be-called") => Probe::Forbidden,
        Some(other) => return Err(format!("{}: {other:?} is not known", pa.at("probe"))),
    };
    let situation = Situation {
        active,
        active_for_ns: pa.or("since", Length::seconds(0))?.ns,
        initialized: pa.or("initialized", false)?,
        mode,
        proxy_for_ns: pa.or("proxy_for", Length::seconds(0))?.ns,
        activator_answers: probe == Probe::Answers,
    };
    pa.finish()?;
    Ok((situation, probe))
}

pub(super) fn compute_status(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let previous = ScaleStatus { actual: inputs.opt("prev_actual")?, desired: inputs.opt("prev_desired")? };
    let found = status_of(previous, inputs.or("ready", 0)?, inputs.get("want")?);
    checks.equal(expect, "actual", &found.actual.unwrap_or(-1))?;
    checks.equal(expect, "desired", &found.desired.unwrap_or(-1))
}

pub(super) fn activators(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let global = GlobalConfig::default();
    let found = target::activators(
        inputs.or("ready", 0)?,
        inputs.or("total_value", 100.0)?,
        inputs.or("target_burst_capacity", global.target_burst_capacity)?,
        inputs.or("activator_capacity", global.activator_capacity)?,
    );
    checks.equal(expect, "activators", &found)
}
