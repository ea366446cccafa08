//! What the webhooks look at: the configuration and the objects around those that they review, kept up to date by
//! whoever watches the cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use windtunnel_api::kserve::config::ConfigFault;
use windtunnel_api::kserve::{
    ClusterServingRuntime, ClusterStorageContainer, InferenceService, KserveConfig, LocalModelCache,
    LocalModelNamespaceCache, LocalModelNodeGroup, ServingRuntime,
};
use windtunnel_kernel::profile::Profile;

use crate::world::ObjectKey;

macro_rules! live {
    ($($kind:ident, $field:ident, $doc:literal;)*) => {
        /// A kind of object that webhooks look at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LiveKind {
            $(#[doc = $doc] $kind,)*
        }

        /// An object of one of these kinds.
        #[derive(Clone, Debug)]
        pub enum LiveObject {
            $(#[doc = $doc] $kind(Arc<$kind>),)*
        }

        $(impl From<$kind> for LiveObject {
            fn from(object: $kind) -> Self {
                Self::$kind(Arc::new(object))
            }
        }

        impl From<Arc<$kind>> for LiveObject {
            fn from(object: Arc<$kind>) -> Self {
                Self::$kind(object)
            }
        })*

        /// The configuration and the objects, as last seen.
        #[derive(Clone, Debug, Default)]
        pub struct Cluster {
            /// Which rules apply beyond upstream's.
            pub profile: Profile,
            /// KServe's configuration.
            pub config: Arc<KserveConfig>,
            $(#[doc = $doc] pub $field: BTreeMap<ObjectKey, Arc<$kind>>,)*
            /// The storage containers in order of their names, as the pod webhook wants them.
            containers: Vec<ClusterStorageContainer>,
        }

        impl Cluster {
            /// Takes in an object that was made or changed.
            pub fn apply(&mut self, object: LiveObject) {
                match object {
                    $(LiveObject::$kind(object) => {
                        let key = ObjectKey::of::<$kind>(&object);
                        self.$field.insert(key, object);
                    })*
                }
                self.refresh();
            }

            /// Takes an object out; one that is not there is fine.
            pub fn remove(&mut self, kind: LiveKind, namespace: &str, name: &str) {
                let key = ObjectKey::new(namespace, name);
                match kind {
                    $(LiveKind::$kind => { self.$field.remove(&key); })*
                }
                self.refresh();
            }
        }
    };
}

live! {
    Secret, secrets, "Secret: credentials of downloads.";
    ServiceAccount, service_accounts, "ServiceAccount: names the secrets of its pods.";
    ClusterStorageContainer, storage_containers, "ClusterStorageContainer: downloads some URIs.";
    InferenceService, services, "InferenceService: pods take logger settings from it, caches are kept for it.";
    ServingRuntime, runtimes, "ServingRuntime: priorities must not collide.";
    ClusterServingRuntime, cluster_runtimes, "ClusterServingRuntime: priorities must not collide.";
    LocalModelCache, local_models, "LocalModelCache: services use it.";
    LocalModelNamespaceCache, namespace_models, "LocalModelNamespaceCache: services of its namespace use it.";
    LocalModelNodeGroup, node_groups, "LocalModelNodeGroup: caches name it.";
}

impl Cluster {
    /// The storage containers in order of their names.
    #[must_use]
    pub fn storage_containers(&self) -> &[ClusterStorageContainer] {
        &self.containers
    }

    fn refresh(&mut self) {
        if self.containers.len() != self.storage_containers.len()
            || self.containers.iter().zip(self.storage_containers.values()).any(|(a, b)| a != &**b)
        {
            self.containers = self.storage_containers.values().map(|one| (**one).clone()).collect();
        }
    }
}

/// What the webhooks look at, shared between them and whoever watches the cluster. Reviews read it under a lock
/// that writers hold only while they put one object in.
#[derive(Clone, Debug, Default)]
pub struct LiveConfig(Arc<RwLock<Cluster>>);

impl LiveConfig {
    /// Calls a function with what is known now.
    pub fn read<R>(&self, look: impl FnOnce(&Cluster) -> R) -> R {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<R>(&self, change: impl FnOnce(&mut Cluster) -> R) -> R {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The configuration now.
    #[must_use]
    pub fn get(&self) -> Arc<KserveConfig> {
        self.read(|cluster| Arc::clone(&cluster.config))
    }

    /// Replaces the configuration.
    pub fn set(&self, config: KserveConfig) {
        self.write(|cluster| cluster.config = Arc::new(config));
    }

    /// Takes over the data of the ConfigMap: keys that cannot be used keep their last good values and are told.
    #[must_use = "the faults should reach somebody"]
    pub fn configure(&self, data: &BTreeMap<String, String>) -> Vec<ConfigFault> {
        self.write(|cluster| {
            let (config, faults) = cluster.config.updated(data);
            cluster.config = Arc::new(config);
            faults
        })
    }

    /// Chooses the rules.
    pub fn set_profile(&self, profile: Profile) {
        self.write(|cluster| cluster.profile = profile);
    }

    /// Takes in an object that was made or changed.
    pub fn apply(&self, object: impl Into<LiveObject>) {
        let object = object.into();
        self.write(|cluster| cluster.apply(object));
    }

    /// Takes an object out; one that is not there is fine. Kinds of the cluster have an empty namespace.
    pub fn remove(&self, kind: LiveKind, namespace: &str, name: &str) {
        self.write(|cluster| cluster.remove(kind, namespace, name));
    }
}
