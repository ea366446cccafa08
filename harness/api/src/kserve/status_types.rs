//! What an InferenceService's status says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Fields;
use crate::condition::Condition;
use crate::knative::TrafficTarget;

/// Observed state of an InferenceService.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct InferenceServiceStatus {
    /// Conditions, sorted by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Generation of the child that was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Address inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Address from outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// State of each component.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, ComponentStatus>,
    /// State of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_status: Option<ModelStatus>,
    /// State of the named canaries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_statuses: Option<Vec<CanaryStatus>>,
    /// Mode that the service runs in; never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_mode: Option<String>,
    /// The namespace's runtime that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving_runtime_name: Option<String>,
    /// The cluster's runtime that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_serving_runtime_name: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// An address as Knative writes it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct Address {
    /// The URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// State of a component: its revisions, their traffic and addresses.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct ComponentStatus {
    /// The newest revision that became ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_ready_revision: Option<String>,
    /// The newest revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_created_revision: Option<String>,
    /// The revision that had all traffic before the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_rolledout_revision: Option<String>,
    /// The newest revision that has had all traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_rolledout_revision: Option<String>,
    /// Who gets which share now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<TrafficTarget>,
    /// The component's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its REST URL, when that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_url: Option<String>,
    /// Its gRPC URL, when that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_url: Option<String>,
    /// Its address inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// State of the model.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    /// `UpToDate`, `InProgress`, `BlockedByFailedLoad` or `InvalidSpec`.
    #[serde(default)]
    pub transition_status: String,
    /// State of the model that serves and of the one that will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<ModelStates>,
    /// Why the last load failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_info: Option<FailureInfo>,
    /// How many copies there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<ModelCopies>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// `Pending`, `Standby`, `Loading`, `Loaded` or `FailedToLoad`, twice.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelStates {
    /// State of the model that serves.
    #[serde(default)]
    pub active_model_state: String,
    /// State of the model that will serve.
    #[serde(default)]
    pub target_model_state: String,
}

/// Why a model could not be served.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureInfo {
    /// Name of the component that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// One of upstream's failure reasons, for example `NoSupportingRuntime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The revision that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_revision_name: Option<String>,
    /// When (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Exit code of the container that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// How many copies of the model there are.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelCopies {
    /// Copies that could not be loaded.
    #[serde(default)]
    pub failed_copies: i32,
    /// Copies that can serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_copies: Option<i32>,
}

/// State of a named canary.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct CanaryStatus {
    /// Its name.
    pub name: String,
    /// Whether it has an available replica.
    #[serde(default)]
    pub ready: bool,
    /// Its share of the traffic.
    #[serde(default)]
    pub traffic_percent: i32,
    /// State of its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_status: Option<ModelStatus>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

impl InferenceServiceStatus {
    /// Whether the condition `Ready` is `True`.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        crate::condition::is_true(&self.conditions, "Ready")
    }

    /// The predictor's state, if there is one yet.
    #[must_use]
    pub fn predictor(&self) -> Option<&ComponentStatus> {
        self.components.get("predictor")
    }
}
