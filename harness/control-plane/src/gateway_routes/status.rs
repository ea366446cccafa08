//! What the Gateway API's objects say about our gateway: accepted, programmed, resolved.

use serde::Serialize;
use serde_json::json;
use windtunnel_api::condition::{self, Condition, FALSE, TRUE};
use windtunnel_api::gateway_api::{
    Gateway, GatewayClass, GatewayClassStatus, GatewayStatus, HttpRoute, HttpRouteStatus, ListenerStatus,
    RouteParentStatus,
};

use super::attachment::{Attachment, attach, is_ours, parent_key};
use super::http_routes::{is_supported, service};
use crate::clock::time;
use crate::effect::{Effect, Effects};
use crate::world::{Kept, ObjectKey, World};

/// Name of the controller that a GatewayClass must have for its Gateways to be served here.
pub const CONTROLLER: &str = "windtunnel.dev/gateway-controller";

/// Accepts the classes that are ours.
#[must_use]
pub fn reconcile_class(world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
    let Some(class) = world.gateway_classes.get(key) else { return Effects::new() };
    if class.spec.controller_name != CONTROLLER {
        return Effects::new();
    }
    let mut status = class.status.clone().unwrap_or_default();
    let generation = class.metadata.generation;
    set(
        &mut status.conditions,
        generation,
        "Accepted",
        TRUE,
        "Accepted",
        "the class is served by this gateway",
    );
    written::<GatewayClass, GatewayClassStatus>(key, class.status.as_ref(), status, now_ns, |status| {
        vec![&mut status.conditions]
    })
}

/// Says of a Gateway of ours that it is there, and how many routes its listeners have.
#[must_use]
pub fn reconcile_gateway(world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
    let Some(gateway) = world.gateways.get(key) else { return Effects::new() };
    if !is_ours(world, gateway) {
        return Effects::new();
    }
    let before = gateway.status.clone().unwrap_or_default();
    let generation = gateway.metadata.generation;
    let mut status =
        GatewayStatus { addresses: before.addresses, conditions: before.conditions, listeners: vec![] };
    set(&mut status.conditions, generation, "Accepted", TRUE, "Accepted", "the Gateway is served");
    set(&mut status.conditions, generation, "Programmed", TRUE, "Programmed", "the Gateway takes requests");
    for listener in &gateway.spec.listeners {
        let old = before.listeners.iter().find(|old| old.name == listener.name);
        let mut conditions = old.map(|old| old.conditions.clone()).unwrap_or_default();
        let http = listener.protocol == "HTTP";
        let (state, reason, message) = if http {
            (TRUE, "Accepted", "the listener is served")
        } else {
            (FALSE, "UnsupportedProtocol", "only listeners with protocol HTTP are served; set protocol: HTTP")
        };
        set(&mut conditions, generation, "Accepted", state, reason, message);
        let reason = if http { "Programmed" } else { "Invalid" };
        set(&mut conditions, generation, "Programmed", state, reason, message);
        set(
            &mut conditions,
            generation,
            "ResolvedRefs",
            TRUE,
            "ResolvedRefs",
            "the listener refers to nothing",
        );
        status.listeners.push(ListenerStatus {
            name: listener.name.clone(),
            supported_kinds: if http {
                vec![json!({"group": windtunnel_api::gateway_api::GROUP, "kind": "HTTPRoute"})]
            } else {
                vec![]
            },
            attached_routes: attached(world, key, &listener.name),
            conditions,
        });
    }
    written::<Gateway, GatewayStatus>(key, gateway.status.as_ref(), status, now_ns, |status| {
        let own = std::iter::once(&mut status.conditions);
        own.chain(status.listeners.iter_mut().map(|listener| &mut listener.conditions)).collect()
    })
}

