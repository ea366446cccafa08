//! A component of a service (predictor, transformer, explainer) before it becomes objects: its name, labels,
//! annotations and pod.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Map, Value, json};

use super::super::component::{Batcher, ComponentExtension, Logger, StorageUri};
use super::super::config::KserveConfig;
use super::super::inference_service::InferenceService;
use super::super::names;
use super::super::pod;
use super::super::predictor::PredictorSpec;
use super::super::runtime::{Selected, select_as, storage_uri_is_supported};
use super::{Fault, Inputs};
use crate::Fields;
use crate::pod_fields::{SERVING_CONTAINER, TRANSFORMER_CONTAINER};

/// Environment variable with the service's name.
const INFERENCE_SERVICE_NAME: &str = "INFERENCE_SERVICE_NAME";
/// Scheme of a model that is named by a path and a key of the storage secret; the pod webhook puts in the real one.
const SCHEME_PLACEHOLDER: &str = "<scheme-placeholder>";

/// Which component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    Predictor,
    Transformer,
    Explainer,
}

impl Component {
    /// The word in labels and in the status.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Predictor => "predictor",
            Self::Transformer => "transformer",
            Self::Explainer => "explainer",
        }
    }

    /// The word in reasons and messages.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Predictor => "Predictor",
            Self::Transformer => "Transformer",
            Self::Explainer => "Explainer",
        }
    }

    /// The condition that says whether it is ready.
    pub(super) fn ready(self) -> &'static str {
        match self {
            Self::Predictor => "PredictorReady",
            Self::Transformer => "TransformerReady",
            Self::Explainer => "ExplainerReady",
        }
    }

    /// The condition of its route (Knative mode); the explainer's is in the plural, as upstream has it.
    pub(super) fn route_ready(self) -> &'static str {
        match self {
            Self::Predictor => "PredictorRouteReady",
            Self::Transformer => "TransformerRouteReady",
            Self::Explainer => "ExplainerRoutesReady",
        }
    }

    /// The condition of its configuration (Knative mode).
    pub(super) fn configuration_ready(self) -> &'static str {
        match self {
            Self::Predictor => "PredictorConfigurationReady",
            Self::Transformer => "TransformerConfigurationReady",
            Self::Explainer => "ExplainerConfigurationReady",
        }
    }

    /// The components that a service has, predictor first.
    pub(super) fn of(service: &InferenceService) -> Vec<Self> {
        let mut components = vec![Self::Predictor];
        if service.spec.transformer.is_some() {
            components.push(Self::Transformer);
        }
        if service.spec.explainer.is_some() {
            components.push(Self::Explainer);
        }
        components
    }
}

/// A component before it becomes objects.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) component: Component,
    /// Name of its objects.
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) owner: Option<OwnerReference>,
    /// Labels, without `app`.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) pod: Fields,
    pub(super) extension: ComponentExtension,
    /// The predictor's runtime.
    pub(super) selected: Option<Selected>,
}

impl Workload {
    /// The metadata of every object of the component.
    pub(super) fn metadata(&self) -> ObjectMeta {
        let mut labels = self.labels.clone();
        labels.insert("app".to_owned(), self.app());
        ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels),
            annotations: (!self.annotations.is_empty()).then(|| self.annotations.clone()),
            owner_references: self.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        }
    }

    /// The value of the label `app` that its pods are selected by.
    pub(super) fn app(&self) -> String {
        format!("isvc.{}", self.name)
    }

    /// The containers of the pod.
    pub(super) fn containers(&self) -> impl Iterator<Item = &Map<String, Value>> {
        crate::pod_fields::raw_containers(&self.pod, "containers")
    }
}

