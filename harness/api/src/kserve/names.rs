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

/// Name of the Knative Service (or Deployment) of an InferenceService's predictor.
#[must_use]
pub fn predictor_name(inference_service: &str) -> String {
    format!("{inference_service}-predictor")
}
