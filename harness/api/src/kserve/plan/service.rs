//! The Services of a component in the Standard mode.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value};

use super::super::pod::AGENT_PORT;
use super::workload::Workload;
use crate::pod_fields::TRANSFORMER_CONTAINER;

/// The port that clients use.
pub(super) const HTTP_PORT: i32 = 80;
/// The port of a server that names none.
pub(super) const DEFAULT_TARGET_PORT: i32 = 8080;

/// The Service of a component. Port 80 leads to the first port of the first container (of the transformer beside the
/// predictor, if there is one) or, where requests are logged or batched, to the agent; other ports keep their number.
pub(super) fn render(workload: &Workload, headless: bool) -> Service {
    let name_of =
        |container: &&Map<String, Value>| container.get("name") == Some(&Value::from(TRANSFORMER_CONTAINER));
    let container = workload.containers().find(name_of).or_else(|| workload.containers().next());
    let mut ports: Vec<ServicePort> = container.map(ports).unwrap_or_default();
    if ports.is_empty() && container.is_some() {
        ports.push(port(workload.name.clone(), HTTP_PORT, DEFAULT_TARGET_PORT, None));
    }
    let has_agent = workload.extension.logger.is_some() || workload.extension.batcher.is_some();
    if let Some(first) = ports.first_mut().filter(|_| has_agent) {
        first.target_port = Some(IntOrString::Int(AGENT_PORT));
    }
    Service {
        metadata: workload.metadata(),
        spec: Some(ServiceSpec {
            selector: Some(BTreeMap::from([("app".to_owned(), workload.app())])),
            ports: Some(ports),
            cluster_ip: headless.then(|| "None".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn ports(container: &Map<String, Value>) -> Vec<ServicePort> {
    let listed = container.get("ports").and_then(Value::as_array).into_iter().flatten();
    let mut ports = Vec::new();
    for entry in listed {
        let Some(number) = entry["containerPort"].as_i64().and_then(|number| i32::try_from(number).ok())
        else {
            continue;
        };
        let name = entry["name"].as_str().unwrap_or_default().to_owned();
        let outside = if ports.is_empty() { HTTP_PORT } else { number };
        ports.push(port(name, outside, number, entry["protocol"].as_str()));
    }
    ports
}

fn port(name: String, number: i32, target: i32, protocol: Option<&str>) -> ServicePort {
    ServicePort {
        app_protocol: is_grpc(&name).then(|| "kubernetes.io/h2c".to_owned()),
        name: Some(name).filter(|name| !name.is_empty()),
        port: number,
        target_port: Some(IntOrString::Int(target)),
        protocol: Some(protocol.unwrap_or("TCP").to_owned()),
        ..ServicePort::default()
    }
}

/// Whether a port of this name speaks HTTP/2 without TLS.
pub(super) fn is_grpc(name: &str) -> bool {
    name.contains("grpc") || name.contains("h2c")
}

/// The first REST port and the first gRPC port of a Service, by their outside numbers.
pub(super) fn protocol_ports(service: &Service) -> (Option<i32>, Option<i32>) {
    let (mut rest, mut grpc) = (None, None);
    for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
        let slot = if speaks_grpc(port) { &mut grpc } else { &mut rest };
        slot.get_or_insert(port.port);
    }
    (rest, grpc)
}

/// The port that a client of a headless Service has to use: the target of its first REST port.
pub(super) fn http_target_port(service: &Service) -> Option<i32> {
    let mut ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.find_map(|port| match &port.target_port {
        Some(IntOrString::Int(number)) if *number > 0 && !speaks_grpc(port) => Some(*number),
        _ => None,
    })
}

fn speaks_grpc(port: &ServicePort) -> bool {
    port.app_protocol.as_deref() == Some("kubernetes.io/h2c")
        || port.name.as_deref().is_some_and(|name| is_grpc(&name.to_lowercase()))
}
