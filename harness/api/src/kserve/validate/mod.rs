//! What the validating webhook refuses, in upstream's words and order: the first fault decides.

mod autoscaling;
mod canary;
mod environment;
mod storage_uris;

pub(super) use storage_uris::common_parent;

use serde_json::Value;

use super::component::ComponentExtension;
use super::inference_service::InferenceService;
use super::names;
use super::predictor::{Framework, PredictorSpec};
use crate::Fields;
use crate::pod_fields::{SERVING_CONTAINER, TRANSFORMER_CONTAINER, raw_containers, raw_environment};

/// Checks an InferenceService that is created (`old` absent) or updated, after defaulting. Objects that are
/// being deleted are let through.
///
/// # Errors
/// Upstream's message for the first rule that is broken.
pub fn validate(service: &InferenceService, old: Option<&InferenceService>) -> Result<(), String> {
    if service.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    if let Some(old) = old {
        deployment_mode_is_kept(service, old)?;
        canary::name_changes_with_the_model(service, old)?;
    }
    let predictor = &service.spec.predictor;
    name(service)?;
    autoscaler_class(service)?;
    environment::no_blocked_variables(service)?;
    workers(service)?;
    collocated_transformer(predictor)?;
    no_container_name(predictor)?;
    storage_uris::check(service)?;
    confidential(predictor)?;

    exactly_one(predictor_implementations(predictor), PREDICTOR_IMPLEMENTATIONS, "PredictorSpec")?;
    if predictor.model.is_none() {
        environment::protocol(&predictor.pod)?;
    }
    extension(service, &predictor.extension)?;
    if let Some(transformer) = &service.spec.transformer {
        exactly_one(custom_implementations(&transformer.pod), "PodSpec", "TransformerSpec")?;
        environment::protocol(&transformer.pod)?;
        extension(service, &transformer.extension)?;
    }
    if let Some(explainer) = &service.spec.explainer {
        let built_in = usize::from(explainer.art.is_some());
        let count = if built_in == 1 { 1 } else { custom_implementations(&explainer.pod) };
        exactly_one(count, "ART, PodSpec", "ExplainerSpec")?;
        extension(service, &explainer.extension)?;
    }
    canary::check(service)
}

const NAME_PATTERN: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const PREDICTOR_IMPLEMENTATIONS: &str = "SKLearn, XGBoost, Tensorflow, PyTorch, Triton, ONNX, HuggingFace, PMML, \
                                         LightGBM, Paddle, Model, StorageUris, WorkerSpec, PodSpec";
const AUTOSCALER_CLASSES: [&str; 4] = ["hpa", "external", "keda", "none"];

/// Whether the text is `[a-z]([-a-z0-9]*[a-z0-9])?`.
pub(super) fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    matches!(bytes.first(), Some(first) if first.is_ascii_lowercase())
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
}

fn name(service: &InferenceService) -> Result<(), String> {
    // An object with generateName gets its name after admission.
    if service.name().is_empty() && service.metadata.generate_name.is_some() || is_name(service.name()) {
        return Ok(());
    }
    Err(format!(
        "the InferenceService \"{}\" is invalid: a InferenceService name must consist of lower case alphanumeric \
         characters or '-', and must start with alphabetical character. (e.g. \"my-name\" or \"abc-123\", regex \
         used for validation is '{NAME_PATTERN}')",
        service.name()
    ))
}

fn deployment_mode_is_kept(service: &InferenceService, old: &InferenceService) -> Result<(), String> {
    let recorded =
        old.status.as_ref().and_then(|status| status.deployment_mode.as_deref()).unwrap_or_default();
    let Some(recorded) = names::deployment_mode(recorded) else { return Ok(()) };
    match service.annotation(names::DEPLOYMENT_MODE) {
        Some(wanted) if names::deployment_mode(wanted) != Some(recorded) => {
            Err(format!("update rejected: deploymentMode cannot be changed from '{recorded}' to '{wanted}'"))
        }
        _ => Ok(()),
    }
}

fn autoscaler_class(service: &InferenceService) -> Result<(), String> {
    match service.annotation(names::AUTOSCALER_CLASS) {
        Some(class) if !AUTOSCALER_CLASSES.contains(&class) => {
            Err(format!("[{class}] is not a supported autoscaler class type"))
        }
        _ => Ok(()),
    }
}

