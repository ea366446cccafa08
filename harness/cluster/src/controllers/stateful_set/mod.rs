//! The StatefulSet controller: pods with names and volumes of their own, made and updated in their order.

mod claims;
mod revisions;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};
use serde_json::json;

use super::{
    deployment::{owner, resolve},
    pods, selector,
};
use crate::{
    effect::{Effect, Outcome},
    world::{Key, Kind, World, controller_of},
};
use revisions::{Revision, Revisions};

/// Component name in events.
pub(crate) const COMPONENT: &str = "statefulset-controller";
/// Label of a pod with the name of its revision.
const REVISION: &str = "controller-revision-hash";
/// Label of a pod with its own name.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// Label of a pod with its ordinal.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
/// Time between attempts while pods can't be created.
const CREATION_RETRY: Duration = Duration::from_secs(1);

/// A StatefulSet with its pods by ordinal.
struct Fleet<'a> {
    set: &'a StatefulSet,
    spec: &'a StatefulSetSpec,
    pods: BTreeMap<i32, &'a Arc<Pod>>,
    first: i32,
    wanted: i32,
    /// One pod after the other, else all at once.
    ordered: bool,
    revisions: Revisions,
    now: Timestamp,
}

/// Decides for one StatefulSet.
#[must_use]
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let Some(set) = world.stateful_sets.get(key) else { return outcome };
    let Some(spec) = &set.spec else { return outcome };
    let pods = claim(world, set, &mut outcome);
    let in_use: Vec<String> = pods.values().filter_map(|pod| revision_of(pod).cloned()).collect();
    let revisions = revisions::keep(world, set, &in_use, &mut outcome);
    let fleet = Fleet {
        set,
        spec,
        pods,
        first: spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0),
        wanted: spec.replicas.unwrap_or(1),
        ordered: spec.pod_management_policy.as_deref() != Some("Parallel"),
        revisions,
        now,
    };
    if set.metadata.deletion_timestamp.is_none() {
        let failed = world.pod_creation_failures.contains_key(&(Kind::StatefulSet, key.clone()));
        if failed {
            outcome.requeue(CREATION_RETRY);
        }
        for ordinal in fleet.ordinals() {
            claims::retain(
                world,
                set,
                fleet.pods.get(&ordinal).map(|pod| &***pod),
                ordinal,
                false,
                &mut outcome,
            );
        }
        for (ordinal, pod) in fleet.condemned() {
            claims::retain(world, set, Some(pod), ordinal, true, &mut outcome);
        }
        if fleet.bring_up(world, &mut outcome) && fleet.take_down(&mut outcome) {
            fleet.update(&mut outcome);
        }
    }
    let status = fleet.status(&mut outcome);
    if let Some(effect) = Effect::status(&**set, set.status.as_ref(), &status) {
        outcome.push(effect);
    }
    outcome
}

