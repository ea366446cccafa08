//! Rules about environment variables of containers.

use serde_json::{Map, Value};

use super::super::inference_service::InferenceService;
use super::super::predictor::{Framework, PredictorExtension};
use super::super::serving_runtime::ServingRuntimeSpec;
use super::multi_node::list;
use crate::Fields;
use crate::pod_fields::{raw_containers, raw_environment};

const BLOCKED: &str = "PYTHONPATH";

/// `PYTHONPATH` would let a service replace the server's own code.
pub(super) fn no_blocked_variables(service: &InferenceService) -> Result<(), String> {
    let spec = &service.spec;
    let predictor = &spec.predictor;
    let mut containers: Vec<Map<String, Value>> = Vec::new();
    let pod = |fields: &Fields| -> Vec<Map<String, Value>> {
        ["containers", "initContainers"].iter().flat_map(|key| raw_containers(fields, key).cloned()).collect()
    };
    let raw = |extension: &PredictorExtension| -> Map<String, Value> {
        extension.container.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    containers.extend(pod(&predictor.pod));
    containers.extend(predictor.model.as_ref().map(|model| raw(&model.extension)));
    containers
        .extend(Framework::ALL.into_iter().filter_map(|framework| predictor.framework(framework)).map(raw));
    if let Some(workers) = predictor.worker_spec.as_ref().and_then(Value::as_object) {
        for key in ["containers", "initContainers"] {
            containers.extend(list(workers, key).into_iter().cloned());
        }
    }
    if let Some(transformer) = &spec.transformer {
        containers.extend(pod(&transformer.pod));
    }
    if let Some(explainer) = &spec.explainer {
        containers.extend(pod(&explainer.pod));
        containers.extend(explainer.art.as_ref().and_then(Value::as_object).cloned());
    }
    containers
        .iter()
        .try_for_each(unblocked)
        .map_err(|what| format!("the InferenceService {:?} is invalid: {what}", service.name()))
}

/// The same for a runtime's containers.
pub(super) fn no_blocked_variables_of_runtime(spec: &ServingRuntimeSpec) -> Result<(), String> {
    let workers = spec.pod.get("workerSpec").and_then(Value::as_object);
    let workers = workers.map(|workers| list(workers, "containers")).unwrap_or_default();
    raw_containers(&spec.pod, "containers").chain(workers).try_for_each(unblocked)
}

fn unblocked(container: &Map<String, Value>) -> Result<(), String> {
    if !raw_environment(container).any(|(name, _)| name == BLOCKED) {
        return Ok(());
    }
    let container = container.get("name").and_then(Value::as_str).unwrap_or_default();
    Err(format!("setting {BLOCKED} in container {container:?} is not allowed for security reasons"))
}

/// The first container of a custom predictor may say which protocol it speaks, if it is one of REST's. The
/// odd order of the words is upstream's.
pub(super) fn protocol(pod: &Fields) -> Result<(), String> {
    let Some(container) = raw_containers(pod, "containers").next() else { return Ok(()) };
    match raw_environment(container).find(|(name, _)| *name == "PROTOCOL") {
        Some((_, value)) if !matches!(value, Some("v1" | "v2")) => {
            Err(format!("invalid protocol v1, v2. Must be one of [{}]", value.unwrap_or_default()))
        }
        _ => Ok(()),
    }
}
