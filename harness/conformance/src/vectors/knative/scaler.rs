//! The reconciler: bounds, scale to zero, status, activators.

use windtunnel_kernel::autoscale::kpa::activity::{
    ConditionStatus, ScaleStatus, ServeMode, compute_status as status_of,
};
use windtunnel_kernel::autoscale::kpa::scaler::{ScalerConfig, Situation, scale};
use windtunnel_kernel::autoscale::kpa::{Reachability, target};

use super::super::check::Checks;
use super::super::fields::{Fields, Length, Word};

pub(super) fn scaler(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let config = read_config(&inputs.get("config")?)?;
    let current: i32 = inputs.get("current_replicas")?;
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
    let initial_scale = config.get("initial_scale")?;
    let allows_zero: bool = config.get("allow_zero_initial")?;
    let reachability = match config.nullable::<String>("reachability")?.as_deref() {
        Some("Reachable") => Reachability::Reachable,
        Some("Unreachable") => Reachability::Unreachable,
        None | Some("" | "Unknown") => Reachability::Unknown,
        Some(other) => {
            let place = config.at("reachability");
            return Err(format!("{place}: {other:?} is not known, take Reachable, Unreachable or Unknown"));
        }
    };
    let read = ScalerConfig {
        min_scale: config.get("min")?,
        max_scale: config.get("max")?,
        initial_scale: if initial_scale == 0 && !allows_zero { 1 } else { initial_scale },
        enable_scale_to_zero: config.get("enable_scale_to_zero")?,
        target_burst_capacity: config.get("tbc")?,
        stable_window_ns: config.get::<Length>("stable_window_s")?.ns,
        grace_period_ns: config.get::<Length>("grace_s")?.ns,
        pod_retention_ns: config.get::<Length>("retention_s")?.ns,
        progress_deadline_ns: config.get::<Length>("progress_deadline_s")?.ns,
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
    // Without quotation marks YAML reads a truth value.
    let active = match pa.opt::<Word>("active")?.as_ref().map(|word| word.text.as_str()) {
        Some("True" | "true") => ConditionStatus::True,
        Some("False" | "false") => ConditionStatus::False,
        None | Some("Unknown") => ConditionStatus::Unknown,
        Some(other) => {
            return Err(format!(
                "{}: {other:?} is no condition, take True, False or Unknown",
                pa.at("active")
            ));
        }
    };
    let mode = match pa.opt::<String>("sks_mode")?.as_deref() {
        None | Some("" | "Serve") => ServeMode::Serve,
        Some("Proxy") => ServeMode::Proxy,
        Some(other) => {
            return Err(format!("{}: {other:?} is no mode, take Serve or Proxy", pa.at("sks_mode")));
        }
    };
    let probe = match pa.opt::<Word>("probe")?.as_ref().map(|word| word.text.as_str()) {
        None | Some("ok" | "true") => Probe::Answers,
        // Whether the probe fails or somebody else answers: the activator does not.
        Some("error" | "false" | "wrong") => Probe::Fails,
        Some("must-not-be-called") => Probe::Forbidden,
        Some(other) => {
            let place = pa.at("probe");
            return Err(format!(
                "{place}: {other:?} is not known, take ok, error, wrong or must-not-be-called"
            ));
        }
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
    let found = status_of(previous, inputs.get("ready")?, inputs.get("want")?);
    checks.equal(expect, "actual", &found.actual.unwrap_or(-1))?;
    checks.equal(expect, "desired", &found.desired.unwrap_or(-1))
}

pub(super) fn activators(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let found = target::activators(
        inputs.get("ready")?,
        inputs.get("total_value")?,
        inputs.get("target_burst_capacity")?,
        inputs.get("activator_capacity")?,
    );
    checks.equal(expect, "activators", &found)
}
