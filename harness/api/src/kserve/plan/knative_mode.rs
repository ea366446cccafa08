//! A service in the Knative mode: a Knative Service for the predictor, and the status that follows.

use super::super::names;
use super::super::runtime::select;
use super::super::{model_status, render, status};
use super::standard::Builder;
use super::workload::Component;
use super::{Fault, Inputs, Plan, PlannedEvent};
use crate::knative::names as knative_names;

/// Plans a service in the Knative mode.
pub(super) fn plan(inputs: &Inputs<'_>) -> Plan {
    let mut builder = Builder::new(inputs, names::KNATIVE);
    let service = inputs.service;
    let selected = match select(service, inputs.runtimes) {
        Ok(selected) => selected,
        Err(failure) => {
            let events = vec![PlannedEvent::warning("InternalError", failure.message.clone())];
            builder.fail(Component::Predictor, &Fault::Model(failure.clone()));
            return Plan { status: status::invalid(service, &failure), events, ..Plan::default() };
        }
    };
    let name = names::predictor_name(service.name());
    let child = inputs.observed.knative_services.iter().copied();
    let child = child.into_iter().find(|child| child.metadata.name.as_deref() == Some(&name));
    builder.children.knative_services.push(render::knative_service(service, &selected, inputs.config));
    let mut wanted = status::propagate(service, child);
    status::note_runtime(&mut wanted, &selected);
    let revision = wanted.predictor().and_then(|component| component.latest_created_revision.clone());
    let pods: Vec<_> = inputs
        .observed
        .pods
        .iter()
        .copied()
        .filter(|pod| {
            let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(knative_names::REVISION));
            label.is_some() && label == revision.as_ref()
        })
        .collect();
    wanted.model_status = Some(model_status(&wanted, &pods));
    builder.status = wanted;
    builder.into_plan()
}