fn workers(service: &InferenceService) -> Result<(), String> {
    let predictor = &service.spec.predictor;
    let Some(workers) = predictor.worker_spec.as_ref().and_then(Value::as_object) else { return Ok(()) };
    let name = service.name();
    let wrong = |what: String| Err(format!("the InferenceService {name:?} is invalid: {what}"));
    if workers.get("containers").and_then(Value::as_array).is_some_and(|containers| containers.len() > 1) {
        return wrong("setting multiple containers in workerSpec is not allowed".to_owned());
    }
    if let Some(model) = &predictor.model {
        let container = model.extension.container.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        for (variable, _) in raw_environment(&container) {
            if matches!(variable, "PIPELINE_PARALLEL_SIZE" | "TENSOR_PARALLEL_SIZE") {
                let field =
                    if variable.starts_with('P') { "PipelineParallelSize" } else { "TensorParallelSize" };
                return wrong(format!(
                    "setting {variable} in environment variables is not allowed; set workerSpec.{field}"
                ));
            }
        }
        let scheme =
            model.extension.storage_uri.as_deref().map(|uri| uri.split("://").next().unwrap_or_default());
        match scheme {
            None => return wrong("storageUri is required for a multi-node predictor".to_owned()),
            Some("pvc" | "oci") => {}
            Some(other) => {
                return wrong(format!("storageUri scheme {other:?} is not supported for multi-node"));
            }
        }
        if service.annotation(names::AUTOSCALER_CLASS) != Some("none") {
            let class = service.annotation(names::AUTOSCALER_CLASS).unwrap_or_default();
            return wrong(format!(
                "autoscaler class {class:?} is not supported for multi-node; it must be \"none\""
            ));
        }
    }
    for size in ["pipelineParallelSize", "tensorParallelSize"] {
        if let Some(value) = workers.get(size).and_then(Value::as_i64).filter(|value| *value < 1) {
            return wrong(format!("workerSpec.{size} is {value} and must be at least 1"));
        }
    }
    Ok(())
}

fn collocated_transformer(predictor: &PredictorSpec) -> Result<(), String> {
    let transformer = raw_containers(&predictor.pod, "containers")
        .find(|container| container.get("name").and_then(Value::as_str) == Some(TRANSFORMER_CONTAINER));
    match transformer {
        Some(container) if raw_environment(container).any(|(name, _)| name == "STORAGE_URI") => {
            Err("storage uri should not be specified in transformer container".to_owned())
        }
        _ => Ok(()),
    }
}

fn no_container_name(predictor: &PredictorSpec) -> Result<(), String> {
    let frameworks = Framework::ALL.into_iter().filter_map(|framework| predictor.framework(framework));
    let model = predictor.model.as_ref().map(|model| &model.extension);
    let named = frameworks.chain(model).any(|extension| {
        extension.container.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
    });
    if named { Err("the 'name' field is not allowed in standard predictor".to_owned()) } else { Ok(()) }
}

fn confidential(predictor: &PredictorSpec) -> Result<(), String> {
    let Some(extension) = predictor.model.as_ref().map(|model| &model.extension) else { return Ok(()) };
    let Some(confidential) = extension.confidential.as_ref().filter(|c| c["enabled"] == Value::Bool(true))
    else {
        return Ok(());
    };
    if extension.storage_uri.as_deref().unwrap_or_default().is_empty() {
        return Err("confidential model serving requires storageUri to be set".to_owned());
    }
    let id = confidential["resourceId"].as_str().unwrap_or_default();
    let part = |part: &&str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    let parts: Vec<&str> =
        id.strip_prefix("kbs:///").map(|rest| rest.split('/').collect()).unwrap_or_default();
    let is_path = parts.len() == 3 && parts.iter().all(part);
    if !id.is_empty() && !is_path {
        return Err(format!(
            "invalid confidential resourceId format {id:?}, expected kbs:///<repo>/<type>/<tag>"
        ));
    }
    Ok(())
}

/// How many implementations a predictor names: frameworks, model, and the containers with the serving
/// container's name; if there is none of these, any container counts as one.
pub(super) fn predictor_implementations(predictor: &PredictorSpec) -> usize {
    let frameworks =
        Framework::ALL.into_iter().filter(|framework| predictor.framework(*framework).is_some()).count();
    let count = frameworks + usize::from(predictor.model.is_some());
    let serving = raw_containers(&predictor.pod, "containers")
        .filter(|container| container.get("name").and_then(Value::as_str) == Some(SERVING_CONTAINER))
        .count();
    if count + serving == 0 { custom_implementations(&predictor.pod) } else { count + serving }
}

fn custom_implementations(pod: &Fields) -> usize {
    usize::from(raw_containers(pod, "containers").next().is_some())
}

fn exactly_one(count: usize, implementations: &str, spec: &str) -> Result<(), String> {
    if count == 1 {
        Ok(())
    } else {
        Err(format!("exactly one of [{implementations}] must be specified in {spec}"))
    }
}

fn extension(service: &InferenceService, extension: &ComponentExtension) -> Result<(), String> {
    if extension.container_concurrency.is_some_and(|concurrency| concurrency < 0) {
        return Err("parallelism cannot be less than 0".to_owned());
    }
    let min = extension.min_replicas.unwrap_or(1);
    let max = extension.max_replicas.unwrap_or(0);
    if min < 0 {
        return Err("'MinReplicas' cannot be less than 0".to_owned());
    }
    if max < 0 {
        return Err("'MaxReplicas' cannot be less than 0".to_owned());
    }
    if min > max && max != 0 {
        return Err("'MinReplicas' cannot be greater than MaxReplicas".to_owned());
    }
    if let Some(logger) = &extension.logger {
        if !matches!(logger.mode.as_deref(), Some("all" | "request" | "response")) {
            return Err("invalid logger type".to_owned());
        }
        if let Some(storage) = &logger.storage {
            let has = |key: &str| storage.get(key).is_some_and(|value| !value.is_null());
            if !["path", "parameters", "key"].into_iter().all(has) {
                return Err("invalid logger storage configuration".to_owned());
            }
        }
    }
    autoscaling::check(service, extension)
}
