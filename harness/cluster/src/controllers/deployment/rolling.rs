//! The rolling update: how many pods the new ReplicaSet may have now and how many the old ones must give up.

use super::{
    bounds::Bounds,
    fleet::{self, Fleet},
    note, recreates, scaling,
};
use crate::effect::Outcome;

/// Moves the new ReplicaSet towards the wanted number within the surge; returns whether it moved.
pub(super) fn scale_new(fleet: &mut Fleet<'_>, outcome: &mut Outcome) -> bool {
    let Some(index) = fleet.new_index else { return false };
    let present = fleet::size(&fleet.members[index].set);
    let next = if present > fleet.wanted() { fleet.wanted() } else { new_size(fleet, present) };
    scale_set(fleet, index, next, outcome) && next != present
}

/// How many replicas the new ReplicaSet, which has `present`, may have now.
pub(super) fn new_size(fleet: &Fleet<'_>, present: i32) -> i32 {
    let wanted = fleet.wanted();
    if recreates(fleet.deployment) {
        return wanted;
    }
    let room = (wanted + Bounds::of(fleet.deployment).surge - fleet.total()).max(0);
    present + room.min((wanted - present).max(0))
}

/// Takes pods from old ReplicaSets: first those that do not work anyway, then as many as availability allows.
pub(super) fn scale_old(fleet: &mut Fleet<'_>, outcome: &mut Outcome) {
    let Some(new) = fleet.new_set() else { return };
    if fleet.old_sets().map(fleet::size).sum::<i32>() == 0 {
        return;
    }
    let least_available = fleet.wanted() - Bounds::of(fleet.deployment).unavailable;
    let new_unavailable = fleet::size(new) - fleet::available(new);
    let mut allowed = fleet.total() - least_available - new_unavailable;
    if allowed <= 0 {
        return;
    }
    for index in fleet.old_indices() {
        let set = &fleet.members[index].set;
        let broken = fleet::size(set) - fleet::available(set);
        let step = broken.min(allowed);
        if step > 0 {
            let next = fleet::size(set) - step;
            allowed -= step;
            scale_set(fleet, index, next, outcome);
        }
    }
    let mut spare = fleet.available() - least_available;
    for index in fleet.old_indices() {
        let present = fleet::size(&fleet.members[index].set);
        let step = present.min(spare);
        if step > 0 {
            spare -= step;
            scale_set(fleet, index, present - step, outcome);
        }
    }
}

/// Sets a ReplicaSet's size (with the annotations that remember what it was sized for); returns whether anything
/// changed.
pub(super) fn scale_set(fleet: &mut Fleet<'_>, index: usize, next: i32, outcome: &mut Outcome) -> bool {
    let deployment = fleet.deployment;
    let wanted = fleet.wanted();
    let member = &mut fleet.members[index];
    let present = fleet::size(&member.set);
    let annotated = scaling::annotate_size(&mut member.set, wanted, Bounds::of(deployment).surge);
    if present == next {
        return annotated;
    }
    if let Some(spec) = &mut member.set.spec {
        spec.replicas = Some(next);
    }
    let direction = if next > present { "up" } else { "down" };
    let name = member.set.metadata.name.clone().unwrap_or_default();
    outcome.push(note(
        deployment,
        false,
        "ScalingReplicaSet",
        format!("Scaled {direction} replica set {name} from {present} to {next}"),
    ));
    true
}
