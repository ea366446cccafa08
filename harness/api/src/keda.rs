//! KEDA's ScaledObject, and the objects that name a trigger's secrets (`keda.sh/v1alpha1`).

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Fields;

/// Scales a workload by the values of triggers.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "keda.sh",
    version = "v1alpha1",
    kind = "ScaledObject",
    plural = "scaledobjects",
    shortname = "so",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    status = "ScaledObjectStatus",
    printcolumn(name = "ScaleTargetName", type_ = "string", json_path = ".spec.scaleTargetRef.name"),
    printcolumn(name = "Min", type_ = "integer", json_path = ".spec.minReplicaCount"),
    printcolumn(name = "Max", type_ = "integer", json_path = ".spec.maxReplicaCount"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Active\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct ScaledObjectSpec {
    /// What is scaled.
    pub scale_target_ref: ScaleTarget,
    /// Fewest replicas; 0 scales to zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replica_count: Option<i32>,
    /// Most replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replica_count: Option<i32>,
    /// Settings of the autoscaler that KEDA makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_object")]
    pub advanced: Option<Value>,
    /// What is measured.
    #[serde(default)]
    pub triggers: Vec<ScaleTrigger>,
    /// Anything else (`pollingInterval`, `cooldownPeriod`, `fallback` and more).
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// The workload that is scaled.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleTarget {
    /// Its name.
    pub name: String,
    /// Its kind; absent means Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its API version; absent means `apps/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The container whose environment is read for the triggers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_source_container_name: Option<String>,
}

/// One thing that is measured.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleTrigger {
    /// For example `prometheus`.
    #[serde(rename = "type")]
    pub type_: String,
    /// A name for formulas and fallbacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the last value is kept between two polls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_cached_metrics: Option<bool>,
    /// Settings of the trigger.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The TriggerAuthentication to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_ref: Option<AuthenticationRef>,
    /// `AverageValue`, `Value` or `Utilization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_type: Option<String>,
}

/// Names a TriggerAuthentication or ClusterTriggerAuthentication.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct AuthenticationRef {
    /// Its name.
    pub name: String,
    /// Its kind; absent means TriggerAuthentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// What KEDA says about a ScaledObject.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct ScaledObjectStatus {
    /// Its conditions: `Ready`, `Active`, `Fallback`, `Paused`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<crate::condition::Condition>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// Names where triggers get their secrets, for the ScaledObjects of its namespace.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "keda.sh",
    version = "v1alpha1",
    kind = "TriggerAuthentication",
    plural = "triggerauthentications",
    shortname = "ta",
    shortname = "triggerauth",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    status = "TriggerAuthenticationStatus",
    printcolumn(name = "PodIdentity", type_ = "string", json_path = ".spec.podIdentity.provider"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.secretTargetRef[*].name"),
    printcolumn(name = "Env", type_ = "string", json_path = ".spec.env[*].name")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct TriggerAuthenticationSpec {
    /// Parameters from Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_target_ref: Vec<AuthenticationSource>,
    /// Parameters from ConfigMaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_map_target_ref: Vec<AuthenticationSource>,
    /// Parameters from the environment of the target's containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<AuthenticationEnvironment>,
    /// Parameters that are tokens of service accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound_service_account_token: Vec<BoundServiceAccountToken>,
    /// The identity of pods; only `none` needs no cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_identity: Option<PodIdentity>,
    /// Anything else: vaults and identities of clouds.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// As a TriggerAuthentication, for the ScaledObjects of all namespaces; its Secrets lie in KEDA's own namespace.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "keda.sh",
    version = "v1alpha1",
    kind = "ClusterTriggerAuthentication",
    plural = "clustertriggerauthentications",
    shortname = "cta",
    shortname = "clustertriggerauth",
    derive = "PartialEq",
    derive = "Default",
    status = "TriggerAuthenticationStatus",
    printcolumn(name = "PodIdentity", type_ = "string", json_path = ".spec.podIdentity.provider"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.secretTargetRef[*].name"),
    printcolumn(name = "Env", type_ = "string", json_path = ".spec.env[*].name")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTriggerAuthenticationSpec {
    /// What a TriggerAuthentication has.
    #[serde(flatten)]
    pub inner: TriggerAuthenticationSpec,
}

/// A key of a Secret or a ConfigMap as a parameter.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct AuthenticationSource {
    /// The parameter of the trigger.
    pub parameter: String,
    /// Name of the Secret or the ConfigMap.
    pub name: String,
    /// Its key.
    pub key: String,
}

/// An environment variable as a parameter.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationEnvironment {
    /// The parameter of the trigger.
    pub parameter: String,
    /// The variable.
    pub name: String,
    /// The container; absent means the ScaledObject's, or the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
}

/// A token of a service account as a parameter.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoundServiceAccountToken {
    /// The parameter of the trigger.
    pub parameter: String,
    /// The service account, of the TriggerAuthentication's namespace.
    pub service_account_name: String,
}

/// The identity of pods.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct PodIdentity {
    /// `none` or a cloud's.
    pub provider: String,
    /// Settings of clouds.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// Who uses it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct TriggerAuthenticationStatus {
    /// Names of ScaledObjects, with commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaledobjects: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}
