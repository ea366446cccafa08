//! Ticks of a canary: the walk of weights, phases, rollbacks.

use serde_json::Value;
use windtunnel_kernel::rollout::flagger::checks::Sample;
use windtunnel_kernel::rollout::flagger::spec::{Analysis, Metric, Reference};
use windtunnel_kernel::rollout::flagger::{
    Canary, CanarySpec, Decision, Effect, Observation, Options, Phase, Routes, Status, Workload,
};
use windtunnel_kernel::rollout::value::Value as Opaque;

use super::super::check::Checks;
use super::super::fields::{Fields, FromValue};

/// One element a tick, from the one that finds the new revision on.
pub(super) fn canary_walk(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let mut analysis = read_analysis(&inputs.get("analysis")?)?;
    let mut seen = released();
    if !inputs.get::<bool>("checks_always_pass")? {
        let name = "request-success-rate".to_string();
        seen.metrics.insert(name.clone(), Sample::Number(0.0));
        analysis.metrics.push(Metric { name, threshold: 99.0, ..Metric::default() });
    }
    let mut canary = initialized("Service", &read_provider(inputs)?, analysis);
    let walk = expect.get::<Vec<i64>>("primary_weights")?.len();
    let after = expect.or::<Vec<String>>("phases_after_walk", Vec::new())?.len();

    let mut weights = Vec::new();
    for _ in 0..walk {
        let decision = canary.step(&seen);
        weights.push(i64::from(decision.routes.primary));
        if decision.phase != Phase::Progressing {
            checks.fault(format!("tick {} is {}, not Progressing", weights.len(), decision.phase));
        }
    }
    let phases: Vec<String> = (0..after).map(|_| canary.step(&seen).phase.to_string()).collect();
    checks.equal(expect, "primary_weights", &weights)?;
    checks.equal(expect, "phases_after_walk", &phases)?;
    checks.equal(expect, "final_primary_weight", &i64::from(canary.routes().primary))
}

/// Routes after each tick that follows the one that finds the new revision.
pub(super) fn canary_walk_mirror(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let analysis = read_analysis(&inputs.get("analysis")?)?;
    let mut canary = initialized("Deployment", &read_provider(inputs)?, analysis);
    let seen = released();
    let _found = canary.step(&seen);
    let rows = expect.get::<Vec<RoutesRow>>("routes")?.len();
    let routes: Vec<RoutesRow> = (0..rows).map(|_| RoutesRow(canary.step(&seen).routes)).collect();
    checks.equal(expect, "routes", &routes)
}

/// `[phase, weight shown]` after each tick, from the one that finds the new revision on.
pub(super) fn phase_trace(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let analysis = read_analysis(&inputs.get("analysis")?)?;
    let mut canary = initialized("Deployment", &read_provider(inputs)?, analysis);
    let seen = released();
    let expected: Vec<TraceRow> = expect.get("trace")?;
    let found: Vec<TraceRow> = expected
        .iter()
        .map(|row| {
            let phase = canary.step(&seen).phase.to_string();
            let weight = i64::from(canary.status().canary_weight);
            TraceRow { phase, weight: row.weight.map(|_| weight) }
        })
        .collect();
    checks.equal(expect, "trace", &found)
}

/// A new revision in the middle of an analysis.
pub(super) fn reset(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let analysis = read_analysis(&inputs.get("analysis")?)?;
    let routes = read_routes(inputs, "routes_before", None)?;
    let status = Status {
        phase: read_phase(inputs, Some(Phase::Progressing))?,
        failed_checks: inputs.or("failedChecks", 0)?,
        iterations: inputs.or("iterations", 0)?,
        canary_weight: routes.canary,
        ..analysed("v2")
    };
    let mut canary = canary("Deployment", &read_provider(inputs)?, analysis).resumed(status, routes);
    let decision = canary.step(&Observation { template: "v3".to_string(), ..released() });
    check_end(&canary, &decision, "routes_after", expect, checks)
}

