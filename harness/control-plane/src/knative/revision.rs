//! Revision to Deployment and private Service.

use k8s_openapi::api::apps::v1::Deployment;
use windtunnel_api::condition;
use windtunnel_api::knative::{
    Revision, RevisionObservation, deployment_name, deployment_of, private_service_of, revision_status,
};

use super::is_controlled_by;
use crate::autoscaler;
use crate::clock::time;
use crate::effect::{Effect, Effects};
use crate::world::{Kept, Key, ObjectKey, Target, World};

/// What to do for one Revision. Its Deployment is made with the initial scale and never changed here: a
/// revision is immutable, and `spec.replicas` belongs to the autoscaler.
#[must_use]
pub fn reconcile(world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
    let found = world.revisions.get(key);
    let Some(revision) = found.filter(|found| found.metadata.deletion_timestamp.is_none()) else {
        return Effects::new();
    };
    let mut effects = Effects::new();
    let uid = revision.metadata.uid.as_ref();
    let mut observation = RevisionObservation {
        ready_replicas: i32::try_from(autoscaler::ready_pods(world, key)).unwrap_or(i32::MAX),
        ..RevisionObservation::default()
    };
    if let Some(view) = world.scales.get(&Target::Revision(key.clone())) {
        observation.desired_replicas = view.desired;
        observation.active = Some(view.active.clone());
    }
    let deployment = world.deployments.get(&key.sibling(deployment_name(&key.name)));
    match autoscaler::resolve(world, revision) {
        Err(message) => {
            observation.initial_scale = i32::MAX;
            observation.failure = Some(("InvalidAutoscaling".to_owned(), message));
        }
        Ok(config) => {
            let initial = i32::try_from(config.initial_scale).unwrap_or(i32::MAX);
            observation.initial_scale = i32::try_from(config.first_scale()).unwrap_or(i32::MAX);
            match (deployment, deployment_of(revision, initial)) {
                (None, Ok(wanted)) => {
                    let wanted = wanted.wrap();
                    let refusal = world.refusal(&Key::Revision(key.clone()), &wanted);
                    observation.failure =
                        refusal.map(|refusal| (refusal.reason.clone(), refusal.message.clone()));
                    effects.push(Effect::Create(wanted));
                }
                (Some(old), _) if !is_controlled_by(&old.metadata, uid) => return effects,
                (Some(old), Ok(_)) => observation.failure = failure(old),
                (_, Err(message)) => observation.failure = Some(("InvalidPodSpec".to_owned(), message)),
            }
        }
    }
    match world.core_services.get(&key.sibling(revision.endpoints_name())) {
        None => effects.push(Effect::create(private_service_of(revision))),
        Some(old) if is_controlled_by(&old.metadata, uid) => {}
        Some(_) => return effects,
    }
    let mut status = revision_status(revision, &observation);
    condition::stamp(&mut status.conditions, &time(now_ns));
    effects.extend(Effect::status::<Revision, _>(key, revision.status.as_ref(), &status));
    effects
}

/// Reason and message of a Deployment that gets nowhere.
fn failure(deployment: &Deployment) -> Option<(String, String)> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failing = conditions.iter().find(|condition| {
        (condition.type_ == "ReplicaFailure" && condition.status == "True")
            || (condition.type_ == "Progressing" && condition.status == "False")
    })?;
    Some((failing.reason.clone().unwrap_or_default(), failing.message.clone().unwrap_or_default()))
}
