//! Events of a service, from the change between its stored and its wanted status.

use super::super::inference_service::InferenceService;
use super::super::status_types::InferenceServiceStatus;
use super::{Plan, PlannedEvent};

impl PlannedEvent {
    pub(super) fn warning(reason: &str, message: String) -> Self {
        Self { type_: "Warning", reason: reason.to_owned(), message }
    }

    fn normal(reason: &str, message: String) -> Self {
        Self { type_: "Normal", reason: reason.to_owned(), message }
    }
}

/// Adds the event of a service that has just become ready, or has just stopped being so.
pub(super) fn add(service: &InferenceService, plan: &mut Plan) {
    let was_ready = service.status.as_ref().is_some_and(InferenceServiceStatus::is_ready);
    let name = service.name();
    let ready = crate::condition::find(&plan.status.conditions, super::conditions::READY);
    if !was_ready && plan.status.is_ready() {
        let message = format!("InferenceService [{name}] is Ready");
        plan.events.push(PlannedEvent::normal("InferenceServiceReady", message));
    } else if was_ready && ready.is_some_and(|ready| ready.is_false()) {
        let failing: Vec<&str> = plan
            .status
            .conditions
            .iter()
            .filter(|condition| condition.is_false() && condition.type_ != super::conditions::READY)
            .filter(|condition| condition.type_ != super::conditions::STOPPED)
            .map(|condition| condition.type_.as_str())
            .collect();
        let message =
            format!("InferenceService [{name}] is no longer Ready because of: {}", failing.join(", "));
        plan.events.push(PlannedEvent::warning("InferenceServiceNotReady", message));
    }
}
