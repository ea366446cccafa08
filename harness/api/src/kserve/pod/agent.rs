//! The agent: a container in front of the model server that logs and batches requests and pulls models.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EnvVar, HTTPGetAction, HTTPHeader, Pod, PodSpec, Probe,
    Volume,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::config::KserveConfig;
use super::super::names::{AGENT, AGENT_CONFIG_VOLUME, AGENT_MODEL_DIR, BATCHER, LOGGER, MODEL_MOUNT_PATH};
use super::agent_arguments::{self as arguments, Sink};
use super::containers::{
    add, add_mount, add_volume, empty_volume, mount, named, named_mut, resources, variable,
};
use super::credentials::{self, Place};
use super::{Surroundings, annotation, namespace};
use crate::pod_fields::{QUEUE_PROXY, SERVING_CONTAINER, TRANSFORMER_CONTAINER};

/// Name of the agent's container.
const AGENT_CONTAINER: &str = "agent";
/// Port of the agent, which stands in front of a server whose requests are logged or batched.
pub(in crate::kserve) const PORT: i32 = 9081;
/// Port of a server that names none.
const DEFAULT_COMPONENT_PORT: i32 = 8080;
const CA_VOLUME: &str = "agent-ca-bundle";
const CA_FOLDER: &str = "/etc/tls/logger";
const MODEL_VOLUME: &str = "model-dir";
const CONFIG_VOLUME: &str = "model-config";
const CONFIG_FOLDER: &str = "/mnt/configs";
/// Service account of the logger's storage where none is named.
const LOGGER_ACCOUNT: &str = "logger-sa";

