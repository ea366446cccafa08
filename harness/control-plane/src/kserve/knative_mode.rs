//! InferenceServices in Knative mode.

use windtunnel_api::knative::{self, names as knative_names};
use windtunnel_api::kserve::{
    InferenceService, InferenceServiceStatus, KserveConfig, model_status, names, render, runtime, status,
};

use crate::effect::{Effect, Effects};
use crate::world::{Kind, ObjectKey, World};

/// The wanted status, with effects on children; or reason and message of why there can be none.
pub(super) fn outcome(
    world: &World,
    key: &ObjectKey,
    service: &InferenceService,
    effects: &mut Effects,
) -> Result<InferenceServiceStatus, (&'static str, String)> {
    let config = world.kserve_config().map_err(|fault| ("InvalidConfiguration", fault))?;
    supported(service, &config)?;
    let child_key = key.sibling(names::predictor_name(&key.name));
    let child = world.services.get(&child_key).filter(|child| child.metadata.deletion_timestamp.is_none());
    if let Some(child) = child
        && !is_controlled(child, service)
    {
        let message =
            format!("Knative Service {child_key} exists and does not belong to this InferenceService");
        return Err(("NotOwned", message));
    }
    if service.annotation(names::STOP).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        if child.is_some() {
            effects.push(Effect::Delete { kind: Kind::Service, key: child_key });
        }
        return Ok(status::stopped(service));
    }

    let candidates = super::runtimes(world, &key.namespace);
    let selected = match runtime::select(service, &candidates) {
        Ok(selected) => selected,
        Err(failure) => return Ok(status::invalid(service, &failure)),
    };
    let rendered = render::knative_service(service, &selected, &config);
    match child {
        None => effects.push(Effect::create(rendered)),
        Some(child) => effects.extend(Effect::specification(&child_key, &**child, &rendered)),
    }

    let mut status = status::propagate(service, child.map(|child| &**child));
    status::note_runtime(&mut status, &selected);
    let revision = status.predictor().and_then(|component| component.latest_created_revision.clone());
    let pods: Vec<_> = world
        .pods
        .range(ObjectKey::new(key.namespace.clone(), "")..)
        .take_while(|(pod, _)| pod.namespace == key.namespace)
        .filter(|(_, pod)| {
            let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(knative_names::REVISION));
            label.is_some() && label == revision.as_ref()
        })
        .map(|(_, pod)| &**pod)
        .collect();
    status.model_status = Some(model_status(&status, &pods));
    Ok(status)
}

/// What this control plane does not do (yet) is refused loudly, never ignored.
fn supported(service: &InferenceService, config: &KserveConfig) -> Result<(), (&'static str, String)> {
    let recorded = service.status.as_ref().and_then(|status| status.deployment_mode.as_deref());
    let mode = recorded.or_else(|| service.annotation(names::DEPLOYMENT_MODE));
    let mode = mode.and_then(names::deployment_mode).unwrap_or(&config.default_deployment_mode);
    if mode != names::KNATIVE {
        let message = format!(
            "deployment mode {mode} is not supported here; set the annotation {} to {}",
            names::DEPLOYMENT_MODE,
            names::KNATIVE
        );
        return Err(("UnsupportedDeploymentMode", message));
    }
    for (component, set) in
        [("transformer", service.spec.transformer.is_some()), ("explainer", service.spec.explainer.is_some())]
    {
        if set {
            let message = format!("spec.{component} is not supported here; remove it");
            return Err(("UnsupportedComponent", message));
        }
    }
    Ok(())
}

fn is_controlled(child: &knative::Service, service: &InferenceService) -> bool {
    let owners = child.metadata.owner_references.iter().flatten();
    owners
        .into_iter()
        .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == service.metadata.uid.as_ref())
}

/// The event of a service that has just become ready or has just stopped being so.
pub(super) fn readiness_event(
    key: &ObjectKey,
    service: &InferenceService,
    wanted: &InferenceServiceStatus,
) -> Option<Effect> {
    let before = service.status.as_ref().is_some_and(InferenceServiceStatus::is_ready);
    let after = wanted.is_ready();
    if before == after {
        return None;
    }
    let (severity, reason, message) = if after {
        ("Normal", "InferenceServiceReady", format!("InferenceService [{}] is Ready", key.name))
    } else {
        let failing: Vec<&str> = wanted
            .conditions
            .iter()
            .filter(|condition| condition.is_false() && condition.severity.is_none())
            .map(|condition| condition.type_.as_str())
            .collect();
        if failing.is_empty() {
            return None;
        }
        let list = failing.join(", ");
        let message = format!("InferenceService [{}] is no longer Ready because of: {list}", key.name);
        ("Warning", "InferenceServiceNotReady", message)
    };
    Some(Effect::Event {
        api_version: "serving.kserve.io/v1beta1",
        kind: "InferenceService",
        key: key.clone(),
        uid: service.metadata.uid.clone().unwrap_or_default(),
        severity,
        reason: reason.to_owned(),
        message,
    })
}
