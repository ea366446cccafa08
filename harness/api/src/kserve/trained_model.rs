//! The TrainedModel resource: a model that is loaded into a running multi-model server.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status_types::Address;
use crate::Fields;
use crate::condition::Condition;

/// A model and the InferenceService whose server loads it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "serving.kserve.io",
    version = "v1alpha1",
    kind = "TrainedModel",
    plural = "trainedmodels",
    shortname = "tm",
    namespaced,
    status = "TrainedModelStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TrainedModelSpec {
    /// Name of the InferenceService, in the same namespace.
    pub inference_service: String,
    /// The model.
    pub model: TrainedModelSource,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// Place, framework and size of a model.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainedModelSource {
    /// Where the files are.
    pub storage_uri: String,
    /// For example `sklearn`.
    pub framework: String,
    /// Most memory that the model takes; can't be changed.
    #[serde(deserialize_with = "crate::quantity::lenient")]
    #[schemars(schema_with = "crate::schema::quantity")]
    pub memory: Quantity,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

impl Default for TrainedModelSource {
    fn default() -> Self {
        Self {
            storage_uri: String::new(),
            framework: String::new(),
            memory: Quantity("0".to_owned()),
            other: Fields::new(),
        }
    }
}

/// What the controller reports of a model.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainedModelStatus {
    /// Conditions, sorted by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Generation that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the model answers from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where the model answers inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Annotations of the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}