/// Adds the agent if logging, batching or pulling is asked for and it is not there.
///
/// # Errors
/// Upstream's words for a missing secret or annotation.
pub(super) fn inject(pod: &mut Pod, config: &KserveConfig, around: &Surroundings<'_>) -> Result<(), String> {
    let has = |key: &str| annotation(pod, key).is_some();
    let (logs, pulls, batches) = (has(LOGGER), has(AGENT), has(BATCHER));
    let Some(spec) = &pod.spec else { return Ok(()) };
    if !(logs || pulls || batches) || named(spec, AGENT_CONTAINER).is_some() {
        return Ok(());
    }
    let sink = Sink::of(&config.logger, around.service);
    let mut args = Vec::new();
    if pulls {
        args.extend(arguments::puller(pod));
    }
    if batches {
        args.extend(arguments::batcher(pod));
    }
    if logs {
        args.extend(arguments::logger(pod, &config.logger, &sink));
    }
    args.extend(["--component-port".to_owned(), component_port(spec).to_string()]);

    let proxy = named(spec, QUEUE_PROXY);
    let (env, path) = match proxy {
        Some(proxy) => (proxy.env.clone().unwrap_or_default(), "/".to_owned()),
        None => readiness(spec)?,
    };
    let size = &config.agent;
    let mut agent = Container {
        name: AGENT_CONTAINER.to_owned(),
        image: Some(size.image.clone()),
        args: Some(args),
        resources: Some(resources(
            (&size.cpu_request, &size.memory_request),
            (&size.cpu_limit, &size.memory_limit),
        )),
        ports: Some(vec![ContainerPort {
            name: Some("agent-port".to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        security_context: spec.containers[0].security_context.clone(),
        readiness_probe: Some(probe(path)),
        ..Container::default()
    };
    add(&mut agent, env);
    let wants_bundle = logs && !config.logger.ca_bundle.is_empty();
    if wants_bundle {
        add_mount(&mut agent, mount(CA_VOLUME, CA_FOLDER, true));
    }
    let account = spec.service_account_name.clone().unwrap_or_default();
    let mut volumes = spec.volumes.clone().unwrap_or_default();
    let place = Place {
        namespace: namespace(pod),
        annotated: annotation(pod, &config.credentials.storage_secret_name_annotation),
        service_account: &account,
    };
    credentials::add_to(&mut agent, &mut volumes, place, &config.credentials, around)?;
    if let Some(storage) = sink.storage.as_ref().filter(|_| logs) {
        let own = storage.service_account_name.as_deref().filter(|name| !name.is_empty());
        let place = Place { service_account: own.unwrap_or(LOGGER_ACCOUNT), ..place };
        credentials::add_to(&mut agent, &mut volumes, place, &config.credentials, around)?;
    }
    let pulled = if pulls { Some(pulled_models(pod)?) } else { None };

    let Some(spec) = &mut pod.spec else { return Ok(()) };
    if !volumes.is_empty() {
        spec.volumes = Some(volumes);
    }
    if let Some(proxy) = named_mut(spec, QUEUE_PROXY) {
        // Requests go through the agent.
        let ports = proxy.env.iter_mut().flatten().filter(|variable| variable.name == "USER_PORT");
        ports.for_each(|variable| variable.value = Some(PORT.to_string()));
    }
    if wants_bundle {
        let source = ConfigMapVolumeSource {
            name: config.logger.ca_bundle.clone(),
            optional: Some(true),
            ..ConfigMapVolumeSource::default()
        };
        add_volume(
            spec,
            Volume { name: CA_VOLUME.to_owned(), config_map: Some(source), ..Volume::default() },
        );
    }
    spec.containers.push(agent);
    if let Some(config_map) = pulled {
        mount_models(spec, config_map);
    }
    Ok(())
}

/// First port of the transformer that shares the pod, else of the server.
fn component_port(spec: &PodSpec) -> i32 {
    let container = named(spec, TRANSFORMER_CONTAINER).or_else(|| named(spec, SERVING_CONTAINER));
    container
        .and_then(|container| container.ports.as_ref()?.first())
        .map_or(DEFAULT_COMPONENT_PORT, |port| port.container_port)
}

/// Without a queue-proxy the agent asks the server itself: the server's probe as a variable, and the path that
/// the agent answers on. A probe that only the node can do (a command) is left to the node.
fn readiness(spec: &PodSpec) -> Result<(Vec<EnvVar>, String), String> {
    let container = named(spec, TRANSFORMER_CONTAINER).unwrap_or(&spec.containers[0]);
    let Some(probe) = &container.readiness_probe else { return Ok((Vec::new(), "/".to_owned())) };
    if probe.http_get.is_none() && probe.tcp_socket.is_none() {
        return Ok((Vec::new(), "/".to_owned()));
    }
    let json = serde_json::to_string(probe)
        .map_err(|error| format!("failed to marshal readiness probe: {error}"))?;
    let path = probe.http_get.as_ref().and_then(|get| get.path.clone()).filter(|path| !path.is_empty());
    Ok((vec![variable("SERVING_READINESS_PROBE", json)], path.unwrap_or_else(|| "/".to_owned())))
}

fn probe(path: String) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            http_headers: Some(vec![HTTPHeader {
                name: "K-Network-Probe".to_owned(),
                value: "queue".to_owned(),
            }]),
            port: IntOrString::Int(PORT),
            path: Some(path),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

/// The ConfigMap with the list of models.
fn pulled_models(pod: &Pod) -> Result<String, String> {
    // Upstream names the same key for both.
    let missing = || format!("can not find {AGENT_CONFIG_VOLUME} label");
    annotation(pod, AGENT_MODEL_DIR).ok_or_else(missing)?;
    annotation(pod, AGENT_CONFIG_VOLUME).map(str::to_owned).ok_or_else(missing)
}

fn mount_models(spec: &mut PodSpec, config_map: String) {
    add_volume(spec, empty_volume(MODEL_VOLUME));
    for name in [AGENT_CONTAINER, SERVING_CONTAINER] {
        if let Some(container) = named_mut(spec, name) {
            add_mount(container, mount(MODEL_VOLUME, MODEL_MOUNT_PATH, false));
        }
    }
    let source = ConfigMapVolumeSource { name: config_map, ..ConfigMapVolumeSource::default() };
    add_volume(
        spec,
        Volume { name: CONFIG_VOLUME.to_owned(), config_map: Some(source), ..Volume::default() },
    );
    if let Some(container) = named_mut(spec, AGENT_CONTAINER) {
        add_mount(container, mount(CONFIG_VOLUME, CONFIG_FOLDER, false));
    }
}
