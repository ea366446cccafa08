//! What the validating webhooks refuse, in upstream's words and order: the first fault decides.

mod autoscaling;
mod canary;
mod confidential;
mod environment;
mod inference_graph;
mod local_model;
mod multi_node;
mod serving_runtime;
mod storage_uris;
mod trained_model;

pub use inference_graph::inference_graph;
pub use local_model::{
    local_model_cache, local_model_cache_deletion, local_model_namespace_cache,
    local_model_namespace_cache_deletion,
};
pub use serving_runtime::{RuntimeScope, serving_runtime};
pub(super) use storage_uris::common_parent;
pub use trained_model::trained_model;

use serde_json::Value;
use windtunnel_kernel::profile::Profile;

use super::component::ComponentExtension;
use super::inference_service::InferenceService;
use super::names;
use super::predictor::{Framework, PredictorSpec};
use crate::Fields;
use crate::pod_fields::{SERVING_CONTAINER, TRANSFORMER_CONTAINER, raw_containers, raw_environment};

/// What the webhook says of an InferenceService.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Told to the client, whatever the verdict.
    pub warnings: Vec<String>,
    /// Upstream's message for the first rule that is broken.
    pub fault: Option<String>,
}

/// Settings that validation depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'a> {
    /// In the profile `windtunnel` the autoscaler class `kpa` is allowed, in Standard mode too.
    pub profile: Profile,
    /// Resource names of GPUs beside the well-known ones.
    pub custom_gpu_resource_types: &'a [String],
}

/// Checks an InferenceService that is created (`old` absent) or updated, after defaulting, with upstream's
/// rules. Objects that are being deleted are let through.
///
/// # Errors
/// Upstream's message for the first rule that is broken.
pub fn validate(service: &InferenceService, old: Option<&InferenceService>) -> Result<(), String> {
    let rules = Rules { profile: Profile::Upstream, ..Rules::default() };
    review(service, old, &rules).fault.map_or(Ok(()), Err)
}

/// Checks an InferenceService that is created (`old` absent) or updated, after defaulting. Objects that are
/// being deleted are let through.
#[must_use]
pub fn review(service: &InferenceService, old: Option<&InferenceService>, rules: &Rules<'_>) -> Review {
    let mut warnings = Vec::new();
    let fault = check(service, old, rules, &mut warnings).err();
    Review { warnings, fault }
}

fn check(
    service: &InferenceService,
    old: Option<&InferenceService>,
    rules: &Rules<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    if service.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    if let Some(old) = old {
        deployment_mode_is_kept(service, old)?;
        canary::name_changes_with_the_model(service, old)?;
    }
    let predictor = &service.spec.predictor;
    name(service)?;
    autoscaler_class(service, rules.profile)?;
    environment::no_blocked_variables(service)?;
    multi_node::check(service, rules.custom_gpu_resource_types)?;
    collocated_transformer(predictor)?;
    no_container_name(predictor)?;
    storage_uris::check(service)?;
    confidential::check(predictor, warnings)?;

    implementation(predictor)?;
    bounds(&predictor.extension)?;
    autoscaling::check(service, &predictor.extension)?;
    if let Some(transformer) = &service.spec.transformer {
        exactly_one(
            custom_implementations(&transformer.pod),
            TRANSFORMER_IMPLEMENTATIONS,
            "TransformerSpec",
        )?;
        bounds(&transformer.extension)?;
        autoscaling::check(service, &transformer.extension)?;
    }
    if let Some(explainer) = &service.spec.explainer {
        let count = usize::from(explainer.art.is_some()) + custom_implementations(&explainer.pod);
        exactly_one(count, EXPLAINER_IMPLEMENTATIONS, "ExplainerSpec")?;
        explainer.art.as_ref().map_or(Ok(()), art_storage)?;
        bounds(&explainer.extension)?;
        autoscaling::check(service, &explainer.extension)?;
    }
    canary::check(service)
}

