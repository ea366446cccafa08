//! Which runtime serves an InferenceService's model, and the pod that comes of it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

use super::inference_service::InferenceService;
use super::predictor::{ModelFormat, ModelSpec};
use super::serving_runtime::{
    ClusterServingRuntime, ServingRuntime, ServingRuntimeSpec, SupportedModelFormat,
};
use super::status_types::FailureInfo;
use super::{merge, names, placeholders};
use crate::Fields;
use crate::pod_fields::{SERVING_CONTAINER, TRANSFORMER_CONTAINER, raw_containers};

/// A runtime of a namespace or of the cluster, as a candidate for a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// Its name.
    pub name: String,
    /// Its namespace; `None` for a cluster's runtime.
    pub namespace: Option<String>,
    /// When it was created: among equals the newest wins.
    pub created: Option<Time>,
    /// Annotations of the runtime object itself (`serving.kserve.io/server-type`).
    pub annotations: BTreeMap<String, String>,
    /// What it serves and how.
    pub spec: ServingRuntimeSpec,
}

impl From<&ClusterServingRuntime> for Runtime {
    fn from(runtime: &ClusterServingRuntime) -> Self {
        Self {
            name: runtime.metadata.name.clone().unwrap_or_default(),
            namespace: None,
            created: runtime.metadata.creation_timestamp.clone(),
            annotations: runtime.metadata.annotations.clone().unwrap_or_default(),
            spec: runtime.spec.runtime.clone(),
        }
    }
}

impl From<&ServingRuntime> for Runtime {
    fn from(runtime: &ServingRuntime) -> Self {
        Self {
            name: runtime.metadata.name.clone().unwrap_or_default(),
            namespace: Some(runtime.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            created: runtime.metadata.creation_timestamp.clone(),
            annotations: runtime.metadata.annotations.clone().unwrap_or_default(),
            spec: runtime.spec.clone(),
        }
    }
}

/// The result of [`select`]: the runtime, if the service needs one, and the merged pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// Name of the namespace's runtime that was chosen.
    pub serving_runtime: Option<String>,
    /// Name of the cluster's runtime that was chosen.
    pub cluster_serving_runtime: Option<String>,
    /// Protocol that the predictor speaks.
    pub protocol: String,
    /// Labels that the runtime wants on the pods.
    pub labels: BTreeMap<String, String>,
    /// Annotations that the runtime wants on the pods.
    pub annotations: BTreeMap<String, String>,
    /// The pod specification: runtime and service merged, placeholders replaced.
    pub pod: Fields,
}

/// Why no pod can be made: upstream's failure reason and words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ModelStatusFailure {
    /// `NoSupportingRuntime`, `RuntimeNotRecognized`, `RuntimeDisabled` or `InvalidPredictorSpec`.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

impl ModelStatusFailure {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }

    /// The failure as it stands in an InferenceService's status.
    #[must_use]
    pub fn info(&self) -> FailureInfo {
        FailureInfo {
            reason: Some(self.reason.clone()),
            message: Some(self.message.clone()),
            ..FailureInfo::default()
        }
    }
}

/// The URI schemes that a model may come from, for the message.
const STORAGE_SCHEMES: [&str; 12] = [
    "gs://",
    "s3://",
    "pvc://",
    "file://",
    "https://",
    "http://",
    "hdfs://",
    "webhdfs://",
    "oci://",
    "oci+native://",
    "oci+fetch://",
    "hf://",
];

