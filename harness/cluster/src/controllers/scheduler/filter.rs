//! What a node must fulfil, in the order in which upstream asks; the first refusal counts.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration};

use super::{Candidate, Place, Refusal, affinity, resources, spread};
use crate::controllers::{pods, selector};
use crate::world::Key;

/// Whether a node can take a pod.
pub(super) fn fit(candidate: &Candidate<'_>, place: &Place<'_>, places: &[Place<'_>]) -> Result<(), Refusal> {
    let Some(spec) = &candidate.pod.spec else { return Ok(()) };
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let node_spec = place.node.spec.as_ref();
    if node_spec.and_then(|spec| spec.unschedulable).unwrap_or(false) {
        let taint = Taint {
            effect: "NoSchedule".into(),
            key: "node.kubernetes.io/unschedulable".into(),
            ..Taint::default()
        };
        if !tolerations.iter().any(|toleration| tolerates(toleration, &taint)) {
            return Err(Refusal::fixed("node(s) were unschedulable"));
        }
    }
    let taints = node_spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let mut hard = taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    if hard.any(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint))) {
        return Err(Refusal::fixed("node(s) had untolerated taint(s)"));
    }
    if !node_matches(candidate.pod, place) {
        return Err(Refusal::fixed("node(s) didn't match Pod's node affinity/selector"));
    }
    let taken: BTreeSet<_> = place.pods.iter().flat_map(|pod| host_ports(pod)).collect();
    if host_ports(candidate.pod).iter().any(|port| taken.iter().any(|other| collide(port, other))) {
        return Err(Refusal::passing("node(s) didn't have free ports for the requested pod ports"));
    }
    fit_resources(candidate, place)?;
    if !volumes_match(candidate, place) {
        return Err(Refusal::fixed("node(s) didn't match PersistentVolume's node affinity"));
    }
    spread::fit(candidate, place, places)?;
    affinity::fit(candidate, place, places)
}

/// Whether the volumes of the pod's claims can be on the node.
fn volumes_match(candidate: &Candidate<'_>, place: &Place<'_>) -> bool {
    let world = candidate.world;
    pods::claims(candidate.pod).all(|name| {
        let claim =
            world.persistent_volume_claims.get(&Key::new(candidate.key.namespace.as_str(), name.as_str()));
        let bound = claim.and_then(|claim| claim.spec.as_ref()?.volume_name.as_deref());
        let volume = bound.and_then(|bound| world.persistent_volumes.get(&Key::cluster(bound)));
        let affinity =
            volume.and_then(|volume| volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref());
        affinity
            .is_none_or(|required| required.node_selector_terms.iter().any(|term| term_matches(term, place)))
    })
}

/// Requests against what is left; says everything that is missing.
fn fit_resources(candidate: &Candidate<'_>, place: &Place<'_>) -> Result<(), Refusal> {
    let used = resources::of_pods(&place.pods);
    let mut refusal = Refusal { reasons: Vec::new(), is_final: false };
    let count = i128::try_from(place.pods.len()).unwrap_or(i128::MAX);
    if place.allocatable.get("pods").is_some_and(|limit| (count + 1).saturating_mul(1_000) > *limit) {
        refusal.reasons.push("Too many pods".to_owned());
    }
    for (resource, amount) in candidate.requests.iter().filter(|(_, amount)| **amount > 0) {
        let whole = place.allocatable.get(resource).copied().unwrap_or(0);
        if *amount > whole - used.get(resource).copied().unwrap_or(0) {
            refusal.reasons.push(format!("Insufficient {resource}"));
            // The node would be too small if it were empty.
            refusal.is_final |= *amount > whole;
        }
    }
    if refusal.reasons.is_empty() { Ok(()) } else { Err(refusal) }
}

/// Whether a toleration is about a taint.
pub(super) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => {
            !key.is_empty()
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

/// The node selector and the required node affinity.
pub(super) fn node_matches(pod: &Pod, place: &Place<'_>) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let labels = place.node.metadata.labels.as_ref();
    if spec.node_selector.as_ref().is_some_and(|wanted| !selector::has_all(wanted, labels)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| required.node_selector_terms.iter().any(|term| term_matches(term, place)))
}

/// Whether a node matches a term: all its requirements; an empty term matches nothing.
pub(super) fn term_matches(term: &NodeSelectorTerm, place: &Place<'_>) -> bool {
    let labels = place.node.metadata.labels.as_ref();
    let label = |name: &str| labels.and_then(|labels| labels.get(name)).map(String::as_str);
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    expressions.iter().all(|requirement| holds(requirement, label(&requirement.key)))
        && fields
            .iter()
            .all(|requirement| requirement.key == "metadata.name" && holds(requirement, Some(place.name)))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_listed = |value: &str| values.iter().any(|wanted| wanted == value);
    let both = || Some((value?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => value.is_some_and(is_listed),
        "NotIn" => value.is_none_or(|value| !is_listed(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => both().is_some_and(|(value, bound)| value > bound),
        "Lt" => both().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// A port of the machine: protocol, address, port.
type HostPort = (String, String, i32);

/// Whether two pods can't have these ports on one node: all addresses include each one.
fn collide(left: &HostPort, right: &HostPort) -> bool {
    let is_all = |port: &HostPort| port.1 == "0.0.0.0";
    left.0 == right.0 && left.2 == right.2 && (left.1 == right.1 || is_all(left) || is_all(right))
}

/// Ports of the machine that a pod takes.
fn host_ports(pod: &Arc<Pod>) -> BTreeSet<HostPort> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let address = port.host_ip.clone().filter(|ip| !ip.is_empty());
            Some((protocol, address.unwrap_or_else(|| "0.0.0.0".to_owned()), number))
        })
        .collect()
}
