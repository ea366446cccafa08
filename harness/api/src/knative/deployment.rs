//! The Deployment of a revision.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, PodSpec, PodTemplateSpec, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::children::{owner, revision_labels, selector};
use super::{Revision, RevisionSpec, names};
use crate::pod_fields;

/// Pod annotation with the interval, in milliseconds, at which a container is probed until it is ready for
/// the first time: from its start on, and the first answer will do. It stands for the aggressive probing that Knative's
/// queue-proxy does.
pub const AGGRESSIVE_PROBE_MS: &str = "cluster.windtunnel.dev/aggressive-probe-ms";
/// The interval of Knative's queue-proxy.
pub const AGGRESSIVE_PERIOD_MS: &str = "25";

/// Longest time for one request when the revision does not say, in seconds.
pub const DEFAULT_TIMEOUT_S: i64 = 300;

const DEFAULT_PORT: i32 = 8080;
const DEFAULT_PROGRESS_DEADLINE_S: i32 = 600;

/// Name of a container that has none.
const USER_CONTAINER: &str = "user-container";

/// Name of a revision's Deployment.
#[must_use]
pub fn deployment_name(revision: &str) -> String {
    format!("{revision}-deployment")
}

/// Name and number of the port that a revision's serving container listens on: its first port, else 8080.
/// The name is Knative's for the protocol: `http1` or `h2c`.
#[must_use]
pub fn serving_port(spec: &RevisionSpec) -> (String, i32) {
    let containers: Vec<_> = pod_fields::raw_containers(&spec.pod, "containers").collect();
    let ports = containers
        .iter()
        .filter_map(|container| container.get("ports").and_then(Value::as_array))
        .find(|ports| !ports.is_empty());
    let first = ports.and_then(|ports| ports.first());
    let number =
        first.and_then(|port| port["containerPort"].as_i64()).and_then(|port| i32::try_from(port).ok());
    let name = match first.and_then(|port| port["name"].as_str()) {
        Some("h2c") => "h2c",
        _ => "http1",
    };
    (name.to_owned(), number.unwrap_or(DEFAULT_PORT))
}

/// The Deployment that runs a revision, with `initial_replicas` replicas. Whoever applies it over an
/// existing Deployment must leave out `spec.replicas`: after creation it belongs to the autoscaler.
///
/// # Errors
/// The first field of the revision's pod specification that has the wrong type, in words.
pub fn deployment_of(revision: &Revision, initial_replicas: i32) -> Result<Deployment, String> {
    let name = revision.metadata.name.as_deref().unwrap_or_default();
    let mut pod = pod_fields::pod_spec(&revision.spec.pod)?;
    let (_, port) = serving_port(&revision.spec);
    name_containers(&mut pod.containers);
    let serving = serving_index(&pod);
    for (index, container) in pod.containers.iter_mut().enumerate() {
        if Some(index) == serving {
            complete_serving_container(container, revision, port);
        }
        complete_container(container);
    }
    for container in pod.init_containers.iter_mut().flatten() {
        complete_container(container);
    }
    pod.termination_grace_period_seconds
        .get_or_insert(revision.spec.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_S));
    pod.restart_policy.get_or_insert_with(|| "Always".to_owned());
    pod.dns_policy.get_or_insert_with(|| "ClusterFirst".to_owned());
    pod.enable_service_links.get_or_insert(false);

    let labels = revision_labels(revision);
    let annotations = revision.metadata.annotations.clone().unwrap_or_default();
    let mut pod_annotations = annotations.clone();
    if asks_for_no_period(&pod, serving) {
        let period = || AGGRESSIVE_PERIOD_MS.to_owned();
        pod_annotations.entry(AGGRESSIVE_PROBE_MS.to_owned()).or_insert_with(period);
    }
    Ok(Deployment {
        metadata: ObjectMeta {
            name: Some(deployment_name(name)),
            namespace: revision.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            annotations: Some(annotations),
            owner_references: owner(revision),
            ..ObjectMeta::default()
        },
        spec: Some(DeploymentSpec {
            replicas: Some(initial_replicas),
            selector: LabelSelector { match_labels: Some(selector(revision)), ..LabelSelector::default() },
            progress_deadline_seconds: Some(progress_deadline_s(revision)),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(pod_annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    })
}

/// Whether Knative chooses how often the serving container is probed: nobody has said it.
fn asks_for_no_period(pod: &PodSpec, serving: Option<usize>) -> bool {
    let probe = serving.and_then(|index| pod.containers.get(index)?.readiness_probe.as_ref());
    probe.and_then(|probe| probe.period_seconds).unwrap_or(0) <= 0
}

/// `serving.knative.dev/progress-deadline` in whole seconds, else Knative's default of 600 s.
pub(super) fn progress_deadline_s(revision: &Revision) -> i32 {
    let text = revision
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get("serving.knative.dev/progress-deadline"));
    let seconds = text.and_then(|text| {
        if let Some(minutes) = text.strip_suffix('m') {
            minutes.parse::<i32>().ok()?.checked_mul(60)
        } else {
            text.strip_suffix('s')?.parse::<i32>().ok()
        }
    });
    seconds.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_PROGRESS_DEADLINE_S)
}

