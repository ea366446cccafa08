//! How many canary and stable replicas there should be. Upstream: `utils/replicaset/canary.go`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::value::saturate;
use super::spec::{ProgressThreshold, ProgressUnit, RolloutSpec};
use super::status::{Status, TrafficWeights};
use super::weights::{canary_scale, desired_canary_weight};

/// A ReplicaSet as it is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaSet {
    /// Hash of its pod template: the version.
    pub hash: String,
    /// When it was made, nanoseconds since the Unix epoch.
    pub created_ns: u64,
    /// Its revision: versions are counted, and counted again when they come back.
    pub revision: i64,
    /// Replicas asked for.
    pub spec_replicas: i32,
    /// Replicas that there are.
    pub replicas: i32,
    /// Replicas that are ready.
    pub ready: i32,
    /// Replicas that serve.
    pub available: i32,
}

impl ReplicaSet {
    /// A version of which `available` of `replicas` serve.
    #[must_use]
    pub fn new(hash: &str, replicas: i32, available: i32) -> Self {
        Self {
            hash: hash.to_string(),
            spec_replicas: replicas,
            replicas,
            ready: available,
            available,
            ..Self::default()
        }
    }
}

/// Canary and stable replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Of the canary.
    pub canary: i32,
    /// Of the stable version.
    pub stable: i32,
}

/// Counts, and how they came about. Displays as one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizing {
    /// What to scale to now.
    pub counts: Counts,
    /// What the weight asks for in the end.
    pub desired: Counts,
    /// The weight, or the number of pods where a step gives it.
    pub weight: i32,
    /// All pods together at most; `None` = there is no such limit (traffic routing).
    pub most: Option<i32>,
    /// Pods that must serve at least; `None` = there is no such limit (traffic routing).
    pub least_available: Option<i32>,
}

impl fmt::Display for Sizing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counts, desired, weight, .. } = self;
        write!(f, "weight {weight} -> canary {} stable {}", desired.canary, desired.stable)?;
        if counts != desired {
            write!(f, "; now canary {} stable {}", counts.canary, counts.stable)?;
        }
        match (self.most, self.least_available) {
            (Some(most), Some(least)) => write!(f, " (at most {most} pods, at least {least} serving)"),
            _ => Ok(()),
        }
    }
}

/// The versions of a rollout.
#[derive(Clone, Copy, Debug)]
pub struct Versions<'a> {
    /// The one that is wanted; `None` = it is not there yet.
    pub canary: Option<&'a ReplicaSet>,
    /// The one that was promoted last.
    pub stable: Option<&'a ReplicaSet>,
    /// All others.
    pub others: &'a [ReplicaSet],
}

impl Versions<'_> {
    /// Whether there is a stable version other than the canary.
    #[must_use]
    pub fn has_other_stable(&self) -> bool {
        match (self.canary, self.stable) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(canary), Some(stable)) => canary.hash != stable.hash,
        }
    }
}

/// What the canary's size follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Replicas(i32),
    Weight(i32),
}

/// What the canary's size follows from: everything where the rollout is not between two versions, what a step says,
/// or the weight.
pub(super) fn wanted(spec: &RolloutSpec, status: &Status, versions: &Versions<'_>) -> Wanted {
    if status.promote_full || status.stable_hash.is_empty() || status.is_fully_promoted() {
        return Wanted::Weight(spec.max_weight());
    }
    if let Some(scale) = canary_scale(spec, status) {
        if let Some(replicas) = scale.replicas {
            return Wanted::Replicas(replicas.max(0));
        }
        if let Some(weight) = scale.weight {
            return Wanted::Weight(weight.max(0));
        }
    }
    Wanted::Weight(desired_canary_weight(spec, status, versions))
}

/// The counts of a canary, with or without a traffic router. `weights` = where requests go now.
#[must_use]
pub fn size(
    spec: &RolloutSpec,
    status: &Status,
    versions: &Versions<'_>,
    weights: Option<&TrafficWeights>,
) -> Sizing {
    if spec.is_traffic_routed() {
        traffic_routed(spec, status, versions, weights)
    } else {
        basic(spec, status, versions)
    }
}

/// Replicas for `weight` of `max_weight`, rounded up.
#[must_use]
pub fn traffic_weight_to_replicas(replicas: i32, weight: i32, max_weight: i32) -> i32 {
    let max_weight = i128::from(max_weight.max(1));
    let product = i128::from(weight) * i128::from(replicas);
    saturate(product.div_euclid(max_weight) + i128::from(product.rem_euclid(max_weight) != 0))
}

