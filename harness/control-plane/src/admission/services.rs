//! Reviews of InferenceServices, InferenceGraphs and TrainedModels.

use serde_json::Value;
use windtunnel_api::kserve::validate::{self, Rules};
use windtunnel_api::kserve::{InferenceGraph, InferenceService, LocalModel, TrainedModel, defaults};
use windtunnel_apiserver::{Attributes, Denial, Operation};

use super::{Cluster, failed, read, refused};

/// The object before, for updates only: some clients send one with creations too.
fn before<'a>(attributes: &Attributes, old: Option<&'a Value>) -> Option<&'a Value> {
    old.filter(|_| attributes.operation == Operation::Update)
}

/// `inferenceservice.kserve-webhook-server.defaulter`
pub(super) fn default(
    cluster: &Cluster,
    attributes: &Attributes,
    object: &mut Value,
    _: Option<&Value>,
    _: &mut Vec<String>,
) -> Result<(), Denial> {
    let mut service: InferenceService = read(object)?;
    if service.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let has_namespace = service.metadata.namespace.is_some();
    if !has_namespace && !attributes.namespace.is_empty() {
        service.metadata.namespace = Some(attributes.namespace.clone());
    }
    let near = cluster.namespace_models.values().map(|cache| LocalModel::from(&**cache));
    let far = cluster.local_models.values().map(|cache| LocalModel::from(&**cache));
    let models: Vec<LocalModel<'_>> = near.chain(far).collect();
    defaults::default_with(&mut service, &cluster.config, &models);
    if !has_namespace {
        service.metadata.namespace = None;
    }
    *object = serde_json::to_value(service).map_err(|error| failed(error.to_string()))?;
    Ok(())
}

/// `inferenceservice.kserve-webhook-server.validator`
pub(super) fn validate(
    cluster: &Cluster,
    attributes: &Attributes,
    object: &mut Value,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<(), Denial> {
    let service: InferenceService = read(object)?;
    let old: Option<InferenceService> = before(attributes, old).map(read).transpose()?;
    let rules = Rules {
        profile: cluster.profile,
        custom_gpu_resource_types: &cluster.config.custom_gpu_resource_types,
    };
    let review = validate::review(&service, old.as_ref(), &rules);
    warnings.extend(review.warnings);
    review.fault.map_or(Ok(()), |fault| Err(refused(fault)))
}

/// `inferencegraph.kserve-webhook-server.validator`
pub(super) fn inference_graph(
    cluster: &Cluster,
    _: &Attributes,
    object: &mut Value,
    _: Option<&Value>,
    _: &mut Vec<String>,
) -> Result<(), Denial> {
    let graph: InferenceGraph = read(object)?;
    validate::inference_graph(&graph, cluster.profile).map_err(refused)
}

/// `trainedmodel.kserve-webhook-server.validator`
pub(super) fn trained_model(
    _: &Cluster,
    attributes: &Attributes,
    object: &mut Value,
    old: Option<&Value>,
    _: &mut Vec<String>,
) -> Result<(), Denial> {
    let model: TrainedModel = read(object)?;
    let old: Option<TrainedModel> = before(attributes, old).map(read).transpose()?;
    validate::trained_model(&model, old.as_ref()).map_err(refused)
}
