//! The kinds that the world keeps, each with its store.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service as CoreService,
    ServiceAccount,
};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use windtunnel_api::gateway_api::{Gateway, GatewayClass, HttpRoute};
use windtunnel_api::istio::VirtualService;
use windtunnel_api::keda::{ClusterTriggerAuthentication, ScaledObject, TriggerAuthentication};
use windtunnel_api::knative::{Configuration, Revision, Route, Service};
use windtunnel_api::kserve::{
    ClusterServingRuntime, ClusterStorageContainer, InferenceGraph, InferenceService, LocalModelCache,
    LocalModelNamespaceCache, LocalModelNode, LocalModelNodeGroup, ServingRuntime, TrainedModel,
};
use windtunnel_api::opentelemetry::OpenTelemetryCollector;

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

        impl Object {
            /// Takes away what no reconciler reads and what is large: who set which field.
            pub(crate) fn trimmed(mut self) -> Self {
                match &mut self {
                    $(Self::$kind(object) => object.meta_mut().managed_fields = None,)*
                }
                self
            }

            /// Its metadata.
            #[must_use]
            pub fn metadata(&self) -> &ObjectMeta {
                match self {
                    $(Self::$kind(object) => object.meta(),)*
                }
            }

            /// An object of a kind from JSON.
            ///
            /// # Errors
            /// The first field of the wrong type.
            pub fn from_json(kind: Kind, value: Value) -> Result<Self, serde_json::Error> {
                match kind {
                    $(Kind::$kind => serde_json::from_value::<$kind>(value).map(Kept::wrap),)*
                }
            }

            /// The whole object as JSON, with `apiVersion` and `kind`.
            #[must_use]
            pub fn to_json(&self) -> Value {
                let (mut value, api_version, kind) = match self {
                    $(Self::$kind(object) => (
                        serde_json::to_value(&**object).unwrap_or_default(),
                        <$kind as Resource>::api_version(&()),
                        <$kind as Resource>::kind(&()),
                    ),)*
                };
                value["apiVersion"] = Value::from(&*api_version);
                value["kind"] = Value::from(&*kind);
                value
            }
        }

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
                $(Kind::$kind => remove_one::<$kind>(world, key),)*
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

        /// Evaluates an expression with the typed object inside of an [`Object`]: `with_object!(object, inner => …)`.
        macro_rules! with_object {
            ($value:expr, $inner:ident => $body:expr) => {
                match $value {
                    $($crate::world::Object::$kind($inner) => $body,)*
                }
            };
        }
        pub(crate) use with_object;
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
    Secret, secrets, namespaced, "core Secret";
    ServiceAccount, service_accounts, namespaced, "core ServiceAccount";
    ClusterStorageContainer, storage_containers, cluster, "`serving.kserve.io` ClusterStorageContainer";
    TrainedModel, trained_models, namespaced, "`serving.kserve.io` TrainedModel";
    InferenceGraph, inference_graphs, namespaced, "`serving.kserve.io` InferenceGraph";
    LocalModelCache, local_models, cluster, "`serving.kserve.io` LocalModelCache";
    LocalModelNamespaceCache, namespace_models, namespaced, "`serving.kserve.io` LocalModelNamespaceCache";
    LocalModelNodeGroup, node_groups, cluster, "`serving.kserve.io` LocalModelNodeGroup";
    LocalModelNode, model_nodes, cluster, "`serving.kserve.io` LocalModelNode";
    Node, nodes, cluster, "core Node";
    PersistentVolume, persistent_volumes, cluster, "core PersistentVolume";
    PersistentVolumeClaim, persistent_volume_claims, namespaced, "core PersistentVolumeClaim";
    HorizontalPodAutoscaler, autoscalers, namespaced, "`autoscaling` HorizontalPodAutoscaler";
    Ingress, ingresses, namespaced, "`networking.k8s.io` Ingress";
    IngressClass, ingress_classes, cluster, "`networking.k8s.io` IngressClass";
    GatewayClass, gateway_classes, cluster, "`gateway.networking.k8s.io` GatewayClass";
    Gateway, gateways, namespaced, "`gateway.networking.k8s.io` Gateway";
    HttpRoute, http_routes, namespaced, "`gateway.networking.k8s.io` HTTPRoute";
    ScaledObject, scaled_objects, namespaced, "`keda.sh` ScaledObject";
    TriggerAuthentication, trigger_authentications, namespaced, "`keda.sh` TriggerAuthentication";
    ClusterTriggerAuthentication, cluster_trigger_authentications, cluster, "`keda.sh` ClusterTriggerAuthentication";
    VirtualService, virtual_services, namespaced, "`networking.istio.io` VirtualService";
    OpenTelemetryCollector, collectors, namespaced, "`opentelemetry.io` OpenTelemetryCollector";
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
    let before = store.insert(key.clone(), Arc::new(object));
    if let Some(before) = before {
        world.index.forget(K::KIND, &key, before.meta());
    }
    if let Some(after) = K::store(world).get(&key).cloned() {
        world.index.note(K::KIND, &key, after.meta());
    }
    true
}

fn remove_one<K: Kept>(world: &mut World, key: &ObjectKey) -> bool {
    let Some(gone) = K::store_mut(world).remove(key) else { return false };
    world.index.forget(K::KIND, key, gone.meta());
    true
}