/// Chooses the runtime for the service's model among the candidates (those of other namespaces are
/// ignored), merges the service over it, and replaces placeholders. A custom predictor needs no runtime:
/// its pod is taken as it is.
///
/// # Errors
/// Why there is no runtime or no pod, in upstream's words.
pub fn select(service: &InferenceService, candidates: &[Runtime]) -> Result<Selected, ModelStatusFailure> {
    let predictor = &service.spec.predictor;
    if let Some(uri) = predictor.storage_uri() {
        storage_uri_is_supported(uri)?;
    }
    let Some(model) = &predictor.model else {
        let protocol = raw_containers(&predictor.pod, "containers")
            .flat_map(crate::pod_fields::raw_environment)
            .find_map(|(name, value)| if name == "PROTOCOL" { value } else { None });
        return Ok(Selected {
            serving_runtime: None,
            cluster_serving_runtime: None,
            protocol: protocol.unwrap_or("v1").to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            pod: predictor.pod.clone(),
        });
    };
    let multi_node = predictor.worker_spec.is_some();
    let local = candidates.iter().filter(|runtime| {
        runtime.namespace.as_deref().is_none_or(|namespace| namespace == service.namespace())
    });
    let runtime = match model.runtime.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => named(name, model, local)?,
        None => automatic(model, multi_node, local)?,
    };
    build(service, model, runtime)
}

pub(super) fn storage_uri_is_supported(uri: &str) -> Result<(), ModelStatusFailure> {
    let known = STORAGE_SCHEMES.iter().any(|scheme| uri.starts_with(scheme));
    if known || !uri.contains("://") {
        return Ok(());
    }
    let schemes = STORAGE_SCHEMES.join(", ");
    Err(ModelStatusFailure::new(
        "InvalidPredictorSpec",
        format!(
            "StorageURI not supported: storageUri, must be one of: [{schemes}] or match \
             https://{{}}.blob.core.windows.net/{{}}/{{}} or be an absolute or relative local path. StorageUri \
             [{uri}] is not supported"
        ),
    ))
}

fn named<'a>(
    name: &str,
    model: &ModelSpec,
    candidates: impl Iterator<Item = &'a Runtime>,
) -> Result<&'a Runtime, ModelStatusFailure> {
    // A namespace's runtime hides a cluster's of the same name.
    let runtime = candidates
        .filter(|runtime| runtime.name == name)
        .min_by_key(|runtime| runtime.namespace.is_none())
        .ok_or_else(|| {
            ModelStatusFailure::new("RuntimeNotRecognized", "Waiting for runtime to become available")
        })?;
    if runtime.spec.disabled == Some(true) {
        return Err(ModelStatusFailure::new("RuntimeDisabled", "Specified runtime is disabled"));
    }
    if let Some(protocol) = model.extension.protocol_version.as_deref()
        && !speaks(&runtime.spec, protocol)
    {
        let message = "Specified runtime does not support specified protocol version";
        return Err(ModelStatusFailure::new("NoSupportingRuntime", message));
    }
    if !formats(&runtime.spec).any(|format| loads(format, &model.model_format)) {
        let message = "Specified runtime does not support specified framework/version";
        return Err(ModelStatusFailure::new("NoSupportingRuntime", message));
    }
    Ok(runtime)
}

fn automatic<'a>(
    model: &ModelSpec,
    multi_node: bool,
    candidates: impl Iterator<Item = &'a Runtime>,
) -> Result<&'a Runtime, ModelStatusFailure> {
    let protocol = model.extension.protocol_version.as_deref().unwrap_or("v1");
    let fits = |runtime: &&Runtime| {
        runtime.spec.disabled != Some(true)
            && runtime.spec.multi_model != Some(true)
            && runtime.spec.pod.contains_key("workerSpec") == multi_node
            && speaks(&runtime.spec, protocol)
            && formats(&runtime.spec)
                .any(|format| format.auto_select == Some(true) && loads(format, &model.model_format))
    };
    let mut fitting: Vec<&Runtime> = candidates.filter(fits).collect();
    fitting.sort_by(|a, b| {
        // Namespace before cluster; higher priority first, none last; lower protocol, newest, name.
        let priority = |runtime: &Runtime| {
            let format = formats(&runtime.spec).find(|format| format.name == model.model_format.name);
            format.and_then(|format| format.priority).unwrap_or(i32::MIN)
        };
        (a.namespace.is_none().cmp(&b.namespace.is_none()))
            .then_with(|| priority(b).cmp(&priority(a)))
            .then_with(|| lowest_protocol(&a.spec).cmp(&lowest_protocol(&b.spec)))
            .then_with(|| b.created.cmp(&a.created))
            .then_with(|| a.name.cmp(&b.name))
    });
    fitting.first().copied().ok_or_else(|| {
        let message = "No runtime found to support specified framework/version";
        ModelStatusFailure::new("NoSupportingRuntime", message)
    })
}

