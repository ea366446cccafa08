//! The world that is shared, and which controllers hear of which change.

use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet},
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::Job,
        core::v1::{
            ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service,
            ServiceAccount,
        },
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
        scheduling::v1::PriorityClass,
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tokio::sync::watch;

use super::Queue;
use crate::{
    controllers::{endpoints, job, pods, scheduler, selector},
    world::{Change, Key, Kind, Owner, Stored, World, controller_of, for_each_kind},
};

/// The shared world and the queues of those who act on it.
#[derive(Debug)]
pub(crate) struct Store {
    world: RwLock<World>,
    pub(crate) deployments: Arc<Queue>,
    pub(crate) replica_sets: Arc<Queue>,
    pub(crate) stateful_sets: Arc<Queue>,
    pub(crate) jobs: Arc<Queue>,
    pub(crate) endpoints: Arc<Queue>,
    pub(crate) endpoint_slices: Arc<Queue>,
    pub(crate) scheduler: Arc<Queue>,
    pub(crate) namespaces: Arc<Queue>,
    pub(crate) claims: Arc<Queue>,
    pub(crate) volumes: Arc<Queue>,
    pub(crate) budgets: Arc<Queue>,
    pub(crate) autoscalers: Arc<Queue>,
    pub(crate) node: Arc<Queue>,
    /// Counts changes of Endpoints, for those who wait for one.
    pub(crate) endpoints_changes: watch::Sender<u64>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            world: RwLock::default(),
            deployments: Arc::default(),
            replica_sets: Arc::default(),
            stateful_sets: Arc::default(),
            jobs: Arc::default(),
            endpoints: Arc::default(),
            endpoint_slices: Arc::default(),
            scheduler: Arc::default(),
            namespaces: Arc::default(),
            claims: Arc::default(),
            volumes: Arc::default(),
            budgets: Arc::default(),
            autoscalers: Arc::default(),
            node: Arc::default(),
            endpoints_changes: watch::Sender::new(0),
        }
    }
}

/// A kind whose changes are told to queues.
pub(crate) trait Routed: Stored {
    /// Puts the keys that depend on the change into their queues. `world` is after the change.
    fn route(store: &Store, world: &World, change: &Change<Self>);
}

impl Store {
    /// Looks at the world. `look` must be quick: it holds up changes.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        look(&self.world.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in an object from a watch or the answer of a write.
    pub(crate) fn apply<T: Routed>(&self, object: T) {
        self.change(|world| T::table_mut(world).apply(Arc::new(object)));
    }

    /// An object is gone, as a watch says.
    pub(crate) fn remove<T: Routed>(&self, metadata: &ObjectMeta) {
        self.change(|world| T::table_mut(world).remove(metadata));
    }

    /// An object is gone, as the answer of a deletion says.
    pub(crate) fn bury<T: Routed>(&self, key: &Key, uid: &str) {
        self.change(|world| T::table_mut(world).bury(key, uid));
    }

    /// A watch has a complete list: what is not in it is gone.
    pub(crate) fn retain<T: Routed>(&self, listed: &std::collections::BTreeSet<Key>) {
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        for change in T::table_mut(&mut world).retain(listed) {
            T::route(self, &world, &change);
        }
    }

    /// A binding was accepted: the pod counts as bound before the watch says so.
    pub(crate) fn assume_bound(&self, key: &Key, uid: &str, node: &str) {
        self.change(|world| {
            let old = world.pods.get(key).filter(|pod| pod.metadata.uid.as_deref() == Some(uid))?.clone();
            let mut bound = (*old).clone();
            bound.spec.get_or_insert_default().node_name = Some(node.to_owned());
            world.pods.assume(Arc::new(bound))
        });
    }