/// The predictor of `service` (for a canary: of the service with the canary's predictor in its place).
pub(super) fn predictor(service: &InferenceService, inputs: &Inputs<'_>) -> Result<Workload, Fault> {
    let config = inputs.config;
    let spec = &service.spec.predictor;
    let storage_containers = inputs.around.storage_containers;
    let selected =
        select_as(service, inputs.runtimes, storage_containers, inputs.profile).map_err(Fault::of)?;
    let mut annotations = allowed(service.metadata.annotations.as_ref(), config);
    add_logger(&mut annotations, spec.extension.logger.as_ref());
    add_batcher(&mut annotations, spec.extension.batcher.as_ref());
    add_storage(&mut annotations, spec)?;
    let has_agent = serves_many_models(spec);
    if has_agent {
        let config_map = names::model_config_name(service.name(), 0);
        annotations.insert(names::AGENT.to_owned(), "true".to_owned());
        annotations.insert(names::AGENT_CONFIG_VOLUME.to_owned(), config_map);
        annotations.insert(names::AGENT_CONFIG_MOUNT.to_owned(), "/mnt/configs".to_owned());
        annotations.insert(names::AGENT_MODEL_DIR.to_owned(), names::MODEL_MOUNT_PATH.to_owned());
    }
    add_confidential(&mut annotations, spec);

    let mut labels = selected.labels.clone();
    for (key, value) in service.metadata.labels.iter().flatten() {
        // Labels that a server needs are stronger than the service's own.
        if key != names::MODEL_CLASS && key != names::SERVICE_ENVELOPE || !labels.contains_key(key) {
            labels.insert(key.clone(), value.clone());
        }
    }
    labels.extend(spec.extension.labels.clone().unwrap_or_default());
    own_labels(&mut labels, service, Component::Predictor);
    let mut all = allowed(Some(&selected.annotations), config);
    all.extend(annotations);
    all.extend(allowed(spec.extension.annotations.as_ref(), config));

    let mut pod = selected.pod.clone();
    for container in containers_mut(&mut pod) {
        set_variable(container, INFERENCE_SERVICE_NAME, service.name());
    }
    let named = spec.storage_container_name.as_deref();
    add_storage_uris(&mut pod, spec.storage_uris.as_deref(), named, &all, inputs)?;
    Ok(Workload {
        component: Component::Predictor,
        name: names::predictor_service_name(service.name(), spec.name.as_deref()),
        namespace: service.namespace().to_owned(),
        owner: crate::owner::reference(service),
        labels,
        annotations: all,
        pod,
        extension: spec.extension.clone(),
        selected: Some(selected),
    })
}

/// The transformer of `service`: its first container is the serving one and knows the model's name, the predictor's
/// host and its port.
pub(super) fn transformer(inputs: &Inputs<'_>) -> Result<Option<Workload>, Fault> {
    let (service, config) = (inputs.service, inputs.config);
    let Some(spec) = &service.spec.transformer else { return Ok(None) };
    let mut pod = spec.pod.clone();
    if let Some(container) = first_container(&mut pod) {
        container.insert("name".to_owned(), Value::from(SERVING_CONTAINER));
        serving_arguments(container, service, &spec.extension);
        set_variable(container, INFERENCE_SERVICE_NAME, service.name());
    }
    let mut annotations = allowed(service.metadata.annotations.as_ref(), config);
    add_container_storage(&mut annotations, &pod, inputs)?;
    add_logger(&mut annotations, spec.extension.logger.as_ref());
    add_batcher(&mut annotations, spec.extension.batcher.as_ref());
    let workload = side(service, config, Component::Transformer, &spec.extension, annotations);
    add_storage_uris(&mut pod, spec.storage_uris.as_deref(), None, &workload.annotations, inputs)?;
    Ok(Some(Workload { pod, ..workload }))
}

/// The explainer of `service`: custom containers, or the built-in ART explainer.
pub(super) fn explainer(inputs: &Inputs<'_>) -> Result<Option<Workload>, Fault> {
    let (service, config) = (inputs.service, inputs.config);
    let Some(spec) = &service.spec.explainer else { return Ok(None) };
    let mut pod = spec.pod.clone();
    let mut annotations = allowed(service.metadata.annotations.as_ref(), config);
    if let Some(art) = spec.art.as_ref().and_then(Value::as_object) {
        let container = art_container(art, service, &spec.extension, config);
        match first_container(&mut pod) {
            Some(first) => *first = container,
            None => {
                pod.insert("containers".to_owned(), json!([container]));
            }
        }
        if let Some(uri) = art.get("storageUri").and_then(Value::as_str).filter(|uri| !uri.is_empty()) {
            storage_uri_is_supported(uri, inputs.around.storage_containers)
                .map_err(|failure| Fault::Component(failure.message))?;
            annotations.insert(names::STORAGE_SOURCE_URI.to_owned(), uri.to_owned());
        }
    } else {
        if let Some(container) = first_container(&mut pod) {
            container.insert("name".to_owned(), Value::from(SERVING_CONTAINER));
            serving_arguments(container, service, &spec.extension);
        }
        add_container_storage(&mut annotations, &pod, inputs)?;
    }
    add_logger(&mut annotations, spec.extension.logger.as_ref());
    let workload = side(service, config, Component::Explainer, &spec.extension, annotations);
    add_storage_uris(&mut pod, spec.storage_uris.as_deref(), None, &workload.annotations, inputs)?;
    Ok(Some(Workload { pod, ..workload }))
}

