//! Models kept on nodes: caches, groups of nodes, and what each node has.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::Fields;

/// Label of a service that uses a cache: the cache's name.
pub const LOCAL_MODEL_LABEL: &str = "internal.serving.kserve.io/localmodel";
/// Label of a service that uses a namespace's cache: that namespace.
pub const LOCAL_MODEL_NAMESPACE_LABEL: &str = "internal.serving.kserve.io/localmodel-namespace";
/// Annotation of such a service: the cached URI.
pub const LOCAL_MODEL_SOURCE_URI: &str = "internal.serving.kserve.io/localmodel-sourceuri";
/// Annotation of such a service: the claim that the model is on.
pub const LOCAL_MODEL_CLAIM: &str = "internal.serving.kserve.io/localmodel-pvc-name";

/// Name of the folder of a model on a node: caches of one URI share it.
#[must_use]
pub fn storage_key(source_model_uri: &str) -> String {
    let digest = Sha256::digest(source_model_uri.as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Credentials of a download.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct LocalModelStorage {
    /// Key of the storage secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Parameters that override those of the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<BTreeMap<String, String>>,
}

macro_rules! cache {
    ($(#[$attributes:meta])* $spec:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
        $(#[$attributes])*
        #[serde(rename_all = "camelCase")]
        pub struct $spec {
            /// Where the files come from; can't be changed.
            #[schemars(extend("x-kubernetes-validations" =
                [{"rule": "self == oldSelf", "message": "StorageUri is immutable"}]))]
            pub source_model_uri: String,
            /// Size of the files, against the group's limit.
            #[serde(deserialize_with = "crate::quantity::lenient")]
            #[schemars(schema_with = "crate::schema::quantity")]
            pub model_size: Quantity,
            /// Groups of nodes that keep the model, at least one.
            #[schemars(length(min = 1))]
            pub node_groups: Vec<String>,
            /// Service account whose secrets the download uses.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub service_account_name: Option<String>,
            /// Credentials of the download.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub storage: Option<LocalModelStorage>,
            /// Anything else.
            #[serde(flatten)]
            #[schemars(skip)]
            pub other: Fields,
        }

        impl Default for $spec {
            fn default() -> Self {
                Self {
                    source_model_uri: String::new(),
                    model_size: Quantity("0".to_owned()),
                    node_groups: Vec::new(),
                    service_account_name: None,
                    storage: None,
                    other: Fields::new(),
                }
            }
        }
    };
}

cache!(
    #[kube(
        group = "serving.kserve.io",
        version = "v1alpha1",
        kind = "LocalModelCache",
        plural = "localmodelcaches",
        status = "LocalModelCacheStatus",
        derive = "PartialEq",
        derive = "Default"
    )]
    LocalModelCacheSpec,
    "A model that nodes keep for the services of every namespace."
);

cache!(
    #[kube(
        group = "serving.kserve.io",
        version = "v1alpha1",
        kind = "LocalModelNamespaceCache",
        plural = "localmodelnamespacecaches",
        namespaced,
        status = "LocalModelCacheStatus",
        derive = "PartialEq",
        derive = "Default"
    )]
    LocalModelNamespaceCacheSpec,
    "A model that nodes keep for the services of one namespace."
);

/// What a service needs to know of a cache of either kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalModel<'a> {
    /// Name of the cache.
    pub name: &'a str,
    /// Its namespace; `None` for the cluster's.
    pub namespace: Option<&'a str>,
    /// Where the files come from.
    pub source_model_uri: &'a str,
    /// Groups of nodes that keep the model.
    pub node_groups: &'a [String],
}

impl<'a> From<&'a LocalModelCache> for LocalModel<'a> {
    fn from(cache: &'a LocalModelCache) -> Self {
        Self {
            name: cache.metadata.name.as_deref().unwrap_or_default(),
            namespace: None,
            source_model_uri: &cache.spec.source_model_uri,
            node_groups: &cache.spec.node_groups,
        }
    }
}

impl<'a> From<&'a LocalModelNamespaceCache> for LocalModel<'a> {
    fn from(cache: &'a LocalModelNamespaceCache) -> Self {
        Self {
            name: cache.metadata.name.as_deref().unwrap_or_default(),
            namespace: Some(cache.metadata.namespace.as_deref().unwrap_or("default")),
            source_model_uri: &cache.spec.source_model_uri,
            node_groups: &cache.spec.node_groups,
        }
    }
}

