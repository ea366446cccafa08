//! Names that the webhook reads from pods, and names that it writes into them.

/// The model's URI.
pub(super) const SOURCE_URI: &str = super::super::names::STORAGE_SOURCE_URI;
/// `"true"`: the URI comes from the storage secret.
pub(super) const STORAGE_SPEC: &str = "internal.serving.kserve.io/storage-spec";
/// Parameters of the storage specification, as JSON.
pub(super) const STORAGE_SPEC_PARAMETERS: &str = "internal.serving.kserve.io/storage-spec-param";
/// Key of the storage secret.
pub(super) const STORAGE_SPEC_KEY: &str = "internal.serving.kserve.io/storage-spec-key";
/// Name of the ClusterStorageContainer.
pub(super) const STORAGE_CONTAINER: &str = "internal.serving.kserve.io/storage-container-name";
/// User of the storage initializer.
pub(super) const STORAGE_INITIALIZER_UID: &str = "serving.kserve.io/storage-initializer-uid";
/// Payloads are logged.
pub(super) const LOGGER: &str = "internal.serving.kserve.io/logger";
/// Receiver of the payloads.
pub(super) const LOGGER_URL: &str = "internal.serving.kserve.io/logger-sink-url";
/// `all`, `request` or `response`.
pub(super) const LOGGER_MODE: &str = "internal.serving.kserve.io/logger-mode";
/// Request headers that are logged too.
pub(super) const LOGGER_HEADERS: &str = "internal.serving.kserve.io/logger-metadata-headers";
/// Annotations that are logged too.
pub(super) const LOGGER_ANNOTATIONS: &str = "internal.serving.kserve.io/logger-metadata-annotations";
/// Requests are put together.
pub(super) const BATCHER: &str = "internal.serving.kserve.io/batcher";
/// Most instances in one call.
pub(super) const BATCHER_SIZE: &str = "internal.serving.kserve.io/batcher-max-batchsize";
/// Longest wait for a full batch, in milliseconds.
pub(super) const BATCHER_LATENCY: &str = "internal.serving.kserve.io/batcher-max-latency";
/// Models are pulled by the agent.
pub(super) const AGENT: &str = "internal.serving.kserve.io/agent";
/// ConfigMap with the list of models.
pub(super) const AGENT_CONFIG_MAP: &str = "internal.serving.kserve.io/configVolumeName";
/// Folder that the list is mounted at.
pub(super) const AGENT_CONFIG_FOLDER: &str = "internal.serving.kserve.io/configMountPath";
/// Folder that models are pulled to.
pub(super) const AGENT_MODEL_FOLDER: &str = "internal.serving.kserve.io/modelDir";
/// `"true"`: the model is encrypted.
pub(super) const CONFIDENTIAL: &str = "internal.serving.kserve.io/confidential-enabled";
/// Place of the key.
pub(super) const CONFIDENTIAL_RESOURCE: &str = "internal.serving.kserve.io/confidential-resource-id";
/// Kind of GPU on Google's clusters.
pub(super) const GKE_ACCELERATOR: &str = "serving.kserve.io/gke-accelerator";
/// `"true"`: the queue-proxy serves the server's metrics with its own.
pub(super) const METRIC_AGGREGATION: &str = "serving.kserve.io/enable-metric-aggregation";
/// `"true"`: Prometheus finds the pod.
pub(super) const PROMETHEUS_SCRAPING: &str = "serving.kserve.io/enable-prometheus-scraping";

/// Container of worker pods.
pub(super) const WORKER_CONTAINER: &str = "worker-container";
/// Knative's proxy.
pub(super) const QUEUE_PROXY: &str = "queue-proxy";
/// Our sidecar.
pub(super) const AGENT_CONTAINER: &str = "agent";
