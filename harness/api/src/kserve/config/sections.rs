//! The keys of the ConfigMap, each a JSON object: their fields with the values that ship.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::component::LoggerStorage;

/// How OCI images become model folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OciMode {
    /// A sidecar that holds the image, seen through the process file system.
    Modelcar,
    /// A volume of the image (Kubernetes 1.35 and later).
    Native,
    /// The storage initializer pulls the image's layers.
    Fetch,
}

/// Key `storageInitializer`: how models get into pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageInitializer {
    /// Image of the container.
    pub image: String,
    /// CPU request.
    pub cpu_request: String,
    /// CPU limit.
    pub cpu_limit: String,
    /// Memory request.
    pub memory_request: String,
    /// Memory limit.
    pub memory_limit: String,
    /// ConfigMap with further authorities, empty for none.
    pub ca_bundle_config_map_name: String,
    /// Folder that it is mounted at.
    pub ca_bundle_volume_mount_path: String,
    /// Whether `oci://` images are served from a sidecar.
    pub enable_modelcar: bool,
    /// CPU of that sidecar, requested and at most.
    pub cpu_modelcar: String,
    /// Memory of that sidecar, requested and at most.
    pub memory_modelcar: String,
    /// User of that sidecar and of the server beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid_modelcar: Option<i64>,
    /// The newer switch for `oci://`, whatever the mode.
    pub enable_oci_model_support: bool,
    /// `modelcar`, `native`, `fetch`, or empty for the switches to decide.
    pub oci_model_mode: String,
    /// Whether registries without a certificate are trusted when layers are pulled.
    pub oci_insecure_registry: bool,
}

impl Default for StorageInitializer {
    fn default() -> Self {
        Self {
            image: "windtunnel/storage-initializer:latest".to_owned(),
            cpu_request: "100m".to_owned(),
            cpu_limit: "1".to_owned(),
            memory_request: "100Mi".to_owned(),
            memory_limit: "1Gi".to_owned(),
            ca_bundle_config_map_name: String::new(),
            ca_bundle_volume_mount_path: "/etc/ssl/custom-certs".to_owned(),
            enable_modelcar: true,
            cpu_modelcar: "10m".to_owned(),
            memory_modelcar: "15Mi".to_owned(),
            uid_modelcar: Some(1010),
            enable_oci_model_support: false,
            oci_model_mode: String::new(),
            oci_insecure_registry: false,
        }
    }
}

impl StorageInitializer {
    /// How plain `oci://` URIs are served: the explicit mode, else a sidecar if one of the switches is on;
    /// `None` when they are not.
    #[must_use]
    pub fn oci_mode(&self) -> Option<OciMode> {
        match self.oci_model_mode.as_str() {
            "" if self.enable_modelcar || self.enable_oci_model_support => Some(OciMode::Modelcar),
            "" => None,
            "native" => Some(OciMode::Native),
            "fetch" => Some(OciMode::Fetch),
            _ => Some(OciMode::Modelcar),
        }
    }
}

/// Key `credentials`: how secrets reach the storage initializer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Credentials {
    /// Secret with storage specifications, one JSON object a key.
    pub storage_spec_secret_name: String,
    /// Annotation that names another secret.
    pub storage_secret_name_annotation: String,
    /// Google Cloud Storage.
    pub gcs: GcsCredentials,
    /// S3.
    pub s3: S3Credentials,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            storage_spec_secret_name: "storage-config".to_owned(),
            storage_secret_name_annotation: "serving.kserve.io/storageSecretName".to_owned(),
            gcs: GcsCredentials::default(),
            s3: S3Credentials::default(),
        }
    }
}

/// Google Cloud Storage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GcsCredentials {
    /// Key of the secret that holds the file.
    pub gcs_credential_file_name: String,
}

impl Default for GcsCredentials {
    fn default() -> Self {
        Self { gcs_credential_file_name: "gcloud-application-credentials.json".to_owned() }
    }
}

/// S3: keys of the secrets, and values where secret and annotations say nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct S3Credentials {
    /// Key of the access key's identifier.
    #[serde(rename = "s3AccessKeyIDName")]
    pub s3_access_key_id_name: String,
    /// Key of the secret access key; a secret that has it is one for S3.
    pub s3_secret_access_key_name: String,
    /// Host, or URL.
    pub s3_endpoint: String,
    /// `1` or `0`.
    pub s3_use_https: String,
    /// Region.
    pub s3_region: String,
    /// `1` or `0`.
    #[serde(rename = "s3VerifySSL")]
    pub s3_verify_ssl: String,
    /// `true` or `false`.
    pub s3_use_virtual_bucket: String,
    /// `true` or `false`.
    pub s3_use_accelerate: String,
    /// `true` or `false`.
    pub s3_use_anonymous_credential: String,
    /// ConfigMap with further authorities.
    #[serde(rename = "s3CABundleConfigMap")]
    pub s3_ca_bundle_config_map: String,
    /// File with further authorities.
    #[serde(rename = "s3CABundle")]
    pub s3_ca_bundle: String,
}

