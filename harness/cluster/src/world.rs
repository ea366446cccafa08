//! What controllers see: a value that holds the objects of the cluster, one [`Table`] a kind.
//!
//! A world is fed by watches and by the answers of writes. Both may bring the same object, and the watch may bring
//! an older one after the answer of a write, so a table keeps the newest version (resource versions rise) and
//! remembers which objects are gone (uids are never used twice).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::Arc,
};

use k8s_openapi::api::{
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
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Namespace and name of an object; the namespace is empty for cluster-scoped kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Namespace, empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// Key of a namespaced object.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Key of a cluster-scoped object.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self::new("", name)
    }

    /// Key of the object that has this metadata.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(formatter, "{}", self.name)
        } else {
            write!(formatter, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Calls a macro with the table of kinds: Rust type, table of the world, API version, scope, description.
macro_rules! for_each_kind {
    ($visit:ident) => {
        $visit! {
            Namespace namespaces "v1" cluster "Namespaces, by name.",
            Node nodes "v1" cluster "Nodes, by name.",
            PersistentVolume persistent_volumes "v1" cluster "Volumes, by name.",
            StorageClass storage_classes "storage.k8s.io/v1" cluster "Storage classes, by name.",
            PriorityClass priority_classes "scheduling.k8s.io/v1" cluster "Priority classes, by name.",
            ConfigMap config_maps "v1" namespaced "Certificate authorities (`kube-root-ca.crt`); no other config maps.",
            ServiceAccount service_accounts "v1" namespaced "Service accounts.",
            Pod pods "v1" namespaced "Pods.",
            Service services "v1" namespaced "Services.",
            Endpoints endpoints "v1" namespaced "Endpoints.",
            PersistentVolumeClaim persistent_volume_claims "v1" namespaced "Claims of volumes.",
            EndpointSlice endpoint_slices "discovery.k8s.io/v1" namespaced "Endpoint slices.",
            Deployment deployments "apps/v1" namespaced "Deployments.",
            ReplicaSet replica_sets "apps/v1" namespaced "ReplicaSets.",
            StatefulSet stateful_sets "apps/v1" namespaced "StatefulSets.",
            ControllerRevision controller_revisions "apps/v1" namespaced "Revisions of StatefulSets.",
            Job jobs "batch/v1" namespaced "Jobs.",
            PodDisruptionBudget pod_disruption_budgets "policy/v1" namespaced "Disruption budgets.",
            HorizontalPodAutoscaler horizontal_pod_autoscalers "autoscaling/v2" namespaced "Autoscalers.",
        }
    };
}
pub(crate) use for_each_kind;

/// A kind that a [`World`] holds.
pub trait Stored: Clone + Send + Sync + 'static {
    /// Which kind it is.
    const KIND: Kind;
    /// Its metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// Its table.
    fn table(world: &World) -> &Table<Self>;
    /// Its table, to change it.
    fn table_mut(world: &mut World) -> &mut Table<Self>;
}

macro_rules! is_namespaced {
    (cluster) => {
        false
    };
    (namespaced) => {
        true
    };
}

macro_rules! worlds {
    ($($kind:ident $field:ident $api_version:literal $scope:ident $doc:literal),* $(,)?) => {
        /// The kinds that a world holds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names are Kubernetes' own")]
        pub enum Kind {
            $($kind,)*
        }

        impl Kind {
            /// The kind as it is written in manifests.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }

            /// `apiVersion` of the kind.
            #[must_use]
            pub fn api_version(self) -> &'static str {
                match self {
                    $(Self::$kind => $api_version,)*
                }
            }

            /// The kind as it is written in paths.
            #[must_use]
            pub fn plural(self) -> String {
                match self {
                    $(Self::$kind => stringify!($field),)*
                }
                .replace('_', "")
            }

            /// Whether objects of the kind live in namespaces.
            #[must_use]
            pub fn is_namespaced(self) -> bool {
                match self {
                    $(Self::$kind => is_namespaced!($scope),)*
                }
            }

            /// How many kinds there are.
            pub const COUNT: usize = [$(stringify!($kind)),*].len();
        }

        /// All objects that controllers look at.
        #[derive(Debug, Clone, Default)]
        pub struct World {
            $(#[doc = $doc] pub $field: Table<$kind>,)*
            /// Why the last pod of an owner could not be created, until one could.
            pub pod_creation_failures: BTreeMap<Owner, String>,
            /// The certificate of the cluster's authority (PEM), which every namespace gets.
            pub certificate_authority: Option<String>,
        }
        $(impl Stored for $kind {
            const KIND: Kind = Kind::$kind;
            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn table(world: &World) -> &Table<Self> {
                &world.$field
            }
            fn table_mut(world: &mut World) -> &mut Table<Self> {
                &mut world.$field
            }
        })*
    };
}

for_each_kind!(worlds);

/// An object that owns pods: its kind and key.
pub type Owner = (Kind, Key);

/// How many removed objects a table remembers; far more than writes can be under way.
const GRAVES: usize = 4096;

/// The objects of one kind.
#[derive(Debug, Clone)]
pub struct Table<T> {
    rows: BTreeMap<Key, Arc<T>>,
    /// Uids of objects that are gone, the last [`GRAVES`] of them.
    graves: BTreeSet<String>,
    graves_in_order: VecDeque<String>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), graves: BTreeSet::new(), graves_in_order: VecDeque::new() }
    }
}