/// The routes that a listener serves.
fn attached(world: &World, gateway: &ObjectKey, listener: &str) -> i32 {
    let count = world
        .http_routes
        .values()
        .filter(|route| {
            route.spec.parent_refs.iter().any(|parent| {
                let section = parent.other.get("sectionName").and_then(|name| name.as_str());
                parent_key(route, parent).as_ref() == Some(gateway)
                    && section.is_none_or(|section| section == listener)
                    && matches!(attach(world, route, parent), Attachment::Accepted { .. })
            })
        })
        .count();
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Says of a route, for each parent that is a Gateway of ours, whether it is accepted and whether its backends are
/// there. What other controllers say about other parents stays.
#[must_use]
pub fn reconcile_route(world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
    let Some(route) = world.http_routes.get(key) else { return Effects::new() };
    let before = route.status.clone().unwrap_or_default();
    let mut parents: Vec<RouteParentStatus> =
        before.parents.iter().filter(|parent| parent.controller_name != CONTROLLER).cloned().collect();
    for parent in &route.spec.parent_refs {
        let (state, reason, message) = match attach(world, route, parent) {
            Attachment::NotOurs => continue,
            Attachment::Accepted { .. } => unsupported(route).map_or_else(
                || (TRUE, "Accepted", "the Gateway serves the route".to_owned()),
                |message| (FALSE, "UnsupportedValue", message),
            ),
            Attachment::Refused { reason, message } => (FALSE, reason, message),
        };
        let old =
            before.parents.iter().find(|old| old.controller_name == CONTROLLER && old.parent_ref == *parent);
        let mut conditions = old.map(|old| old.conditions.clone()).unwrap_or_default();
        let generation = route.metadata.generation;
        set(&mut conditions, generation, "Accepted", state, reason, &message);
        let (state, reason, message) = resolved(world, key, route);
        set(&mut conditions, generation, "ResolvedRefs", state, reason, &message);
        parents.push(RouteParentStatus {
            parent_ref: parent.clone(),
            controller_name: CONTROLLER.to_owned(),
            conditions,
        });
    }
    if parents.is_empty() && route.status.is_none() {
        return Effects::new();
    }
    let status = HttpRouteStatus { parents };
    written::<HttpRoute, HttpRouteStatus>(key, route.status.as_ref(), status, now_ns, |status| {
        let ours = status.parents.iter_mut().filter(|parent| parent.controller_name == CONTROLLER);
        ours.map(|parent| &mut parent.conditions).collect()
    })
}

fn unsupported(route: &HttpRoute) -> Option<String> {
    let filters = route.spec.rules.iter().flat_map(|rule| &rule.filters);
    let bad = filters.into_iter().find(|filter| !is_supported(filter))?;
    Some(format!(
        "filter {} is not served or lacks its settings; served are RequestHeaderModifier, ResponseHeaderModifier, \
         URLRewrite and RequestRedirect",
        bad.type_
    ))
}

fn resolved(world: &World, key: &ObjectKey, route: &HttpRoute) -> (&'static str, &'static str, String) {
    for reference in route.spec.rules.iter().flat_map(|rule| &rule.backend_refs) {
        let name = &reference.name;
        let Some((found, port)) = service(key, reference) else {
            return (FALSE, "InvalidKind", format!("backend {name} is not a Service with a port"));
        };
        if found.namespace != key.namespace {
            let message = format!("backend {found} is in another namespace");
            return (FALSE, "RefNotPermitted", message);
        }
        let Some(service) = world.core_services.get(&found) else {
            return (FALSE, "BackendNotFound", format!("Service {name} is not there"));
        };
        let mut ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        if !ports.any(|found| found.port == port) {
            return (FALSE, "BackendNotFound", format!("Service {name} has no port {port}"));
        }
    }
    (TRUE, "ResolvedRefs", "all backends are there".to_owned())
}

fn set(
    conditions: &mut Vec<Condition>,
    generation: Option<i64>,
    type_: &str,
    state: &str,
    reason: &str,
    message: &str,
) {
    let mut wanted = Condition::new(type_, state, reason, message);
    if let Some(generation) = generation {
        wanted.other.insert("observedGeneration".to_owned(), json!(generation));
    }
    condition::set(conditions, wanted);
}

/// The write of a status, with new transition times where states have changed.
fn written<K: Kept, S: Serialize>(
    key: &ObjectKey,
    before: Option<&S>,
    mut status: S,
    now_ns: u64,
    conditions: impl FnOnce(&mut S) -> Vec<&mut Vec<Condition>>,
) -> Effects {
    for conditions in conditions(&mut status) {
        condition::stamp(conditions, &time(now_ns));
    }
    Effect::status::<K, _>(key, before, &status).into_iter().collect()
}