    /// Remembers why pods of an owner can't be created, or that they can again.
    pub(crate) fn set_creation_failure(&self, owner: &Owner, failure: Option<String>) {
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        let changed = match failure {
            Some(failure) => {
                world.pod_creation_failures.insert(owner.clone(), failure.clone()) != Some(failure)
            }
            None => world.pod_creation_failures.remove(owner).is_some(),
        };
        drop(world);
        if changed && let Some(queue) = self.queue_of(owner.0.name()) {
            queue.add(&owner.1);
        }
    }

    /// What the namespaces' certificate authority is from now on.
    pub(crate) fn set_certificate_authority(&self, certificate: Option<String>) {
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        world.certificate_authority = certificate;
        for (key, _) in world.namespaces.iter() {
            self.namespaces.add(key);
        }
    }

    /// The queue of the controller that owns pods as an object of this kind.
    fn queue_of(&self, kind: &str) -> Option<&Queue> {
        match kind {
            "ReplicaSet" => Some(&self.replica_sets),
            "StatefulSet" => Some(&self.stateful_sets),
            "Job" => Some(&self.jobs),
            _ => None,
        }
    }

    fn change<T: Routed>(&self, change: impl FnOnce(&mut World) -> Option<Change<T>>) {
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(change) = change(&mut world) {
            T::route(self, &world, &change);
        }
    }
}

macro_rules! dispatch {
    ($($kind:ident $field:ident $api_version:literal $scope:ident $doc:literal),* $(,)?) => {
        impl Store {
            /// Takes in an object from the answer of a write.
            pub(crate) fn apply_value(&self, kind: Kind, object: serde_json::Value) -> serde_json::Result<()> {
                match kind {
                    $(Kind::$kind => self.apply::<$kind>(serde_json::from_value(object)?),)*
                }
                Ok(())
            }

            /// An object of this kind is gone, as the answer of a write says.
            pub(crate) fn bury_kind(&self, kind: Kind, key: &Key, uid: &str) {
                match kind {
                    $(Kind::$kind => self.bury::<$kind>(key, uid),)*
                }
            }
        }
    };
}

for_each_kind!(dispatch);

impl Routed for Namespace {
    fn route(store: &Store, _world: &World, change: &Change<Self>) {
        store.namespaces.add(&change.key);
    }
}

impl Routed for ServiceAccount {
    fn route(store: &Store, _world: &World, change: &Change<Self>) {
        if change.new.is_none() && change.key.name == "default" {
            store.namespaces.add(&Key::cluster(change.key.namespace.as_str()));
        }
    }
}

impl Routed for ConfigMap {
    fn route(store: &Store, _world: &World, change: &Change<Self>) {
        store.namespaces.add(&Key::cluster(change.key.namespace.as_str()));
    }
}

impl Routed for Node {
    fn route(store: &Store, world: &World, change: &Change<Self>) {
        let facts = |node: &Option<Arc<Self>>| {
            node.as_ref().map(|node| {
                let status = node.status.as_ref();
                (
                    node.metadata.labels.clone(),
                    node.spec.clone(),
                    status.and_then(|status| status.allocatable.clone()),
                    status.and_then(|status| status.images.clone()),
                )
            })
        };
        if facts(&change.old) != facts(&change.new) {
            add_waiting_pods(store, world);
        }
    }
}

impl Routed for PriorityClass {
    fn route(_store: &Store, _world: &World, _change: &Change<Self>) {}
}

impl Routed for Service {
    fn route(store: &Store, _world: &World, change: &Change<Self>) {
        store.endpoints.add(&change.key);
        // The node listens for Services with endpoints, and tells pods their names.
        store.endpoints_changes.send_modify(|count| *count = count.wrapping_add(1));
        store.endpoint_slices.add(&change.key);
    }
}