/// A change of one row.
#[derive(Debug, Clone)]
pub struct Change<T> {
    /// Whose row.
    pub key: Key,
    /// The row before, if there was one.
    pub old: Option<Arc<T>>,
    /// The row now, if there is one.
    pub new: Option<Arc<T>>,
}

impl<T: Stored> Table<T> {
    /// The object with this key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Arc<T>> {
        self.rows.get(key)
    }

    /// All objects in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<T>)> {
        self.rows.iter()
    }

    /// The objects of one namespace in the order of their names.
    pub fn in_namespace<'a, 'b>(
        &'a self,
        namespace: &'b str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<T>)> + use<'a, 'b, T> {
        self.rows.range(Key::new(namespace, "")..).take_while(move |(key, _)| key.namespace == namespace)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes in an object unless the table has it in the same or a newer version.
    pub fn apply(&mut self, object: Arc<T>) -> Option<Change<T>> {
        let key = Key::of(object.metadata());
        if object.metadata().uid.as_ref().is_some_and(|uid| self.graves.contains(uid)) {
            return None;
        }
        let old = self.rows.get(&key).cloned();
        if let Some(old) = &old
            && version(old.metadata()) >= version(object.metadata())
            && version(object.metadata()) > 0
        {
            return None;
        }
        self.rows.insert(key.clone(), object.clone());
        Some(Change { key, old, new: Some(object) })
    }

    /// Puts an object in place of the row of the same version: what is known of it before the server has said so.
    pub(crate) fn assume(&mut self, object: Arc<T>) -> Option<Change<T>> {
        let key = Key::of(object.metadata());
        let old = self.rows.get(&key)?.clone();
        self.rows.insert(key.clone(), object.clone());
        Some(Change { key, old: Some(old), new: Some(object) })
    }

    /// The object is gone, as a watch or the answer of a deletion says. Versions of it that arrive later (a watch
    /// event on its way, the answer of another write) are ignored.
    pub fn remove(&mut self, metadata: &ObjectMeta) -> Option<Change<T>> {
        self.bury(&Key::of(metadata), metadata.uid.as_deref()?)
    }

    /// As [`Table::remove`], by key and uid.
    pub fn bury(&mut self, key: &Key, uid: &str) -> Option<Change<T>> {
        if self.graves.insert(uid.to_owned()) {
            self.graves_in_order.push_back(uid.to_owned());
            if self.graves_in_order.len() > GRAVES
                && let Some(oldest) = self.graves_in_order.pop_front()
            {
                self.graves.remove(&oldest);
            }
        }
        let row = self.rows.get(key)?;
        if row.metadata().uid.as_deref() != Some(uid) {
            return None;
        }
        let old = self.rows.remove(key);
        Some(Change { key: key.clone(), old, new: None })
    }

    /// After a complete list: removes what the list did not have.
    pub fn retain(&mut self, listed: &BTreeSet<Key>) -> Vec<Change<T>> {
        let gone: Vec<ObjectMeta> = self
            .rows
            .iter()
            .filter(|(key, _)| !listed.contains(*key))
            .map(|(_, row)| row.metadata().clone())
            .collect();
        gone.iter().filter_map(|metadata| self.remove(metadata)).collect()
    }
}

