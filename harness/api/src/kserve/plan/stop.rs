//! A service that is stopped (`serving.kserve.io/stop: "true"`): nothing of it is left but its status.

use super::super::inference_service::InferenceService;
use super::super::names;
use super::super::status_types::{CanaryStatus, InferenceServiceStatus};
use super::workload::Component;
use super::{Children, Inputs, Plan, conditions};
use crate::condition::{Condition, FALSE, TRUE};

/// Whether the annotation says so, in any case of its letters.
pub(super) fn is_stopped(service: &InferenceService) -> bool {
    service.annotation(names::STOP).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// No children; of the status only the mode is left, with conditions that say why.
pub(super) fn plan(inputs: &Inputs<'_>, mode: &str) -> Plan {
    let service = inputs.service;
    let old = service.status.clone().unwrap_or_default();
    let mut status = InferenceServiceStatus {
        deployment_mode: Some(mode.to_owned()),
        ..InferenceServiceStatus::default()
    };
    let components = Component::of(service);
    let canaries = service.spec.canary.as_deref().unwrap_or_default();
    // Transition times survive where the condition already said so.
    status.conditions = old.conditions;
    status.conditions.retain(|kept| {
        let type_ = kept.type_.as_str();
        matches!(type_, conditions::INGRESS_READY | conditions::STOPPED | conditions::READY)
            || components.iter().any(|component| component.ready() == type_)
            || type_ == conditions::CANARY_READY && !canaries.is_empty()
    });
    for component in components {
        conditions::set(&mut status, Condition::new(component.ready(), FALSE, "Stopped", ""));
    }
    if mode == names::STANDARD && !canaries.is_empty() {
        conditions::set(&mut status, Condition::new(conditions::CANARY_READY, FALSE, "Stopped", ""));
        let states = canaries.iter().map(|canary| CanaryStatus {
            name: canary.predictor.name.clone().unwrap_or_default(),
            ready: false,
            traffic_percent: canary.traffic_percent,
            ..CanaryStatus::default()
        });
        status.canary_statuses = Some(states.collect());
    }
    conditions::no_ingress(&mut status, "Stopped", "");
    conditions::set(&mut status, Condition::new(conditions::STOPPED, TRUE, "", ""));
    conditions::complete(&mut status);
    Plan { children: Children::default(), prune: true, status, ..Plan::default() }
}
