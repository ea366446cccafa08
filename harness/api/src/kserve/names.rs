//! Names that are part of KServe's and Knative's public surface: annotations, labels, deployment modes.

/// Deployment mode of an InferenceService: `Standard`, `Knative` or `ModelMesh`.
pub const DEPLOYMENT_MODE: &str = "serving.kserve.io/deploymentMode";
/// Autoscaler class in Standard mode.
pub const AUTOSCALER_CLASS: &str = "serving.kserve.io/autoscalerClass";
/// `"true"` gives the canary's and the previous revision's own host names.
pub const ENABLE_TAG_ROUTING: &str = "serving.kserve.io/enable-tag-routing";
/// `"true"` removes everything the service runs on and keeps the object.
pub const STOP: &str = "serving.kserve.io/stop";
/// Which kind of server a runtime is.
pub const SERVER_TYPE: &str = "serving.kserve.io/server-type";
/// `"false"` mounts the model folder writable.
pub const STORAGE_READ_ONLY: &str = "storage.kserve.io/readonly";
/// The model's URI, for the pod webhook.
pub const STORAGE_SOURCE_URI: &str = "internal.serving.kserve.io/storage-initializer-sourceuri";
/// Label with the name of the InferenceService on everything that belongs to it.
pub const INFERENCE_SERVICE_LABEL: &str = "serving.kserve.io/inferenceservice";
/// Label with the component's kind: `predictor`, `transformer` or `explainer`.
pub const COMPONENT_LABEL: &str = "component";
/// Annotation with the model's format, set by the defaulter.
pub const MODEL_FORMAT: &str = "modelFormat";
/// Label that tells an mlserver runtime which class loads the model.
pub const MODEL_CLASS: &str = "modelClass";
/// Label that tells torchserve which envelope to speak.
pub const SERVICE_ENVELOPE: &str = "serviceEnvelope";
/// Finalizer of an InferenceService.
pub const FINALIZER: &str = "inferenceservice.finalizers";

/// The mode that makes plain Deployments.
pub const STANDARD: &str = "Standard";
/// The mode that makes Knative Services.
pub const KNATIVE: &str = "Knative";
/// The mode of the legacy multi-model mesh.
pub const MODEL_MESH: &str = "ModelMesh";

/// The mode in its present spelling; `None` when it is none.
#[must_use]
pub fn deployment_mode(text: &str) -> Option<&'static str> {
    match text {
        "Standard" | "RawDeployment" => Some(STANDARD),
        "Knative" | "Serverless" => Some(KNATIVE),
        "ModelMesh" => Some(MODEL_MESH),
        _ => None,
    }
}

/// Where a model's files are inside its pod.
pub const MODEL_MOUNT_PATH: &str = "/mnt/models";

/// What requests and responses are logged by.
pub const LOGGER: &str = "internal.serving.kserve.io/logger";
/// Where they are logged to.
pub const LOGGER_SINK_URL: &str = "internal.serving.kserve.io/logger-sink-url";
/// `all`, `request` or `response`.
pub const LOGGER_MODE: &str = "internal.serving.kserve.io/logger-mode";
/// Headers that are logged too, with commas between them.
pub const LOGGER_METADATA_HEADERS: &str = "internal.serving.kserve.io/logger-metadata-headers";
/// Annotations that are logged too, with commas between them.
pub const LOGGER_METADATA_ANNOTATIONS: &str = "internal.serving.kserve.io/logger-metadata-annotations";
/// `"true"` puts requests together.
pub const BATCHER: &str = "internal.serving.kserve.io/batcher";
/// Most instances of a batch.
pub const BATCHER_MAX_BATCH_SIZE: &str = "internal.serving.kserve.io/batcher-max-batchsize";
/// Longest wait for a batch, in milliseconds.
pub const BATCHER_MAX_LATENCY: &str = "internal.serving.kserve.io/batcher-max-latency";
/// `"true"` lets the agent load models one by one.
pub const AGENT: &str = "internal.serving.kserve.io/agent";
/// ConfigMap that the agent reads the models from.
pub const AGENT_CONFIG_VOLUME: &str = "internal.serving.kserve.io/configVolumeName";
/// Where that ConfigMap is mounted.
pub const AGENT_CONFIG_MOUNT: &str = "internal.serving.kserve.io/configMountPath";
/// Where the agent puts the models.
pub const AGENT_MODEL_DIR: &str = "internal.serving.kserve.io/modelDir";
/// `"true"` says that the model is named by the storage secret.
pub const STORAGE_SPEC: &str = "internal.serving.kserve.io/storage-spec";
/// Parameters (JSON) that override the storage secret's.
pub const STORAGE_SPEC_PARAMETERS: &str = "internal.serving.kserve.io/storage-spec-param";
/// Key of the storage secret.
pub const STORAGE_SPEC_KEY: &str = "internal.serving.kserve.io/storage-spec-key";
/// The ClusterStorageContainer that brings the model.
pub const STORAGE_CONTAINER_NAME: &str = "internal.serving.kserve.io/storage-container-name";
/// `"true"` says that the model is encrypted.
pub const CONFIDENTIAL_ENABLED: &str = "internal.serving.kserve.io/confidential-enabled";
/// The key of an encrypted model.
pub const CONFIDENTIAL_RESOURCE_ID: &str = "internal.serving.kserve.io/confidential-resource-id";
/// User of the storage initializer.
pub const STORAGE_INITIALIZER_UID: &str = "serving.kserve.io/storage-initializer-uid";
/// Kind of GPU on Google's clusters.
pub const GKE_ACCELERATOR: &str = "serving.kserve.io/gke-accelerator";
/// `"true"` lets the queue-proxy serve the server's metrics with its own.
pub const METRIC_AGGREGATION: &str = "serving.kserve.io/enable-metric-aggregation";
/// `"true"` lets Prometheus find the pod.
pub const PROMETHEUS_SCRAPING: &str = "serving.kserve.io/enable-prometheus-scraping";
/// `"true"` leaves a ready service alone until somebody changes the annotation.
pub const DISABLE_AUTO_UPDATE: &str = "serving.kserve.io/disable-auto-update";
/// Label with the generation of a service whose model spans several nodes.
pub const GENERATION_LABEL: &str = "isvc.generation";
/// Label `networking.kserve.io/visibility: cluster-local` keeps a service inside the cluster.
pub const VISIBILITY: &str = "networking.kserve.io/visibility";
/// The value of [`VISIBILITY`].
pub const CLUSTER_LOCAL: &str = "cluster-local";

/// Name of the ConfigMap with the models of a shard of a server of many models.
#[must_use]
pub fn model_config_name(inference_service: &str, shard: u32) -> String {
    format!("modelconfig-{inference_service}-{shard}")
}

/// Name of the Deployment and the Service (or Knative Service) of a predictor: `{service}-predictor`, or
/// `{service}-{predictor}-predictor` where the predictor has a name.
#[must_use]
pub fn predictor_service_name(inference_service: &str, predictor: Option<&str>) -> String {
    windtunnel_kernel::rollout::kserve::standard::service_name(
        inference_service,
        predictor.unwrap_or_default(),
    )
}
