//! The Deployment of a component in the Standard mode.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Container, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::names;
use super::autoscaler::Class;
use super::service::DEFAULT_TARGET_PORT;
use super::settings::Settings;
use super::workload::{Workload, serves};
use super::{Fault, on_demand};
use crate::pod_fields;

/// The Deployment of a component. `spec.replicas` is set only where nothing else decides it: with the autoscaler
/// class `none`.
pub(super) fn render(workload: &Workload, class: Class, settings: &Settings) -> Result<Deployment, Fault> {
    let mut pod = pod_fields::pod_spec(&workload.pod).map_err(Fault::Component)?;
    let has_probe =
        pod.containers.iter().any(|container| serves(&container.name) && container.readiness_probe.is_some());
    default_pod(&mut pod);
    let selector = BTreeMap::from([("app".to_owned(), workload.app())]);
    let mut spec = DeploymentSpec {
        selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
        template: PodTemplateSpec { metadata: Some(template_metadata(workload)), spec: Some(pod) },
        replicas: workload.extension.min_replicas.filter(|_| class == Class::None),
        ..DeploymentSpec::default()
    };
    strategy(&mut spec, workload, settings)?;
    let mut deployment = Deployment { metadata: workload.metadata(), spec: Some(spec), status: None };
    if class == Class::Kpa {
        on_demand::mark(&mut deployment, workload, has_probe)?;
    }
    Ok(deployment)
}

/// Pods have the metadata of their Deployment, without its owner.
pub(super) fn template_metadata(workload: &Workload) -> ObjectMeta {
    ObjectMeta { owner_references: None, ..workload.metadata() }
}

/// The user's strategy as it is; else a rolling update with the configuration's or Kubernetes' own steps.
pub(super) fn strategy(
    spec: &mut DeploymentSpec,
    workload: &Workload,
    settings: &Settings,
) -> Result<(), Fault> {
    if let Some(given) = &workload.extension.deployment_strategy {
        let strategy: DeploymentStrategy = serde_json::from_value(given.clone())
            .map_err(|error| Fault::Component(format!("deploymentStrategy: {error}")))?;
        spec.strategy = Some(strategy);
        return Ok(());
    }
    let step = |configured: Option<&String>| {
        let text = configured.filter(|text| !text.is_empty()).map_or("25%", String::as_str);
        Some(IntOrString::String(text.to_owned()))
    };
    let rollout = settings.rollout.as_ref();
    spec.strategy = Some(DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_surge: step(rollout.map(|(surge, _)| surge)),
            max_unavailable: step(rollout.map(|(_, unavailable)| unavailable)),
        }),
    });
    spec.revision_history_limit = Some(10);
    spec.progress_deadline_seconds = Some(600);
    Ok(())
}

/// What upstream fills in itself, and a probe for servers that have none.
pub(super) fn default_pod(pod: &mut PodSpec) {
    let text = |field: &mut Option<String>, value: &str| {
        if field.as_deref().is_none_or(str::is_empty) {
            *field = Some(value.to_owned());
        }
    };
    text(&mut pod.dns_policy, "ClusterFirst");
    text(&mut pod.restart_policy, "Always");
    pod.termination_grace_period_seconds.get_or_insert(30);
    pod.security_context.get_or_insert_with(PodSecurityContext::default);
    text(&mut pod.scheduler_name, "default-scheduler");
    for container in &mut pod.containers {
        text(&mut container.termination_message_path, "/dev/termination-log");
        text(&mut container.termination_message_policy, "File");
        text(&mut container.image_pull_policy, "IfNotPresent");
        for port in container.ports.iter_mut().flatten() {
            // The key of the list in a server-side apply is made of port and protocol.
            text(&mut port.protocol, "TCP");
        }
        if serves(&container.name) && container.readiness_probe.is_none() {
            container.readiness_probe = Some(default_probe(container));
        }
    }
}

fn default_probe(container: &Container) -> Probe {
    let port =
        container.ports.iter().flatten().next().map_or(DEFAULT_TARGET_PORT, |port| port.container_port);
    Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::Int(port), ..TCPSocketAction::default() }),
        timeout_seconds: Some(1),
        period_seconds: Some(10),
        success_threshold: Some(1),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

/// Whether a Deployment's annotations say that it is scaled by the class.
pub(super) fn class_annotation(workload: &Workload) -> Option<&str> {
    workload.annotations.get(names::AUTOSCALER_CLASS).map(String::as_str)
}