impl Fleet<'_> {
    fn ordinals(&self) -> std::ops::Range<i32> {
        self.first..self.first.saturating_add(self.wanted.max(0))
    }

    /// Pods that are too many, highest ordinal first.
    fn condemned(&self) -> Vec<(i32, &Arc<Pod>)> {
        let ordinals = self.ordinals();
        let pods = self.pods.iter().filter(|(ordinal, _)| !ordinals.contains(ordinal));
        pods.rev().map(|(ordinal, pod)| (*ordinal, *pod)).collect()
    }

    fn minimum_ready_s(&self) -> i32 {
        self.spec.min_ready_seconds.unwrap_or(0)
    }

    /// Whether the pod runs and has been ready for long enough.
    fn is_available(&self, pod: &Pod) -> bool {
        pods::phase(pod) == "Running"
            && pods::available_in(pod, self.minimum_ready_s(), self.now) == Some(Duration::ZERO)
    }

    /// Whether the pod is as it should be and stays.
    fn is_healthy(&self, pod: &Pod) -> bool {
        self.is_available(pod) && !pods::is_terminating(pod)
    }

    /// Makes missing pods and replaces those that have ended; returns whether there was nothing to wait for.
    fn bring_up(&self, world: &World, outcome: &mut Outcome) -> bool {
        for ordinal in self.ordinals() {
            match self.pods.get(&ordinal) {
                None => {
                    let pod = self.pod(ordinal);
                    let name = pod.metadata.name.clone().unwrap_or_default();
                    claims::create(world, self.set, &name, ordinal, outcome);
                    outcome.push(Effect::CreatePod(Box::new(pod)));
                    if self.ordered {
                        return false;
                    }
                }
                Some(pod) if pods::is_finished(pod) && !pods::is_terminating(pod) => {
                    self.delete(pod, outcome);
                    if self.ordered {
                        return false;
                    }
                }
                Some(pod) if self.ordered && !self.is_healthy(pod) => return false,
                Some(_) => {}
            }
        }
        true
    }

    /// Deletes pods that are too many; returns whether there was nothing to wait for.
    fn take_down(&self, outcome: &mut Outcome) -> bool {
        for (_, pod) in self.condemned() {
            if !pods::is_terminating(pod) {
                self.delete(pod, outcome);
            }
            if self.ordered {
                return false;
            }
        }
        true
    }

    /// Deletes pods of an old revision, highest ordinal first, as many at a time as may be unavailable.
    fn update(&self, outcome: &mut Outcome) {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
        let most = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let most = most.map_or(1, |most| resolve(most, self.wanted, true)).max(1);
        let mut unavailable =
            i32::try_from(self.pods.values().filter(|pod| !self.is_healthy(pod)).count()).unwrap_or(i32::MAX);
        for ordinal in self.ordinals().rev().filter(|ordinal| ordinal - self.first >= partition) {
            let Some(pod) = self.pods.get(&ordinal) else { continue };
            if revision_of(pod) == Some(&self.revisions.update.name) || pods::is_terminating(pod) {
                continue;
            }
            let is_down = !self.is_healthy(pod);
            if !is_down && unavailable >= most {
                return;
            }
            self.delete(pod, outcome);
            if !is_down {
                unavailable += 1;
            }
            if unavailable >= most {
                return;
            }
        }
    }

    fn delete(&self, pod: &Pod, outcome: &mut Outcome) {
        let set_name = self.set.metadata.name.as_deref().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let message = format!("delete Pod {name} in StatefulSet {set_name} successful");
        outcome.push(Effect::note(self.set, COMPONENT, false, "SuccessfulDelete", message));
        outcome.push(Effect::delete(pod));
    }

    /// The revision that a new pod with this ordinal gets: what an update has not reached keeps the old one.
    fn revision_for(&self, ordinal: i32) -> &Revision {
        let strategy = self.spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let place = ordinal - self.first;
        let keeps = match strategy.and_then(|strategy| strategy.type_.as_deref()) {
            Some("OnDelete") => false,
            _ => match rolling {
                Some(rolling) => place < rolling.partition.unwrap_or(0),
                None => {
                    let current = self.set.status.as_ref().and_then(|status| status.current_replicas);
                    place < current.unwrap_or(0)
                }
            },
        };
        if keeps { &self.revisions.current } else { &self.revisions.update }
    }

    fn pod(&self, ordinal: i32) -> Pod {
        let revision = self.revision_for(ordinal);
        let template = revision.template.clone();
        let from = template.metadata.unwrap_or_default();
        let name = format!("{}-{ordinal}", self.set.metadata.name.as_deref().unwrap_or_default());
        let mut labels = from.labels.unwrap_or_default();
        labels.insert(REVISION.to_owned(), revision.name.clone());
        labels.insert(POD_NAME.to_owned(), name.clone());
        labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
        let mut spec = template.spec.unwrap_or_default();
        spec.hostname = Some(name.clone());
        spec.subdomain = self.spec.service_name.clone().filter(|name| !name.is_empty());
        claims::mount(self.set, ordinal, &mut spec);
        Pod {
            metadata: ObjectMeta {
                name: Some(name),
                // Upstream leaves the prefix in.
                generate_name: self.set.metadata.name.as_ref().map(|name| format!("{name}-")),
                namespace: self.set.metadata.namespace.clone(),
                labels: Some(labels),
                annotations: from.annotations,
                finalizers: from.finalizers,
                owner_references: Some(vec![owner(Kind::StatefulSet, &self.set.metadata)]),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
            status: None,
        }
    }

    fn status(&self, outcome: &mut Outcome) -> StatefulSetStatus {
        let count = |test: &dyn Fn(&Pod) -> bool| {
            i32::try_from(self.pods.values().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX)
        };
        let is_of = |pod: &Pod, revision: &Revision| {
            revision_of(pod) == Some(&revision.name) && !pods::is_terminating(pod)
        };
        let is_ready = |pod: &Pod| pods::phase(pod) == "Running" && pods::is_ready(pod);
        let Revisions { update, current, collisions } = &self.revisions;
        let replicas = count(&|_| true);
        let ready = count(&is_ready);
        let updated = count(&|pod| is_of(pod, update));
        let (mut current_name, mut of_current) = (current.name.clone(), count(&|pod| is_of(pod, current)));
        let strategy = self.spec.update_strategy.as_ref();
        let rolls = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete");
        if rolls && updated == self.wanted && replicas == self.wanted && ready == self.wanted {
            current_name = update.name.clone();
            of_current = updated;
        }
        for pod in self.pods.values().filter(|pod| pods::phase(pod) == "Running") {
            if let Some(wait) = pods::available_in(pod, self.minimum_ready_s(), self.now)
                && !wait.is_zero()
            {
                outcome.requeue(wait);
            }
        }
        let some = |count: i32| Some(count).filter(|count| *count > 0);
        StatefulSetStatus {
            available_replicas: Some(count(&|pod| self.is_available(pod))),
            collision_count: Some(*collisions),
            conditions: self.set.status.as_ref().and_then(|status| status.conditions.clone()),
            current_replicas: some(of_current),
            current_revision: Some(current_name),
            observed_generation: self.set.metadata.generation,
            ready_replicas: some(ready),
            replicas,
            update_revision: Some(update.name.clone()),
            updated_replicas: some(updated),
        }
    }
}

