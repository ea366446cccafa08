//! Rules of predictors that span several nodes (`workerSpec`).

use serde_json::{Map, Value};

use super::super::inference_service::InferenceService;
use super::super::names;
use crate::pod_fields::raw_environment;

/// Annotation with further GPU resource names, a JSON list.
pub(super) const GPU_RESOURCE_TYPES: &str = "serving.kserve.io/gpu-resource-types";
/// GPUs that need no annotation.
const KNOWN_GPUS: [&str; 4] = ["nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu", "habana.ai/gaudi"];
/// Resources that are no devices.
const PLAIN: [&str; 4] = ["cpu", "memory", "storage", "ephemeral-storage"];

pub(super) fn check(service: &InferenceService, custom_gpus: &[String]) -> Result<(), String> {
    let predictor = &service.spec.predictor;
    let Some(workers) = predictor.worker_spec.as_ref().and_then(Value::as_object) else { return Ok(()) };
    let wrong = |what: &str| Err(format!("the InferenceService {:?} is invalid: {what}", service.name()));
    let unknown_gpu = |container: &Map<String, Value>| -> Result<(), String> {
        if has_unknown_gpu(container, service.annotation(GPU_RESOURCE_TYPES), custom_gpus)? {
            return wrong(
                "Unknown GPU resource type. Set 'serving.kserve.io/gpu-resource-types' annotation to use custom \
                 gpu resource type",
            );
        }
        Ok(())
    };
    let containers = list(workers, "containers");
    if containers.len() > 1 {
        return wrong("setting multiple containers in workerSpec is not allowed");
    }
    if let Some(model) = &predictor.model {
        let container = model.extension.container.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        for variable in ["PIPELINE_PARALLEL_SIZE", "TENSOR_PARALLEL_SIZE"] {
            if raw_environment(&container).any(|(name, _)| name == variable) {
                return wrong(&format!("setting {variable} in environment variables is not allowed"));
            }
        }
        unknown_gpu(&container)?;
        let Some(uri) = &model.extension.storage_uri else {
            return wrong("StorageURI must be set for multinode enabled");
        };
        let scheme = uri.split("://").next().unwrap_or_default();
        if !matches!(scheme, "pvc" | "oci") {
            return wrong(&format!("Multinode only supports 'pvc' and 'oci' Storage Protocol({scheme})"));
        }
        let class = service.annotation(names::AUTOSCALER_CLASS).unwrap_or_default();
        if class != "none" {
            return wrong(&format!("Multinode only supports 'none' autoscaler({class})"));
        }
    }
    for (key, field) in
        [("pipelineParallelSize", "PipelineParallelSize"), ("tensorParallelSize", "TensorParallelSize")]
    {
        if let Some(size) = workers.get(key).and_then(Value::as_i64).filter(|size| *size < 1) {
            return wrong(&format!("WorkerSpec.{field} cannot be less than 1({size})"));
        }
    }
    containers.into_iter().try_for_each(unknown_gpu)
}

/// The objects of a list.
pub(super) fn list<'a>(object: &'a Map<String, Value>, key: &str) -> Vec<&'a Map<String, Value>> {
    object.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).collect()
}

/// Whether a container asks for a device that is no known GPU.
pub(super) fn has_unknown_gpu(
    container: &Map<String, Value>,
    annotation: Option<&str>,
    custom: &[String],
) -> Result<bool, String> {
    let mut known: Vec<String> = KNOWN_GPUS.map(str::to_owned).to_vec();
    known.extend(custom.iter().cloned());
    if let Some(text) = annotation.filter(|text| !text.is_empty()) {
        let listed: Option<Vec<String>> = serde_json::from_str(text).ok();
        let listed = listed.filter(|list| !list.is_empty() && list.iter().all(|name| !name.is_empty()));
        known.extend(listed.ok_or_else(|| {
            format!(
                "invalid GPU format({text}) for {GPU_RESOURCE_TYPES} annotation: must be a valid JSON array"
            )
        })?);
    }
    let resources = container.get("resources");
    let asked = ["limits", "requests"].into_iter().filter_map(|kind| resources?.get(kind)?.as_object());
    Ok(asked.flat_map(Map::keys).any(|name| {
        let plain = PLAIN.contains(&name.as_str());
        !plain && !known.contains(name)
    }))
}
