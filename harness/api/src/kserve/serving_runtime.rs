//! Serving runtimes: which server serves which model formats, and how its container looks.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Fields;

/// A server for some model formats, for the services of one namespace.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "serving.kserve.io",
    version = "v1alpha1",
    kind = "ServingRuntime",
    plural = "servingruntimes",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disabled"),
    printcolumn(name = "ModelType", type_ = "string", json_path = ".spec.supportedModelFormats[*].name"),
    printcolumn(name = "Containers", type_ = "string", json_path = ".spec.containers[*].name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct ServingRuntimeSpec {
    /// Formats that the server loads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supported_model_formats: Option<Vec<SupportedModelFormat>>,
    /// Whether one server holds many models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_model: Option<bool>,
    /// Whether new services may not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Protocols that the server speaks; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol_versions: Option<Vec<String>>,
    /// Labels for the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations for the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// The server's containers and the pod settings around them.
    #[serde(flatten)]
    #[schemars(skip)]
    pub pod: Fields,
}

/// A model format that a runtime loads.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SupportedModelFormat {
    /// For example `onnx`.
    pub name: String,
    /// Version of the format, matched as an exact string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether the runtime is chosen for the format without being named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_select: Option<bool>,
    /// Higher wins among the runtimes that are chosen without being named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub priority: Option<i32>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// A server for some model formats, for the services of every namespace.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "serving.kserve.io",
    version = "v1alpha1",
    kind = "ClusterServingRuntime",
    plural = "clusterservingruntimes",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disabled"),
    printcolumn(name = "ModelType", type_ = "string", json_path = ".spec.supportedModelFormats[*].name"),
    printcolumn(name = "Containers", type_ = "string", json_path = ".spec.containers[*].name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct ClusterServingRuntimeSpec {
    /// The same as a namespace's runtime has.
    #[serde(flatten)]
    pub runtime: ServingRuntimeSpec,
}