/// Canary and stable replicas that come nearest to `weight` of `max_weight`.
///
/// They add up to `replicas`, or to one more where a surge is allowed. Of two that are equally near the first of
/// (rounded up of n, down of n, up of n+1, down of n+1) is taken. No version gets none at a weight in between,
/// unless there is but one replica and no surge.
#[must_use]
pub fn approximate_weighted_counts(replicas: i32, weight: i32, max_weight: i32, max_surge: i32) -> Counts {
    if replicas <= 0 {
        return Counts::default();
    }
    let (max_weight, weight) = (max_weight.max(1), weight.clamp(0, max_weight.max(1)));
    let share = f64::from(replicas) * f64::from(weight) / f64::from(max_weight);
    let (up, down) = (share.ceil() as i32, share.floor() as i32);
    // As upstream computes it: rounding decides what counts as a tie.
    let is_tied = |total: f64| (total * (f64::from(weight) / f64::from(max_weight))).fract() == 0.5;
    let zero_allowed = weight == max_weight || weight == 0 || (replicas == 1 && max_surge <= 0);
    let surged = replicas.saturating_add(1);
    let options = [
        (up < replicas || zero_allowed, up, replicas),
        (!is_tied(f64::from(replicas)) && (down != 0 || zero_allowed), down, replicas),
        (max_surge > 0, up, surged),
        (max_surge > 0 && !is_tied(f64::from(surged)) && (down != 0 || zero_allowed), down, surged),
    ];
    let distance = |canary: i32, total: i32| {
        (f64::from(canary) * f64::from(max_weight) / f64::from(total) - f64::from(weight)).abs()
    };
    let mut best: Option<(i32, i32)> = None;
    for &(is_allowed, canary, total) in &options {
        let is_nearer = best
            .is_none_or(|(canary_before, before)| distance(canary, total) < distance(canary_before, before));
        if is_allowed && is_nearer {
            best = Some((canary, total));
        }
    }
    let (canary, total) = best.unwrap_or((0, replicas));
    Counts { canary, stable: total - canary }
}

/// The counts of a canary whose numbers of pods split the requests.
///
/// Upwards the stable version goes first, within surge; downwards old versions go first, then the side that is
/// drained (whose pods that do not serve count as if they did), within what may be unavailable.
fn basic(spec: &RolloutSpec, status: &Status, versions: &Versions<'_>) -> Sizing {
    let replicas = spec.replicas();
    let (max_surge, max_unavailable) = spec.fence_posts();
    let max_weight = spec.max_weight();
    let weight = match wanted(spec, status, versions) {
        Wanted::Weight(weight) => weight,
        Wanted::Replicas(_) => 0,
    };
    let scales_stable = versions.has_other_stable();
    let desired = if scales_stable {
        approximate_weighted_counts(replicas, weight, max_weight, max_surge)
    } else {
        Counts { canary: replicas, stable: 0 }
    };
    let most = replicas.saturating_add(max_surge);
    let least = replicas - max_unavailable;
    let sizing =
        |counts: Counts| Sizing { counts, desired, weight, most: Some(most), least_available: Some(least) };

    let asked = |version: Option<&ReplicaSet>| version.map_or(0, |version| version.spec_replicas.max(0));
    let stable_now = if scales_stable { asked(versions.stable) } else { 0 };
    let canary_now = asked(versions.canary);
    let older = versions.others.iter().map(|old| i64::from(old.spec_replicas.max(0))).sum::<i64>();
    let mut counts = Counts { canary: canary_now, stable: stable_now };
    let mut room = i64::from(most) - older - i64::from(canary_now) - i64::from(stable_now);
    for (count, wanted, is_there) in [
        (&mut counts.stable, desired.stable, scales_stable),
        (&mut counts.canary, desired.canary, versions.canary.is_some()),
    ] {
        if is_there && *count < wanted && room > 0 {
            let added = room.min(i64::from(wanted) - i64::from(*count));
            *count = saturate(i128::from(*count) + i128::from(added));
            room -= added;
        }
    }
    if older > 0 {
        // Those go first, before anything of the canary or the stable version does.
        return sizing(counts);
    }

    let increases = versions.canary.is_none() || desired.canary >= canary_now;
    let scalable = i64::from(replicas_for_scale_down(versions.canary, !increases))
        + i64::from(replicas_for_scale_down(versions.stable, increases));
    if scalable <= i64::from(least) {
        return sizing(counts);
    }
    let spare = saturate(i128::from(scalable - i64::from(least)));
    let limits = Limits { most, least };
    if !increases {
        counts.canary = scaled_down(canary_now, desired.canary, spare, counts.canary);
        (counts.canary, counts.stable) =
            limits.apply((versions.canary, counts.canary), (versions.stable, counts.stable));
    } else if scales_stable {
        counts.stable = scaled_down(stable_now, desired.stable, spare, counts.stable);
        (counts.stable, counts.canary) =
            limits.apply((versions.stable, counts.stable), (versions.canary, counts.canary));
    }
    sizing(counts)
}

/// Replicas that count when something is to be scaled down: no more than serve, unless those that do not serve are
/// to go.
#[must_use]
pub fn replicas_for_scale_down(version: Option<&ReplicaSet>, ignores_availability: bool) -> i32 {
    version.map_or(0, |version| {
        if version.spec_replicas < version.available || ignores_availability {
            version.spec_replicas.max(0)
        } else {
            version.available.max(0)
        }
    })
}