fn formats(spec: &ServingRuntimeSpec) -> impl Iterator<Item = &SupportedModelFormat> {
    spec.supported_model_formats.iter().flatten()
}

fn loads(format: &SupportedModelFormat, wanted: &ModelFormat) -> bool {
    format.name == wanted.name
        && wanted.version.as_ref().is_none_or(|version| format.version.as_ref() == Some(version))
}

fn speaks(spec: &ServingRuntimeSpec, protocol: &str) -> bool {
    spec.protocol_versions
        .as_ref()
        .is_none_or(|list| list.is_empty() || list.iter().any(|known| known == protocol))
}

/// v1 < v2 < grpc-v1 < grpc-v2 < anything else.
fn protocol_rank(protocol: &str) -> u8 {
    match protocol {
        "v1" => 0,
        "v2" => 1,
        "grpc-v1" => 2,
        "grpc-v2" => 3,
        _ => 4,
    }
}

fn lowest_protocol(spec: &ServingRuntimeSpec) -> u8 {
    spec.protocol_versions.iter().flatten().map(|protocol| protocol_rank(protocol)).min().unwrap_or(u8::MAX)
}

fn build(
    service: &InferenceService,
    model: &ModelSpec,
    runtime: &Runtime,
) -> Result<Selected, ModelStatusFailure> {
    let invalid = |message: String| ModelStatusFailure::new("InvalidPredictorSpec", message);
    let containers: Vec<_> = raw_containers(&runtime.spec.pod, "containers").collect();
    let is_serving = |container: &&&Map<String, Value>| {
        container.get("name").and_then(Value::as_str) == Some(SERVING_CONTAINER)
    };
    let base = match containers.as_slice() {
        [] => return Err(invalid("no container configuration found in selected serving runtime".to_owned())),
        [only] => only,
        many => many.iter().find(is_serving).ok_or_else(|| {
            invalid("no container configuration found in selected serving runtime".to_owned())
        })?,
    };
    let protocol = model.extension.protocol_version.clone().unwrap_or_else(|| {
        let lowest = runtime.spec.protocol_versions.iter().flatten().min_by_key(|name| protocol_rank(name));
        lowest.cloned().unwrap_or_else(|| "v1".to_owned())
    });
    let mine: Map<String, Value> =
        model.extension.container.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut serving = merge::container(base, &mine);
    serving.insert("name".to_owned(), Value::from(SERVING_CONTAINER));

    let mut labelled = service.clone();
    let server_type =
        runtime.annotations.get(names::SERVER_TYPE).map_or(runtime.name.as_str(), String::as_str);
    apply_server_defaults(&mut labelled, &mut serving, server_type, &protocol, model);
    set_image(&mut serving, model.extension.runtime_version.as_deref(), server_type);

    let mut serving = Value::Object(serving);
    placeholders::replace(&mut serving, &labelled).map_err(|_| {
        let message = format!(
            "failed to replace placeholders in serving runtime {} Container {SERVING_CONTAINER}",
            runtime.name
        );
        invalid(message)
    })?;

    let predictor = &service.spec.predictor;
    let mut all = vec![serving];
    for other in containers.iter().filter(|container| !std::ptr::eq(**container, *base)) {
        all.push(Value::Object((*other).clone()));
    }
    for mine in raw_containers(&predictor.pod, "containers") {
        let name = mine.get("name").and_then(Value::as_str).unwrap_or_default();
        let same =
            all.iter_mut().skip(1).find(|other| other["name"] == *name && name == TRANSFORMER_CONTAINER);
        match same {
            Some(Value::Object(other)) => *other = merge::container(other, mine),
            _ => all.push(Value::Object(mine.clone())),
        }
    }
    let mut pod = merge::pod_settings(&runtime.spec.pod, &predictor.pod);
    pod.insert("containers".to_owned(), Value::Array(all));

    let own_labels = service.metadata.labels.as_ref();
    let mut labels = runtime.spec.labels.clone().unwrap_or_default();
    for (key, value) in labelled.metadata.labels.unwrap_or_default() {
        if own_labels.is_none_or(|labels| !labels.contains_key(&key)) {
            labels.insert(key, value);
        }
    }
    Ok(Selected {
        serving_runtime: runtime.namespace.is_some().then(|| runtime.name.clone()),
        cluster_serving_runtime: runtime.namespace.is_none().then(|| runtime.name.clone()),
        protocol,
        labels,
        annotations: runtime.spec.annotations.clone().unwrap_or_default(),
        pod,
    })
}

