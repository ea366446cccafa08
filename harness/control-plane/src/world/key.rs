//! Names of objects and of the work on them.

use std::fmt;

use kube::ResourceExt;

/// Namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Namespace, empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// A key of its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    pub fn of<K: ResourceExt>(object: &K) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }

    /// Another name in the same namespace.
    #[must_use]
    pub fn sibling(&self, name: impl Into<String>) -> Self {
        Self { namespace: self.namespace.clone(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// What an autoscaler scales by the requests that the gateway counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A Knative Revision.
    Revision(ObjectKey),
    /// A component of an InferenceService in the Standard mode, by the name of its Deployment and Service.
    Component(ObjectKey),
}

impl Target {
    /// Its namespace and name.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Revision(key) | Self::Component(key) => key,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key().fmt(f)
    }
}

/// What a reconcile is about. The order is that of the chain, children first, so that a change travels up in
/// one round.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A Knative Revision.
    Revision(ObjectKey),
    /// A Knative Configuration.
    Configuration(ObjectKey),
    /// A Knative Route.
    Route(ObjectKey),
    /// A Knative Service.
    Service(ObjectKey),
    /// An HTTPRoute: what the gateway says about it.
    HttpRoute(ObjectKey),
    /// A Gateway: what is said about it.
    Gateway(ObjectKey),
    /// An Ingress: where it is served.
    Ingress(ObjectKey),
    /// A GatewayClass: whether it is ours.
    GatewayClass(ObjectKey),
    /// An InferenceService.
    InferenceService(ObjectKey),
    /// A TrainedModel.
    TrainedModel(ObjectKey),
    /// An InferenceGraph.
    InferenceGraph(ObjectKey),
    /// The models that a node should have.
    LocalModelNode(ObjectKey),
    /// A LocalModelCache (without a namespace) or a LocalModelNamespaceCache.
    LocalModel(ObjectKey),
    /// A ScaledObject.
    ScaledObject(ObjectKey),
    /// An autoscaler.
    Scale(Target),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision(key) => write!(f, "Revision {key}"),
            Self::Configuration(key) => write!(f, "Configuration {key}"),
            Self::Route(key) => write!(f, "Route {key}"),
            Self::Service(key) => write!(f, "Service {key}"),
            Self::HttpRoute(key) => write!(f, "HTTPRoute {key}"),
            Self::Gateway(key) => write!(f, "Gateway {key}"),
            Self::Ingress(key) => write!(f, "Ingress {key}"),
            Self::GatewayClass(key) => write!(f, "GatewayClass {key}"),
            Self::InferenceService(key) => write!(f, "InferenceService {key}"),
            Self::TrainedModel(key) => write!(f, "TrainedModel {key}"),
            Self::InferenceGraph(key) => write!(f, "InferenceGraph {key}"),
            Self::LocalModelNode(key) => write!(f, "LocalModelNode {key}"),
            Self::LocalModel(key) => write!(f, "cache of a local model {key}"),
            Self::ScaledObject(key) => write!(f, "ScaledObject {key}"),
            Self::Scale(target) => write!(f, "autoscaler of {target}"),
        }
    }
}
