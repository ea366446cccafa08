//! The Ingress of a service in the Standard mode, for clusters without the Gateway API.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::names;
use super::super::status_types::InferenceServiceStatus;
use super::service::HTTP_PORT;
use super::settings::Settings;
use super::workload::{Component, allowed};
use super::{Children, Fault, Inputs, conditions, domain};
use crate::condition::{Condition, TRUE};

/// Adds the Ingress and sets `IngressReady`, which holds as soon as there is one: nothing asks a load balancer.
/// It says whether URL and address may be told.
pub(super) fn add(
    inputs: &Inputs<'_>,
    settings: &Settings,
    children: &mut Children,
    status: &mut InferenceServiceStatus,
) -> Result<bool, Fault> {
    let service = inputs.service;
    let transformer = service.spec.transformer.is_some();
    // With a transformer upstream does not wait for the explainer.
    let needed: &[Component] = match (transformer, service.spec.explainer.is_some()) {
        (true, true) if !inputs.profile.has_upstream_bugs() => {
            &[Component::Predictor, Component::Transformer, Component::Explainer]
        }
        (true, _) => &[Component::Predictor, Component::Transformer],
        (false, true) => &[Component::Predictor, Component::Explainer],
        (false, false) => &[Component::Predictor],
    };
    let missing = needed.iter().find(|component| !conditions::holds(status, component.ready()));
    let exists = inputs
        .observed
        .ingresses
        .iter()
        .any(|ingress| ingress.metadata.name.as_deref() == Some(service.name()));
    if missing.is_none() || exists {
        children.ingresses.push(render(inputs, settings)?);
    }
    if let Some(component) = missing {
        conditions::no_ingress(status, &format!("{} ingress not created", component.title()), "");
        return Ok(false);
    }
    conditions::set(status, Condition::new(conditions::INGRESS_READY, TRUE, "", ""));
    Ok(true)
}

/// Rules by host, in upstream's order. Two of upstream's rules are likely bugs, which the Windtunnel profile leaves
/// out: the transformer's host leads to the predictor, and the explainer's host is the transformer's.
fn render(inputs: &Inputs<'_>, settings: &Settings) -> Result<Ingress, Fault> {
    let service = inputs.service;
    let bugs = inputs.profile.has_upstream_bugs();
    let host = |name: &str| domain::host(name, service, settings).map_err(Fault::Component);
    let predictor = names::predictor_service_name(service.name(), service.spec.predictor.name.as_deref());
    let transformer = format!("{}-transformer", service.name());
    let explainer = format!("{}-explainer", service.name());
    let has_explainer = service.spec.explainer.is_some();
    let mut rules = Vec::new();
    if service.spec.transformer.is_some() {
        if has_explainer {
            let name = if bugs { &transformer } else { &explainer };
            rules.push(rule(host(name)?, &explainer));
        }
        rules.push(rule(host(service.name())?, &transformer));
        rules.push(rule(host(&transformer)?, if bugs { &predictor } else { &transformer }));
    } else {
        rules.push(rule(host(service.name())?, &predictor));
        if has_explainer {
            rules.push(rule(host(&explainer)?, &explainer));
        }
    }
    rules.push(rule(host(&predictor)?, &predictor));
    let annotations = if bugs {
        service.metadata.annotations.clone().unwrap_or_default()
    } else {
        allowed(service.metadata.annotations.as_ref(), inputs.config)
    };
    Ok(Ingress {
        metadata: ObjectMeta {
            name: Some(service.name().to_owned()),
            namespace: Some(service.namespace().to_owned()),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: crate::owner::references(service),
            ..ObjectMeta::default()
        },
        spec: Some(IngressSpec {
            ingress_class_name: settings.ingress_class.clone(),
            rules: Some(rules),
            ..IngressSpec::default()
        }),
        status: None,
    })
}

fn rule(host: String, backend: &str) -> IngressRule {
    IngressRule {
        host: Some(host),
        http: Some(HTTPIngressRuleValue {
            paths: vec![HTTPIngressPath {
                path: Some("/".to_owned()),
                path_type: "Prefix".to_owned(),
                backend: IngressBackend {
                    service: Some(IngressServiceBackend {
                        name: backend.to_owned(),
                        port: Some(ServiceBackendPort { number: Some(HTTP_PORT), name: None }),
                    }),
                    resource: None,
                },
            }],
        }),
    }
}
