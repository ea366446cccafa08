//! The objects as last seen, by kind, namespace and name.

mod applied;
mod index;
mod key;
mod kinds;
mod refusals;

/// The types behind [`Kind`], for generic calls.
pub(crate) mod kind_types {
    pub(crate) use k8s_openapi::api::apps::v1::Deployment;
    pub(crate) use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
    pub(crate) use k8s_openapi::api::core::v1::{
        ConfigMap, Endpoints, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret,
        Service as CoreService, ServiceAccount,
    };
    pub(crate) use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
    pub(crate) use windtunnel_api::gateway_api::{Gateway, GatewayClass, HttpRoute};
    pub(crate) use windtunnel_api::istio::VirtualService;
    pub(crate) use windtunnel_api::keda::{
        ClusterTriggerAuthentication, ScaledObject, TriggerAuthentication,
    };
    pub(crate) use windtunnel_api::knative::{Configuration, Revision, Route, Service};
    pub(crate) use windtunnel_api::kserve::{
        ClusterServingRuntime, ClusterStorageContainer, InferenceGraph, InferenceService, LocalModelCache,
        LocalModelNamespaceCache, LocalModelNode, LocalModelNodeGroup, ServingRuntime, TrainedModel,
    };
    pub(crate) use windtunnel_api::opentelemetry::OpenTelemetryCollector;
}

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

pub use applied::Need;
pub use key::{Key, ObjectKey, Target};
pub use kinds::{Kept, Kind, Object};
pub(crate) use kinds::{with_kind, with_object};
pub use refusals::Refusal;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service as CoreService,
    ServiceAccount,
};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use windtunnel_api::gateway_api::{Gateway, GatewayClass, HttpRoute};
use windtunnel_api::istio::VirtualService;
use windtunnel_api::keda::{ClusterTriggerAuthentication, ScaledObject, TriggerAuthentication};
use windtunnel_api::knative::{Configuration, Revision, Route, Service};
use windtunnel_api::kserve::plan::{Capabilities, KubernetesVersion};
use windtunnel_api::kserve::{
    ClusterServingRuntime, ClusterStorageContainer, InferenceGraph, InferenceService, KserveConfig,
    LocalModelCache, LocalModelNamespaceCache, LocalModelNode, LocalModelNodeGroup, ServingRuntime,
    TrainedModel,
};
use windtunnel_api::opentelemetry::OpenTelemetryCollector;
use windtunnel_kernel::Profile;
use windtunnel_kernel::autoscale::kpa::GlobalConfig;
use windtunnel_kernel::rollout::knative::gc;

/// Objects of one kind.
pub type Store<K> = BTreeMap<ObjectKey, Arc<K>>;

/// Everything that the reconcilers look at.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// InferenceServices.
    pub inference_services: Store<InferenceService>,
    /// Runtimes of namespaces.
    pub serving_runtimes: Store<ServingRuntime>,
    /// Runtimes of the cluster (empty namespace).
    pub cluster_serving_runtimes: Store<ClusterServingRuntime>,
    /// Knative Services.
    pub services: Store<Service>,
    /// Knative Configurations.
    pub configurations: Store<Configuration>,
    /// Knative Revisions.
    pub revisions: Store<Revision>,
    /// Knative Routes.
    pub routes: Store<Route>,
    /// Deployments.
    pub deployments: Store<Deployment>,
    /// Services.
    pub core_services: Store<CoreService>,
    /// Endpoints.
    pub endpoints: Store<Endpoints>,
    /// Pods of InferenceServices.
    pub pods: Store<Pod>,
    /// ConfigMaps of the control plane's namespaces, and the copies of its certificate authorities in all others.
    pub config_maps: Store<ConfigMap>,
    /// Secrets: credentials of downloads.
    pub secrets: Store<Secret>,
    /// ServiceAccounts, which name the secrets of their pods.
    pub service_accounts: Store<ServiceAccount>,
    /// What downloads which URIs.
    pub storage_containers: Store<ClusterStorageContainer>,
    /// Models of servers that hold many.
    pub trained_models: Store<TrainedModel>,
    /// InferenceGraphs.
    pub inference_graphs: Store<InferenceGraph>,
    /// Models that nodes keep, for all namespaces.
    pub local_models: Store<LocalModelCache>,
    /// Models that nodes keep, for one namespace.
    pub namespace_models: Store<LocalModelNamespaceCache>,
    /// Groups of nodes that keep models.
    pub node_groups: Store<LocalModelNodeGroup>,
    /// What each node keeps.
    pub model_nodes: Store<LocalModelNode>,
    /// Nodes, while there may be local models.
    pub nodes: Store<Node>,
    /// Volumes, while there may be local models.
    pub persistent_volumes: Store<PersistentVolume>,
    /// Claims, while there may be local models.
    pub persistent_volume_claims: Store<PersistentVolumeClaim>,
    /// HorizontalPodAutoscalers.
    pub autoscalers: Store<HorizontalPodAutoscaler>,
    /// Ingresses.
    pub ingresses: Store<Ingress>,
    /// Classes of Ingresses.
    pub ingress_classes: Store<IngressClass>,
    /// Classes of Gateways.
    pub gateway_classes: Store<GatewayClass>,
    /// Gateways.
    pub gateways: Store<Gateway>,
    /// HTTPRoutes.
    pub http_routes: Store<HttpRoute>,
    /// KEDA's ScaledObjects.
    pub scaled_objects: Store<ScaledObject>,
    /// Where triggers get their secrets.
    pub trigger_authentications: Store<TriggerAuthentication>,
    /// Where triggers of all namespaces get their secrets.
    pub cluster_trigger_authentications: Store<ClusterTriggerAuthentication>,
    /// Istio's VirtualServices, where Istio is.
    pub virtual_services: Store<VirtualService>,
    /// OpenTelemetryCollectors, where the operator is.
    pub collectors: Store<OpenTelemetryCollector>,
    /// Kinds of others that the API server serves; of those that are watched for local models only, those whose objects
    /// are all known.
    pub served: BTreeSet<Kind>,
    /// The version of the API server, if it is known.
    pub kubernetes: Option<KubernetesVersion>,
    /// Whether the definitions of KEDA's kinds are ours.
    pub has_own_keda: bool,
    /// Where the gateway takes requests, as far as anybody can call that.
    pub gateway_address: Option<SocketAddr>,
    /// Upstream as it is, or as it is meant.
    pub profile: Profile,
    /// What each autoscaler thinks.
    pub scales: BTreeMap<Target, ScaleView>,
    applied: applied::Applied,
    refusals: refusals::Refusals,
    index: index::Index,
}

