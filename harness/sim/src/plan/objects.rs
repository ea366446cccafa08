//! Autoscalers that are objects of their own in the scenario's manifests, and what they scale.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use windtunnel_api::manifest::Manifest;
use windtunnel_kernel::autoscale::hpa::spec::MetricSpec;
use windtunnel_kernel::autoscale::hpa::{Autoscaler, HpaSpec, Options};
use windtunnel_kernel::autoscale::keda::triggers::Scaler;
use windtunnel_kernel::autoscale::keda::{Annotations, Executor, Formula, ScaledObjectSpec, Trigger, hpa};
use windtunnel_scenario::{Broker, Scenario};

use super::query::Query;
use super::standard::{DeploymentPlan, KedaPlan, ScalerPlan};
use crate::error::SimError;
use crate::time_zone::utc_offset_s;

/// An autoscaler that a manifest brings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    place: String,
    target: String,
    scaler: ScalerPlan,
}

/// Reads the HorizontalPodAutoscalers and ScaledObjects of the manifests.
pub(super) fn read(manifests: &[Manifest]) -> Result<Vec<Object>, SimError> {
    let mut objects = Vec::new();
    for manifest in manifests {
        let place = format!("{} {:?} (line {})", manifest.kind, manifest.name, manifest.line);
        let object = match manifest.kind.as_str() {
            "HorizontalPodAutoscaler" => {
                if manifest.api_version != "autoscaling/v2" {
                    let message =
                        format!("apiVersion {} is not read; write autoscaling/v2", manifest.api_version);
                    return Err(SimError::Environment { place, message });
                }
                let spec: HpaSpec = spec_of(manifest, &place)?;
                Object {
                    target: spec.scale_target_ref.name.clone(),
                    scaler: ScalerPlan::Hpa(Box::new(spec)),
                    place,
                }
            }
            "ScaledObject" => {
                let spec: ScaledObjectSpec = spec_of(manifest, &place)?;
                let annotations = &manifest.value["metadata"]["annotations"];
                let annotations: BTreeMap<String, String> =
                    serde_json::from_value(annotations.clone()).unwrap_or_default();
                Object {
                    target: spec.scale_target_ref.name.clone(),
                    scaler: ScalerPlan::Keda(Box::new(KedaPlan {
                        name: manifest.name.clone(),
                        spec,
                        annotations,
                    })),
                    place,
                }
            }
            _ => continue,
        };
        objects.push(object);
    }
    Ok(objects)
}

fn spec_of<T: DeserializeOwned>(manifest: &Manifest, place: &str) -> Result<T, SimError> {
    serde_json::from_value(manifest.value["spec"].clone())
        .map_err(|error| SimError::Environment { place: place.to_owned(), message: format!("spec: {error}") })
}

/// Puts the objects in charge of the Deployments that they name.
pub(crate) fn attach<'a>(
    objects: &[Object],
    deployments: impl IntoIterator<Item = &'a mut DeploymentPlan>,
) -> Result<(), SimError> {
    for deployment in deployments {
        let name = deployment.name().to_owned();
        for object in objects.iter().filter(|object| object.target == name) {
            if deployment.scaler != ScalerPlan::Fixed {
                return Err(SimError::Environment {
                    place: object.place.clone(),
                    message: format!(
                        "Deployment {:?} has an autoscaler already, and two of them undo each other's work; annotate \
                         the InferenceService with serving.kserve.io/autoscalerClass: external",
                        object.target
                    ),
                });
            }
            deployment.scaler = object.scaler.clone();
            deployment.is_scaled_by_an_object = true;
        }
    }
    Ok(())
}

/// Refuses objects that scale nothing.
pub(super) fn check_targets<'a>(
    objects: &[Object],
    deployments: impl Iterator<Item = &'a DeploymentPlan>,
) -> Result<(), SimError> {
    let names: Vec<&str> = deployments.map(DeploymentPlan::name).collect();
    match objects.iter().find(|object| !names.contains(&object.target.as_str())) {
        None => Ok(()),
        Some(object) => Err(SimError::Environment {
            place: object.place.clone(),
            message: format!(
                "there is no Deployment {:?} to scale; the manifests make {}",
                object.target,
                if names.is_empty() {
                    "none (Standard mode makes them)".to_owned()
                } else {
                    names.join(", ")
                }
            ),
        }),
    }
}

