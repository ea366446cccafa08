//! Replica counts of a canary.

use serde_json::Value;
use windtunnel_kernel::rollout::argo::replicas::{
    Counts, ReplicaSet, Versions, approximate_weighted_counts, size,
    traffic_weight_to_replicas as replicas_for,
};
use windtunnel_kernel::rollout::argo::spec::{
    Canary, CanaryScale, RolloutSpec, Step, Strategy, TrafficRouting,
};
use windtunnel_kernel::rollout::argo::status::{Destination, Status, TrafficWeights};
use windtunnel_kernel::rollout::value::IntOrText;

use super::super::check::Checks;
use super::super::fields::{Fields, FromValue};

pub(super) fn approx_weighted_counts(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let (replicas, max_surge) = (inputs.count("replicas")?, inputs.count("max_surge")?);
    let (weight, max_weight) = read_weight(inputs)?;
    let found = approximate_weighted_counts(replicas, weight, max_weight, max_surge);
    check_counts(found, expect, checks)
}

pub(super) fn traffic_weight_to_replicas(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let (weight, max_weight) = read_weight(inputs)?;
    let found = replicas_for(inputs.count("replicas")?, weight, max_weight);
    checks.equal(expect, "replicas", &found)
}

/// A rollout at its only step, which sets the weight (and the canary's scale).
pub(super) fn canary_counts(
    inputs: &Fields<'_>,
    expect: &Fields<'_>,
    checks: &mut Checks,
) -> Result<(), String> {
    let is_routed = inputs.or("traffic_routing", false)?;
    let max_weight = inputs.opt("max_weight")?;
    let canary = Canary {
        steps: vec![Step {
            set_weight: Some(inputs.count("set_weight")?),
            set_canary_scale: inputs
                .opt::<Fields<'_>>("set_canary_scale")?
                .as_ref()
                .map(read_scale)
                .transpose()?,
            ..Step::default()
        }],
        traffic_routing: is_routed
            .then(|| TrafficRouting { max_traffic_weight: max_weight, ..TrafficRouting::default() }),
        max_surge: inputs.nullable::<Amount>("max_surge")?.map(|amount| amount.0),
        max_unavailable: inputs.nullable::<Amount>("max_unavailable")?.map(|amount| amount.0),
        abort_scale_down_delay_seconds: inputs.opt("abort_scale_down_delay_s")?,
        dynamic_stable_scale: inputs.or("dynamic_stable_scale", false)?,
        min_pods_per_replica_set: inputs.opt("min_pods_per_rs")?,
        ..Canary::default()
    };
    let spec = RolloutSpec {
        replicas: Some(inputs.count("replicas")?),
        strategy: Strategy { canary: Some(canary), ..Strategy::default() },
        ..RolloutSpec::default()
    };
    let status = Status {
        stable_hash: "stable".to_string(),
        current_pod_hash: "canary".to_string(),
        current_step_index: Some(0),
        promote_full: inputs.get("promote_full")?,
        abort: inputs.or("abort", false)?,
        ..Status::default()
    };
    let stable = ReplicaSet::new("stable", inputs.count("stable_spec")?, inputs.count("stable_available")?);
    let new = ReplicaSet::new("canary", inputs.count("canary_spec")?, inputs.count("canary_available")?);
    let others = read_older(inputs)?;
    let weights = match (inputs.opt::<i32>("canary_weight")?, inputs.opt::<i32>("stable_weight")?) {
        (None, None) => None,
        (canary, stable) => Some(TrafficWeights {
            canary: Destination { weight: canary.unwrap_or(0), ..Destination::default() },
            stable: Destination { weight: stable.unwrap_or(0), ..Destination::default() },
            ..TrafficWeights::default()
        }),
    };
    let versions = Versions { canary: Some(&new), stable: Some(&stable), others: &others };
    check_counts(size(&spec, &status, &versions, weights.as_ref()).counts, expect, checks)
}

fn check_counts(found: Counts, expect: &Fields<'_>, checks: &mut Checks) -> Result<(), String> {
    checks.equal(expect, "canary", &found.canary)?;
    checks.equal(expect, "stable", &found.stable)
}

fn read_scale(fields: &Fields<'_>) -> Result<CanaryScale, String> {
    let scale = CanaryScale {
        weight: fields.nullable("weight")?,
        replicas: fields.nullable("replicas")?,
        match_traffic_weight: fields.get("match_traffic_weight")?,
    };
    fields.finish()?;
    Ok(scale)
}

/// A weight, and the weight that means everything.
fn read_weight(inputs: &Fields<'_>) -> Result<(i32, i32), String> {
    let (weight, max_weight) = (inputs.count("weight")?, inputs.count("max_weight")?);
    if weight > max_weight {
        return Err(format!("{}: {weight} is over max_weight ({max_weight})", inputs.at("weight")));
    }
    Ok((weight, max_weight))
}

/// `[replicas, available]` of an older version, or a list of them.
fn read_older(inputs: &Fields<'_>) -> Result<Vec<ReplicaSet>, String> {
    let Some(older) = inputs.opt::<Older>("older")? else { return Ok(Vec::new()) };
    let named = |(index, &(replicas, available)): (usize, &(i32, i32))| {
        ReplicaSet::new(&format!("older-{index}"), replicas, available)
    };
    Ok(older.0.iter().enumerate().map(named).collect())
}

struct Older(Vec<(i32, i32)>);

impl<'a> FromValue<'a> for Older {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        let pair = |place: &str, value: &'a Value| match Vec::<i32>::read(place, value)?.as_slice() {
            &[replicas, available] if replicas >= 0 && available >= 0 => Ok((replicas, available)),
            _ => Err(format!("{place}: expected [replicas, available], each at least 0")),
        };
        match value {
            Value::Array(items) if items.iter().any(Value::is_array) => {
                let read = |(index, item)| pair(&format!("{place}[{index}]"), item);
                items.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
            }
            one => Ok(Self(vec![pair(place, one)?])),
        }
    }
}

/// A number, or a text such as `25%`.
struct Amount(IntOrText);

impl<'a> FromValue<'a> for Amount {
    fn read(place: &str, value: &'a Value) -> Result<Self, String> {
        match value {
            Value::String(text) => match text.strip_suffix('%').map(str::parse::<u32>) {
                Some(Ok(_)) => Ok(Self(IntOrText::Text(text.clone()))),
                _ => Err(format!("{place}: {text:?} is no percentage")),
            },
            other => match i32::read(place, other)? {
                number if number < 0 => Err(format!("{place}: expected at least 0, found {number}")),
                number => Ok(Self(IntOrText::Int(number))),
            },
        }
    }
}
