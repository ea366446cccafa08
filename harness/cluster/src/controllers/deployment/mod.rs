//! The Deployment controller.
//!
//! A Deployment owns one ReplicaSet a pod template. The controller finds (or makes) the one of the present
//! template, moves replicas between it and the old ones as the strategy says, keeps revisions and writes the
//! status. One call does one step; the change it makes leads to the next call.

mod bounds;
mod fleet;
mod revision;
mod rollback;
mod rolling;
mod scaling;
mod status;

use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use serde_json::{Value, json};

pub use bounds::{Bounds, resolve};
pub(crate) use fleet::{normal_template, owner};
pub use revision::template_hash;

use crate::{
    controllers::pods,
    effect::{Effect, Note, Outcome, merge_patch},
    world::{Key, Kind, World, is_controlled_by},
};
use fleet::Fleet;
use status::NewReplicaSet;

/// Component name in events.
pub(crate) const COMPONENT: &str = "deployment-controller";
/// Label and name suffix that tell the ReplicaSets of a Deployment apart.
pub const TEMPLATE_HASH: &str = "pod-template-hash";
/// Annotation with the revision number.
pub const REVISION: &str = "deployment.kubernetes.io/revision";

/// Decides for one Deployment.
#[must_use]
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let Some(deployment) = world.deployments.get(key) else { return outcome };
    let mut fleet = Fleet::gather(world, deployment);
    if deployment.metadata.deletion_timestamp.is_some() {
        return finish(&fleet, NewReplicaSet::Known, outcome, now);
    }
    fleet.adopt(&mut outcome);

    if paused(deployment) {
        scaling::scale(&mut fleet, &mut outcome);
        revision::remove_history(&fleet, &mut outcome);
        fleet.write(&mut outcome);
        return finish(&fleet, NewReplicaSet::Known, outcome, now);
    }
    if fleet.new_set().is_some() {
        revision::annotate_new(&mut fleet);
    }
    if let Some(revision) = rollback::asked(&fleet) {
        rollback::roll_back(&fleet, revision, &mut outcome);
        fleet.write(&mut outcome);
        return outcome;
    }
    if scaling::is_scaling_event(&fleet) {
        scaling::scale(&mut fleet, &mut outcome);
        fleet.write(&mut outcome);
        return finish(&fleet, NewReplicaSet::Known, outcome, now);
    }
    let mut new = NewReplicaSet::Known;
    if recreates(deployment) {
        for old in fleet.old_indices() {
            rolling::scale_set(&mut fleet, old, 0, &mut outcome);
        }
        if !old_pods_run(world, &fleet) {
            new = bring_new(&mut fleet, world, &mut outcome);
        }
    } else {
        new = bring_new(&mut fleet, world, &mut outcome);
        if fleet.new_set().is_some() && !rolling::scale_new(&mut fleet, &mut outcome) {
            rolling::scale_old(&mut fleet, &mut outcome);
        }
    }
    if status::is_complete(&fleet) {
        revision::remove_history(&fleet, &mut outcome);
    }
    fleet.write(&mut outcome);
    finish(&fleet, new, outcome, now)
}

/// Makes the ReplicaSet of the present template if there is none, and (for `Recreate`) fills it.
fn bring_new(fleet: &mut Fleet<'_>, world: &World, outcome: &mut Outcome) -> NewReplicaSet {
    let new = match fleet.new_set() {
        Some(_) => NewReplicaSet::Known,
        None => revision::create_new(fleet, world, outcome),
    };
    if recreates(fleet.deployment) && fleet.new_set().is_some() {
        let wanted = fleet.wanted();
        let index = fleet.new_index;
        if let Some(index) = index {
            rolling::scale_set(fleet, index, wanted, outcome);
        }
    }
    new
}

fn finish(fleet: &Fleet<'_>, new: NewReplicaSet, mut outcome: Outcome, now: Timestamp) -> Outcome {
    let (status, requeue_after) = status::status(fleet, &new, now);
    if let Some(delay) = requeue_after {
        outcome.requeue(delay);
    }
    // Writing the annotation with the status leaves the Deployment's generation alone.
    let mut patch = json!({});
    if let Some(revision) = revision::new_revision(fleet) {
        patch["metadata"] = json!({"annotations": {REVISION: revision}});
    }
    let before = as_value(fleet.deployment.status.as_ref());
    if let Some(change) = merge_patch(&before, &as_value(Some(&status))) {
        patch["status"] = change;
    }
    if patch.as_object().is_some_and(|patch| !patch.is_empty()) {
        outcome.push(Effect::Patch { kind: Kind::Deployment, key: fleet.key(), status: true, patch });
    }
    outcome
}

fn as_value<T: serde::Serialize>(status: Option<&T>) -> Value {
    status.and_then(|status| serde_json::to_value(status).ok()).unwrap_or_else(|| json!({}))
}

fn paused(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false)
}

fn recreates(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// Whether a pod of an old ReplicaSet still runs; `Recreate` waits for them.
fn old_pods_run(world: &World, fleet: &Fleet<'_>) -> bool {
    let key = fleet.key();
    fleet.old_sets().any(|set| {
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        world
            .pods
            .in_namespace(&key.namespace)
            .any(|(_, pod)| is_controlled_by(&pod.metadata, uid) && !pods::is_finished(pod))
    })
}

/// An Event about the Deployment.
fn note(deployment: &Deployment, warning: bool, reason: &str, message: String) -> Effect {
    Effect::Report(Note {
        kind: Kind::Deployment,
        key: Key::of(&deployment.metadata),
        uid: deployment.metadata.uid.clone().unwrap_or_default(),
        field_path: String::new(),
        warning,
        reason: reason.to_owned(),
        action: String::new(),
        message,
        component: COMPONENT,
    })
}
