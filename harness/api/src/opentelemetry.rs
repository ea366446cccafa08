//! The OpenTelemetry operator's collector (`opentelemetry.io/v1beta1`), as far as it is rendered for inference
//! services.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Fields;

/// A collector of metrics, here as a sidecar of the model server's pods.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "opentelemetry.io",
    version = "v1beta1",
    kind = "OpenTelemetryCollector",
    plural = "opentelemetrycollectors",
    shortname = "otelcol",
    namespaced,
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = crate::schema::preserve_unknown)]
pub struct OpenTelemetryCollectorSpec {
    /// `sidecar`, `deployment`, `daemonset` or `statefulset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Receivers, processors, exporters and the pipelines between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_object")]
    pub config: Option<Value>,
    /// Requests and limits of the collector's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_object")]
    pub resources: Option<Value>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}