/// A tick with failed checks.
pub(super) fn rollback(inputs: &Fields<'_>, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    let mut analysis = match inputs.opt::<Fields<'_>>("analysis")? {
        Some(analysis) => read_analysis(&analysis)?,
        None => Analysis { step_weight: 10, max_weight: 50, ..Analysis::default() },
    };
    analysis.threshold = inputs.count("threshold")?;
    let routes = read_routes(inputs, "routes", Some(Routes::PRIMARY))?;
    let status = Status {
        phase: read_phase(inputs, None)?,
        failed_checks: inputs.count("failedChecks")?,
        canary_weight: routes.canary,
        ..analysed("v2")
    };
    let mut canary = canary("Deployment", &read_provider(inputs)?, analysis).resumed(status, routes);
    let decision = canary.step(&released());
    check_end(&canary, &decision, "routes", expect, checks)
}

/// A primary that is not ready while it is promoted.
pub(super) fn promotion_failure(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let analysis = Analysis { step_weight: 10, max_weight: 50, threshold: 10, ..Analysis::default() };
    let routes = read_routes(inputs, "routes", None)?;
    let status = Status { phase: read_phase(inputs, None)?, ..analysed("v2") };
    let mut seen = released();
    seen.primary = Some(match inputs.get::<String>("primary")?.as_str() {
        "ready" => Workload::ready(2),
        "retriable error" => Workload { available: 0, ..Workload::ready(2) },
        "non-retriable error" => {
            let reason = Some("ProgressDeadlineExceeded".to_string());
            Workload { available: 0, progressing_reason: reason, ..Workload::ready(2) }
        }
        other => return Err(format!("{}: {other:?} is not known", inputs.at("primary"))),
    });
    let mut canary = canary("Deployment", &read_provider(inputs)?, analysis).resumed(status, routes);
    let decision = canary.step(&seen);
    check_end(&canary, &decision, "routes", expect, checks)
}

/// What is left of a canary.
fn check_end(
    canary: &Canary,
    decision: &Decision,
    routes: &'static str,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    checks.equal(expect, "phase", &decision.phase.to_string())?;
    checks.equal(expect, "failedChecks", &i64::from(decision.failed_checks))?;
    checks.equal(expect, "iterations", &i64::from(decision.iterations))?;
    checks.equal(expect, "status_canaryWeight", &i64::from(canary.status().canary_weight))?;
    let scaled_down = decision.effects.contains(&Effect::ScaleCanary { replicas: 0 });
    checks.equal(expect, "canary_scaled_to_zero", &scaled_down)?;
    let found = decision.routes;
    checks.equal(expect, routes, &vec![i64::from(found.primary), i64::from(found.canary)])
}

/// A canary of version `v1`, with nothing to release.
fn initialized(kind: &str, provider: &str, analysis: Analysis) -> Canary {
    let mut canary = canary(kind, provider, analysis);
    let _initialized = canary.step(&Observation { template: "v1".to_string(), ..released() });
    canary
}

fn canary(kind: &str, provider: &str, analysis: Analysis) -> Canary {
    let target_ref =
        Reference { kind: kind.to_string(), name: "podinfo".to_string(), ..Reference::default() };
    let spec = CanarySpec {
        provider: provider.to_string(),
        target_ref,
        analysis: Some(analysis),
        ..CanarySpec::default()
    };
    Canary::new("podinfo", "default", spec, Options::default())
}

/// A status in the middle of an analysis of `revision`.
fn analysed(revision: &str) -> Status {
    Status {
        last_applied_spec: revision.to_string(),
        last_promoted_spec: "v1".to_string(),
        ..Status::default()
    }
}

/// Version `v2` is there, and both workloads are ready.
fn released() -> Observation {
    Observation {
        now_ns: 1_000_000_000,
        template: "v2".to_string(),
        primary: Some(Workload::ready(2)),
        canary: Workload::ready(2),
        ..Observation::default()
    }
}

