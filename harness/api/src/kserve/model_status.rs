//! The state of a service's model, read from its pods.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::pod::STORAGE_INITIALIZER;
use super::status_types::{FailureInfo, InferenceServiceStatus, ModelCopies, ModelStates, ModelStatus};
use crate::condition;
use crate::pod_fields::SERVING_CONTAINER;

/// The model status that follows from the conditions in `status` and the pods of the newest revision, in
/// any order.
#[must_use]
pub fn model_status(status: &InferenceServiceStatus, pods: &[&Pod]) -> ModelStatus {
    let mut model = status.model_status.clone().unwrap_or_default();
    let active = model.states.take().map(|states| states.active_model_state).unwrap_or_default();
    let newest = pods.iter().max_by_key(|pod| {
        let name = std::cmp::Reverse(pod.metadata.name.clone());
        (pod.metadata.creation_timestamp.clone(), name)
    });
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let component = status.predictor();
    let caught_up = component.is_some_and(|c| {
        c.latest_created_revision.is_some() && c.latest_created_revision == c.latest_ready_revision
    });
    let location = component.and_then(|component| component.latest_created_revision.clone());

    let mut failed = 0;
    let (transition, active, target, failure) = if status.is_ready() && caught_up {
        ("UpToDate", "Loaded".to_owned(), "Loaded", None)
    } else if let Some(failure) = newest.and_then(|pod| failure(pod)) {
        failed = 1;
        let failure = FailureInfo { model_revision_name: location, ..failure };
        ("BlockedByFailedLoad", active, "FailedToLoad", Some(failure))
    } else if newest.is_some_and(|pod| is_initializing(pod)) {
        ("InProgress", active, "Loading", None)
    } else if condition::find(&status.conditions, "PredictorReady").is_some_and(|ready| ready.is_false()) {
        let failure = model.last_failure_info.take().unwrap_or_else(|| FailureInfo {
            reason: Some("ModelLoadFailed".to_owned()),
            message: condition::find(&status.conditions, "PredictorReady")
                .map(|ready| ready.message().to_owned()),
            ..FailureInfo::default()
        });
        ("BlockedByFailedLoad", active, "FailedToLoad", Some(failure))
    } else {
        ("InProgress", active, "Pending", None)
    };
    ModelStatus {
        transition_status: transition.to_owned(),
        states: Some(ModelStates { active_model_state: active, target_model_state: target.to_owned() }),
        last_failure_info: failure,
        copies: Some(ModelCopies { failed_copies: failed, total_copies: i32::try_from(ready).ok() }),
        other: model.other,
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn initializer(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == STORAGE_INITIALIZER)
}

fn is_initializing(pod: &Pod) -> bool {
    initializer(pod).and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some())
}

fn failure(pod: &Pod) -> Option<FailureInfo> {
    let serving = pod.status.as_ref().and_then(|status| {
        status.container_statuses.as_ref()?.iter().find(|status| status.name == SERVING_CONTAINER)
    });
    [initializer(pod), serving].into_iter().flatten().find_map(container_failure)
}

/// A container that ended with an error, or waits because it keeps ending.
fn container_failure(status: &ContainerStatus) -> Option<FailureInfo> {
    let state = status.state.as_ref()?;
    let crashed =
        state.waiting.as_ref().is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
    let terminated = match &state.terminated {
        Some(terminated) if terminated.reason.as_deref() == Some("Error") => Some(terminated),
        _ if crashed => status.last_state.as_ref().and_then(|last| last.terminated.as_ref()),
        _ => return None,
    };
    Some(FailureInfo {
        reason: Some("ModelLoadFailed".to_owned()),
        message: terminated.and_then(|terminated| terminated.message.clone()),
        exit_code: terminated.map(|terminated| terminated.exit_code),
        ..FailureInfo::default()
    })
}
