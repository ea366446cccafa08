//! The world that is shared, and which controllers hear of which change.

use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{Endpoints, Namespace, Node, Pod, Service, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tokio::sync::watch;

use super::Queue;
use crate::{
    controllers::{pods, scheduler, selector},
    world::{Change, Key, Stored, World, controller_of},
};

/// The shared world and the queues of those who act on it.
#[derive(Debug)]
pub(crate) struct Store {
    world: RwLock<World>,
    pub(crate) deployments: Arc<Queue>,
    pub(crate) replica_sets: Arc<Queue>,
    pub(crate) endpoints: Arc<Queue>,
    pub(crate) scheduler: Arc<Queue>,
    pub(crate) namespaces: Arc<Queue>,
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
            endpoints: Arc::default(),
            scheduler: Arc::default(),
            namespaces: Arc::default(),
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

    /// Remembers why pods of a ReplicaSet can't be created, or that they can again.
    pub(crate) fn set_creation_failure(&self, key: &Key, failure: Option<String>) {
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        let changed = match failure {
            Some(failure) => {
                world.pod_creation_failures.insert(key.clone(), failure.clone()) != Some(failure)
            }
            None => world.pod_creation_failures.remove(key).is_some(),
        };
        drop(world);
        if changed {
            self.replica_sets.add(key);
        }
    }

    fn change<T: Routed>(&self, change: impl FnOnce(&mut World) -> Option<Change<T>>) {
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(change) = change(&mut world) {
            T::route(self, &world, &change);
        }
    }
}

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

impl Routed for Node {
    fn route(store: &Store, world: &World, _change: &Change<Self>) {
        add_waiting_pods(store, world);
    }
}

impl Routed for Service {
    fn route(store: &Store, _world: &World, change: &Change<Self>) {
        store.endpoints.add(&change.key);
        // The node listens for Services with endpoints, and tells pods their names.
        store.endpoints_changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Routed for Endpoints {
    fn route(store: &Store, _world: &World, change: &Change<Self>) {
        store.endpoints.add(&change.key);
        store.endpoints_changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Routed for Deployment {
    fn route(store: &Store, _world: &World, change: &Change<Self>) {
        store.deployments.add(&change.key);
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

impl Routed for Pod {
    fn route(store: &Store, world: &World, change: &Change<Self>) {
        store.node.add(&change.key);
        let namespace = change.key.namespace.as_str();
        for pod in [&change.old, &change.new].into_iter().flatten() {
            match controller_of(&pod.metadata) {
                Some(owner) => {
                    let key = Key::new(namespace, owner.name.as_str());
                    store.replica_sets.add(&key);
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
                }
            }
            for (key, service) in world.services.in_namespace(namespace) {
                let wanted = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                if wanted.is_some_and(|wanted| selector::has_all(wanted, pod.metadata.labels.as_ref())) {
                    store.endpoints.add(key);
                }
            }
        }
        let frees = |pod: &Option<Arc<Self>>| pod.as_ref().is_none_or(|pod| pods::is_finished(pod));
        match &change.new {
            Some(pod) if scheduler::is_waiting(pod) => store.scheduler.add(&change.key),
            new if frees(new) && !frees(&change.old) => add_waiting_pods(store, world),
            _ => {}
        }
    }
}

/// Room may have become free.
fn add_waiting_pods(store: &Store, world: &World) {
    for (key, _) in world.pods.iter().filter(|(_, pod)| scheduler::is_waiting(pod)) {
        store.scheduler.add(key);
    }
}