/// Gives containers without a name Knative's, which a pod can't do without: `user-container`, with its number where there
/// are several.
fn name_containers(containers: &mut [Container]) {
    let several = containers.len() > 1;
    let mut taken: Vec<String> = containers.iter().map(|container| container.name.clone()).collect();
    for (index, container) in containers.iter_mut().enumerate().filter(|(_, found)| found.name.is_empty()) {
        let plain = (!several).then(|| USER_CONTAINER.to_owned());
        let numbered = (index..).map(|number| format!("{USER_CONTAINER}-{number}"));
        let name = plain.into_iter().chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default();
        container.name.clone_from(&name);
        taken.push(name);
    }
}

/// The container that has ports, else the one with KServe's name, else the first.
fn serving_index(pod: &PodSpec) -> Option<usize> {
    let by = |test: &dyn Fn(&Container) -> bool| pod.containers.iter().position(test);
    by(&|container| container.ports.as_ref().is_some_and(|ports| !ports.is_empty()))
        .or_else(|| by(&|container| container.name == pod_fields::SERVING_CONTAINER))
        .or(if pod.containers.is_empty() { None } else { Some(0) })
}

fn complete_serving_container(container: &mut Container, revision: &Revision, port: i32) {
    let ports = container.ports.get_or_insert_with(Vec::new);
    if ports.is_empty() {
        ports.push(ContainerPort {
            container_port: port,
            name: Some("user-port".to_owned()),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        });
    }
    let label = |key: &str| {
        revision.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned().unwrap_or_default()
    };
    let variables = [
        ("PORT", port.to_string()),
        ("K_REVISION", revision.metadata.name.clone().unwrap_or_default()),
        ("K_CONFIGURATION", label(names::CONFIGURATION)),
        ("K_SERVICE", label(names::SERVICE)),
    ];
    let environment = container.env.get_or_insert_with(Vec::new);
    for (name, value) in variables {
        environment.retain(|variable| variable.name != name);
        environment.push(EnvVar { name: name.to_owned(), value: Some(value), ..EnvVar::default() });
    }
    match &mut container.readiness_probe {
        None => {
            container.readiness_probe = Some(Probe {
                tcp_socket: Some(TCPSocketAction { port: IntOrString::Int(port), host: None }),
                success_threshold: Some(1),
                ..Probe::default()
            });
        }
        Some(probe) => {
            // Knative lets a probe leave out its port: it means the serving port.
            if let Some(http) = &mut probe.http_get
                && (http.port == IntOrString::Int(0) || http.port == IntOrString::String(String::new()))
            {
                http.port = IntOrString::Int(port);
            }
            if let Some(tcp) = &mut probe.tcp_socket
                && (tcp.port == IntOrString::Int(0) || tcp.port == IntOrString::String(String::new()))
            {
                tcp.port = IntOrString::Int(port);
            }
        }
    }
}

fn complete_container(container: &mut Container) {
    container.termination_message_policy.get_or_insert_with(|| "FallbackToLogsOnError".to_owned());
}
