//! A cache of the cluster or of a namespace, and the names of what belongs to it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::super::super::inference_service::InferenceService;
use super::super::super::local_model::{
    LOCAL_MODEL_LABEL, LOCAL_MODEL_NAMESPACE_LABEL, LocalModelCache, LocalModelCacheStatus, LocalModelInfo,
    LocalModelNamespaceCache, LocalModelStorage,
};

/// Annotation of volumes and claims: `name` or `namespace/name` of their cache. An object of a namespace can't own one of
/// the cluster or of another namespace.
pub const OWNER: &str = "internal.serving.kserve.io/localmodelcache";

/// A cache of either kind.
#[derive(Clone, Copy, Debug)]
pub enum Cache<'a> {
    /// For the services of every namespace.
    Cluster(&'a LocalModelCache),
    /// For the services of its namespace.
    Namespace(&'a LocalModelNamespaceCache),
}

/// The same field of either kind's specification.
macro_rules! of_spec {
    ($self:ident, $field:ident) => {
        match $self {
            Self::Cluster(cache) => &cache.spec.$field,
            Self::Namespace(cache) => &cache.spec.$field,
        }
    };
}

impl<'a> Cache<'a> {
    /// Its metadata.
    #[must_use]
    pub fn metadata(self) -> &'a ObjectMeta {
        match self {
            Self::Cluster(cache) => &cache.metadata,
            Self::Namespace(cache) => &cache.metadata,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Its namespace; `None` for the cluster's.
    #[must_use]
    pub fn namespace(self) -> Option<&'a str> {
        match self {
            Self::Cluster(_) => None,
            Self::Namespace(cache) => Some(cache.metadata.namespace.as_deref().unwrap_or("default")),
        }
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn is_going(self) -> bool {
        self.metadata().deletion_timestamp.is_some()
    }

    /// Its finalizer.
    #[must_use]
    pub fn finalizer(self) -> &'static str {
        match self {
            Self::Cluster(_) => "localmodel.kserve.io/finalizer",
            Self::Namespace(_) => "localmodelnamespacecache.kserve.io/finalizer",
        }
    }

    /// Its status, as stored.
    #[must_use]
    pub fn status(self) -> Option<&'a LocalModelCacheStatus> {
        match self {
            Self::Cluster(cache) => cache.status.as_ref(),
            Self::Namespace(cache) => cache.status.as_ref(),
        }
    }

    /// The names of its groups of nodes; services without a wish use the first.
    #[must_use]
    pub fn node_groups(self) -> &'a [String] {
        of_spec!(self, node_groups)
    }

    fn storage(self) -> Option<&'a LocalModelStorage> {
        of_spec!(self, storage).as_ref()
    }

    /// Its key in the status of a node: `name`, or `namespace/name`.
    #[must_use]
    pub fn status_key(self) -> String {
        match self.namespace() {
            Some(namespace) => format!("{namespace}/{}", self.name()),
            None => self.name().to_owned(),
        }
    }

    /// Its entry in the list of a node.
    pub(super) fn info(self, group: &str) -> LocalModelInfo {
        LocalModelInfo {
            source_model_uri: of_spec!(self, source_model_uri).clone(),
            model_name: self.name().to_owned(),
            namespace: self.namespace().map(str::to_owned),
            node_group: Some(group.to_owned()),
            service_account_name: of_spec!(self, service_account_name).clone(),
            storage: self.storage().cloned(),
        }
    }

    /// Whether an entry of a node's list is about it.
    #[must_use]
    pub fn is(self, info: &LocalModelInfo) -> bool {
        let namespace = info.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        info.model_name == self.name() && namespace == self.namespace()
    }

    /// Whether a service's labels name it. Upstream counts services of a namespace's cache for the cluster's cache of the
    /// same name, too.
    #[must_use]
    pub fn is_used_by(self, service: &InferenceService) -> bool {
        let label = |key: &str| service.metadata.labels.as_ref()?.get(key).map(String::as_str);
        let own = Some(service.namespace()).filter(|_| self.namespace().is_some());
        label(LOCAL_MODEL_LABEL) == Some(self.name())
            && own == self.namespace()
            && label(LOCAL_MODEL_NAMESPACE_LABEL) == self.namespace()
    }

    /// Name of the claim of services.
    #[must_use]
    pub fn claim(self, group: &str) -> String {
        format!("{}-{group}", self.name())
    }

    /// Name of the volume of a namespace's services.
    #[must_use]
    pub fn serving_volume(self, group: &str, namespace: &str) -> String {
        format!("{}-{group}-{namespace}", self.name())
    }

    /// Name of the claim of download jobs.
    #[must_use]
    pub fn download_claim(self, group: &str) -> String {
        download_claim(self.name(), self.namespace(), group)
    }

    /// Name of the volume of download jobs.
    #[must_use]
    pub fn download_volume(self, group: &str) -> String {
        match self.namespace() {
            Some(_) => self.download_claim(group),
            None => format!("{}-{group}-download", self.name()),
        }
    }

    /// The reference to it that an object of this namespace (`None`: of the cluster) may have.
    pub(super) fn owner_of(self, namespace: Option<&str>) -> Option<OwnerReference> {
        match self {
            Self::Cluster(cache) => crate::owner::reference(cache),
            Self::Namespace(cache) if namespace == self.namespace() => crate::owner::reference(cache),
            Self::Namespace(_) => None,
        }
    }
}

/// Name of the claim of download jobs.
pub(super) fn download_claim(name: &str, namespace: Option<&str>, group: &str) -> String {
    match namespace.filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{name}-{group}-{namespace}-download"),
        None => format!("{name}-{group}"),
    }
}