/// Refuses what an autoscaler would refuse, and metrics that are not simulated.
pub(super) fn check(deployment: &DeploymentPlan, service: &str, scenario: &Scenario) -> Result<(), SimError> {
    let wrong = |message: String| SimError::Environment {
        place: format!("the autoscaler of Deployment {:?}", deployment.name()),
        message,
    };
    match &deployment.scaler {
        ScalerPlan::Fixed => Ok(()),
        ScalerPlan::Hpa(spec) => {
            Autoscaler::new((**spec).clone(), Options::default())
                .map_err(|error| wrong(error.to_string()))?;
            check_metrics(&(**spec).clone().defaulted(), deployment, scenario).map_err(wrong)
        }
        ScalerPlan::Keda(plan) => check_keda(plan, deployment, service, scenario).map_err(wrong),
    }
}

fn check_metrics(spec: &HpaSpec, deployment: &DeploymentPlan, scenario: &Scenario) -> Result<(), String> {
    let model = scenario.environment.model(&deployment.revision.storage_uri);
    let has_memory = model.is_some_and(|model| model.memory.is_some());
    for metric in &spec.metrics {
        match metric {
            MetricSpec::Resource { name, .. } | MetricSpec::ContainerResource { name, .. } => {
                match name.as_str() {
                    "cpu" => {}
                    "memory" if has_memory => {}
                    "memory" => {
                        return Err(format!(
                            "it scales on memory, and the scenario does not say what the model needs; add memory: \
                             {{base: 1GiB}} to an entry of environment.models that matches {:?}",
                            deployment.revision.storage_uri
                        ));
                    }
                    other => {
                        return Err(format!(
                            "the resource {other:?} is not simulated; there are cpu and memory"
                        ));
                    }
                }
            }
            MetricSpec::Pods { metric, .. }
            | MetricSpec::Object { metric, .. }
            | MetricSpec::External { metric, .. } => {
                Query::named(&metric.name)?;
            }
        }
    }
    Ok(())
}

fn check_keda(
    plan: &KedaPlan,
    deployment: &DeploymentPlan,
    service: &str,
    scenario: &Scenario,
) -> Result<(), String> {
    let spec = plan.simulated();
    Formula::of(&spec).map_err(|error| error.to_string())?;
    Executor::new(spec.clone(), &plan.annotations, 0).map_err(|error| error.to_string())?;
    let annotations = Annotations::read(&plan.annotations).map_err(|error| error.to_string())?;
    let rendered = hpa::render(&spec, &plan.name, &annotations).map_err(|error| error.to_string())?;
    let resources: Vec<MetricSpec> = rendered
        .metrics
        .iter()
        .filter(|metric| !matches!(metric, MetricSpec::External { .. }))
        .cloned()
        .collect();
    check_metrics(&HpaSpec { metrics: resources, ..rendered.clone() }, deployment, scenario)?;
    Autoscaler::new(rendered, Options::default()).map_err(|error| error.to_string())?;
    let queue = scenario
        .loads
        .iter()
        .filter(|load| load.target == service)
        .find_map(|load| load.queue.as_ref())
        .map(|queue| queue.broker);
    for (index, trigger) in
        Trigger::read_all(&spec.triggers).map_err(|error| error.to_string())?.iter().enumerate()
    {
        let needed = match &trigger.scaler {
            Scaler::RabbitMq(_) => Some((Broker::Rabbitmq, "rabbitmq")),
            Scaler::Kafka(_) => Some((Broker::Kafka, "kafka")),
            Scaler::Prometheus(prometheus) => {
                Query::of(&prometheus.query).map_err(|message| format!("triggers[{index}]: {message}"))?;
                None
            }
            Scaler::Cron(cron) if utc_offset_s(&cron.timezone, 0).is_none() => {
                return Err(format!(
                    "triggers[{index}] has the time zone {:?}, which nobody knows; name one of the IANA database, such as \
                     Europe/Berlin",
                    cron.timezone
                ));
            }
            Scaler::External(_) => {
                return Err(format!(
                    "triggers[{index}] asks a program of somebody else's, which no simulation can know; fly it with \
                     --mode live, or describe what it measures as a prometheus, rabbitmq or kafka trigger"
                ));
            }
            Scaler::Cron(_) | Scaler::Resource(_) => None,
        };
        if let Some((broker, name)) = needed
            && queue != Some(broker)
        {
            return Err(format!(
                "triggers[{index}] asks {name}, and no load of {service} has one; add queue: {{broker: {name}}} to it"
            ));
        }
    }
    Ok(())
}
