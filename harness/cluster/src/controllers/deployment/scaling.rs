//! Scaling while nothing is rolled out, or in the middle of it (proportionally).

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::{
    bounds::Bounds,
    fleet::{self, Fleet},
    recreates,
    rolling::scale_set,
};
use crate::effect::Outcome;

/// Annotation: the Deployment's replicas when the ReplicaSet was last sized.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// Annotation: the same with the surge.
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

/// Whether a ReplicaSet that has pods was sized for another number of replicas than is wanted now.
pub(super) fn is_scaling_event(fleet: &Fleet<'_>) -> bool {
    let wanted = fleet.wanted();
    fleet
        .members
        .iter()
        .filter(|member| fleet::size(&member.before) > 0)
        .any(|member| annotation(&member.before, DESIRED).is_some_and(|desired| desired != wanted))
}

/// Sizes the ReplicaSets for the wanted number.
pub(super) fn scale(fleet: &mut Fleet<'_>, outcome: &mut Outcome) {
    let wanted = fleet.wanted();
    let active: Vec<usize> =
        (0..fleet.members.len()).filter(|&index| fleet::size(&fleet.members[index].set) > 0).collect();
    let only = match active[..] {
        [] => fleet.new_index.or_else(|| fleet.members.len().checked_sub(1)),
        [one] => Some(one),
        _ => None,
    };
    if let Some(index) = only {
        scale_set(fleet, index, wanted, outcome);
        return;
    }
    // A new ReplicaSet that has all its pods available needs no old ones.
    let saturated = fleet.new_set().is_some_and(|set| {
        fleet::size(set) == wanted
            && annotation(set, DESIRED) == Some(wanted)
            && fleet::available(set) == wanted
    });
    if saturated {
        let new_index = fleet.new_index;
        for index in active.into_iter().filter(|index| Some(*index) != new_index) {
            scale_set(fleet, index, 0, outcome);
        }
        return;
    }
    if recreates(fleet.deployment) || active.is_empty() {
        return;
    }
    scale_in_proportion(fleet, active, outcome);
}

/// Spreads the change over the ReplicaSets in proportion to their sizes; what rounding leaves goes to the biggest.
fn scale_in_proportion(fleet: &mut Fleet<'_>, mut active: Vec<usize>, outcome: &mut Outcome) {
    let wanted = fleet.wanted();
    let allowed = if wanted > 0 { wanted + Bounds::of(fleet.deployment).surge } else { 0 };
    let total: i32 = active.iter().map(|&index| fleet::size(&fleet.members[index].set)).sum();
    let change = allowed - total;
    // Biggest first; among equals the newest when growing, the oldest when shrinking.
    active.sort_by_key(|&index| {
        let size = fleet::size(&fleet.members[index].set);
        let age = i64::try_from(index).unwrap_or(0);
        (-size, if change > 0 { -age } else { age })
    });
    let mut sizes = Vec::with_capacity(active.len());
    let mut given = 0;
    for &index in &active {
        let set = &fleet.members[index].set;
        let size = fleet::size(set);
        let share = if change == 0 { 0 } else { proportion(set, allowed, change, given, fleet) };
        sizes.push(size + share);
        given += share;
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + change - given).max(0);
    }
    for (index, size) in active.into_iter().zip(sizes) {
        scale_set(fleet, index, size, outcome);
    }
}

fn proportion(set: &ReplicaSet, allowed: i32, change: i32, given: i32, fleet: &Fleet<'_>) -> i32 {
    let size = fleet::size(set);
    if size == 0 || change == given {
        return 0;
    }
    let status = fleet.deployment.status.as_ref().and_then(|status| status.replicas);
    let sized_for = annotation(set, MAXIMUM).filter(|&maximum| maximum > 0).or(status).unwrap_or(size).max(1);
    let scaled = (f64::from(size) * f64::from(allowed) / f64::from(sized_for)).round();
    #[expect(clippy::cast_possible_truncation, reason = "replica counts are far below 2^31")]
    let fraction = if allowed == 0 { -size } else { scaled as i32 - size };
    let left = change - given;
    if change > 0 { fraction.min(left) } else { fraction.max(left) }
}

/// Writes what the ReplicaSet is sized for; returns whether that changed.
pub(super) fn annotate_size(set: &mut ReplicaSet, wanted: i32, surge: i32) -> bool {
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (name, value) in [(DESIRED, wanted), (MAXIMUM, wanted + surge)] {
        let value = value.to_string();
        changed |= annotations.get(name) != Some(&value);
        annotations.insert(name.to_owned(), value);
    }
    changed
}

fn annotation(set: &ReplicaSet, name: &str) -> Option<i32> {
    set.metadata.annotations.as_ref()?.get(name)?.parse().ok()
}