fn read_analysis(fields: &Fields<'_>) -> Result<Analysis, String> {
    let matches = fields.or::<Vec<Anything>>("match", Vec::new())?;
    let analysis = Analysis {
        interval: fields.or("interval", String::new())?,
        iterations: fields.or("iterations", 0)?,
        mirror: fields.or("mirror", false)?,
        mirror_weight: fields.or("mirrorWeight", 0)?,
        max_weight: fields.or("maxWeight", 0)?,
        step_weight: fields.or("stepWeight", 0)?,
        step_weights: fields.or("stepWeights", Vec::new())?,
        step_weight_promotion: fields.or("stepWeightPromotion", 0)?,
        threshold: fields.or("threshold", 0)?,
        primary_ready_threshold: fields.opt("primaryReadyThreshold")?,
        canary_ready_threshold: fields.opt("canaryReadyThreshold")?,
        matches: matches.iter().map(|_| Opaque::Nil).collect(),
        ..Analysis::default()
    };
    fields.finish()?;
    Ok(analysis)
}

fn read_provider(inputs: &Fields<'_>) -> Result<String, String> {
    inputs.or("provider", String::new())
}

/// The phase, which must be there if there is no default.
fn read_phase(inputs: &Fields<'_>, default: Option<Phase>) -> Result<Phase, String> {
    let text = match default {
        None => inputs.get::<String>("phase")?,
        Some(default) => match inputs.opt::<String>("phase")? {
            None => return Ok(default),
            Some(text) => text,
        },
    };
    serde_json::from_value(Value::String(text.clone()))
        .map_err(|_| format!("{}: {text:?} is no phase", inputs.at("phase")))
}

/// `[primary, canary]`, which must be there if there is no default.
fn read_routes(inputs: &Fields<'_>, key: &'static str, default: Option<Routes>) -> Result<Routes, String> {
    let weights = match default {
        None => inputs.get::<Vec<i32>>(key)?,
        Some(default) => match inputs.opt::<Vec<i32>>(key)? {
            None => return Ok(default),
            Some(weights) => weights,
        },
    };
    match weights.as_slice() {
        [primary, canary] if primary.checked_add(*canary) == Some(100) && (0..=100).contains(canary) => {
            Ok(Routes::split(*canary, false))
        }
        _ => Err(format!("{}: expected two weights that add up to 100", inputs.at(key))),
    }
}

/// `[primary, canary, mirrored]`.
#[derive(Debug, PartialEq)]
struct RoutesRow(Routes);

impl<'a> FromValue<'a> for RoutesRow {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        let wrong = || format!("{place}: expected [primary, canary, mirrored]");
        let Value::Array(items) = value else { return Err(wrong()) };
        let [primary, canary, mirrored] = items.as_slice() else { return Err(wrong()) };
        Ok(Self(Routes {
            primary: i32::read(place, primary)?,
            canary: i32::read(place, canary)?,
            mirrored: bool::read(place, mirrored)?,
        }))
    }
}

/// `[phase]` or `[phase, weight]`.
#[derive(Debug, PartialEq)]
struct TraceRow {
    phase: String,
    weight: Option<i64>,
}

impl<'a> FromValue<'a> for TraceRow {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        let wrong = || format!("{place}: expected [phase] or [phase, weight]");
        let Value::Array(items) = value else { return Err(wrong()) };
        let (phase, weight) = match items.as_slice() {
            [phase] => (phase, None),
            [phase, weight] => (phase, Some(i64::read(place, weight)?)),
            _ => return Err(wrong()),
        };
        Ok(Self { phase: String::read(place, phase)?, weight })
    }
}

/// What is not looked into.
struct Anything;

impl<'a> FromValue<'a> for Anything {
    fn read(_: &str, _: &'a Value) -> Result<Self, String> {
        Ok(Self)
    }
}