/// What an autoscaler thinks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScaleView {
    /// Status, reason and message of the `Active` condition.
    pub active: (String, String, String),
    /// Replicas that it wants; `None` before its first data.
    pub desired: Option<i32>,
    /// Whether burst capacity is to spare, so that requests need not pass the activator while there are pods.
    pub is_direct: bool,
}

impl World {
    /// A world without objects, for reconcilers that decide in this profile.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self { profile, ..Self::default() }
    }

    /// The objects of a kind.
    #[must_use]
    pub fn store<K: Kept>(&self) -> &Store<K> {
        K::store(self)
    }

    /// Takes an object in, unless a newer version of it is there. True = the world has changed.
    pub fn apply(&mut self, object: Object) -> bool {
        kinds::apply(self, object)
    }

    /// Takes an object in only if the world has an older version of it: the answer to a patch, which must not
    /// bring back what was deleted meanwhile. True = the world has changed.
    pub fn refresh(&mut self, object: Object) -> bool {
        kinds::contains(self, &object) && kinds::apply(self, object)
    }

    /// Takes in an object that was created a moment ago, unless it is gone already. True = the world has changed.
    pub fn note_created(&mut self, object: Object) -> bool {
        !self.applied.is_gone(&object) && kinds::apply(self, object)
    }

    /// The objects of a kind that the object with this UID controls, by name.
    pub fn controlled_by<'a, K: Kept>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a Arc<K>> {
        let keys = self.index.controlled_by(uid).filter(|(kind, _)| *kind == K::KIND);
        keys.filter_map(|(_, key)| K::store(self).get(key))
    }

    /// Kind, namespace and name of everything that the object with this UID controls.
    pub fn all_controlled_by<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = (Kind, &'a ObjectKey)> {
        self.index.controlled_by(uid).map(|(kind, key)| (*kind, key))
    }

    /// The pods of an InferenceService, by name.
    pub fn pods_of<'a>(&'a self, service: &ObjectKey) -> impl Iterator<Item = &'a Arc<Pod>> {
        self.index.pods_of(service).filter_map(|key| self.pods.get(key))
    }

    /// Whether applying this object would change nothing: the same was applied before, and what is there still has
    /// all its fields.
    #[must_use]
    pub fn is_applied(&self, object: &Object) -> bool {
        self.why_apply(object).is_none()
    }

    /// Why this object has to be applied; `None` if applying it would change nothing.
    #[must_use]
    pub fn why_apply(&self, object: &Object) -> Option<Need> {
        self.applied.why(object, |kind, key| self.object(kind, key))
    }

    /// Notes which children the API server has refused in the last try of this work; none clears what was noted. True =
    /// there is something new to tell.
    pub fn note_refusals(&mut self, key: &Key, refused: Vec<Refusal>) -> bool {
        self.refusals.note(key, refused)
    }

    /// Why the API server has refused a child that is still wanted like this.
    #[must_use]
    pub fn refusal(&self, key: &Key, wanted: &Object) -> Option<&Refusal> {
        self.refusals.of(key, wanted)
    }

    /// An object of any kind.
    #[must_use]
    pub fn object(&self, kind: Kind, key: &ObjectKey) -> Option<Object> {
        with_kind!(kind, K => K::store(self).get(key).map(|found| K::clone(found).wrap()))
    }

    /// Notes that `applied` was applied, and what came of it. False if the object is gone meanwhile.
    pub fn note_applied(&mut self, applied: &Object, result: &Object) -> bool {
        self.applied.note(applied, result)
    }

    /// Forgets what was applied of a kind, except these: others are gone.
    pub fn forget_applied_except(&mut self, kind: Kind, is_there: impl Fn(&ObjectKey) -> bool) {
        self.applied.retain(kind, is_there);
    }

    /// Forgets an object.
    pub fn remove(&mut self, kind: Kind, key: &ObjectKey) -> bool {
        let uid = self.object(kind, key).and_then(|object| object.metadata().uid.clone());
        self.applied.forget(kind, key, uid.as_ref());
        kinds::remove(self, kind, key)
    }

    /// The keys of a kind's objects.
    #[must_use]
    pub fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        kinds::keys(self, kind)
    }

    /// Which kinds of others there are.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        let served = |kind| self.served.contains(&kind);
        Capabilities {
            gateway_api: served(Kind::HttpRoute),
            knative: served(Kind::Service),
            keda: served(Kind::ScaledObject),
            istio: served(Kind::VirtualService),
            opentelemetry: served(Kind::OpenTelemetryCollector),
        }
    }

    /// Whether ScaledObjects are ours to look after: nobody has brought KEDA.
    #[must_use]
    pub fn runs_keda(&self) -> bool {
        let operator = ObjectKey::new(crate::keda::KEDA_NAMESPACE, crate::keda::KEDA_OPERATOR);
        self.has_own_keda && !self.deployments.contains_key(&operator)
    }

    /// Whether revisions may begin with no replica.
    #[must_use]
    pub fn allows_zero_initial_scale(&self) -> bool {
        self.autoscaler_config().is_ok_and(|config| config.allow_zero_initial_scale)
    }

    /// The data of a ConfigMap, empty when it is not there.
    #[must_use]
    pub fn config_data(&self, namespace: &str, name: &str) -> BTreeMap<String, String> {
        let map = self.config_maps.get(&ObjectKey::new(namespace, name));
        map.and_then(|map| map.data.clone()).unwrap_or_default()
    }

    /// KServe's configuration.
    ///
    /// # Errors
    /// What is wrong with its ConfigMap, in words.
    pub fn kserve_config(&self) -> Result<KserveConfig, String> {
        use windtunnel_api::kserve::config::{CONFIG_MAP, CONFIG_NAMESPACE};
        let data = self.config_data(CONFIG_NAMESPACE, CONFIG_MAP);
        KserveConfig::from_config_map(&data).map_err(|fault| fault.to_string())
    }

    /// The autoscaler's configuration of the cluster.
    ///
    /// # Errors
    /// What is wrong with its ConfigMap, in words.
    pub fn autoscaler_config(&self) -> Result<GlobalConfig, String> {
        let data = self.config_data(crate::install::KNATIVE_NAMESPACE, crate::install::CONFIG_AUTOSCALER);
        GlobalConfig::from_config_map(&data).map_err(|error| error.to_string())
    }

    /// Which revisions are deleted.
    ///
    /// # Errors
    /// What is wrong with its ConfigMap, in words.
    pub fn gc_policy(&self) -> Result<gc::Policy, String> {
        let data = self.config_data(crate::install::KNATIVE_NAMESPACE, crate::install::CONFIG_GC);
        gc::Policy::from_config_map(&data).map_err(|error| error.to_string())
    }

    /// Knative's settings of the network: the data of `config-network`.
    #[must_use]
    pub fn network_config(&self) -> BTreeMap<String, String> {
        self.config_data(crate::install::KNATIVE_NAMESPACE, crate::install::CONFIG_NETWORK)
    }

    /// End of the host names of Knative routes: the first domain without a selector in `config-domain`.
    #[must_use]
    pub fn knative_domain(&self) -> Option<String> {
        let data = self.config_data(crate::install::KNATIVE_NAMESPACE, crate::install::CONFIG_DOMAIN);
        data.into_iter()
            .find(|(key, value)| !key.starts_with('_') && value.trim().is_empty())
            .map(|(key, _)| key)
    }
}
