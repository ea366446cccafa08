//! Which runtime serves an InferenceService's model, and the pod that comes of it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use windtunnel_kernel::Profile;

use super::inference_service::InferenceService;
use super::predictor::{ModelFormat, ModelSpec};
use super::runtime_pod;
use super::serving_runtime::{
    ClusterServingRuntime, ServingRuntime, ServingRuntimeSpec, SupportedModelFormat,
};
use super::status_types::FailureInfo;
use super::storage_container::{ClusterStorageContainer, WorkloadType};
use crate::Fields;
use crate::pod_fields::raw_containers;

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
    /// The workers of a model that spans several nodes.
    pub worker: Option<Worker>,
}

/// The workers of a model that spans several nodes: runtime and service merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// Labels that the runtime wants on the workers.
    pub labels: BTreeMap<String, String>,
    /// Annotations that the runtime wants on the workers.
    pub annotations: BTreeMap<String, String>,
    /// The pod specification.
    pub pod: Fields,
    /// Stages that the model is cut into.
    pub pipeline_parallel_size: i64,
    /// Parts of each stage.
    pub tensor_parallel_size: i64,
    /// Whether the nodes are tied together by processes (`multinode/executor-backend: mp`) and not by Ray.
    pub is_multiprocessing: bool,
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
    pub(super) fn new(reason: &str, message: impl Into<String>) -> Self {
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

/// Host of Azure's blob storage, whose URIs look like others of `https://`.
const AZURE_BLOB: &str = "blob.core.windows.net";
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
    select_as(service, candidates, &[], Profile::Windtunnel)
}

/// [`select`], where the cluster's storage containers may know more kinds of URIs, and as upstream does it or better.
///
/// # Errors
/// Why there is no runtime or no pod, in upstream's words.
pub fn select_as(
    service: &InferenceService,
    candidates: &[Runtime],
    storage_containers: &[ClusterStorageContainer],
    profile: Profile,
) -> Result<Selected, ModelStatusFailure> {
    let predictor = &service.spec.predictor;
    if let Some(uri) = predictor.storage_uri() {
        storage_uri_is_supported(uri, storage_containers)?;
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
            worker: None,
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
    runtime_pod::build(service, model, runtime, profile)
}

/// Whether anything can bring a model of this URI: a storage container of the cluster, or the default one.
pub(super) fn storage_uri_is_supported(
    uri: &str,
    storage_containers: &[ClusterStorageContainer],
) -> Result<(), ModelStatusFailure> {
    let is_init =
        |container: &&ClusterStorageContainer| container.spec.workload_type.0 == WorkloadType::INIT_CONTAINER;
    let mut usable = storage_containers.iter().filter(|container| !container.is_disabled()).filter(is_init);
    if usable.any(|container| container.spec.supports(uri) == Ok(true)) || !uri.contains("://") {
        return Ok(());
    }
    let known = if uri.contains(AZURE_BLOB) {
        let rest = uri.strip_prefix("https://").and_then(|rest| rest.split_once(AZURE_BLOB));
        rest.is_some_and(|(account, path)| account.len() > 1 && path.len() > 1 && path.starts_with('/'))
    } else {
        STORAGE_SCHEMES.iter().any(|scheme| uri.starts_with(scheme))
    };
    if known {
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
pub(super) fn protocol_rank(protocol: &str) -> u8 {
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
