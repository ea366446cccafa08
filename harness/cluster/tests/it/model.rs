//! A cluster without an API server: carries out effects on a world, so that controllers can be run step by step.

use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::{ConfigMap, Endpoints, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount},
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use windtunnel_cluster::{
    controllers::{deployment, replica_set},
    effect::{Effect, Outcome},
    world::{Key, Kind, Stored, World},
};

/// A world that effects change.
pub(crate) struct Model {
    pub(crate) world: World,
    pub(crate) now: Timestamp,
    version: AtomicU64,
    /// Messages of the events.
    pub(crate) notes: Vec<String>,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            world: World::default(),
            now: Timestamp::from_second(1_800_000_000).expect("a time"),
            version: AtomicU64::new(1),
            notes: Vec::new(),
        }
    }

    /// Puts an object in, as the API server would store it.
    pub(crate) fn create<T: Stored>(
        &mut self,
        mut object: T,
        metadata: impl Fn(&mut T) -> &mut ObjectMeta,
    ) -> Key {
        let number = self.version.fetch_add(1, Ordering::Relaxed);
        let meta = metadata(&mut object);
        meta.uid = Some(format!("uid-{number}"));
        meta.resource_version = Some(number.to_string());
        meta.generation = Some(1);
        meta.namespace.get_or_insert_with(|| "ns".to_owned());
        meta.creation_timestamp = Some(Time(self.now));
        if let (Some(prefix), None) = (&meta.generate_name, &meta.name) {
            meta.name = Some(format!("{prefix}{number:05}"));
        }
        let key = Key::of(meta);
        self.world = std::mem::take(&mut self.world).with(object);
        key
    }

    /// Merges a patch into an object; a change of its specification raises its generation.
    pub(crate) fn patch<T: Stored + Serialize + DeserializeOwned>(&mut self, key: &Key, patch: &Value) {
        let object = T::table(&self.world).get(key).expect("the object").clone();
        let mut value = serde_json::to_value(&*object).expect("JSON");
        let before = value["spec"].clone();
        json_patch::merge(&mut value, patch);
        let number = self.version.fetch_add(1, Ordering::Relaxed);
        value["metadata"]["resourceVersion"] = json!(number.to_string());
        if value["spec"] != before {
            value["metadata"]["generation"] =
                json!(value["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        let object: T = serde_json::from_value(value).expect("the object after the patch");
        let metadata = object.metadata();
        let lets_go = patch["metadata"].get("finalizers").is_some();
        if lets_go
            && metadata.deletion_timestamp.is_some()
            && metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
        {
            self.delete::<T>(key);
            return;
        }
        self.world = std::mem::take(&mut self.world).with(object);
    }

    /// As the API server: an object with finalizers stays and says that it is to go.
    pub(crate) fn delete_gracefully<T: Stored + Serialize + DeserializeOwned>(&mut self, key: &Key) {
        let Some(object) = T::table(&self.world).get(key).cloned() else { return };
        if object.metadata().finalizers.as_ref().is_none_or(Vec::is_empty) {
            self.delete::<T>(key);
        } else {
            self.patch::<T>(key, &json!({"metadata": {"deletionTimestamp": Time(self.now)}}));
        }
    }

    pub(crate) fn delete<T: Stored>(&mut self, key: &Key) {
        let uid = T::table(&self.world).get(key).and_then(|object| object.metadata().uid.clone());
        T::table_mut(&mut self.world).bury(key, &uid.unwrap_or_default());
    }

    fn create_value(&mut self, kind: Kind, mut object: Value) {
        if !kind.is_namespaced() {
            object["metadata"]["namespace"] = json!("");
        }
        fn read<T: DeserializeOwned>(object: Value) -> T {
            serde_json::from_value(object).expect("the object of a creation")
        }
        match kind {
            Kind::ReplicaSet => drop(self.create(read::<ReplicaSet>(object), |o| &mut o.metadata)),
            Kind::StatefulSet => drop(self.create(read::<StatefulSet>(object), |o| &mut o.metadata)),
            Kind::ControllerRevision => {
                drop(self.create(read::<ControllerRevision>(object), |o| &mut o.metadata))
            }
            Kind::Endpoints => drop(self.create(read::<Endpoints>(object), |o| &mut o.metadata)),
            Kind::EndpointSlice => drop(self.create(read::<EndpointSlice>(object), |o| &mut o.metadata)),
            Kind::PersistentVolume => {
                drop(self.create(read::<PersistentVolume>(object), |o| &mut o.metadata))
            }
            Kind::PersistentVolumeClaim => {
                drop(self.create(read::<PersistentVolumeClaim>(object), |o| &mut o.metadata))
            }
            Kind::ServiceAccount => drop(self.create(read::<ServiceAccount>(object), |o| &mut o.metadata)),
            Kind::ConfigMap => drop(self.create(read::<ConfigMap>(object), |o| &mut o.metadata)),
            other => panic!("the model does not create a {other:?}"),
        }
    }

    fn patch_kind(&mut self, kind: Kind, key: &Key, patch: &Value) {
        match kind {
            Kind::ReplicaSet => self.patch::<ReplicaSet>(key, patch),
            Kind::StatefulSet => self.patch::<StatefulSet>(key, patch),
            Kind::ControllerRevision => self.patch::<ControllerRevision>(key, patch),
            Kind::Endpoints => self.patch::<Endpoints>(key, patch),
            Kind::EndpointSlice => self.patch::<EndpointSlice>(key, patch),
            Kind::PersistentVolume => self.patch::<PersistentVolume>(key, patch),
            Kind::PersistentVolumeClaim => self.patch::<PersistentVolumeClaim>(key, patch),
            Kind::ServiceAccount => self.patch::<ServiceAccount>(key, patch),
            Kind::ConfigMap => self.patch::<ConfigMap>(key, patch),
            Kind::Pod => self.patch::<Pod>(key, patch),
            Kind::Deployment => self.patch::<Deployment>(key, patch),
            Kind::Job => self.patch::<Job>(key, patch),
            Kind::PodDisruptionBudget => self.patch::<PodDisruptionBudget>(key, patch),
            other => panic!("the model does not patch a {other:?}"),
        }
    }

    fn delete_kind(&mut self, kind: Kind, key: &Key) {
        match kind {
            Kind::ReplicaSet => self.delete_gracefully::<ReplicaSet>(key),
            Kind::StatefulSet => self.delete_gracefully::<StatefulSet>(key),
            Kind::ControllerRevision => self.delete_gracefully::<ControllerRevision>(key),
            Kind::Endpoints => self.delete_gracefully::<Endpoints>(key),
            Kind::EndpointSlice => self.delete_gracefully::<EndpointSlice>(key),
            Kind::PersistentVolume => self.delete_gracefully::<PersistentVolume>(key),
            Kind::PersistentVolumeClaim => self.delete_gracefully::<PersistentVolumeClaim>(key),
            Kind::ServiceAccount => self.delete_gracefully::<ServiceAccount>(key),
            Kind::ConfigMap => self.delete_gracefully::<ConfigMap>(key),
            Kind::Pod => self.delete_gracefully::<Pod>(key),
            Kind::Deployment => self.delete_gracefully::<Deployment>(key),
            Kind::Job => self.delete_gracefully::<Job>(key),
            Kind::PodDisruptionBudget => self.delete_gracefully::<PodDisruptionBudget>(key),
            other => panic!("the model does not delete a {other:?}"),
        }
    }

    pub(crate) fn carry_out(&mut self, outcome: Outcome) {
        for effect in outcome.effects {
            match effect {
                Effect::CreatePod(pod) => drop(self.create(*pod, |pod: &mut Pod| &mut pod.metadata)),
                Effect::Create { kind, object, .. } => self.create_value(kind, *object),
                Effect::Patch { kind, key, patch, .. } | Effect::Adopt { kind, key, patch, .. } => {
                    self.patch_kind(kind, &key, &patch);
                }
                Effect::Delete { kind, key, .. } => self.delete_kind(kind, &key),
                Effect::Report(note) => self.notes.push(note.message),
                Effect::Tell(note) => {
                    if !self.notes.contains(&note.message) {
                        self.notes.push(note.message);
                    }
                }
                other => panic!("the model has no {other:?}"),
            }
        }
    }

    /// Runs the Deployment and ReplicaSet controllers until they have nothing more to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1000 {
            if !self.step() {
                return;
            }
        }
        panic!("the controllers do not come to rest");
    }

    /// Calls one controller for one object until it has nothing more to do; its events count as something.
    pub(crate) fn run(&mut self, reconcile: fn(&World, &Key, Timestamp) -> Outcome, key: &Key) {
        for _ in 0..100 {
            let mut outcome = reconcile(&self.world, key, self.now);
            outcome
                .effects
                .retain(|effect| !matches!(effect, Effect::Tell(note) if self.notes.contains(&note.message)));
            if outcome.effects.is_empty() {
                return;
            }
            self.carry_out(outcome);
        }
        panic!("the controller does not come to rest");
    }

    /// An object as JSON.
    pub(crate) fn json<T: Stored + Serialize>(&self, key: &Key) -> Value {
        serde_json::to_value(&**T::table(&self.world).get(key).expect("the object")).expect("JSON")
    }

    /// Puts an object in that is written as JSON.
    pub(crate) fn put<T: Stored + DeserializeOwned>(
        &mut self,
        object: Value,
        metadata: impl Fn(&mut T) -> &mut ObjectMeta,
    ) -> Key {
        let object: T = serde_json::from_value(object).expect("an object");
        self.create(object, metadata)
    }

    /// The names of all pods.
    pub(crate) fn pod_names(&self) -> Vec<String> {
        self.world.pods.iter().map(|(key, _)| key.name.clone()).collect()
    }

    /// Calls each controller once for each object; returns whether any had something to do.
    pub(crate) fn step(&mut self) -> bool {
        let mut is_changed = false;
        let deployments: Vec<Key> = self.world.deployments.iter().map(|(key, _)| key.clone()).collect();
        for key in deployments {
            let outcome = deployment::reconcile(&self.world, &key, self.now);
            is_changed |= !outcome.effects.is_empty();
            self.carry_out(outcome);
        }
        let sets: Vec<Key> = self.world.replica_sets.iter().map(|(key, _)| key.clone()).collect();
        for key in sets {
            let outcome = replica_set::reconcile(&self.world, &key, self.now);
            is_changed |= !outcome.effects.is_empty();
            self.carry_out(outcome);
        }
        is_changed
    }

    /// Makes up to `count` pending pods run and be ready.
    pub(crate) fn ready(&mut self, count: usize) {
        let waiting: Vec<Key> = self
            .world
            .pods
            .iter()
            .filter(|(_, pod)| {
                pod.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Running")
            })
            .map(|(key, _)| key.clone())
            .take(count)
            .collect();
        for key in waiting {
            self.patch::<Pod>(
                &key,
                &json!({"status": {"phase": "Running", "conditions":
                    [{"type": "Ready", "status": "True", "lastTransitionTime": Time(self.now)}]}}),
            );
        }
    }

    pub(crate) fn deployment(&self) -> Value {
        let (_, deployment) = self.world.deployments.iter().next().expect("a Deployment");
        serde_json::to_value(&**deployment).expect("JSON")
    }

    /// Wanted replicas of each ReplicaSet by its revision.
    pub(crate) fn sizes(&self) -> Vec<(i64, i32)> {
        let mut sizes: Vec<_> = self
            .world
            .replica_sets
            .iter()
            .map(|(_, set)| {
                let revision = &set.metadata.annotations.as_ref().expect("annotations")[deployment::REVISION];
                let size = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                (revision.parse().expect("a number"), size)
            })
            .collect();
        sizes.sort_unstable();
        sizes
    }
}

/// A Deployment `d` of so many replicas, with this update strategy.
pub(crate) fn deployment_of(replicas: i32, strategy: &Value) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "d", "namespace": "ns"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
            "strategy": strategy,
        },
    }))
    .expect("a Deployment")
}

/// Changes the Deployment's image.
pub(crate) fn change_image(model: &mut Model, image: &str) {
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    model.patch::<Deployment>(&Key::new("ns", "d"), &patch);
}
