//! What the defaulting webhook fills in.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::config::{KserveConfig, ResourceDefaults};
use super::inference_service::InferenceService;
use super::local_model::{
    LOCAL_MODEL_CLAIM, LOCAL_MODEL_LABEL, LOCAL_MODEL_NAMESPACE_LABEL, LOCAL_MODEL_SOURCE_URI, LocalModel,
};
use super::names;
use super::predictor::{Framework, ModelFormat, ModelSpec, PredictorSpec};
use crate::Fields;
use crate::pod_fields::SERVING_CONTAINER;

/// Annotation that keeps a service away from the caches.
const DISABLE_LOCAL_MODEL: &str = "serving.kserve.io/disable-localmodel";
/// Annotation that names the group of nodes whose cache is used.
const NODE_GROUP: &str = "serving.kserve.io/nodegroup";

/// Fills in the defaults where there are no models on the nodes.
pub fn default(service: &mut InferenceService, config: &KserveConfig) {
    default_with(service, config, &[]);
}

/// Fills in the defaults, in upstream's order: deployment mode, legacy framework fields to `model`,
/// protocol, the `modelFormat` annotation, names and resources of custom containers, the cache that has the
/// model (a namespace's before the cluster's, in the order given), service account token.
pub fn default_with(service: &mut InferenceService, config: &KserveConfig, models: &[LocalModel<'_>]) {
    deployment_mode(service, config);
    let model_mesh = service.annotation(names::DEPLOYMENT_MODE) == Some(names::MODEL_MESH);
    if !model_mesh {
        framework_to_model(&mut service.spec.predictor);
        for canary in service.spec.canary.iter_mut().flatten() {
            framework_to_model(&mut canary.predictor);
        }
        if let Some(model) = &service.spec.predictor.model
            && !model.model_format.name.is_empty()
        {
            let format = model.model_format.name.clone();
            let annotations = service.metadata.annotations.get_or_insert_default();
            annotations.entry(names::MODEL_FORMAT.to_owned()).or_insert(format);
        }
    }
    let spec = &mut service.spec;
    let resources = config.resources.as_ref();
    if !model_mesh && spec.predictor.model.is_none() {
        custom_container(&mut spec.predictor.pod, resources, Naming::OnlyIfAloneOrUnnamed);
    }
    if let Some(transformer) = &mut spec.transformer {
        custom_container(&mut transformer.pod, resources, Naming::Always);
    }
    if let Some(explainer) = &mut spec.explainer {
        match explainer.art.as_mut().and_then(Value::as_object_mut) {
            Some(art) => {
                art.insert("name".to_owned(), Value::from(SERVING_CONTAINER));
                let version = config.art_explainer.default_image_version.as_str();
                art.entry("runtimeVersion").or_insert_with(|| Value::from(version));
                default_resources(art, resources);
            }
            None => custom_container(&mut explainer.pod, resources, Naming::Always),
        }
    }
    local_model(service, config, models);
    let spec = &mut service.spec;
    if !config.auto_mount_service_account_token {
        let transformer = spec.transformer.as_mut().map(|component| &mut component.pod);
        let explainer = spec.explainer.as_mut().map(|component| &mut component.pod);
        for pod in [Some(&mut spec.predictor.pod), transformer, explainer].into_iter().flatten() {
            pod.entry("automountServiceAccountToken".to_owned()).or_insert(Value::Bool(false));
        }
    }
}

/// Notes which cache has the service's model, or that none has.
fn local_model(service: &mut InferenceService, config: &KserveConfig, models: &[LocalModel<'_>]) {
    let Some(uri) = service.spec.predictor.storage_uri().map(str::to_owned) else { return };
    let looks = config.local_model.enabled && service.annotation(DISABLE_LOCAL_MODEL).is_none();
    let group = service.annotation(NODE_GROUP).map(str::to_owned);
    let namespace = service.namespace().to_owned();
    let near = |model: &&LocalModel<'_>| model.namespace.is_some_and(|own| own == namespace);
    let far = |model: &&LocalModel<'_>| model.namespace.is_none();
    let candidates = models.iter().filter(near).chain(models.iter().filter(far)).filter(|_| looks);
    let found = candidates.filter(|model| model.holds(&uri)).find_map(|model| {
        let group = match &group {
            Some(group) => model.node_groups.iter().find(|of| *of == group)?,
            None => model.node_groups.first()?,
        };
        Some((model, format!("{}-{group}", model.name)))
    });
    let labels = found
        .as_ref()
        .map_or([(LOCAL_MODEL_LABEL, None), (LOCAL_MODEL_NAMESPACE_LABEL, None)], |(model, _)| {
            [(LOCAL_MODEL_LABEL, Some(model.name)), (LOCAL_MODEL_NAMESPACE_LABEL, model.namespace)]
        });
    let annotations = found.as_ref().map_or(
        [(LOCAL_MODEL_SOURCE_URI, None), (LOCAL_MODEL_CLAIM, None)],
        |(model, claim)| {
            [
                (LOCAL_MODEL_SOURCE_URI, Some(model.source_model_uri)),
                (LOCAL_MODEL_CLAIM, Some(claim.as_str())),
            ]
        },
    );
    note(&mut service.metadata.labels, labels);
    note(&mut service.metadata.annotations, annotations);
}

/// Sets the keys that have values and takes the others out.
fn note(map: &mut Option<BTreeMap<String, String>>, entries: [(&str, Option<&str>); 2]) {
    for (key, value) in entries {
        match (value, map.as_mut()) {
            (Some(value), _) => {
                map.get_or_insert_default().insert(key.to_owned(), value.to_owned());
            }
            (None, Some(map)) => {
                map.remove(key);
            }
            (None, None) => {}
        }
    }
}

fn deployment_mode(service: &mut InferenceService, config: &KserveConfig) {
    if let Some(text) = service.annotation(names::DEPLOYMENT_MODE) {
        if let Some(mode) = names::deployment_mode(text) {
            let annotations = service.metadata.annotations.get_or_insert_default();
            annotations.insert(names::DEPLOYMENT_MODE.to_owned(), mode.to_owned());
        }
    } else if config.default_deployment_mode != names::KNATIVE {
        let annotations = service.metadata.annotations.get_or_insert_default();
        annotations.insert(names::DEPLOYMENT_MODE.to_owned(), config.default_deployment_mode.clone());
    }
}

fn framework_to_model(predictor: &mut PredictorSpec) {
    if let Some(model) = &mut predictor.model {
        if matches!(model.model_format.name.as_str(), "triton" | "vLLM") {
            model.extension.protocol_version.get_or_insert_with(|| "v2".to_owned());
        }
        return;
    }
    for framework in Framework::ALL {
        if let Some(mut extension) = predictor.take_framework(framework) {
            if matches!(framework, Framework::Triton | Framework::Onnx | Framework::Huggingface) {
                extension.protocol_version.get_or_insert_with(|| "v2".to_owned());
            }
            predictor.model = Some(ModelSpec {
                model_format: ModelFormat { name: framework.name().to_owned(), ..ModelFormat::default() },
                runtime: None,
                extension,
            });
            return;
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Naming {
    /// A transformer's or explainer's first container is the serving one whatever it is called.
    Always,
    /// A predictor may have several containers, whose names then mean something.
    OnlyIfAloneOrUnnamed,
}

fn custom_container(pod: &mut Fields, resources: Option<&ResourceDefaults>, naming: Naming) {
    let Some(containers) = pod.get_mut("containers").and_then(Value::as_array_mut) else { return };
    let alone = containers.len() == 1;
    if let Some(first) = containers.first_mut().and_then(Value::as_object_mut) {
        let unnamed = first.get("name").and_then(Value::as_str).unwrap_or_default().is_empty();
        if naming == Naming::Always || alone || unnamed {
            first.insert("name".to_owned(), Value::from(SERVING_CONTAINER));
        }
    }
    if let Some(first) = containers.first_mut().and_then(Value::as_object_mut) {
        default_resources(first, resources);
    }
}

/// Requests and limits of a container where it has none.
fn default_resources(container: &mut Map<String, Value>, resources: Option<&ResourceDefaults>) {
    let Some(resources) = resources else { return };
    let settings = container.entry("resources").or_insert_with(|| json!({}));
    let kinds = [
        ("requests", &resources.cpu_request, &resources.memory_request),
        ("limits", &resources.cpu_limit, &resources.memory_limit),
    ];
    for (kind, cpu, memory) in kinds {
        let Some(settings) = settings.as_object_mut() else { continue };
        let quantities = settings.entry(kind).or_insert_with(|| json!({}));
        let Some(quantities) = quantities.as_object_mut() else { continue };
        for (resource, quantity) in [("cpu", cpu), ("memory", memory)] {
            if !quantity.is_empty() {
                quantities.entry(resource).or_insert_with(|| Value::from(quantity.as_str()));
            }
        }
    }
}
