//! Progressive delivery that manifests ask for: Flagger's Canaries and Argo's Rollouts, bound to InferenceServices.
//!
//! | object | what it is bound by | deployment mode |
//! | --- | --- | --- |
//! | `flagger.app/v1beta1` Canary | `targetRef`: the InferenceService, its Deployment, or its Knative Service | Standard, Knative |
//! | `argoproj.io/v1alpha1` Rollout | `workloadRef`: the InferenceService or its Deployment | Standard |
//!
//! A Canary makes a second Deployment, `NAME-primary`, which serves while the target is at zero. A Rollout takes the
//! place of the Deployment: its replicas are its own. Queries of MetricTemplates and AnalysisTemplates are in the
//! language of [`measure`]; what webhooks say, [`HookPlan`] tells. A scenario's commands are what somebody tells a
//! controller while the load runs.

mod argo;
mod flagger;
pub(super) mod measure;

use serde::de::DeserializeOwned;
use windtunnel_api::manifest::Manifest;
use windtunnel_scenario::{Command, Verb};

pub use argo::{AnalysisPlan, ArgoPlan};
pub use flagger::{FlaggerPlan, HookPlan};

use super::ServicePlan;
use crate::error::SimError;

/// What rolls out new versions of a service instead of KServe.
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveryPlan {
    /// A Flagger Canary.
    Flagger(Box<FlaggerPlan>),
    /// An Argo Rollout.
    Argo(Box<ArgoPlan>),
}

impl DeliveryPlan {
    /// How far back its metrics look, at most.
    pub(crate) fn window_ns(&self) -> u64 {
        match self {
            Self::Flagger(plan) => plan.window_ns(),
            Self::Argo(plan) => plan.window_ns(),
        }
    }
}

/// The service whose canaries a command is for; what is wrong with the command otherwise, and what to do.
pub(super) fn commanded(services: &[ServicePlan], command: &Command) -> Result<usize, (String, String)> {
    let Command { kind, name, verb } = command;
    let name_of = |service: &ServicePlan| match (&service.delivery, kind.as_str()) {
        (Some(DeliveryPlan::Flagger(plan)), "Canary") => Some(plan.name.clone()),
        (Some(DeliveryPlan::Argo(plan)), "Rollout") => Some(plan.name.clone()),
        _ => None,
    };
    let found = services.iter().position(|service| name_of(service).as_deref() == Some(name));
    let Some(index) = found else {
        let known: Vec<String> = services.iter().filter_map(name_of).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err((
            format!("no {kind} {name:?} rolls out an InferenceService"),
            format!("name one of these: {known}"),
        ));
    };
    if let Some(DeliveryPlan::Flagger(plan)) = &services[index].delivery {
        let (gate, url) = match verb {
            Verb::OpenGate | Verb::CloseGate => (HookPlan::Gate, "/gate/check"),
            Verb::OpenRollback | Verb::CloseRollback => (HookPlan::Rollback, "/rollback/check"),
            _ => return Ok(index),
        };
        if !plan.hooks.values().any(|hook| *hook == gate) {
            return Err((
                format!("no webhook of Canary {name:?} asks {url}, so that {} changes nothing", verb.name()),
                format!("let the url of a webhook in spec.analysis.webhooks end with {url}"),
            ));
        }
    }
    Ok(index)
}

/// Puts Canaries and Rollouts in charge of the services that they name.
pub(super) fn attach(manifests: &[Manifest], services: &mut [ServicePlan]) -> Result<(), SimError> {
    for manifest in manifests {
        let place = place_of(manifest);
        let (target, plan) = match (manifest.kind.as_str(), manifest.api_version.split('/').next()) {
            ("Canary", Some("flagger.app")) => {
                let (target, plan) = flagger::read(manifest, manifests, services)?;
                (target, DeliveryPlan::Flagger(Box::new(plan)))
            }
            ("Rollout", Some("argoproj.io")) => {
                let (target, plan) = argo::read(manifest, manifests, services)?;
                (target, DeliveryPlan::Argo(Box::new(plan)))
            }
            _ => continue,
        };
        let service = &mut services[target];
        if service.delivery.is_some() {
            let message =
                format!("InferenceService {:?} is rolled out by another object already", service.name);
            return Err(SimError::Environment { place, message });
        }
        check_versions(service, &place)?;
        service.delivery = Some(plan);
    }
    Ok(())
}

/// Refuses a service that splits its requests itself, or that changes what the object is bound to.
fn check_versions(service: &ServicePlan, place: &str) -> Result<(), SimError> {
    let wrong = |message: &str| {
        let message = format!("InferenceService {:?} {message}", service.name);
        Err(SimError::Environment { place: place.to_owned(), message })
    };
    let name = |version: &super::Version| version.standard.as_ref().map(|plan| plan.stable.name().to_owned());
    let first = name(&service.versions[0]);
    for version in &service.versions {
        let spec = &version.manifest.spec;
        let has_canaries = spec.canary.as_ref().is_some_and(|canaries| !canaries.is_empty());
        if has_canaries || spec.predictor.extension.canary_traffic_percent.is_some() {
            return wrong("splits its requests itself; leave out canaryTrafficPercent and spec.canary");
        }
        if name(version) != first {
            return wrong(
                "gets another Deployment in an event, which nobody would roll out; keep predictor.name",
            );
        }
    }
    Ok(())
}

/// What an object names: the place of its service.
fn target_of(
    (api_version, kind, name): (&str, &str, &str),
    services: &[ServicePlan],
    place: &str,
) -> Result<usize, SimError> {
    let is_it = |service: &ServicePlan| {
        let deployment = service.versions[0].standard.as_ref().map(|plan| plan.stable.name());
        match kind {
            "InferenceService" => service.name == name,
            "Deployment" => deployment == Some(name),
            "Service" if api_version.starts_with("serving.knative.dev/") => {
                deployment.is_none() && service.predictor() == name
            }
            _ => false,
        }
    };
    services.iter().position(is_it).ok_or_else(|| {
        let known: Vec<String> = services
            .iter()
            .flat_map(|service| {
                let deployment = service.versions[0].standard.as_ref();
                let child = match deployment {
                    Some(plan) => format!("Deployment {}", plan.stable.name()),
                    None => format!("serving.knative.dev/v1 Service {}", service.predictor()),
                };
                [format!("InferenceService {}", service.name), child]
            })
            .collect();
        let message =
            format!("there is no {kind} {name:?} to roll out; the manifests make {}", known.join(", "));
        SimError::Environment { place: place.to_owned(), message }
    })
}

fn place_of(manifest: &Manifest) -> String {
    format!("{} {:?} (line {})", manifest.kind, manifest.name, manifest.line)
}

fn spec_of<T: DeserializeOwned>(manifest: &Manifest, place: &str) -> Result<T, SimError> {
    serde_json::from_value(manifest.value["spec"].clone())
        .map_err(|error| SimError::Environment { place: place.to_owned(), message: format!("spec: {error}") })
}

/// The query that is simulated for a metric of a template: an annotation's, else the template's own.
fn query_of<'a>(template: &'a Manifest, metric: &str, own: &'a str) -> &'a str {
    let annotations = &template.value["metadata"]["annotations"];
    let named = annotations[format!("windtunnel.dev/query.{metric}").as_str()].as_str();
    named.or_else(|| annotations["windtunnel.dev/query"].as_str()).unwrap_or(own)
}
