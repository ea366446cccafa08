//! What the defaulting webhook fills in.

use serde_json::{Value, json};

use super::config::{KserveConfig, ResourceDefaults};
use super::inference_service::InferenceService;
use super::names;
use super::predictor::{Framework, ModelFormat, ModelSpec, PredictorSpec};
use crate::Fields;
use crate::pod_fields::{SERVING_CONTAINER, TRANSFORMER_CONTAINER};

/// Fills in the defaults, in upstream's order: deployment mode, legacy framework fields to `model`,
/// protocol, the `modelFormat` annotation, names and resources of custom containers, service account token.
pub fn default(service: &mut InferenceService, config: &KserveConfig) {
    deployment_mode(service, config);
    if service.annotation(names::DEPLOYMENT_MODE) != Some(names::MODEL_MESH) {
        framework_to_model(&mut service.spec.predictor);
        for canary in service.spec.canary.iter_mut().flatten() {
            framework_to_model(&mut canary.predictor);
        }
    }
    if let Some(model) = &service.spec.predictor.model
        && !model.model_format.name.is_empty()
    {
        let format = model.model_format.name.clone();
        let annotations = service.metadata.annotations.get_or_insert_default();
        annotations.entry(names::MODEL_FORMAT.to_owned()).or_insert(format);
    }
    let spec = &mut service.spec;
    if spec.predictor.model.is_none() {
        custom_container(&mut spec.predictor.pod, config.resources.as_ref(), Naming::OnlyIfAloneOrUnnamed);
    }
    if let Some(transformer) = &mut spec.transformer {
        custom_container(&mut transformer.pod, config.resources.as_ref(), Naming::Always);
    }
    if let Some(explainer) = &mut spec.explainer {
        custom_container(&mut explainer.pod, config.resources.as_ref(), Naming::Always);
    }
    if !config.auto_mount_service_account_token {
        let transformer = spec.transformer.as_mut().map(|component| &mut component.pod);
        let explainer = spec.explainer.as_mut().map(|component| &mut component.pod);
        for pod in [Some(&mut spec.predictor.pod), transformer, explainer].into_iter().flatten() {
            pod.entry("automountServiceAccountToken".to_owned()).or_insert(Value::Bool(false));
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
            model.extension.protocol_version = Some("v2".to_owned());
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
    let Some(resources) = resources else { return };
    for container in containers.iter_mut().filter_map(Value::as_object_mut) {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        if name != SERVING_CONTAINER && name != TRANSFORMER_CONTAINER {
            continue;
        }
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
}