impl Routed for Endpoints {
    fn route(store: &Store, _world: &World, change: &Change<Self>) {
        store.endpoints.add(&change.key);
        store.endpoint_slices.add(&change.key);
        store.endpoints_changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Routed for EndpointSlice {
    fn route(store: &Store, _world: &World, change: &Change<Self>) {
        for slice in [&change.old, &change.new].into_iter().flatten() {
            let labels = slice.metadata.labels.as_ref();
            if let Some(service) = labels.and_then(|labels| labels.get(endpoints::SERVICE_NAME)) {
                store.endpoint_slices.add(&Key::new(change.key.namespace.as_str(), service.as_str()));
            }
        }
    }
}

impl Routed for Deployment {
    fn route(store: &Store, world: &World, change: &Change<Self>) {
        store.deployments.add(&change.key);
        add_budgets(store, world, &change.key.namespace);
    }
}

impl Routed for ReplicaSet {
    fn route(store: &Store, world: &World, change: &Change<Self>) {
        store.replica_sets.add(&change.key);
        for set in [&change.old, &change.new].into_iter().flatten() {
            match controller_of(&set.metadata) {
                Some(owner) => {
                    store.deployments.add(&Key::new(change.key.namespace.as_str(), owner.name.as_str()))
                }
                // An orphan may be adopted by any Deployment of its namespace.
                None => {
                    for (key, _) in world.deployments.in_namespace(&change.key.namespace) {
                        store.deployments.add(key);
                    }
                }
            }
        }
    }
}

impl Routed for StatefulSet {
    fn route(store: &Store, world: &World, change: &Change<Self>) {
        store.stateful_sets.add(&change.key);
        add_budgets(store, world, &change.key.namespace);
    }
}

impl Routed for ControllerRevision {
    fn route(store: &Store, world: &World, change: &Change<Self>) {
        for revision in [&change.old, &change.new].into_iter().flatten() {
            match controller_of(&revision.metadata) {
                Some(owner) => {
                    store.stateful_sets.add(&Key::new(change.key.namespace.as_str(), owner.name.as_str()));
                }
                None => {
                    for (key, _) in world.stateful_sets.in_namespace(&change.key.namespace) {
                        store.stateful_sets.add(key);
                    }
                }
            }
        }
    }
}

impl Routed for Job {
    fn route(store: &Store, world: &World, change: &Change<Self>) {
        store.jobs.add(&change.key);
        if change.new.is_none() {
            // Its pods must be let go.
            for (key, pod) in world.pods.in_namespace(&change.key.namespace) {
                if job::is_tracked(pod) {
                    store.jobs.add(&job::key_of(key, pod));
                }
            }
        }
    }
}

impl Routed for StorageClass {
    fn route(store: &Store, world: &World, _change: &Change<Self>) {
        for (key, _) in world.persistent_volume_claims.iter() {
            store.claims.add(key);
        }
    }
}

impl Routed for PersistentVolume {
    fn route(store: &Store, world: &World, change: &Change<Self>) {
        store.volumes.add(&change.key);
        for volume in [&change.old, &change.new].into_iter().flatten() {
            match volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) {
                Some(claim) => store.claims.add(&Key::new(
                    claim.namespace.as_deref().unwrap_or_default(),
                    claim.name.as_deref().unwrap_or_default(),
                )),
                None => {
                    for (key, _) in world.persistent_volume_claims.iter() {
                        store.claims.add(key);
                    }
                }
            }
        }
    }
}

impl Routed for PersistentVolumeClaim {
    fn route(store: &Store, world: &World, change: &Change<Self>) {
        store.claims.add(&change.key);
        for claim in [&change.old, &change.new].into_iter().flatten() {
            if let Some(volume) = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()) {
                store.volumes.add(&Key::cluster(volume));
            }
        }
        for (key, _) in world.stateful_sets.in_namespace(&change.key.namespace) {
            store.stateful_sets.add(key);
        }
        for (key, pod) in world.pods.in_namespace(&change.key.namespace) {
            if scheduler::is_waiting(pod) && pods::claims(pod).any(|claim| claim == change.key.name) {
                store.scheduler.add(key);
            }
        }
    }
}

impl Routed for PodDisruptionBudget {
    fn route(store: &Store, _world: &World, change: &Change<Self>) {
        store.budgets.add(&change.key);
    }
}