impl Default for S3Credentials {
    fn default() -> Self {
        Self {
            s3_access_key_id_name: "AWS_ACCESS_KEY_ID".to_owned(),
            s3_secret_access_key_name: "AWS_SECRET_ACCESS_KEY".to_owned(),
            s3_endpoint: String::new(),
            s3_use_https: String::new(),
            s3_region: String::new(),
            s3_verify_ssl: String::new(),
            s3_use_virtual_bucket: String::new(),
            s3_use_accelerate: String::new(),
            s3_use_anonymous_credential: String::new(),
            s3_ca_bundle_config_map: String::new(),
            s3_ca_bundle: String::new(),
        }
    }
}

/// Key `logger`: payload logging by the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoggerConfig {
    /// Image (the agent's own image is used).
    pub image: String,
    /// CPU request.
    pub cpu_request: String,
    /// CPU limit.
    pub cpu_limit: String,
    /// Memory request.
    pub memory_request: String,
    /// Memory limit.
    pub memory_limit: String,
    /// Receiver where the service names none.
    pub default_url: String,
    /// ConfigMap with authorities for the receiver, empty for none.
    pub ca_bundle: String,
    /// File in it.
    pub ca_cert_file: String,
    /// Whether any certificate is taken.
    pub tls_skip_verify: bool,
    /// Object storage instead of a receiver, where the service says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<LoggerStorage>,
    /// Service that turns payloads into files.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub marshaller_url: String,
    /// Payloads a file; 0 for the agent's own default.
    pub batch_size: i64,
    /// Longest time before a file is written, as Go writes durations.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub batch_interval: String,
}

impl Default for LoggerConfig {
    fn default() -> Self {
        Self {
            image: AGENT_IMAGE.to_owned(),
            cpu_request: "100m".to_owned(),
            cpu_limit: "1".to_owned(),
            memory_request: "100Mi".to_owned(),
            memory_limit: "1Gi".to_owned(),
            default_url: "http://default-broker".to_owned(),
            ca_bundle: String::new(),
            ca_cert_file: String::new(),
            tls_skip_verify: false,
            storage: None,
            marshaller_url: String::new(),
            batch_size: 0,
            batch_interval: String::new(),
        }
    }
}

/// Image of the agent: logger, batcher and model puller.
const AGENT_IMAGE: &str = "kserve/agent:latest";

/// Key `batcher`. Upstream's webhook checks it and then leaves it to the agent's own defaults, which are
/// the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatcherConfig {
    /// Image (the agent's own image is used).
    pub image: String,
    /// CPU request.
    pub cpu_request: String,
    /// CPU limit.
    pub cpu_limit: String,
    /// Memory request.
    pub memory_request: String,
    /// Memory limit.
    pub memory_limit: String,
    /// Most instances in one call.
    pub max_batch_size: String,
    /// Longest wait for a full batch, in milliseconds.
    pub max_latency: String,
}

impl Default for BatcherConfig {
    fn default() -> Self {
        Self {
            image: AGENT_IMAGE.to_owned(),
            cpu_request: "1".to_owned(),
            cpu_limit: "1".to_owned(),
            memory_request: "1Gi".to_owned(),
            memory_limit: "1Gi".to_owned(),
            max_batch_size: "32".to_owned(),
            max_latency: "5000".to_owned(),
        }
    }
}

/// Key `agent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentConfig {
    /// Image.
    pub image: String,
    /// CPU request.
    pub cpu_request: String,
    /// CPU limit.
    pub cpu_limit: String,
    /// Memory request.
    pub memory_request: String,
    /// Memory limit.
    pub memory_limit: String,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            image: AGENT_IMAGE.to_owned(),
            cpu_request: "100m".to_owned(),
            cpu_limit: "1".to_owned(),
            memory_request: "100Mi".to_owned(),
            memory_limit: "1Gi".to_owned(),
        }
    }
}