fn revision_of(pod: &Pod) -> Option<&String> {
    pod.metadata.labels.as_ref()?.get(REVISION)
}

/// The ordinal in a pod's name, if it is a name that the set gives.
fn ordinal_of(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let prefix = set.metadata.name.as_deref()?;
    let text = pod.metadata.name.as_deref()?.strip_prefix(prefix)?.strip_prefix('-')?;
    text.parse().ok().filter(|ordinal: &i32| *ordinal >= 0 && ordinal.to_string() == text)
}

/// The set's pods by ordinal: its own that still match, and matching ones without a controller, which are adopted.
/// Own pods that no longer match are released.
fn claim<'a>(world: &'a World, set: &StatefulSet, outcome: &mut Outcome) -> BTreeMap<i32, &'a Arc<Pod>> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let mut owned = BTreeMap::new();
    let Some(spec) = &set.spec else { return owned };
    for (key, pod) in world.pods.in_namespace(namespace) {
        let Some(ordinal) = ordinal_of(set, pod) else { continue };
        let matches = selector::matches(&spec.selector, pod.metadata.labels.as_ref());
        match controller_of(&pod.metadata) {
            Some(owner) if owner.uid == uid && matches => drop(owned.insert(ordinal, pod)),
            Some(owner) if owner.uid == uid => {
                let others: Vec<_> =
                    pod.metadata.owner_references.iter().flatten().filter(|other| other.uid != uid).collect();
                outcome.push(Effect::Patch {
                    kind: Kind::Pod,
                    key: key.clone(),
                    status: false,
                    patch: json!({"metadata": {"ownerReferences": others}}),
                });
            }
            Some(_) => {}
            None if matches && set.metadata.deletion_timestamp.is_none() && !pods::is_terminating(pod) => {
                let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
                owners.push(owner(Kind::StatefulSet, &set.metadata));
                let patch = json!({"metadata": {"ownerReferences": owners}});
                outcome.push(Effect::adopt(set, Kind::Pod, key, patch));
                owned.insert(ordinal, pod);
            }
            None => {}
        }
    }
    owned
}
