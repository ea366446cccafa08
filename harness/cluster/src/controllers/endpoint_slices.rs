//! The EndpointSlice controller: where the pods behind a Service answer, in slices of at most a hundred.
//!
//! Endpoints with the same ports share slices. A slice that is there keeps the endpoints that stay, so that a change
//! touches as few slices as it can. The slices of a Service without selector mirror its Endpoints object.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, Endpoints, Pod, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::Timestamp,
};
use serde_json::json;

use super::{
    endpoints::{self, SERVICE_NAME},
    pods, selector,
    selector::Labels,
};
use crate::{
    effect::{Effect, Outcome, merge_patch},
    world::{Key, Kind, World},
};

/// Label: who writes a slice.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Writer of the slices of Services with a selector.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// Writer of the slices that mirror Endpoints.
const MIRROR: &str = "endpointslicemirroring-controller.k8s.io";
/// Label on Endpoints that shall not be mirrored.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Label on what belongs to a Service without address.
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Label of a node with its zone.
const ZONE: &str = "topology.kubernetes.io/zone";
/// Endpoints in one slice, upstream's default.
const SLICE_LIMIT: usize = 100;

/// Ports in the order in which they are compared.
type Ports = Vec<(Option<String>, Option<i32>, Option<String>, Option<String>)>;

/// Endpoints of one set of ports.
#[derive(Default)]
struct Group {
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
}

/// Decides for the slices of one Service.
#[must_use]
pub fn reconcile(world: &World, key: &Key, _now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let present: Vec<&EndpointSlice> = world
        .endpoint_slices
        .in_namespace(&key.namespace)
        .map(|(_, slice)| &**slice)
        .filter(|slice| {
            let labels = slice.metadata.labels.as_ref();
            let label = |name| labels.and_then(|labels| labels.get(name)).map(String::as_str);
            label(SERVICE_NAME) == Some(&key.name)
                && matches!(label(MANAGED_BY), Some(CONTROLLER | MIRROR))
                && slice.metadata.deletion_timestamp.is_none()
        })
        .collect();
    let service = world.services.get(key).filter(|service| service.metadata.deletion_timestamp.is_none());
    let Some(service) = service else {
        present.into_iter().for_each(|slice| outcome.push(Effect::delete(slice)));
        return outcome;
    };
    let Some(spec) = &service.spec else { return outcome };
    let wanted = match &spec.selector {
        _ if spec.type_.as_deref() == Some("ExternalName") => None,
        Some(wanted) if !wanted.is_empty() => {
            Some((CONTROLLER, labels_of(service, CONTROLLER), groups_of_pods(world, service, wanted)))
        }
        _ => world
            .endpoints
            .get(key)
            .filter(|endpoints| is_mirrored(endpoints))
            .map(|endpoints| (MIRROR, mirror_labels(endpoints, &key.name), groups_of_subsets(endpoints))),
    };
    let Some((writer, labels, groups)) = wanted else {
        present.into_iter().for_each(|slice| outcome.push(Effect::delete(slice)));
        return outcome;
    };
    let (ours, others): (Vec<_>, Vec<_>) = present.into_iter().partition(|slice| {
        slice.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).map(String::as_str)
            == Some(writer)
    });
    others.into_iter().for_each(|slice| outcome.push(Effect::delete(slice)));
    let owner = match writer {
        CONTROLLER => super::deployment::owner(Kind::Service, &service.metadata),
        _ => match world.endpoints.get(key) {
            Some(endpoints) => super::deployment::owner(Kind::Endpoints, &endpoints.metadata),
            None => return outcome,
        },
    };
    write(key, &labels, &owner, &ours, groups, &mut outcome);
    outcome
}

/// Brings the slices that are there to what is wanted.
fn write(
    key: &Key,
    labels: &Labels,
    owner: &OwnerReference,
    present: &[&EndpointSlice],
    mut groups: BTreeMap<Ports, Group>,
    outcome: &mut Outcome,
) {
    let mut spare: Vec<&EndpointSlice> = Vec::new();
    let mut open: BTreeMap<Ports, Vec<(&EndpointSlice, Vec<Endpoint>)>> = BTreeMap::new();
    for slice in present {
        let order = order_of(slice.ports.as_deref().unwrap_or_default());
        let Some(group) = groups.get_mut(&order) else {
            spare.push(slice);
            continue;
        };
        let mut kept = Vec::new();
        for endpoint in slice.endpoints.iter().flatten() {
            let stays = group.endpoints.iter().position(|wanted| is_same(wanted, endpoint));
            if let Some(at) = stays {
                kept.push(group.endpoints.remove(at));
            }
        }
        open.entry(order).or_default().push((slice, kept));
    }
    let is_empty = groups.is_empty();
    for (order, group) in groups {
        let mut rest = group.endpoints.into_iter();
        for (slice, mut endpoints) in open.remove(&order).unwrap_or_default() {
            let room = SLICE_LIMIT.saturating_sub(endpoints.len());
            endpoints.extend(rest.by_ref().take(room));
            if endpoints.is_empty() {
                spare.push(slice);
            } else {
                update(slice, labels, &group.ports, &endpoints, outcome);
            }
        }
        loop {
            let endpoints: Vec<Endpoint> = rest.by_ref().take(SLICE_LIMIT).collect();
            if endpoints.is_empty() {
                break;
            }
            match spare.pop() {
                Some(slice) => update(slice, labels, &group.ports, &endpoints, outcome),
                None => {
                    outcome.push(Effect::create(&slice_of(
                        key,
                        labels,
                        owner,
                        group.ports.clone(),
                        endpoints,
                    )));
                }
            }
        }
    }
    if is_empty {
        // A Service without endpoints has a slice that says so.
        match spare.pop() {
            Some(slice) => update(slice, labels, &[], &[], outcome),
            None => outcome.push(Effect::create(&slice_of(key, labels, owner, Vec::new(), Vec::new()))),
        }
    }
    spare.into_iter().for_each(|slice| outcome.push(Effect::delete(slice)));
}