/// A transformer or explainer without its pod.
fn side(
    service: &InferenceService,
    config: &KserveConfig,
    component: Component,
    extension: &ComponentExtension,
    mut annotations: BTreeMap<String, String>,
) -> Workload {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.extend(extension.labels.clone().unwrap_or_default());
    own_labels(&mut labels, service, component);
    annotations.extend(allowed(extension.annotations.as_ref(), config));
    Workload {
        component,
        name: format!("{}-{}", service.name(), component.word()),
        namespace: service.namespace().to_owned(),
        owner: crate::owner::reference(service),
        labels,
        annotations,
        pod: Fields::new(),
        extension: extension.clone(),
        selected: None,
    }
}

/// Whether the predictor is a server that gets its models one by one from TrainedModels.
pub(super) fn serves_many_models(predictor: &PredictorSpec) -> bool {
    let Some(model) = &predictor.model else {
        let first = crate::pod_fields::raw_containers(&predictor.pod, "containers").next();
        return first.is_some_and(|container| {
            crate::pod_fields::raw_environment(container)
                .any(|(name, value)| name == "MULTI_MODEL_SERVER" && value == Some("true"))
        });
    };
    model.model_format.name != "huggingface"
        && model.extension.storage_uri.is_none()
        && model.extension.storage.is_none()
        && predictor.storage_uris.as_ref().is_none_or(Vec::is_empty)
}

