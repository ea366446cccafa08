//! TrainedModels: which of them fit into their server's memory, their status, and the list that the server's agent
//! reads.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::super::inference_service::InferenceService;
use super::super::runtime::{Runtime, select};
use super::super::status_types::Address;
use super::super::trained_model::{TrainedModel, TrainedModelStatus};
use super::Profile;
use super::workload::serves_many_models;
use crate::condition::{self, Condition, FALSE, TRUE};
use crate::pod_fields::{SERVING_CONTAINER, raw_containers};
use crate::quantity;

/// Label with the name of the service that a model belongs to.
pub const PARENT_LABEL: &str = "inferenceservice";
/// Label with the name of the service whose memory the model has got a part of.
pub const ALLOCATED_LABEL: &str = "serving.kserve.io/trainedmodel-allocated";
/// Finalizer of a TrainedModel.
pub const FINALIZER: &str = "trainedmodel.finalizer";

/// What to do for a TrainedModel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Whether the model is to be deleted: its service is not there.
    pub delete: bool,
    /// Whether the model has the label [`ALLOCATED_LABEL`]; [`PARENT_LABEL`] it has always.
    pub is_allocated: bool,
    /// The wanted status; transition times are left to the caller.
    pub status: TrainedModelStatus,
}

/// Plans a TrainedModel of `service` among all TrainedModels of the namespace (itself may be one of them).
///
/// A model that has got memory keeps it. Upstream reads the memory limit from the service only, so that a limit that
/// comes from the runtime counts as none; in the profile Windtunnel the runtime's counts.
#[must_use]
pub fn plan(
    model: &TrainedModel,
    service: Option<&InferenceService>,
    models: &[&TrainedModel],
    runtimes: &[Runtime],
    profile: Profile,
) -> Plan {
    let Some(service) = service else { return Plan { delete: true, ..Plan::default() } };
    let mut status = model.status.clone().unwrap_or_default();
    let holds = |type_: &str, is: bool, reason: &str, message: &str| {
        if is { Condition::new(type_, TRUE, "", "") } else { Condition::new(type_, FALSE, reason, message) }
    };
    let ready = service.status.as_ref().is_some_and(|status| status.is_ready());
    let many = serves_many_models(&service.spec.predictor);
    let had = is_allocated(model, service);
    let others =
        models.iter().filter(|other| other.name_any() != model.name_any() && is_allocated(other, service));
    let taken: i128 = others.map(|other| memory(&other.spec.model.memory)).sum();
    let wanted = taken.saturating_add(memory(&model.spec.model.memory));
    let fits = memory_limit(service, runtimes, profile).is_some_and(|limit| limit >= wanted);
    let conditions = [
        holds(
            "InferenceServiceReady",
            ready,
            "InferenceServiceNotReady",
            "Inference Service needs to be ready before Trained Model can be ready",
        ),
        holds(
            "IsMMSPredictor",
            many,
            "IsNotMMSPredictor",
            "Inference Service predictor is not configured for multi-model serving",
        ),
        holds(
            "MemoryResourceAvailable",
            fits,
            "MemoryResourceNotAvailable",
            "Inference Service does not have enough memory resources for Trained Model",
        ),
    ];
    for condition in conditions {
        condition::set(&mut status.conditions, condition);
    }
    let all = ["InferenceServiceReady", "IsMMSPredictor", "MemoryResourceAvailable"];
    condition::summarise(&mut status.conditions, "Ready", &all);
    let path = path(model, service);
    let reach = service.status.as_ref();
    if let Some(url) = reach.and_then(|status| status.url.as_ref()) {
        status.url = Some(format!("{url}{path}"));
    }
    if let Some(url) = reach.and_then(|status| status.address.as_ref()?.url.as_ref()) {
        status.address = Some(Address { url: Some(format!("{url}{path}")), ..Address::default() });
    }
    Plan { delete: false, is_allocated: had || fits, status }
}

/// `models.json` for a service: its models that have got memory and are not being deleted, by name; `[]` for none.
#[must_use]
pub fn models_json(service: &InferenceService, models: &[&TrainedModel]) -> String {
    let mut listed: Vec<&&TrainedModel> = models
        .iter()
        .filter(|model| is_allocated(model, service) && model.metadata.deletion_timestamp.is_none())
        .collect();
    listed.sort_by_key(|model| model.name_any());
    let entries: Vec<String> = listed
        .into_iter()
        .map(|model| {
            let source = &model.spec.model;
            // The agent compares text, so the order of the fields is fixed.
            format!(
                r#"{{"modelName":{},"modelSpec":{{"storageUri":{},"framework":{},"memory":{}}}}}"#,
                json!(model.name_any()),
                json!(source.storage_uri),
                json!(source.framework),
                json!(source.memory.0),
            )
        })
        .collect();
    format!("[{}]", entries.join(","))
}

fn is_allocated(model: &TrainedModel, service: &InferenceService) -> bool {
    model.spec.inference_service == service.name()
        && model.labels().get(ALLOCATED_LABEL).is_some_and(|name| name == service.name())
}

fn memory(quantity: &Quantity) -> i128 {
    quantity::whole(quantity).unwrap_or(0)
}

fn memory_limit(service: &InferenceService, runtimes: &[Runtime], profile: Profile) -> Option<i128> {
    let predictor = &service.spec.predictor;
    let limit = |resources: Option<&Value>| -> Option<i128> {
        let text = resources?.get("limits")?.get("memory")?;
        let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
        quantity::whole(&Quantity(text)).ok()
    };
    let serving = |pod: &crate::Fields| {
        let mut containers = raw_containers(pod, "containers");
        let found =
            containers.find(|container| container.get("name") == Some(&Value::from(SERVING_CONTAINER)));
        limit(found?.get("resources"))
    };
    let own = match &predictor.model {
        Some(model) => limit(model.extension.container.get("resources")),
        None => serving(&predictor.pod),
    };
    if own.is_some() || profile.has_upstream_bugs() {
        return own;
    }
    serving(&select(service, runtimes).ok()?.pod)
}

fn path(model: &TrainedModel, service: &InferenceService) -> String {
    let predictor = &service.spec.predictor;
    let given = predictor.model.as_ref().and_then(|model| model.extension.protocol_version.as_deref());
    match given.unwrap_or("v1") {
        "v2" => format!("/v2/models/{}/infer", model.name_any()),
        "v1" => format!("/v1/models/{}:predict", model.name_any()),
        _ => String::new(),
    }
}
