//! The InferenceService resource.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::component::{ExplainerSpec, TransformerSpec};
use super::predictor::PredictorSpec;
use super::status_types::InferenceServiceStatus;
use crate::Fields;

/// A model that is served, with what stands before and beside it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "serving.kserve.io",
    version = "v1beta1",
    kind = "InferenceService",
    plural = "inferenceservices",
    shortname = "isvc",
    namespaced,
    status = "InferenceServiceStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Prev",
        type_ = "integer",
        json_path = ".status.components.predictor.traffic[?(@.tag=='prev')].percent"
    ),
    printcolumn(
        name = "Latest",
        type_ = "integer",
        json_path = ".status.components.predictor.traffic[?(@.latestRevision==true)].percent"
    ),
    printcolumn(
        name = "PrevRolledoutRevision",
        type_ = "string",
        json_path = ".status.components.predictor.traffic[?(@.tag=='prev')].revisionName"
    ),
    printcolumn(
        name = "LatestReadyRevision",
        type_ = "string",
        json_path = ".status.components.predictor.traffic[?(@.latestRevision==true)].revisionName"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct InferenceServiceSpec {
    /// Answers prediction requests.
    pub predictor: PredictorSpec,
    /// Changes requests and responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformer: Option<TransformerSpec>,
    /// Explains predictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explainer: Option<ExplainerSpec>,
    /// Named canaries beside the stable predictor (Standard mode).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Vec<CanarySpec>>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// A second predictor that gets a share of the traffic.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanarySpec {
    /// What differs from the stable predictor; its `name` is required.
    pub predictor: PredictorSpec,
    /// Share of the traffic, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub traffic_percent: i32,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

impl InferenceService {
    /// The name, or the empty string.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The namespace, `default` when there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// An annotation's value.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}
