//! Rules about environment variables of containers.

use serde_json::{Map, Value};

use super::super::inference_service::InferenceService;
use super::super::predictor::{Framework, PredictorExtension};
use crate::Fields;
use crate::pod_fields::{SERVING_CONTAINER, raw_containers, raw_environment};

const BLOCKED: &str = "PYTHONPATH";

/// `PYTHONPATH` would let a service replace the server's own code.
pub(super) fn no_blocked_variables(service: &InferenceService) -> Result<(), String> {
    let spec = &service.spec;
    let predictor = &spec.predictor;
    let mut containers: Vec<Map<String, Value>> = Vec::new();
    let mut pod = |fields: &Fields| {
        for key in ["containers", "initContainers"] {
            containers.extend(raw_containers(fields, key).cloned());
        }
    };
    pod(&predictor.pod);
    let worker = predictor.worker_spec.as_ref().and_then(Value::as_object);
    if let Some(worker) = worker {
        pod(&worker.iter().map(|(key, value)| (key.clone(), value.clone())).collect());
    }
    if let Some(transformer) = &spec.transformer {
        pod(&transformer.pod);
    }
    if let Some(explainer) = &spec.explainer {
        pod(&explainer.pod);
        containers.extend(explainer.art.as_ref().and_then(Value::as_object).cloned());
    }
    let raw = |extension: &PredictorExtension| -> Map<String, Value> {
        extension.container.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    containers.extend(predictor.model.as_ref().map(|model| raw(&model.extension)));
    containers
        .extend(Framework::ALL.into_iter().filter_map(|framework| predictor.framework(framework)).map(raw));

    for container in &containers {
        if raw_environment(container).any(|(name, _)| name == BLOCKED) {
            let container = container.get("name").and_then(Value::as_str).unwrap_or_default();
            return Err(format!(
                "the InferenceService {:?} is invalid: setting {BLOCKED} in container {container:?} is not allowed \
                 for security reasons",
                service.name()
            ));
        }
    }
    Ok(())
}

/// A custom container may say which protocol it speaks, if it is one of REST's. The odd order of the words
/// is upstream's.
pub(super) fn protocol(pod: &Fields) -> Result<(), String> {
    let named = raw_containers(pod, "containers")
        .find(|container| container.get("name").and_then(Value::as_str) == Some(SERVING_CONTAINER));
    let Some(container) = named.or_else(|| raw_containers(pod, "containers").next()) else { return Ok(()) };
    let protocol =
        raw_environment(container).find(|(name, _)| *name == "PROTOCOL").and_then(|(_, value)| value);
    match protocol {
        Some(other) if !matches!(other, "v1" | "v2") => {
            Err(format!("invalid protocol v1, v2. Must be one of [{other}]"))
        }
        _ => Ok(()),
    }
}