impl Routed for HorizontalPodAutoscaler {
    fn route(store: &Store, _world: &World, change: &Change<Self>) {
        let spec = |autoscaler: &Option<Arc<Self>>| {
            autoscaler.as_ref().map(|autoscaler| (autoscaler.metadata.uid.clone(), autoscaler.spec.clone()))
        };
        // Its status is this controller's own and no reason to look again before the next period.
        if spec(&change.old) != spec(&change.new) {
            store.autoscalers.add(&change.key);
        }
    }
}

impl Routed for Pod {
    fn route(store: &Store, world: &World, change: &Change<Self>) {
        store.node.add(&change.key);
        let namespace = change.key.namespace.as_str();
        for pod in [&change.old, &change.new].into_iter().flatten() {
            match controller_of(&pod.metadata) {
                Some(owner) => {
                    let key = Key::new(namespace, owner.name.as_str());
                    if let Some(queue) = store.queue_of(&owner.kind) {
                        queue.add(&key);
                    }
                    if change.new.is_none()
                        && let Some(set) = world.replica_sets.get(&key)
                        && let Some(deployment) = controller_of(&set.metadata)
                    {
                        // `Recreate` waits for the last old pod.
                        store.deployments.add(&Key::new(namespace, deployment.name.as_str()));
                    }
                }
                None => {
                    for (key, _) in world.replica_sets.in_namespace(namespace) {
                        store.replica_sets.add(key);
                    }
                    for (key, _) in world.stateful_sets.in_namespace(namespace) {
                        store.stateful_sets.add(key);
                    }
                    for (key, _) in world.jobs.in_namespace(namespace) {
                        store.jobs.add(key);
                    }
                }
            }
            if job::is_tracked(pod) {
                store.jobs.add(&job::key_of(&change.key, pod));
            }
            for (key, service) in world.services.in_namespace(namespace) {
                let wanted = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                if wanted.is_some_and(|wanted| selector::has_all(wanted, pod.metadata.labels.as_ref())) {
                    store.endpoints.add(key);
                    store.endpoint_slices.add(key);
                }
            }
            for claim in pods::claims(pod) {
                store.claims.add(&Key::new(namespace, claim));
            }
        }
        add_budgets(store, world, namespace);
        let frees = |pod: &Option<Arc<Self>>| pod.as_ref().is_none_or(|pod| pods::is_finished(pod));
        let labels = |pod: &Option<Arc<Self>>| pod.as_ref().and_then(|pod| pod.metadata.labels.clone());
        let node = |pod: &Option<Arc<Self>>| {
            pod.as_ref().and_then(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone()))
        };
        match &change.new {
            Some(pod) if scheduler::is_waiting(pod) => store.scheduler.add(&change.key),
            new if frees(new) && !frees(&change.old) => add_waiting_pods(store, world),
            // Affinity and spreading look at where labelled pods are.
            _ if node(&change.old) != node(&change.new) || labels(&change.old) != labels(&change.new) => {
                add_choosy_pods(store, world);
            }
            _ => {}
        }
    }
}

/// Budgets of a namespace: which of its pods count may have changed.
fn add_budgets(store: &Store, world: &World, namespace: &str) {
    for (key, _) in world.pod_disruption_budgets.in_namespace(namespace) {
        store.budgets.add(key);
    }
}

/// Pods that are where others are, or are not, may have somewhere to go.
fn add_choosy_pods(store: &Store, world: &World) {
    for (key, pod) in world.pods.iter().filter(|(_, pod)| scheduler::is_waiting(pod)) {
        let spec = pod.spec.as_ref();
        if spec.is_some_and(|spec| spec.affinity.is_some() || spec.topology_spread_constraints.is_some()) {
            store.scheduler.add(key);
        }
    }
}

/// Room may have become free.
fn add_waiting_pods(store: &Store, world: &World) {
    for (key, _) in world.pods.iter().filter(|(_, pod)| scheduler::is_waiting(pod)) {
        store.scheduler.add(key);
    }
}
