//! Where the steps stand, and the weights that follow. Upstream: `utils/replicaset/canary.go`,
//! `rollout/trafficrouting.go`.

use super::replicas::{ReplicaSet, Versions, meets_threshold, traffic_weight_to_replicas};
use super::spec::{CanaryScale, ExperimentStep, RolloutSpec, Step};
use super::status::Status;

/// The step, and its index. Without steps neither; past the last one only the index.
#[must_use]
pub fn current_step<'a>(spec: &'a RolloutSpec, status: &Status) -> (Option<&'a Step>, Option<i32>) {
    if spec.steps().is_empty() {
        return (None, None);
    }
    let index = status.current_step_index.unwrap_or(0).max(0);
    (usize::try_from(index).ok().and_then(|index| spec.steps().get(index)), Some(index))
}

/// Steps up to and with the current one, latest first; none past the last.
fn steps_back<'a>(spec: &'a RolloutSpec, status: &Status) -> impl Iterator<Item = &'a Step> + use<'a> {
    let count = match current_step(spec, status) {
        (Some(_), Some(index)) => usize::try_from(index).unwrap_or(0) + 1,
        _ => 0,
    };
    spec.steps().iter().take(count).rev()
}

/// The weight that the steps ask for: the latest `setWeight`, 0 before the first one and after an abort, everything
/// past the last step.
#[must_use]
pub fn current_set_weight(spec: &RolloutSpec, status: &Status) -> i32 {
    if status.abort {
        return 0;
    }
    if current_step(spec, status).0.is_none() {
        return spec.max_weight();
    }
    let weight = steps_back(spec, status).find_map(|step| step.set_weight).unwrap_or(0);
    weight.clamp(0, spec.max_weight())
}

/// The `setWeight` before the current step; 0 if there is none.
pub(super) fn previous_set_weight(spec: &RolloutSpec, status: &Status) -> i32 {
    let index = usize::try_from(status.current_step_index.unwrap_or(0)).unwrap_or(0);
    let before = spec.steps().iter().take(index).rev().find_map(|step| step.set_weight);
    before.unwrap_or(0).clamp(0, spec.max_weight())
}

/// The `setCanaryScale` in force. There is none without a traffic router, past the last step, after
/// `matchTrafficWeight`, and after an abort (unless an aborted canary is to be kept).
#[must_use]
pub fn canary_scale(spec: &RolloutSpec, status: &Status) -> Option<CanaryScale> {
    if !spec.is_traffic_routed() || (status.abort && spec.abort_delay().delay_ns.is_some()) {
        return None;
    }
    steps_back(spec, status)
        .find_map(|step| step.set_canary_scale)
        .filter(|scale| !scale.match_traffic_weight)
}

/// The experiment in force: the latest one, also after its step.
pub(super) fn current_experiment<'a>(spec: &'a RolloutSpec, status: &Status) -> Option<&'a ExperimentStep> {
    steps_back(spec, status).find_map(|step| step.experiment.as_ref())
}

/// Whether the background analysis has not come to its step yet.
#[must_use]
pub fn is_before_starting_step(spec: &RolloutSpec, status: &Status) -> bool {
    let start = spec.canary().and_then(|canary| canary.analysis.as_ref()?.starting_step);
    match (start, current_step(spec, status)) {
        (Some(start), (_, Some(index))) => index < start,
        _ => false,
    }
}

/// The weight that the canary should have: as the steps say, and after an abort with `dynamicStableScale` down the
/// steps again, as fast as the stable version grows.
#[must_use]
pub fn desired_canary_weight(spec: &RolloutSpec, status: &Status, versions: &Versions<'_>) -> i32 {
    let (true, Some(canary), Some(stable)) =
        (status.abort && spec.is_dynamic(), versions.canary, versions.stable)
    else {
        return current_set_weight(spec, status);
    };
    let (replicas, max_weight) = (spec.replicas(), spec.max_weight());
    let still_needed = replicas.saturating_sub(stable.available);
    // A canary that is kept for a while after an abort must not hold up the weight: it waits for the stable version.
    let canary_replicas = if spec.abort_delay().is_explicit_delay() {
        still_needed
    } else {
        still_needed.max(canary.available)
    };
    spec.steps()
        .iter()
        .rev()
        .filter_map(|step| step.set_weight)
        .map(|weight| weight.clamp(0, max_weight))
        .find(|&weight| traffic_weight_to_replicas(replicas, weight, max_weight) < canary_replicas)
        .unwrap_or(0)
}

/// The canary's weight on the way back: none at once, or with `dynamicStableScale` no less than the stable version
/// can do without, and never more than now.
#[must_use]
pub fn weight_on_the_way_back(spec: &RolloutSpec, status: &Status, versions: &Versions<'_>) -> i32 {
    let (true, Some(stable), Some(_)) = (spec.is_dynamic(), versions.stable, versions.canary) else {
        return 0;
    };
    let (replicas, max_weight) = (spec.replicas(), spec.max_weight());
    if replicas == 0 {
        return 0;
    }
    let desired = desired_canary_weight(spec, status, versions);
    let covered = share(max_weight, stable.available, replicas);
    let expected = max_weight.saturating_sub(covered).max(0);
    let Some(weights) = &status.weights else { return expected.max(desired).min(max_weight) };
    let now = weights.canary.weight.clamp(0, max_weight);
    if desired <= 0 {
        // A stable pod that restarts must not bring traffic back.
        return expected.min(now);
    }
    if covered < max_weight - desired { now } else { desired.min(now) }
}

/// The canary's weight when everything is promoted at once and the stable version shrinks with it.
pub(super) fn weight_of_available(spec: &RolloutSpec, canary: &ReplicaSet) -> i32 {
    match spec.replicas() {
        0 => 0,
        replicas => share(spec.max_weight(), canary.available, replicas).clamp(0, spec.max_weight()),
    }
}

/// Whether `version` can serve `weight`.
#[must_use]
pub fn can_serve(spec: &RolloutSpec, version: Option<&ReplicaSet>, weight: i32) -> bool {
    let Some(version) = version else { return false };
    let desired = share(spec.replicas(), weight, spec.max_weight());
    let threshold = spec.canary().and_then(|canary| canary.replica_progress_threshold);
    version.available >= desired || meets_threshold(threshold, Some(version), desired)
}

/// `total * part / of`, cut off.
fn share(total: i32, part: i32, of: i32) -> i32 {
    super::super::value::saturate(i128::from(total) * i128::from(part) / i128::from(of.max(1)))
}

/// Whether an update was interrupted to go back to the stable version, which is still too small; and if so, the
/// version that has the canary's share of the traffic.
#[must_use]
pub fn interrupted_version(
    spec: &RolloutSpec,
    status: &Status,
    desired: Option<&ReplicaSet>,
) -> Option<String> {
    if !status.is_fully_promoted() || !spec.is_traffic_routed() || !spec.is_dynamic() {
        return None;
    }
    let serving = &status.weights.as_ref()?.canary.pod_template_hash;
    let desired = desired?;
    (*serving != desired.hash && desired.available < spec.replicas()).then(|| serving.clone())
}
