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

    /// The kind of the object that is scaled.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Revision(_) => "Revision",
            Self::Component(_) => "Deployment",
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

impl Key {
    /// The names of all controllers, see [`Key::controller`].
    pub const CONTROLLERS: [&str; 15] = [
        "inferenceservice",
        "inferencegraph",
        "trainedmodel",
        "service",
        "configuration",
        "revision",
        "route",
        "podautoscaler",
        "httproute",
        "gateway",
        "gatewayclass",
        "ingress",
        "localmodelnode",
        "localmodel",
        "scaledobject",
    ];

    /// The name of the controller that does this work, as metrics and logs have it.
    #[must_use]
    pub fn controller(&self) -> &'static str {
        self.parts().0
    }

    /// The kind of the object that the work is about.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.parts().1
    }

    /// Namespace and name of the object that the work is about.
    #[must_use]
    pub fn object(&self) -> &ObjectKey {
        self.parts().2
    }

    fn parts(&self) -> (&'static str, &'static str, &ObjectKey) {
        match self {
            Self::Revision(key) => ("revision", "Revision", key),
            Self::Configuration(key) => ("configuration", "Configuration", key),
            Self::Route(key) => ("route", "Route", key),
            Self::Service(key) => ("service", "Service", key),
            Self::HttpRoute(key) => ("httproute", "HTTPRoute", key),
            Self::Gateway(key) => ("gateway", "Gateway", key),
            Self::Ingress(key) => ("ingress", "Ingress", key),
            Self::GatewayClass(key) => ("gatewayclass", "GatewayClass", key),
            Self::InferenceService(key) => ("inferenceservice", "InferenceService", key),
            Self::TrainedModel(key) => ("trainedmodel", "TrainedModel", key),
            Self::InferenceGraph(key) => ("inferencegraph", "InferenceGraph", key),
            Self::LocalModelNode(key) => ("localmodelnode", "LocalModelNode", key),
            Self::LocalModel(key) if key.namespace.is_empty() => ("localmodel", "LocalModelCache", key),
            Self::LocalModel(key) => ("localmodel", "LocalModelNamespaceCache", key),
            Self::ScaledObject(key) => ("scaledobject", "ScaledObject", key),
            Self::Scale(target) => ("podautoscaler", target.kind(), target.key()),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scale(target) => write!(f, "autoscaler of {target}"),
            other => write!(f, "{} {}", other.kind(), other.object()),
        }
    }
}