impl World {
    /// A world that holds this object too; for tests and tables.
    #[must_use]
    pub fn with<T: Stored>(mut self, object: T) -> Self {
        T::table_mut(&mut self).apply(Arc::new(object));
        self
    }
}

/// The owner that controls an object.
#[must_use]
pub fn controller_of(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata
        .owner_references
        .as_deref()
        .unwrap_or_default()
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// Whether the object is controlled by the owner with this uid.
#[must_use]
pub fn is_controlled_by(metadata: &ObjectMeta, uid: &str) -> bool {
    controller_of(metadata).is_some_and(|owner| owner.uid == uid)
}

/// The resource version as a number; 0 where there is none.
fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(version: &str, uid: &str) -> Arc<Pod> {
        Arc::new(Pod {
            metadata: ObjectMeta {
                name: Some("p".into()),
                namespace: Some("n".into()),
                uid: Some(uid.into()),
                resource_version: Some(version.into()),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        })
    }

    /// If this fails a controller acts on what it has already changed, and creates pods twice.
    #[test]
    fn an_older_watch_event_does_not_undo_the_answer_of_a_write() {
        let mut table = Table::<Pod>::default();
        assert!(table.apply(pod("7", "a")).is_some());
        assert!(table.apply(pod("5", "a")).is_none());
        assert!(table.apply(pod("7", "a")).is_none());
        assert!(table.apply(pod("10", "a")).is_some());
    }

    /// If this fails a deleted pod comes back for a moment and its replacement is killed.
    #[test]
    fn what_was_deleted_stays_away() {
        let mut table = Table::<Pod>::default();
        table.apply(pod("7", "a"));
        let key = Key::new("n", "p");
        assert!(table.bury(&key, "a").is_some());
        assert!(table.bury(&key, "a").is_none());
        assert!(table.apply(pod("8", "a")).is_none(), "late event of the buried object");
        assert!(table.apply(pod("9", "b")).is_some(), "an object of the same name is another one");
        assert!(table.remove(&pod("10", "a").metadata).is_none(), "the new object stays");
        assert_eq!(table.len(), 1);
        assert!(table.remove(&pod("11", "b").metadata).is_some());
        assert!(table.is_empty());
    }

    /// If this fails objects deleted while a watch was broken live for ever.
    #[test]
    fn a_new_list_removes_what_it_does_not_have() {
        let mut table = Table::<Pod>::default();
        table.apply(pod("7", "a"));
        assert_eq!(table.retain(&BTreeSet::new()).len(), 1);
        assert!(table.is_empty());
    }

    /// If this fails a controller of one namespace sees objects of the next.
    #[test]
    fn namespaces_are_kept_apart() {
        let mut world = World::default();
        for (namespace, name) in [("a", "x"), ("b", "x"), ("b", "y"), ("ba", "z")] {
            let mut other = (*pod("1", name)).clone();
            other.metadata.namespace = Some(namespace.into());
            other.metadata.name = Some(name.into());
            world = world.with(other);
        }
        let names: Vec<&str> = world.pods.in_namespace("b").map(|(key, _)| key.name.as_str()).collect();
        assert_eq!(names, ["x", "y"]);
    }
}