fn scaled_down(now: i32, desired: i32, spare: i32, count: i32) -> i32 {
    if now > desired { desired.max(now.saturating_sub(spare)) } else { count }
}

#[derive(Clone, Copy)]
struct Limits {
    most: i32,
    least: i32,
}

impl Limits {
    /// Takes what is over the most from the version that is not drained, gives back what must serve, and takes the
    /// rest from the one that is drained.
    fn apply(
        self,
        (drained, mut drained_count): (Option<&ReplicaSet>, i32),
        (other, mut other_count): (Option<&ReplicaSet>, i32),
    ) -> (i32, i32) {
        let over = |drained: i32, other: i32| drained.saturating_add(other).saturating_sub(self.most).max(0);
        let Some(other) = other else { return (drained_count, other_count) };
        let drained_available = drained.map_or(0, |version| version.available.min(drained_count));
        other_count -= over(drained_count, other_count);
        let available = drained_available.saturating_add(other.available.min(other_count));
        let lost = other.available.saturating_sub(other_count).max(0);
        let lacking = self.least.saturating_sub(available).max(0);
        other_count = other_count.saturating_add(lost.min(lacking));
        drained_count -= over(drained_count, other_count);
        (drained_count.max(0), other_count.max(0))
    }
}

/// The counts of a canary behind a traffic router: as the weight, or as a step says, and the stable version full.
///
/// With `dynamicStableScale` the stable version is as large as the larger of its weight now and its weight to come;
/// an aborted canary likewise.
fn traffic_routed(
    spec: &RolloutSpec,
    status: &Status,
    versions: &Versions<'_>,
    weights: Option<&TrafficWeights>,
) -> Sizing {
    let (replicas, max_weight) = (spec.replicas(), spec.max_weight());
    let for_weight = |weight: i32| traffic_weight_to_replicas(replicas, weight, max_weight);
    let (weight, shown, mut canary) = match wanted(spec, status, versions) {
        Wanted::Replicas(count) => (0, count, count),
        Wanted::Weight(weight) => (weight, weight, at_least_minimum(spec, for_weight(weight))),
    };
    let mut stable = replicas;
    if spec.is_dynamic() {
        stable = for_weight(max_weight.saturating_sub(weight)).max(0);
        if let Some(weights) = weights {
            stable = stable.max(for_weight(weights.stable.weight));
            if status.abort {
                canary = canary.max(for_weight(weights.canary.weight));
            }
        }
        canary = at_least_minimum(spec, canary);
        stable = at_least_minimum(spec, stable);
    }
    let counts = Counts { canary, stable };
    Sizing { counts, desired: counts, weight: shown, most: None, least_available: None }
}

/// `minPodsPerReplicaSet`, but no more than the rollout has replicas.
fn at_least_minimum(spec: &RolloutSpec, count: i32) -> i32 {
    let minimum = spec.canary().and_then(|canary| canary.min_pods_per_replica_set);
    match minimum {
        Some(minimum) if count != 0 && spec.is_traffic_routed() => count.max(minimum.min(spec.replicas())),
        _ => count,
    }
}

/// Whether enough of a version serve for it to get `desired` replicas' worth of traffic.
#[must_use]
pub fn meets_threshold(
    threshold: Option<ProgressThreshold>,
    version: Option<&ReplicaSet>,
    desired: i32,
) -> bool {
    let Some(version) = version else { return false };
    match threshold.filter(|threshold| threshold.value >= 0) {
        None => desired == version.spec_replicas && desired == version.available,
        Some(ProgressThreshold { unit: ProgressUnit::Pods, value }) => version.available >= value,
        Some(ProgressThreshold { unit: ProgressUnit::Percent, .. }) if desired == 0 => true,
        Some(ProgressThreshold { unit: ProgressUnit::Percent, value }) => {
            let percent = f64::from(version.available) / f64::from(desired) * 100.0;
            percent >= f64::from(value) || (percent - f64::from(value)).abs() <= 1e-10
        }
    }
}

/// Whether canary and stable version are as large as they should be, so that a step is done.
#[must_use]
pub fn are_sized(
    spec: &RolloutSpec,
    status: &Status,
    versions: &Versions<'_>,
    weights: Option<&TrafficWeights>,
) -> bool {
    let counts = size(spec, status, versions, weights).counts;
    let threshold = spec.canary().and_then(|canary| canary.replica_progress_threshold);
    if !meets_threshold(threshold, versions.canary, counts.canary) {
        return false;
    }
    let is_routed = spec.is_traffic_routed();
    let is_created =
        |stable: &ReplicaSet| counts.stable == stable.spec_replicas && counts.stable == stable.replicas;
    if (!is_routed || !spec.is_dynamic()) && !versions.stable.is_some_and(is_created) {
        return false;
    }
    // Without a router, old pods serve as well.
    is_routed || versions.others.iter().all(|old| old.available == 0)
}
