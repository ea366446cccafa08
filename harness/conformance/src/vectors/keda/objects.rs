//! ScaledObject: activity, cool-down, fallback.

use windtunnel_kernel::autoscale::keda::executor::{Situation, request_scale};
use windtunnel_kernel::autoscale::keda::fallback::{FallbackTarget, answer};
use windtunnel_kernel::autoscale::keda::{
    Annotations, Answer, Fallback, FallbackBehavior, Health, Measured, Reading, ScaledObjectSpec,
};

use super::super::check::Checks;
use super::super::fields::{Fields, Length};

/// Where a vector's now lies.
const NOW_NS: u64 = 1_700_000_000 * 1_000_000_000;

/// Whole seconds as a setting has them.
fn setting(inputs: &Fields<'_>, key: &'static str) -> Result<Option<i32>, String> {
    match inputs.opt::<i32>(key)? {
        Some(negative) if negative < 0 => Err(format!("{}: expected at least 0", inputs.at(key))),
        other => Ok(other),
    }
}

fn behaviour(fields: &Fields<'_>, key: &'static str) -> Result<FallbackBehavior, String> {
    Ok(match fields.opt::<String>(key)?.as_deref() {
        None | Some("" | "static") => FallbackBehavior::Static,
        Some("currentReplicas") => FallbackBehavior::CurrentReplicas,
        Some("currentReplicasIfHigher") => FallbackBehavior::CurrentReplicasIfHigher,
        Some("currentReplicasIfLower") => FallbackBehavior::CurrentReplicasIfLower,
        Some(other) => return Err(format!("{}: {other:?} is not known", fields.at(key))),
    })
}

pub(super) fn scaled_object(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let fallback_replicas: Option<i32> = inputs.opt("fallback_replicas")?;
    let fallback_threshold = inputs.or("fallback_threshold", 3)?;
    let spec = ScaledObjectSpec {
        cooldown_period: setting(inputs, "cooldown_s")?,
        initial_cooldown_period: setting(inputs, "initial_cooldown_s")?,
        idle_replica_count: setting(inputs, "idle")?,
        min_replica_count: setting(inputs, "min")?,
        max_replica_count: setting(inputs, "max")?,
        fallback: fallback_replicas.map(|replicas| Fallback {
            failure_threshold: fallback_threshold,
            replicas,
            behavior: FallbackBehavior::Static,
        }),
        scale_target_ref: Default::default(),
        polling_interval: None,
        advanced: None,
        triggers: Vec::new(),
    };
    let annotations = Annotations {
        paused: inputs.or("paused", false)?,
        paused_replicas: inputs.opt("paused_replicas")?,
        paused_scale_in: inputs.or("paused_scale_in", false)? | inputs.or("pause_scale_in", false)?,
        paused_scale_out: inputs.or("paused_scale_out", false)? | inputs.or("pause_scale_out", false)?,
        force_activation: inputs.or("force_activation", false)?,
    };
    let ago_ns = |ago: Length| NOW_NS.saturating_sub(ago.ns);
    let current: i32 = inputs.get("current")?;
    let situation = Situation {
        now_ns: NOW_NS,
        current,
        active: inputs.get("active")?,
        failed: inputs.or("error", false)?,
        last_active_ns: inputs.opt("last_active_s_ago")?.map(ago_ns),
        created_ns: inputs.opt("created_s_ago")?.map_or(0, ago_ns),
    };
    let found = request_scale(&spec, &annotations, &situation);
    checks.equal(expect, "replicas", &found.replicas.unwrap_or(current))?;
    checks.equal(expect, "scaled", &found.replicas.is_some())?;
    checks.equal(expect, "active_condition", &found.active.status().to_string())?;
    checks.equal(expect, "active_reason", &found.active.reason().to_string())?;
    checks.equal(expect, "ready_condition", &found.ready.status().to_string())?;
    checks.equal(expect, "last_active_set", &found.is_last_active)?;
    checks.equal(expect, "paused", &annotations.is_paused())
}

pub(super) fn fallback(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let threshold: Option<i32> = inputs.opt("threshold")?;
    let replicas: Option<i32> = inputs.opt("fallback_replicas")?;
    let behavior = behaviour(inputs, "behaviour")?;
    let settings = match (threshold, replicas) {
        (Some(failure_threshold), Some(replicas)) => Some(Fallback { failure_threshold, replicas, behavior }),
        (None, None) => None,
        (None, Some(_)) => return Err(format!("{}: is missing", inputs.at("threshold"))),
        (Some(_), None) => return Err(format!("{}: is missing", inputs.at("fallback_replicas"))),
    };
    let target = match (inputs.opt::<f64>("target_average")?, inputs.opt::<f64>("target_value")?) {
        (Some(target), None) => FallbackTarget { target, is_total: false },
        (None, Some(target)) => FallbackTarget { target, is_total: true },
        (None, None) => return Err(format!("{}: is missing", inputs.at("target_average"))),
        (Some(_), Some(_)) => {
            return Err(format!("{}: there is a target_average already", inputs.at("target_value")));
        }
    };
    // A value is what the trigger gave; without one it failed.
    let reading = match inputs.opt::<f64>("value")? {
        Some(value) => Reading::Measured(Measured { value, active: true }),
        None => Reading::Failed { message: "some error".to_string() },
    };
    let mut health = Health { failures: inputs.or("failures_before", 0)? };
    let current: i32 = inputs.or("current", 0)?;
    let ready: i32 = inputs.or("ready", current)?;
    let found = answer(&mut health, &reading, settings.as_ref(), target, current, ready);
    let value_milli = match found {
        Answer::Measured { value_milli, .. } | Answer::Fallback { value_milli } => Some(value_milli),
        Answer::Failed { .. } | Answer::Nil => None,
    };
    match (expect.opt::<f64>("metric")?, value_milli) {
        (Some(_), Some(value_milli)) => {
            checks.near(expect, "metric", value_milli as f64 / 1000.0, None)?;
        }
        (Some(expected), None) => {
            checks.fault(format!("{}: expected {expected}, got {found:?}", expect.at("metric")));
        }
        (None, Some(value_milli)) => {
            let value = value_milli as f64 / 1000.0;
            checks.fault(format!("{}: expected an error, got {value}", expect.at("metric")));
        }
        (None, None) => {}
    }
    checks.equal(expect, "fallback_active", &matches!(found, Answer::Fallback { .. }))?;
    checks.equal(expect, "failures_after", &health.failures)
}
