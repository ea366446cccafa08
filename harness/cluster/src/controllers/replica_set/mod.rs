//! The ReplicaSet controller: as many pods of a template as are wanted.

mod ranking;
mod status;

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{apps::v1::ReplicaSet, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};
use serde_json::json;

pub use ranking::victims;

use super::{deployment::owner, pods, selector};
use crate::{
    effect::{Effect, Note, Outcome, merge_patch},
    world::{Key, Kind, World, controller_of},
};

/// Component name in events.
pub(crate) const COMPONENT: &str = "replicaset-controller";
/// Pods that one call makes or deletes at most; the next call goes on.
const BURST: usize = 500;
/// Time between attempts while pods can't be created.
const CREATION_RETRY: Duration = Duration::from_secs(1);

/// Decides for one ReplicaSet.
#[must_use]
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let Some(set) = world.replica_sets.get(key) else { return outcome };
    let Some(spec) = &set.spec else { return outcome };
    let owner_key = (Kind::ReplicaSet, key.clone());
    let owned = claim(world, set, &mut outcome);
    let failure = world.pod_creation_failures.get(&owner_key).map(String::as_str);
    let (status, requeue_after) = status::status(set, &owned, failure, now);
    if let Some(delay) = requeue_after {
        outcome.requeue(delay);
    }
    let value = |status: Option<_>| {
        status.and_then(|status| serde_json::to_value(status).ok()).unwrap_or_else(|| json!({}))
    };
    let mut written =
        merge_patch(&value(set.status.as_ref()), &value(Some(&status))).map(|patch| Effect::Patch {
            kind: Kind::ReplicaSet,
            key: key.clone(),
            status: true,
            patch: json!({ "status": patch }),
        });
    // What cannot be created ends the effects, so why comes before the next attempt.
    if failure.is_some() {
        outcome.effects.extend(written.take());
    }
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    if set.metadata.deletion_timestamp.is_none() {
        let active: Vec<&Arc<Pod>> = owned.iter().copied().filter(|pod| pods::is_active(pod)).collect();
        if active.len() < wanted {
            let failed = world.pod_creation_failures.contains_key(&owner_key);
            // While the last attempt failed, one pod is tried at a time.
            let count = if failed { 1 } else { (wanted - active.len()).min(BURST) };
            for _ in 0..count {
                outcome.push(Effect::CreatePod(Box::new(pod_of(set))));
            }
            if failed {
                outcome.requeue(CREATION_RETRY);
            }
        } else if active.len() > wanted {
            for pod in victims(&active, active.len() - wanted, now).into_iter().take(BURST) {
                delete(set, pod, &mut outcome);
            }
        }
    }
    outcome.effects.extend(written);
    outcome
}

/// The set's pods: its own that still match, and matching ones without a controller, which are adopted. Own pods
/// that no longer match are released.
fn claim<'a>(world: &'a World, set: &ReplicaSet, outcome: &mut Outcome) -> Vec<&'a Arc<Pod>> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let Some(spec) = &set.spec else { return Vec::new() };
    let mut owned = Vec::new();
    for (key, pod) in world.pods.in_namespace(namespace) {
        let matches = selector::matches(&spec.selector, pod.metadata.labels.as_ref());
        match controller_of(&pod.metadata) {
            Some(owner) if owner.uid == uid && matches => owned.push(pod),
            Some(owner) if owner.uid == uid => {
                let others: Vec<_> =
                    pod.metadata.owner_references.iter().flatten().filter(|o| o.uid != uid).collect();
                outcome.push(patch_owners(key, &json!(others)));
            }
            Some(_) => {}
            None if matches && set.metadata.deletion_timestamp.is_none() && pods::is_active(pod) => {
                let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
                owners.push(owner(Kind::ReplicaSet, &set.metadata));
                let patch = json!({"metadata": {"ownerReferences": owners}});
                outcome.push(Effect::adopt(set, Kind::Pod, key, patch));
                owned.push(pod);
            }
            None => {}
        }
    }
    owned
}

fn patch_owners(key: &Key, owners: &serde_json::Value) -> Effect {
    Effect::Patch {
        kind: Kind::Pod,
        key: key.clone(),
        status: false,
        patch: json!({"metadata": {"ownerReferences": owners}}),
    }
}

/// A new pod of the set's template.
fn pod_of(set: &ReplicaSet) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let from = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: from.labels,
            annotations: from.annotations,
            finalizers: from.finalizers,
            owner_references: Some(vec![owner(Kind::ReplicaSet, &set.metadata)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

fn delete(set: &ReplicaSet, pod: &Pod, outcome: &mut Outcome) {
    let key = Key::of(&pod.metadata);
    outcome.push(note(set, false, "SuccessfulDelete", format!("Deleted pod: {}", key.name)));
    outcome.push(Effect::Delete { kind: Kind::Pod, key, uid: pod.metadata.uid.clone().unwrap_or_default() });
}

/// An Event about a ReplicaSet.
pub(crate) fn note(set: &ReplicaSet, warning: bool, reason: &str, message: String) -> Effect {
    Effect::Report(Note {
        kind: Kind::ReplicaSet,
        key: Key::of(&set.metadata),
        uid: set.metadata.uid.clone().unwrap_or_default(),
        field_path: String::new(),
        warning,
        reason: reason.to_owned(),
        action: String::new(),
        message,
        component: COMPONENT,
    })
}
