//! The kinds that the world keeps, each with its store.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Pod, Service as CoreService};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use windtunnel_api::knative::{Configuration, Revision, Route, Service};
use windtunnel_api::kserve::{ClusterServingRuntime, InferenceService, ServingRuntime};

use super::{ObjectKey, Store, World};

/// A kind that the world keeps.
pub trait Kept:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
    /// Which kind it is.
    const KIND: Kind;

    /// Its objects.
    fn store(world: &World) -> &Store<Self>;

    /// Its objects, to change.
    fn store_mut(world: &mut World) -> &mut Store<Self>;

    /// An object as one of any kind.
    fn wrap(self) -> Object;

    /// The API of its objects in a namespace; kinds of the cluster have none and ignore it.
    fn api(client: Client, namespace: &str) -> Api<Self>;
}

macro_rules! api {
    (namespaced, $client:ident, $namespace:ident) => {
        Api::namespaced($client, $namespace)
    };
    (cluster, $client:ident, $namespace:ident) => {{
        let _ = $namespace;
        Api::all($client)
    }};
}

macro_rules! kinds {
    ($($kind:ident, $store:ident, $scope:ident, $doc:literal;)*) => {
        /// The kinds that the world keeps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $doc] $kind,)*
        }

        /// An object of any of the kinds.
        #[derive(Clone, Debug)]
        pub enum Object {
            $(#[doc = $doc] $kind(Box<$kind>),)*
        }

        impl Object {
            /// Its kind.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }

            /// Its namespace and name.
            #[must_use]
            pub fn key(&self) -> ObjectKey {
                match self {
                    $(Self::$kind(object) => ObjectKey::of(&**object),)*
                }
            }
        }

        $(
            impl Kept for $kind {
                const KIND: Kind = Kind::$kind;

                fn store(world: &World) -> &Store<Self> {
                    &world.$store
                }

                fn store_mut(world: &mut World) -> &mut Store<Self> {
                    &mut world.$store
                }

                fn wrap(self) -> Object {
                    Object::$kind(Box::new(self))
                }

                fn api(client: Client, namespace: &str) -> Api<Self> {
                    api!($scope, client, namespace)
                }
            }
        )*

        pub(super) fn apply(world: &mut World, object: Object) -> bool {
            match object {
                $(Object::$kind(object) => apply_one::<$kind>(world, *object),)*
            }
        }

        pub(super) fn contains(world: &World, object: &Object) -> bool {
            match object {
                $(Object::$kind(object) => $kind::store(world).contains_key(&ObjectKey::of(&**object)),)*
            }
        }

        pub(super) fn remove(world: &mut World, kind: Kind, key: &ObjectKey) -> bool {
            match kind {
                $(Kind::$kind => $kind::store_mut(world).remove(key).is_some(),)*
            }
        }

        pub(super) fn keys(world: &World, kind: Kind) -> Vec<ObjectKey> {
            match kind {
                $(Kind::$kind => $kind::store(world).keys().cloned().collect(),)*
            }
        }

        /// Calls a generic function with the type of a kind: `with_kind!(kind, K => f::<K>(…))`.
        macro_rules! with_kind {
            ($value:expr, $generic:ident => $body:expr) => {
                match $value {
                    $($crate::world::Kind::$kind => {
                        type $generic = $crate::world::kind_types::$kind;
                        $body
                    })*
                }
            };
        }
        pub(crate) use with_kind;
    };
}

kinds! {
    InferenceService, inference_services, namespaced, "`serving.kserve.io` InferenceService";
    ServingRuntime, serving_runtimes, namespaced, "`serving.kserve.io` ServingRuntime";
    ClusterServingRuntime, cluster_serving_runtimes, cluster, "`serving.kserve.io` ClusterServingRuntime";
    Service, services, namespaced, "`serving.knative.dev` Service";
    Configuration, configurations, namespaced, "`serving.knative.dev` Configuration";
    Revision, revisions, namespaced, "`serving.knative.dev` Revision";
    Route, routes, namespaced, "`serving.knative.dev` Route";
    Deployment, deployments, namespaced, "`apps` Deployment";
    CoreService, core_services, namespaced, "core Service";
    Endpoints, endpoints, namespaced, "core Endpoints";
    Pod, pods, namespaced, "core Pod";
    ConfigMap, config_maps, namespaced, "core ConfigMap";
}

fn apply_one<K: Kept>(world: &mut World, object: K) -> bool {
    let key = ObjectKey::of(&object);
    let store = K::store_mut(world);
    if let Some(old) = store.get(&key) {
        let version = |object: &K| object.resource_version().and_then(|version| version.parse::<u64>().ok());
        let same_object = old.uid() == object.uid();
        if same_object && version(old) >= version(&object) && version(old).is_some() {
            return false;
        }
    }
    store.insert(key, Arc::new(object));
    true
}