fn update(
    slice: &EndpointSlice,
    labels: &Labels,
    ports: &[EndpointPort],
    endpoints: &[Endpoint],
    outcome: &mut Outcome,
) {
    let before = json!({"metadata": {"labels": slice.metadata.labels}, "ports": slice.ports.as_deref()
        .unwrap_or_default(), "endpoints": slice.endpoints.as_deref().unwrap_or_default()});
    let after = json!({"metadata": {"labels": labels}, "ports": ports, "endpoints": endpoints});
    if let Some(patch) = merge_patch(&before, &after) {
        let key = Key::of(&slice.metadata);
        outcome.push(Effect::Patch { kind: Kind::EndpointSlice, key, status: false, patch });
    }
}

fn slice_of(
    key: &Key,
    labels: &Labels,
    owner: &OwnerReference,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", key.name)),
            namespace: Some(key.namespace.clone()),
            labels: Some(labels.clone()),
            owner_references: Some(vec![owner.clone()]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".into(),
        endpoints: Some(endpoints),
        ports: Some(ports),
    }
}

/// Whether both stand for the same pod, or (mirrored ones) for the same address.
fn is_same(one: &Endpoint, other: &Endpoint) -> bool {
    let pod = |endpoint: &Endpoint| endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    match (pod(one), pod(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.addresses == other.addresses,
        _ => false,
    }
}

fn order_of(ports: &[EndpointPort]) -> Ports {
    let mut order: Ports = ports
        .iter()
        .map(|port| {
            (
                port.name.clone().filter(|name| !name.is_empty()),
                port.port,
                port.protocol.clone(),
                port.app_protocol.clone(),
            )
        })
        .collect();
    order.sort();
    order
}

fn add(groups: &mut BTreeMap<Ports, Group>, ports: Vec<EndpointPort>, endpoint: Endpoint) {
    let group = groups.entry(order_of(&ports)).or_default();
    group.ports = ports;
    group.endpoints.push(endpoint);
}

fn slice_ports(ports: Vec<k8s_openapi::api::core::v1::EndpointPort>) -> Vec<EndpointPort> {
    let ports = ports.into_iter().map(|port| EndpointPort {
        app_protocol: port.app_protocol,
        // Upstream names an unnamed port with the empty text.
        name: Some(port.name.unwrap_or_default()),
        port: Some(port.port),
        protocol: port.protocol.or_else(|| Some("TCP".into())),
    });
    ports.collect()
}

fn groups_of_pods(world: &World, service: &Service, wanted: &Labels) -> BTreeMap<Ports, Group> {
    let mut groups = BTreeMap::new();
    let Some(spec) = &service.spec else { return groups };
    let publishes_unready = spec.publish_not_ready_addresses.unwrap_or(false);
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    for (_, pod) in world.pods.in_namespace(namespace) {
        if pods::is_finished(pod) || !selector::has_all(wanted, pod.metadata.labels.as_ref()) {
            continue;
        }
        let Some(endpoint) = endpoint_of(world, service, pod, publishes_unready) else { continue };
        let ports = slice_ports(endpoints::ports_of(spec.ports.as_deref().unwrap_or_default(), pod));
        add(&mut groups, ports, endpoint);
    }
    groups
}

fn endpoint_of(world: &World, service: &Service, pod: &Pod, publishes_unready: bool) -> Option<Endpoint> {
    let address = endpoints::address_of(service, pod)?;
    let (serving, terminating) = (pods::is_ready(pod), pods::is_terminating(pod));
    let node = address.node_name.as_deref().and_then(|name| world.nodes.get(&Key::cluster(name)));
    let zone = node.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned());
    Some(Endpoint {
        addresses: vec![address.ip],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_unready || serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: address.hostname,
        node_name: address.node_name,
        target_ref: address.target_ref,
        zone,
        ..Endpoint::default()
    })
}

fn labels_of(service: &Service, writer: &str) -> Labels {
    let name = service.metadata.name.clone().unwrap_or_default();
    let mut labels: Labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), name);
    labels.insert(MANAGED_BY.to_owned(), writer.to_owned());
    labels
}

/// Whether somebody else's Endpoints are mirrored: not those that elect a leader, nor those that ask not to be.
fn is_mirrored(endpoints: &Endpoints) -> bool {
    let metadata = &endpoints.metadata;
    let label = metadata.labels.as_ref().and_then(|labels| labels.get(SKIP_MIRROR));
    let elects = metadata
        .annotations
        .as_ref()
        .is_some_and(|annotations| annotations.contains_key("control-plane.alpha.kubernetes.io/leader"));
    metadata.deletion_timestamp.is_none() && label.map(String::as_str) != Some("true") && !elects
}

fn mirror_labels(endpoints: &Endpoints, service: &str) -> Labels {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), service.to_owned());
    labels.insert(MANAGED_BY.to_owned(), MIRROR.to_owned());
    labels
}

fn groups_of_subsets(endpoints: &Endpoints) -> BTreeMap<Ports, Group> {
    let mut groups = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = slice_ports(subset.ports.clone().unwrap_or_default());
        let both = [(&subset.addresses, true), (&subset.not_ready_addresses, false)];
        for (addresses, ready) in both {
            for address in addresses.iter().flatten() {
                add(&mut groups, ports.clone(), mirrored(address, ready));
            }
        }
    }
    groups
}

fn mirrored(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}