/// Annotations without those that never go from a service to what is made of it.
pub(super) fn allowed(
    annotations: Option<&BTreeMap<String, String>>,
    config: &KserveConfig,
) -> BTreeMap<String, String> {
    let pairs = annotations.into_iter().flatten();
    pairs
        .filter(|(key, _)| !config.disallowed_annotations.contains(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn own_labels(labels: &mut BTreeMap<String, String>, service: &InferenceService, component: Component) {
    labels.insert(names::INFERENCE_SERVICE_LABEL.to_owned(), service.name().to_owned());
    labels.insert(names::COMPONENT_LABEL.to_owned(), component.word().to_owned());
}

fn add_logger(annotations: &mut BTreeMap<String, String>, logger: Option<&Logger>) {
    let Some(logger) = logger else { return };
    annotations.insert(names::LOGGER.to_owned(), "true".to_owned());
    if let Some(url) = &logger.url {
        annotations.insert(names::LOGGER_SINK_URL.to_owned(), url.clone());
    }
    annotations.insert(names::LOGGER_MODE.to_owned(), logger.mode.clone().unwrap_or_default());
    let lists = [
        (names::LOGGER_METADATA_HEADERS, &logger.metadata_headers),
        (names::LOGGER_METADATA_ANNOTATIONS, &logger.metadata_annotations),
    ];
    for (key, list) in lists {
        if let Some(list) = list {
            annotations.insert(key.to_owned(), list.join(","));
        }
    }
}

fn add_batcher(annotations: &mut BTreeMap<String, String>, batcher: Option<&Batcher>) {
    let Some(batcher) = batcher else { return };
    annotations.insert(names::BATCHER.to_owned(), "true".to_owned());
    let numbers = [
        (names::BATCHER_MAX_BATCH_SIZE, batcher.max_batch_size),
        (names::BATCHER_MAX_LATENCY, batcher.max_latency),
    ];
    for (key, number) in numbers {
        if let Some(number) = number {
            annotations.insert(key.to_owned(), number.to_string());
        }
    }
}

/// What the pod webhook needs to bring the model: its URI, or its path and key in the storage secret.
fn add_storage(annotations: &mut BTreeMap<String, String>, spec: &PredictorSpec) -> Result<(), Fault> {
    if let Some(storage) = spec.model.as_ref().and_then(|model| model.extension.storage.as_ref()) {
        annotations.insert(names::STORAGE_SPEC.to_owned(), "true".to_owned());
        if let Some(parameters) = &storage.parameters {
            annotations.insert(names::STORAGE_SPEC_PARAMETERS.to_owned(), parameters.to_string());
        }
        if let Some(key) = &storage.key {
            annotations.insert(names::STORAGE_SPEC_KEY.to_owned(), key.clone());
        }
        if let Some(path) = &storage.path {
            let path = path.strip_prefix('/').unwrap_or(path);
            let uri = format!("{SCHEME_PLACEHOLDER}://{path}");
            annotations.insert(names::STORAGE_SOURCE_URI.to_owned(), uri);
        }
    }
    let Some(uri) = spec.storage_uri() else { return Ok(()) };
    if annotations.contains_key(names::STORAGE_SOURCE_URI) {
        return Err(Fault::Component("must provide only one of storageUri and storage.path".to_owned()));
    }
    annotations.insert(names::STORAGE_SOURCE_URI.to_owned(), uri.to_owned());
    if let Some(name) = spec.storage_container_name.as_ref().filter(|name| !name.is_empty()) {
        annotations.insert(names::STORAGE_CONTAINER_NAME.to_owned(), name.clone());
    }
    Ok(())
}

fn add_confidential(annotations: &mut BTreeMap<String, String>, spec: &PredictorSpec) {
    let confidential = spec.model.as_ref().and_then(|model| model.extension.confidential.as_ref());
    let Some(confidential) = confidential.filter(|confidential| confidential.enabled) else { return };
    annotations.insert(names::CONFIDENTIAL_ENABLED.to_owned(), "true".to_owned());
    if let Some(resource) = confidential.resource_id.as_deref().filter(|resource| !resource.is_empty()) {
        annotations.insert(names::CONFIDENTIAL_RESOURCE_ID.to_owned(), resource.to_owned());
    }
}

/// `STORAGE_URI` of a transformer's or explainer's first container.
fn add_container_storage(
    annotations: &mut BTreeMap<String, String>,
    pod: &Fields,
    inputs: &Inputs<'_>,
) -> Result<(), Fault> {
    let uri = crate::pod_fields::raw_containers(pod, "containers")
        .take(1)
        .flat_map(crate::pod_fields::raw_environment)
        .find_map(|(name, value)| if name == "STORAGE_URI" { value } else { None });
    if let Some(uri) = uri {
        storage_uri_is_supported(uri, inputs.around.storage_containers)
            .map_err(|failure| Fault::Component(failure.message))?;
        annotations.insert(names::STORAGE_SOURCE_URI.to_owned(), uri.to_owned());
    }
    Ok(())
}

/// What brings several model sources, as the pod webhook would make it: Knative keeps the webhook from doing it.
pub(super) fn add_storage_uris(
    pod: &mut Fields,
    uris: Option<&[StorageUri]>,
    storage_container: Option<&str>,
    annotations: &BTreeMap<String, String>,
    inputs: &Inputs<'_>,
) -> Result<(), Fault> {
    let Some(uris) = uris.filter(|uris| !uris.is_empty()) else { return Ok(()) };
    let mut spec = crate::pod_fields::pod_spec(pod).map_err(Fault::Component)?;
    let namespace = inputs.service.namespace();
    let request = pod::StorageUris { uris, namespace, annotations, storage_container };
    pod::storage_uris(&mut spec, &request, inputs.config, &inputs.around).map_err(Fault::Component)?;
    let value = serde_json::to_value(&spec).map_err(|error| Fault::Component(error.to_string()))?;
    for key in ["initContainers", "containers", "volumes", "shareProcessNamespace"] {
        if let Some(part) = value.get(key).filter(|part| !part.is_null()) {
            pod.insert(key.to_owned(), part.clone());
        }
    }
    Ok(())
}

fn containers_mut(pod: &mut Fields) -> impl Iterator<Item = &mut Map<String, Value>> {
    pod.get_mut("containers")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

fn first_container(pod: &mut Fields) -> Option<&mut Map<String, Value>> {
    containers_mut(pod).next()
}

/// Sets an environment variable, in place where it is there already.
pub(super) fn set_variable(container: &mut Map<String, Value>, name: &str, value: &str) {
    let variables = container.entry("env").or_insert_with(|| json!([]));
    let Some(variables) = variables.as_array_mut() else { return };
    match variables.iter_mut().find(|variable| variable["name"] == *name) {
        Some(variable) => *variable = json!({"name": name, "value": value}),
        None => variables.push(json!({"name": name, "value": value})),
    }
}

/// The arguments that a transformer and a custom explainer get where they don't have them.
fn serving_arguments(
    container: &mut Map<String, Value>,
    service: &InferenceService,
    extension: &ComponentExtension,
) {
    let predictor = names::predictor_service_name(service.name(), service.spec.predictor.name.as_deref());
    let mut wanted = vec![
        ("--model_name", service.name().to_owned()),
        ("--predictor_host", format!("{predictor}.{}", service.namespace())),
        ("--http_port", "8080".to_owned()),
    ];
    if let Some(concurrency) = extension.container_concurrency {
        wanted.push(("--workers", concurrency.to_string()));
    }
    let arguments = container.entry("args").or_insert_with(|| json!([]));
    let Some(arguments) = arguments.as_array_mut() else { return };
    for (flag, value) in wanted {
        if !has_argument(arguments, flag) {
            arguments.push(Value::from(flag));
            arguments.push(Value::from(value));
        }
    }
}

fn has_argument(arguments: &[Value], flag: &str) -> bool {
    arguments.iter().filter_map(Value::as_str).any(|argument| argument.contains(flag))
}

fn art_container(
    art: &Map<String, Value>,
    service: &InferenceService,
    extension: &ComponentExtension,
    config: &KserveConfig,
) -> Map<String, Value> {
    const OWN: [&str; 5] = ["type", "storageUri", "runtimeVersion", "config", "storage"];
    let mut container: Map<String, Value> = art
        .iter()
        .filter(|(key, _)| !OWN.contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let own: Vec<Value> = art.get("args").and_then(Value::as_array).cloned().unwrap_or_default();
    let predictor = names::predictor_service_name(service.name(), service.spec.predictor.name.as_deref());
    let mut arguments: Vec<Value> =
        ["--model_name", service.name(), "--http_port", "8080"].map(Value::from).to_vec();
    if !has_argument(&own, "--predictor_host") {
        arguments.push(Value::from("--predictor_host"));
        arguments.push(Value::from(format!("{predictor}.{}", service.namespace())));
    }
    if let Some(concurrency) = extension.container_concurrency
        && !has_argument(&own, "--workers")
    {
        arguments.push(Value::from("--workers"));
        arguments.push(Value::from(concurrency.to_string()));
    }
    if art.get("storageUri").and_then(Value::as_str).is_some_and(|uri| !uri.is_empty()) {
        arguments.push(Value::from("--storage_uri"));
        arguments.push(Value::from(names::MODEL_MOUNT_PATH));
    }
    arguments.push(Value::from("--adversary_type"));
    arguments.push(art.get("type").cloned().unwrap_or_default());
    let settings: BTreeMap<&String, &Value> =
        art.get("config").and_then(Value::as_object).into_iter().flatten().collect();
    for (key, value) in settings {
        arguments.push(Value::from(format!("--{key}")));
        arguments.push(value.clone());
    }
    arguments.extend(own);
    container.insert("args".to_owned(), Value::Array(arguments));
    container.insert("name".to_owned(), Value::from(SERVING_CONTAINER));
    if container.get("image").and_then(Value::as_str).is_none_or(str::is_empty) {
        let settings = super::settings::Settings::of(config);
        let version = art.get("runtimeVersion").and_then(Value::as_str).unwrap_or(&settings.art_version);
        container.insert("image".to_owned(), Value::from(format!("{}:{version}", settings.art_image)));
    }
    container
}

/// Whether the container is one whose readiness the service waits for.
pub(super) fn serves(name: &str) -> bool {
    name == SERVING_CONTAINER || name == TRANSFORMER_CONTAINER
}
