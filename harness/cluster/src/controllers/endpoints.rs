//! The Endpoints controller: where the pods behind a Service answer.

use std::{collections::BTreeMap, net::Ipv4Addr};

use k8s_openapi::{
    api::core::v1::{
        EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service, ServicePort,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::{pods, selector};
use crate::{
    effect::{Effect, Outcome, merge_patch},
    world::{Key, Kind, World},
};

/// Annotation on a pod: container ports that are served on another port, as JSON `{"8080": 41234}`. The node writes
/// it where a container port can't be bound on the pod's address.
pub const PORTS_ANNOTATION: &str = "cluster.windtunnel.dev/ports";
/// Label on endpoint slices: the Service that they belong to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label on Endpoints objects that this controller writes.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

/// Decides for the Endpoints of one Service.
#[must_use]
pub fn reconcile(world: &World, key: &Key, _now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let present = world.endpoints.get(key);
    let service = world.services.get(key).filter(|service| service.metadata.deletion_timestamp.is_none());
    let Some(service) = service else {
        let ours = present.filter(|endpoints| {
            endpoints.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(MANAGED_BY))
        });
        if let Some(endpoints) = ours {
            let uid = endpoints.metadata.uid.clone().unwrap_or_default();
            outcome.push(Effect::Delete { kind: Kind::Endpoints, key: key.clone(), uid });
        }
        return outcome;
    };
    let Some(wanted) = endpoints_of(world, service) else { return outcome };
    let Some(present) = present else {
        outcome.push(Effect::create(&wanted));
        return outcome;
    };
    let relevant = |endpoints: &Endpoints| {
        json!({
            "metadata": {"labels": endpoints.metadata.labels},
            "subsets": endpoints.subsets.clone().unwrap_or_default(),
        })
    };
    if let Some(patch) = merge_patch(&relevant(present), &relevant(&wanted)) {
        outcome.push(Effect::Patch { kind: Kind::Endpoints, key: key.clone(), status: false, patch });
    }
    outcome
}

/// The Endpoints that a Service shall have; `None` for a Service without selector, whose Endpoints are somebody
/// else's.
#[must_use]
pub fn endpoints_of(world: &World, service: &Service) -> Option<Endpoints> {
    let spec = service.spec.as_ref()?;
    let wanted = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let key = Key::of(&service.metadata);
    let publish_unready = spec.publish_not_ready_addresses.unwrap_or(false);
    let mut subsets: BTreeMap<Vec<PortOrder>, EndpointSubset> = BTreeMap::new();
    for (_, pod) in world.pods.in_namespace(&key.namespace) {
        let serves = selector::has_all(wanted, pod.metadata.labels.as_ref())
            && !pods::is_finished(pod)
            && (publish_unready || !pods::is_terminating(pod));
        let Some(address) = serves.then(|| address_of(service, pod)).flatten() else { continue };
        let ports = ports_of(spec.ports.as_deref().unwrap_or_default(), pod);
        if ports.is_empty() && spec.ports.as_ref().is_some_and(|ports| !ports.is_empty()) {
            continue;
        }
        let order = ports.iter().map(|port| (port.name.clone(), port.port, port.protocol.clone())).collect();
        let subset = subsets.entry(order).or_insert_with(|| EndpointSubset {
            ports: Some(ports).filter(|ports| !ports.is_empty()),
            ..EndpointSubset::default()
        });
        let ready = publish_unready || pods::is_ready(pod);
        let addresses = if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        addresses.get_or_insert_default().push(address);
    }
    let mut subsets: Vec<EndpointSubset> = subsets.into_values().collect();
    for subset in &mut subsets {
        for addresses in [&mut subset.addresses, &mut subset.not_ready_addresses].into_iter().flatten() {
            addresses.sort_by_key(|address| (address.ip.parse::<Ipv4Addr>().ok(), address.ip.clone()));
        }
    }
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), "endpoint-controller".to_owned());
    if spec.cluster_ip.as_deref() == Some("None") {
        labels.insert("service.kubernetes.io/headless".to_owned(), String::new());
    }
    Some(Endpoints {
        metadata: ObjectMeta {
            name: Some(key.name),
            namespace: Some(key.namespace),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: Some(subsets),
    })
}

type PortOrder = (Option<String>, i32, Option<String>);

pub(super) fn address_of(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    let ip = pod.status.as_ref()?.pod_ip.clone().filter(|ip| !ip.is_empty())?;
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.clone().filter(|_| spec.subdomain == service.metadata.name);
    Some(EndpointAddress {
        hostname,
        ip,
        node_name: spec.node_name.clone(),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
    })
}

/// The ports of a Service on one pod; a named port that the pod does not have is left out.
pub(super) fn ports_of(ports: &[ServicePort], pod: &Pod) -> Vec<EndpointPort> {
    let found = ports.iter().filter_map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some(EndpointPort {
            app_protocol: port.app_protocol.clone(),
            name: port.name.clone(),
            port: target_port(port, &protocol, pod)?,
            protocol: Some(protocol),
        })
    });
    found.collect()
}

fn target_port(port: &ServicePort, protocol: &str, pod: &Pod) -> Option<i32> {
    let number = match port.target_port.as_ref() {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => container_port(pod, name, protocol)?,
    };
    Some(served_port(pod, number))
}

/// The number of a container port with this name.
#[must_use]
pub fn container_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars =
        spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let mut named = ports.filter(|port| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    });
    named.next().map(|port| port.container_port)
}

/// The port on which a container port is really served; see [`PORTS_ANNOTATION`].
#[must_use]
pub fn served_port(pod: &Pod, container_port: i32) -> i32 {
    let annotation =
        pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(PORTS_ANNOTATION));
    let map: Option<Value> = annotation.and_then(|text| serde_json::from_str(text).ok());
    map.and_then(|map| i32::try_from(map.get(container_port.to_string())?.as_i64()?).ok())
        .unwrap_or(container_port)
}