/// Key `router`: pods of InferenceGraphs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouterConfig {
    /// Image.
    pub image: String,
    /// CPU request.
    pub cpu_request: String,
    /// CPU limit.
    pub cpu_limit: String,
    /// Memory request.
    pub memory_request: String,
    /// Memory limit.
    pub memory_limit: String,
    /// Pull policy.
    pub image_pull_policy: String,
    /// For example `propagate`: patterns of request headers that steps get.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Vec<String>>,
    /// Names of pull secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            image: "kserve/router:latest".to_owned(),
            cpu_request: "100m".to_owned(),
            cpu_limit: "1".to_owned(),
            memory_request: "100Mi".to_owned(),
            memory_limit: "1Gi".to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
            headers: BTreeMap::new(),
            image_pull_secrets: Vec::new(),
        }
    }
}

/// How a Deployment replaces its pods where the service does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Pods above the wanted number: a count, or a percentage.
    pub max_surge: String,
    /// Pods that may be missing: a count, or a percentage.
    pub max_unavailable: String,
}

/// Key `metricsAggregator`: what pods get that do not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsAggregator {
    /// `"true"` lets the queue-proxy serve the server's metrics with its own.
    pub enable_metric_aggregation: String,
    /// `"true"` annotates pods for Prometheus.
    pub enable_prometheus_scraping: String,
}

impl Default for MetricsAggregator {
    fn default() -> Self {
        Self { enable_metric_aggregation: "false".to_owned(), enable_prometheus_scraping: "false".to_owned() }
    }
}

/// Key `localModel`: models kept on nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalModelConfig {
    /// Whether services use cached models.
    pub enabled: bool,
    /// Namespace of the download jobs.
    pub job_namespace: String,
    /// Image of the download jobs.
    pub default_job_image: String,
    /// Group of the files.
    pub fs_group: Option<i64>,
    /// How long finished jobs stay, in seconds.
    #[serde(rename = "jobTTLSecondsAfterFinished")]
    pub job_ttl_seconds_after_finished: Option<i32>,
    /// How often nodes are looked at, in seconds.
    pub reconcilation_frequency_in_secs: Option<i64>,
    /// Whether somebody else makes volumes and claims.
    pub disable_volume_management: bool,
}

impl Default for LocalModelConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            job_namespace: "kserve-localmodel-jobs".to_owned(),
            default_job_image: StorageInitializer::default().image,
            fs_group: Some(1000),
            job_ttl_seconds_after_finished: Some(3600),
            reconcilation_frequency_in_secs: Some(60),
            disable_volume_management: false,
        }
    }
}

/// Requests and limits that a container gets where it has none; empty text sets nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceDefaults {
    /// CPU request.
    pub cpu_request: String,
    /// CPU limit.
    pub cpu_limit: String,
    /// Memory request.
    pub memory_request: String,
    /// Memory limit.
    pub memory_limit: String,
}

/// Key `opentelemetryCollector`: the sidecar that KEDA's pod metrics come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenTelemetryConfig {
    /// How often the server is scraped.
    pub scrape_interval: String,
    /// Where the metrics are sent.
    pub metric_receiver_endpoint: String,
    /// Where KEDA asks for them.
    pub metric_scaler_endpoint: String,
    /// Size of the sidecar.
    pub resource: ResourceDefaults,
}

impl Default for OpenTelemetryConfig {
    fn default() -> Self {
        Self {
            scrape_interval: "5s".to_owned(),
            metric_receiver_endpoint: "keda-otel-scaler.keda.svc:4317".to_owned(),
            metric_scaler_endpoint: "keda-otel-scaler.keda.svc:4318".to_owned(),
            resource: ResourceDefaults {
                cpu_request: "200m".to_owned(),
                cpu_limit: "1".to_owned(),
                memory_request: "512Mi".to_owned(),
                memory_limit: "2Gi".to_owned(),
            },
        }
    }
}

/// Key `autoscaler`: stabilization windows of ScaledObjects, in seconds, as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoscalerConfig {
    /// Before replicas are added.
    pub scale_up_stabilization_window_seconds: String,
    /// Before replicas are taken away.
    pub scale_down_stabilization_window_seconds: String,
}

impl Default for AutoscalerConfig {
    fn default() -> Self {
        Self {
            scale_up_stabilization_window_seconds: "0".to_owned(),
            scale_down_stabilization_window_seconds: "300".to_owned(),
        }
    }
}

/// Key `explainers`, entry `art`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtExplainer {
    /// Image without tag.
    pub image: String,
    /// Tag where the explainer names none.
    pub default_image_version: String,
}

impl Default for ArtExplainer {
    fn default() -> Self {
        Self { image: "kserve/art-explainer".to_owned(), default_image_version: "latest".to_owned() }
    }
}
