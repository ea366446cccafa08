//! The status of an InferenceService, derived from its Knative Service.

use super::canary_pointers;
use super::inference_service::InferenceService;
use super::names;
use super::runtime::{ModelStatusFailure, Selected};
use super::status_types::{Address, InferenceServiceStatus, ModelStates, ModelStatus};
use crate::condition::{self, Condition, FALSE, TRUE, UNKNOWN};
use crate::knative;

const PREDICTOR_READY: &str = "PredictorReady";
const INGRESS_READY: &str = "IngressReady";
const PREDICTOR: &str = "predictor";

/// The status that follows from the Knative Service's: conditions, URL, the predictor's revisions and
/// traffic, and the two pointers of the canary. A Knative Service whose status is older than its
/// specification moves no pointer. Transition times of changed conditions are left to
/// [`condition::stamp`].
#[must_use]
pub fn propagate(service: &InferenceService, child: Option<&knative::Service>) -> InferenceServiceStatus {
    let mut status = service.status.clone().unwrap_or_default();
    status.deployment_mode = Some(names::KNATIVE.to_owned());
    let conditions = &mut status.conditions;
    let component = status.components.entry(PREDICTOR.to_owned()).or_default();

    if let Some((child, observed)) = child.and_then(|child| Some((child, child.status.as_ref()?))) {
        status.observed_generation = observed.observed_generation;
        component.latest_created_revision.clone_from(&observed.latest_created_revision_name);
        let current = observed.observed_generation.unwrap_or(0) >= child.metadata.generation.unwrap_or(0);
        if current {
            canary_pointers::advance(component, observed);
        }
        if observed.latest_ready_revision_name.is_some() {
            component.latest_ready_revision.clone_from(&observed.latest_ready_revision_name);
        }
        component.traffic.clone_from(&observed.traffic);
        component.url.clone_from(&observed.url);
        component.address.clone_from(&observed.address);
        let mut copy = |from: &str, to: &str, informational: bool| {
            let found = condition::find(&observed.conditions, from);
            let copied = match found {
                Some(found) => Condition::new(to, &found.status, found.reason(), found.message()),
                None => Condition::new(to, UNKNOWN, "", ""),
            };
            condition::set(conditions, if informational { copied.informational() } else { copied });
        };
        copy("Ready", PREDICTOR_READY, false);
        copy("ConfigurationsReady", "PredictorConfigurationReady", true);
        copy("RoutesReady", "PredictorRouteReady", true);
        copy("RoutesReady", "RoutesReady", true);
        copy("ConfigurationsReady", "LatestDeploymentReady", true);
    } else {
        condition::set(conditions, Condition::new(PREDICTOR_READY, UNKNOWN, "", ""));
    }

    if condition::is_true(conditions, PREDICTOR_READY) {
        condition::set(conditions, Condition::new(INGRESS_READY, TRUE, "", ""));
        status.url = component.url.as_ref().map(|url| url.replacen("-predictor", "", 1));
        let url = format!("http://{}.{}.svc.cluster.local", service.name(), service.namespace());
        status.address = Some(Address { url: Some(url), ..Address::default() });
    } else if status.url.is_none() {
        // Once there is an ingress, a predictor that is busy changing does not take it away.
        let reason = "Predictor ingress not created";
        condition::set(conditions, Condition::new(INGRESS_READY, FALSE, reason, ""));
    }
    condition::set(conditions, Condition::new("Stopped", FALSE, "", "").informational());
    condition::summarise(conditions, "Ready", &[PREDICTOR_READY, INGRESS_READY]);
    status
}

/// Notes which runtime was chosen.
pub fn note_runtime(status: &mut InferenceServiceStatus, selected: &Selected) {
    status.serving_runtime_name.clone_from(&selected.serving_runtime);
    status.cluster_serving_runtime_name.clone_from(&selected.cluster_serving_runtime);
}

/// The status of a service that no pod can be made for: not ready, and the model status says why.
#[must_use]
pub fn invalid(service: &InferenceService, failure: &ModelStatusFailure) -> InferenceServiceStatus {
    let mut status = not_reconciled(service, "ReconcileFailed", &failure.message);
    let previous = status.model_status.take().unwrap_or_default();
    let active = previous.states.map(|states| states.active_model_state).unwrap_or_default();
    status.model_status = Some(ModelStatus {
        transition_status: "InvalidSpec".to_owned(),
        states: Some(ModelStates {
            active_model_state: active,
            target_model_state: "FailedToLoad".to_owned(),
        }),
        last_failure_info: Some(failure.info()),
        copies: previous.copies,
        other: previous.other,
    });
    status
}

/// The status of a service that cannot be reconciled for the given reason.
#[must_use]
pub fn not_reconciled(service: &InferenceService, reason: &str, message: &str) -> InferenceServiceStatus {
    let mut status = service.status.clone().unwrap_or_default();
    let conditions = &mut status.conditions;
    condition::set(conditions, Condition::new(PREDICTOR_READY, FALSE, reason, message));
    if status.url.is_none() {
        let ingress = "Predictor ingress not created";
        condition::set(conditions, Condition::new(INGRESS_READY, FALSE, ingress, ""));
    }
    condition::summarise(conditions, "Ready", &[PREDICTOR_READY, INGRESS_READY]);
    status
}

/// The status of a service that is stopped (`serving.kserve.io/stop: "true"`): nothing but the mode and
/// conditions that say so.
#[must_use]
pub fn stopped(service: &InferenceService) -> InferenceServiceStatus {
    let old = service.status.clone().unwrap_or_default();
    let mut status =
        InferenceServiceStatus { deployment_mode: old.deployment_mode, ..InferenceServiceStatus::default() };
    // Transition times survive where the condition already said so.
    status.conditions = old.conditions;
    status
        .conditions
        .retain(|kept| matches!(kept.type_.as_str(), PREDICTOR_READY | INGRESS_READY | "Stopped" | "Ready"));
    let conditions = &mut status.conditions;
    condition::set(conditions, Condition::new(PREDICTOR_READY, FALSE, "Stopped", ""));
    condition::set(conditions, Condition::new(INGRESS_READY, FALSE, "Stopped", ""));
    condition::set(conditions, Condition::new("Stopped", TRUE, "", "").informational());
    condition::summarise(conditions, "Ready", &[PREDICTOR_READY, INGRESS_READY]);
    status
}
