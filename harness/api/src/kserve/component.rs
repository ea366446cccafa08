//! What every component of an InferenceService has: replica bounds, autoscaling, logging, batching.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Fields;

/// Settings that predictor, transformer and explainer share.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentExtension {
    /// Fewest replicas; 0 scales to zero. Absent means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// Most replicas; absent or 0 means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<i32>,
    /// Value of the scale metric that one replica should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_target: Option<i32>,
    /// What the autoscaler measures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scale_metric")]
    pub scale_metric: Option<String>,
    /// How the scale target is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "scale_metric_type")]
    pub scale_metric_type: Option<String>,
    /// Metrics and behaviour for the HPA and KEDA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_scaling: Option<AutoScaling>,
    /// Most requests that one replica handles at a time; absent or 0 means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_concurrency: Option<i64>,
    /// Longest time for one request, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Percent of the traffic that the newest revision gets; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_traffic_percent: Option<i64>,
    /// Request and response logging.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logger: Option<Logger>,
    /// Request batching.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batcher: Option<Batcher>,
    /// Labels for the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<std::collections::BTreeMap<String, String>>,
    /// Annotations for the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<std::collections::BTreeMap<String, String>>,
    /// How a Deployment replaces its pods (Standard mode only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_object")]
    pub deployment_strategy: Option<Value>,
}

fn scale_metric(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["cpu", "memory", "concurrency", "rps"]})
}

fn scale_metric_type(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["Utilization", "Value", "AverageValue"]})
}

/// Metrics and behaviour for the HPA and KEDA.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoScaling {
    /// The metrics, each with a `type` of `Resource`, `External` or `PodMetric`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "metrics")]
    pub metrics: Option<Vec<Value>>,
    /// Scaling behaviour in the shape of the HPA v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_object")]
    pub behavior: Option<Value>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// The shape of a metric: enough to refuse what no autoscaler could read.
fn metrics(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let quantity = crate::schema::quantity_value();
    let target = serde_json::json!({"type": "object", "properties": {
        "type": {"type": "string", "enum": ["Utilization", "Value", "AverageValue"]},
        "value": quantity, "averageValue": quantity,
        "averageUtilization": {"type": "integer", "format": "int32"}}});
    let text = serde_json::json!({"type": "string"});
    schemars::json_schema!({"type": "array", "items": {"type": "object", "required": ["type"], "properties": {
        "type": {"type": "string", "enum": ["Resource", "External", "PodMetric"]},
        "resource": {"type": "object", "required": ["name", "target"], "properties": {
            "name": {"type": "string", "enum": ["cpu", "memory"]}, "target": target}},
        "external": {"type": "object", "required": ["metric", "target"], "properties": {
            "metric": {"type": "object", "properties": {
                "backend": {"type": "string", "enum": ["prometheus", "graphite"]},
                "serverAddress": text, "query": text, "namespace": text}},
            "authenticationRef": {"type": "object", "required": ["authenticationRef"], "properties": {
                "authenticationRef": {"type": "object", "required": ["name"], "properties": {"name": text}},
                "authModes": text}},
            "target": target}},
        "podmetric": {"type": "object", "required": ["metric", "target"], "properties": {
            "metric": {"type": "object", "properties": {
                "backend": {"type": "string", "enum": ["opentelemetry"]},
                "serverAddress": text, "metricNames": {"type": "array", "items": text}, "query": text,
                "operationOverTime": text}},
            "target": target}}}}})
}

/// Where payloads are logged to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Logger {
    /// Receiver of the CloudEvents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `all`, `request` or `response`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "logger_mode")]
    pub mode: Option<String>,
    /// Request headers that are logged too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_headers: Option<Vec<String>>,
    /// Annotations of the service that are logged too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_annotations: Option<Vec<String>>,
    /// Object storage instead of a receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<LoggerStorage>,
    /// Service that turns payloads into files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marshaller_url: Option<String>,
    /// Payloads a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<i64>,
    /// Longest time before a file is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_interval: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

fn logger_mode(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["all", "request", "response"]})
}

/// Object storage that payloads are logged to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggerStorage {
    /// Path inside the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Parameters, for example `format`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<std::collections::BTreeMap<String, String>>,
    /// Key of the storage secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Service account whose secrets are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// How requests are put together before the model sees them.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Batcher {
    /// Most instances in one call of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_batch_size: Option<i64>,
    /// Longest wait for a full batch, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency: Option<i64>,
    /// Longest time for one batch, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// A model file or folder and the place in the pod that it goes to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageUri {
    /// Where the files are.
    #[schemars(length(min = 1))]
    pub uri: String,
    /// Folder in the pod; absent means `/mnt/models`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255), regex(pattern = "^/.*"), extend("default" = "/mnt/models"))]
    pub mount_path: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// A container in front of the predictor that changes requests and responses.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::add_pod_fields)]
pub struct TransformerSpec {
    /// Files that the container needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub storage_uris: Option<Vec<StorageUri>>,
    /// Replica bounds and the like.
    #[serde(flatten)]
    pub extension: ComponentExtension,
    /// The pod specification's fields, and any that nobody knows.
    #[serde(flatten)]
    #[schemars(skip)]
    pub pod: Fields,
}

/// A container that explains predictions.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::add_pod_fields)]
pub struct ExplainerSpec {
    /// The built-in ART explainer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_object")]
    pub art: Option<Value>,
    /// Files that the container needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub storage_uris: Option<Vec<StorageUri>>,
    /// Replica bounds and the like.
    #[serde(flatten)]
    pub extension: ComponentExtension,
    /// The pod specification's fields, and any that nobody knows.
    #[serde(flatten)]
    #[schemars(skip)]
    pub pod: Fields,
}