/// What some servers need to know besides their arguments.
fn apply_server_defaults(
    service: &mut InferenceService,
    container: &mut Map<String, Value>,
    server_type: &str,
    protocol: &str,
    model: &ModelSpec,
) {
    let has_storage = model.extension.storage_uri.is_some() || model.extension.storage.is_some();
    let format = model.model_format.name.as_str();
    if server_type.contains("mlserver") {
        add_variable(container, "MLSERVER_MODEL_NAME", service.name());
        if has_storage {
            add_variable(container, "MLSERVER_MODEL_URI", names::MODEL_MOUNT_PATH);
        } else {
            add_variable(container, "MLSERVER_LOAD_MODELS_AT_STARTUP", "false");
        }
        let class = match format {
            "sklearn" => "mlserver_sklearn.SKLearnModel",
            "xgboost" => "mlserver_xgboost.XGBoostModel",
            "lightgbm" => "mlserver_lightgbm.LightGBMModel",
            "mlflow" => "mlserver_mlflow.MLflowRuntime",
            _ => return,
        };
        let labels = service.metadata.labels.get_or_insert_default();
        labels.insert(names::MODEL_CLASS.to_owned(), class.to_owned());
    } else if server_type.contains("torchserve") {
        let envelope = if protocol == "v1" { "kserve" } else { "kservev2" };
        let labels = service.metadata.labels.get_or_insert_default();
        labels.insert(names::SERVICE_ENVELOPE.to_owned(), envelope.to_owned());
        add_variable(container, "PROTOCOL_VERSION", protocol);
    } else if server_type.contains("triton") && !has_storage {
        let args = container.entry("args").or_insert_with(|| json!([]));
        if let Some(args) = args.as_array_mut() {
            args.push(json!("--model-control-mode=explicit"));
        }
    }
}

fn add_variable(container: &mut Map<String, Value>, name: &str, value: &str) {
    let variables = container.entry("env").or_insert_with(|| json!([]));
    let Some(variables) = variables.as_array_mut() else { return };
    if !variables.iter().any(|variable| variable["name"] == *name) {
        variables.push(json!({"name": name, "value": value}));
    }
}

/// The runtime version replaces the image's tag; servers with a GPU build get it when a GPU is asked for.
fn set_image(container: &mut Map<String, Value>, version: Option<&str>, server_type: &str) {
    let limits =
        container.get("resources").and_then(|resources| resources.get("limits")).and_then(Value::as_object);
    let gpu = limits.is_some_and(|limits| limits.keys().any(|key| key.ends_with("/gpu")));
    let Some(Value::String(image)) = container.get_mut("image") else { return };
    if image.contains("@sha256:") {
        return;
    }
    let tag_at = image.rfind(':').filter(|colon| !image[*colon..].contains('/'));
    if let Some(version) = version.filter(|version| !version.is_empty()) {
        image.truncate(tag_at.unwrap_or(image.len()));
        image.push(':');
        image.push_str(version);
    }
    let has_gpu_build = ["tensorflow-serving", "torchserve", "huggingfaceserver"]
        .iter()
        .any(|kind| server_type.contains(kind));
    if gpu
        && has_gpu_build
        && image.rfind(':').is_some_and(|colon| !image[colon..].contains('/'))
        && !image.ends_with("-gpu")
    {
        image.push_str("-gpu");
    }
}
