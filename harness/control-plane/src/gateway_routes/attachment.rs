//! Which HTTPRoutes belong to which of our Gateways, and under which hosts.

use windtunnel_api::gateway_api::{Gateway, HttpRoute, ParentReference};

use super::status::CONTROLLER;
use crate::world::{ObjectKey, World};

/// What comes of one parent that a route names.
pub(super) enum Attachment<'a> {
    /// The parent is somebody else's, or is not there.
    NotOurs,
    /// The route is served under these hosts; none stands for every host.
    Accepted { hosts: Vec<&'a str> },
    /// The Gateway is ours and refuses the route: reason and message, as the Gateway API words them.
    Refused { reason: &'static str, message: String },
}

/// Whether a Gateway is served here.
pub(super) fn is_ours(world: &World, gateway: &Gateway) -> bool {
    let class = ObjectKey::new("", gateway.spec.gateway_class_name.clone());
    world.gateway_classes.get(&class).is_some_and(|class| class.spec.controller_name == CONTROLLER)
}

/// Whether the Gateway that routes of InferenceServices name is ours, so that their requests are counted here.
pub(crate) fn serves_components(world: &World) -> bool {
    let Ok(config) = world.kserve_config() else { return false };
    let (namespace, name) = config.ingress.kserve_ingress_gateway.split_once('/').unwrap_or_default();
    let gateway = world.gateways.get(&ObjectKey::new(namespace, name));
    gateway.is_some_and(|gateway| is_ours(world, gateway))
}

/// The Gateway that a parent reference of a route names.
pub(super) fn parent_key(route: &HttpRoute, parent: &ParentReference) -> Option<ObjectKey> {
    let group = parent.group.as_deref().unwrap_or(windtunnel_api::gateway_api::GROUP);
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    if group != windtunnel_api::gateway_api::GROUP || kind != "Gateway" {
        return None;
    }
    let namespace = parent.namespace.clone().or_else(|| route.metadata.namespace.clone()).unwrap_or_default();
    Some(ObjectKey::new(namespace, parent.name.clone()))
}

pub(super) fn attach<'a>(world: &'a World, route: &'a HttpRoute, parent: &ParentReference) -> Attachment<'a> {
    let Some(gateway) = parent_key(route, parent).and_then(|key| world.gateways.get(&key)) else {
        return Attachment::NotOurs;
    };
    if !is_ours(world, gateway) {
        return Attachment::NotOurs;
    }
    let section = parent.other.get("sectionName").and_then(|name| name.as_str());
    let port = parent.other.get("port").and_then(|port| port.as_i64());
    let named: Vec<_> = gateway
        .spec
        .listeners
        .iter()
        .filter(|listener| section.is_none_or(|section| listener.name == section))
        .filter(|listener| port.is_none_or(|port| i64::from(listener.port) == port))
        .collect();
    if named.is_empty() {
        let message = "no listener of the Gateway has the name and port that the route asks for".to_owned();
        return Attachment::Refused { reason: "NoMatchingParent", message };
    }
    let (from, to) = (gateway.metadata.namespace.as_deref(), route.metadata.namespace.as_deref());
    let open: Vec<_> = named
        .into_iter()
        .filter(|listener| listener.admits(from.unwrap_or_default(), to.unwrap_or_default()))
        .collect();
    if open.is_empty() {
        let message =
            format!("no listener of the Gateway allows routes of namespace {}", to.unwrap_or_default());
        return Attachment::Refused { reason: "NotAllowedByListeners", message };
    }
    if route.spec.hostnames.is_empty() {
        let hosts = open.iter().filter_map(|listener| listener.hostname.as_deref());
        // A listener without a host serves every one.
        let any = open.iter().any(|listener| listener.hostname.as_deref().is_none_or(str::is_empty));
        return Attachment::Accepted { hosts: if any { Vec::new() } else { hosts.collect() } };
    }
    let mut hosts: Vec<&str> = route
        .spec
        .hostnames
        .iter()
        .flat_map(|host| open.iter().filter_map(move |listener| listener.intersection(host)))
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    if hosts.is_empty() {
        let message = "no listener of the Gateway serves a host of the route".to_owned();
        return Attachment::Refused { reason: "NoMatchingListenerHostname", message };
    }
    Attachment::Accepted { hosts }
}

/// The Gateways that a route names.
pub(crate) fn gateways_of_route(route: &HttpRoute) -> Vec<ObjectKey> {
    route.spec.parent_refs.iter().filter_map(|parent| parent_key(route, parent)).collect()
}

/// The routes that name a Gateway.
pub(crate) fn routes_of_gateway(world: &World, gateway: &ObjectKey) -> Vec<ObjectKey> {
    let names = |route: &HttpRoute| gateways_of_route(route).contains(gateway);
    world.http_routes.iter().filter(|(_, route)| names(route)).map(|(key, _)| key.clone()).collect()
}