impl LocalModel<'_> {
    /// Whether the URI is the cached one or a folder in it.
    #[must_use]
    pub fn holds(&self, storage_uri: &str) -> bool {
        let without = |uri: &str| uri.strip_suffix('/').unwrap_or(uri).to_owned();
        let (cached, wanted) = (without(self.source_model_uri), without(storage_uri));
        wanted.strip_prefix(&cached).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// What the controller reports of a cache.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalModelCacheStatus {
    /// State on each node: `NodeNotReady`, `NodeDownloadPending`, `NodeDownloading`, `NodeDownloaded` or
    /// `NodeDownloadError`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "node_status")]
    pub node_status: BTreeMap<String, String>,
    /// How many nodes have the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<LocalModelCopies>,
    /// Services that use the cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inference_services: Vec<NamespacedName>,
    /// LLMInferenceServices that use the cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "llmInferenceServices")]
    pub llm_inference_services: Vec<NamespacedName>,
}

fn node_status(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "additionalProperties": {"type": "string", "enum": ["",
        "NodeNotReady", "NodeDownloadPending", "NodeDownloading", "NodeDownloaded", "NodeDownloadError"]}})
}

/// Nodes that have a model, should have it, and failed to get it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct LocalModelCopies {
    /// Nodes that have it.
    #[serde(default)]
    pub available: i64,
    /// Nodes that should have it, ready or not.
    #[serde(default)]
    pub total: i64,
    /// Nodes that failed to get it.
    #[serde(default)]
    pub failed: i64,
}

/// An object by namespace and name.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub struct NamespacedName {
    /// Namespace.
    #[serde(default)]
    pub namespace: String,
    /// Name.
    #[serde(default)]
    pub name: String,
}

/// Nodes that keep models, and the volumes that they keep them on.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "serving.kserve.io",
    version = "v1alpha1",
    kind = "LocalModelNodeGroup",
    plural = "localmodelnodegroups",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase")]
pub struct LocalModelNodeGroupSpec {
    /// Most space for models on each node.
    #[serde(deserialize_with = "crate::quantity::lenient")]
    #[schemars(schema_with = "crate::schema::quantity")]
    pub storage_limit: Quantity,
    /// PersistentVolumes for downloads and in the services' namespaces.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub persistent_volume_spec: Value,
    /// PersistentVolumeClaims for downloads and in the services' namespaces.
    #[schemars(schema_with = "crate::schema::any_object")]
    pub persistent_volume_claim_spec: Value,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

impl Default for LocalModelNodeGroupSpec {
    fn default() -> Self {
        Self {
            storage_limit: Quantity("0".to_owned()),
            persistent_volume_spec: serde_json::json!({}),
            persistent_volume_claim_spec: serde_json::json!({}),
            other: Fields::new(),
        }
    }
}

/// The models that one node should have.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "serving.kserve.io",
    version = "v1alpha1",
    kind = "LocalModelNode",
    plural = "localmodelnodes",
    status = "LocalModelNodeStatus",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase")]
pub struct LocalModelNodeSpec {
    /// The models.
    pub local_models: Vec<LocalModelInfo>,
}

/// A model that a node should have.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalModelInfo {
    /// Where the files come from.
    pub source_model_uri: String,
    /// Name of the cache.
    pub model_name: String,
    /// Namespace of the cache; absent for the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Group that the model belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_group: Option<String>,
    /// Service account whose secrets the download uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Credentials of the download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<LocalModelStorage>,
}

impl LocalModelInfo {
    /// The model's key in the node's status: `name`, or `namespace/name`.
    #[must_use]
    pub fn status_key(&self) -> String {
        match self.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
            Some(namespace) => format!("{namespace}/{}", self.model_name),
            None => self.model_name.clone(),
        }
    }
}

/// What a node's agent reports.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalModelNodeStatus {
    /// State of each model: `ModelDownloadPending`, `ModelDownloading`, `ModelDownloaded` or
    /// `ModelDownloadError`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "model_status")]
    pub model_status: BTreeMap<String, String>,
}

fn model_status(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "additionalProperties": {"type": "string", "enum": ["",
        "ModelDownloadPending", "ModelDownloading", "ModelDownloaded", "ModelDownloadError"]}})
}