const NAME_PATTERN: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
// The fields of upstream's types in order, all but the last, whether they are implementations or not.
const PREDICTOR_IMPLEMENTATIONS: &str = "Name, SKLearn, XGBoost, Tensorflow, PyTorch, Triton, ONNX, HuggingFace, \
                                         PMML, LightGBM, Paddle, Model, StorageUris, StorageContainerName, \
                                         WorkerSpec, PodSpec";
const TRANSFORMER_IMPLEMENTATIONS: &str = "PodSpec, ComponentExtensionSpec";
const EXPLAINER_IMPLEMENTATIONS: &str = "ART, PodSpec, ComponentExtensionSpec";
const AUTOSCALER_CLASSES: [&str; 4] = ["hpa", "external", "keda", "none"];

/// Whether the text is `[a-z]([-a-z0-9]*[a-z0-9])?`.
fn is_name(text: &str) -> bool {
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

/// Old spellings of a mode are the mode: an object whose annotation is as it always was can be written
/// (upstream's issue 5885).
fn deployment_mode_is_kept(service: &InferenceService, old: &InferenceService) -> Result<(), String> {
    fn present(text: &str) -> &str {
        names::deployment_mode(text).unwrap_or(text)
    }
    let recorded =
        old.status.as_ref().and_then(|status| status.deployment_mode.as_deref()).unwrap_or_default();
    if recorded.is_empty() {
        return Ok(());
    }
    let recorded = present(recorded);
    match service.annotation(names::DEPLOYMENT_MODE) {
        Some(wanted) if present(wanted) != recorded => {
            Err(format!("update rejected: deploymentMode cannot be changed from '{recorded}' to '{wanted}'"))
        }
        _ => Ok(()),
    }
}

fn autoscaler_class(service: &InferenceService, profile: Profile) -> Result<(), String> {
    match service.annotation(names::AUTOSCALER_CLASS) {
        Some("kpa") if profile == Profile::Windtunnel => Ok(()),
        Some(class) if !AUTOSCALER_CLASSES.contains(&class) => {
            Err(format!("[{class}] is not a supported autoscaler class type"))
        }
        _ => Ok(()),
    }
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

/// Exactly one implementation, which is sound in itself.
fn implementation(predictor: &PredictorSpec) -> Result<(), String> {
    exactly_one(predictor_implementations(predictor), PREDICTOR_IMPLEMENTATIONS, "PredictorSpec")?;
    if predictor.model.is_none() { environment::protocol(&predictor.pod) } else { Ok(()) }
}

/// How many implementations a predictor names: frameworks, model, and the containers with the serving
/// container's name; if there is none of these, any container counts as one.
fn predictor_implementations(predictor: &PredictorSpec) -> usize {
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

/// Bounds of replicas and concurrency, and the logger.
fn bounds(extension: &ComponentExtension) -> Result<(), String> {
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
        if let Some(storage) = &logger.storage
            && (storage.path.is_none() || storage.parameters.is_none() || storage.key.is_none())
        {
            return Err("invalid logger storage configuration".to_owned());
        }
    }
    Ok(())
}

/// Places that a storage specification can name.
const STORAGE_SPEC_PREFIXES: [&str; 3] = ["s3://", "hdfs://", "webhdfs://"];

/// The ART explainer's storage specification must be one that the storage initializer can use.
fn art_storage(art: &Value) -> Result<(), String> {
    let storage = &art["storage"];
    if storage.is_null() {
        return Ok(());
    }
    let supported = |text: &str| STORAGE_SPEC_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    let list = STORAGE_SPEC_PREFIXES.join(", ");
    match (art["storageUri"].as_str().filter(|uri| !uri.is_empty()), storage["parameters"]["type"].as_str()) {
        (Some(uri), _) if !supported(uri) => Err(format!(
            "storageUri, must be one of: [{list}] or match https://{{}}.blob.core.windows.net/{{}}/{{}} or be an \
             absolute or relative local path. StorageUri [{uri}] is not supported"
        )),
        (None, Some(kind)) if !supported(&format!("{kind}://")) => Err(format!(
            "storage.spec.type, must be one of: [{list}]. storage.spec.type [{kind}] is not supported"
        )),
        _ => Ok(()),
    }
}
