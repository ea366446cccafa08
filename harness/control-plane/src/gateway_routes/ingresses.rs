//! Ingresses of our class to rules of the gateway, and what is said about them.
//!
//! Paths are matched as Kubernetes says: `Exact` by the whole path, `Prefix` by whole segments; `ImplementationSpecific`
//! is a `Prefix` here. The longest match wins, and of two equally long ones the exact one. A host `*.example.com`
//! stands for the names one label below it. The gateway speaks no TLS: `spec.tls` is for whoever stands before it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressClass, IngressLoadBalancerIngress,
    IngressLoadBalancerStatus, IngressPortStatus, IngressStatus,
};
use windtunnel_gateway::{Backend, PathMatch, RequestMatch, RevisionKey, Route, RouteTable, Rule};

use super::http_routes::{ANY_HOST, NO_TIMEOUT_MS, backend, revision_key};
use crate::effect::{Effect, Effects};
use crate::world::{ObjectKey, World};

/// The controller that an IngressClass must name for its Ingresses to be served here.
pub const INGRESS_CONTROLLER: &str = "windtunnel.dev/ingress-controller";

/// How Ingresses named their class before there were IngressClasses.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// Marks the class of Ingresses that name none.
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// Whether an Ingress is served here: its class is ours, or it names none and ours is the default.
fn is_ours(world: &World, ingress: &Ingress) -> bool {
    let ours = |class: &IngressClass| {
        class.spec.as_ref().and_then(|spec| spec.controller.as_deref()) == Some(INGRESS_CONTROLLER)
    };
    let annotations = ingress.metadata.annotations.as_ref();
    let legacy = annotations.and_then(|annotations| annotations.get(CLASS_ANNOTATION));
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
    match legacy.or(named) {
        Some(name) => {
            world.ingress_classes.get(&ObjectKey::new("", name.clone())).is_some_and(|class| ours(class))
        }
        None => world.ingress_classes.values().any(|class| {
            let annotations = class.metadata.annotations.as_ref();
            let mark = annotations.and_then(|annotations| annotations.get(DEFAULT_ANNOTATION));
            ours(class) && mark.is_some_and(|mark| mark == "true")
        }),
    }
}

/// Adds the Ingresses that are ours, oldest first, and the Services behind them.
pub(super) fn add(world: &World, table: &mut RouteTable) {
    let mut ingresses: Vec<_> = world.ingresses.iter().filter(|(_, found)| is_ours(world, found)).collect();
    // Where two rules are equally specific the older Ingress wins, then the first by name.
    ingresses.sort_by_key(|(_, found)| found.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let mut backends = BTreeMap::new();
    let mut fallbacks = Vec::new();
    for (key, ingress) in ingresses {
        let Some(spec) = &ingress.spec else { continue };
        let mut hosts = BTreeSet::new();
        for rule in spec.rules.iter().flatten() {
            let host = self::host(rule.host.as_deref());
            // A rule without paths sends everything to the default backend.
            let paths = rule.http.iter().flat_map(|http| &http.paths);
            let rules: Vec<_> =
                paths.filter_map(|path| self::rule(world, key, path, &mut backends)).collect();
            hosts.insert(host.clone());
            if !rules.is_empty() {
                table.routes.push(Route { hosts: vec![host], rules });
            }
        }
        if let Some(fallback) = &spec.default_backend {
            // Also what has a host of no rule.
            hosts.insert(ANY_HOST.to_owned());
            if let Some(backend) = target(world, key, fallback, &mut backends) {
                let rule = Rule { backends: vec![backend], timeout_ms: NO_TIMEOUT_MS, ..Rule::default() };
                fallbacks.push(Route { hosts: hosts.into_iter().collect(), rules: vec![rule] });
            }
        }
    }
    // A default backend has what no path of any Ingress has.
    table.routes.extend(fallbacks);
    for (revision, (service, port)) in backends {
        // A Service may be behind an HTTPRoute as well.
        if !table.revisions.iter().any(|known| known.key == revision) {
            table.revisions.push(backend(world, &service, port));
        }
    }
}

/// A host as the gateway has it: a wildcard of an Ingress stands for one label only.
fn host(host: Option<&str>) -> String {
    match host.unwrap_or_default() {
        "" => ANY_HOST.to_owned(),
        name => name.strip_prefix("*.").map_or_else(|| name.to_owned(), |rest| format!("?.{rest}")),
    }
}

type Backends = BTreeMap<RevisionKey, (ObjectKey, i32)>;

fn rule(world: &World, ingress: &ObjectKey, path: &HTTPIngressPath, backends: &mut Backends) -> Option<Rule> {
    let text = path.path.clone().unwrap_or_default();
    let wanted = match path.path_type.as_str() {
        "Exact" => PathMatch::Exact(text),
        _ => PathMatch::Prefix(text),
    };
    Some(Rule {
        matches: vec![RequestMatch { path: Some(wanted), ..RequestMatch::default() }],
        backends: vec![target(world, ingress, &path.backend, backends)?],
        timeout_ms: NO_TIMEOUT_MS,
        ..Rule::default()
    })
}

/// The Service that a backend names. One whose port has no number, because the Service or its port of that name is not
/// there, has nobody behind it; backends that are no Services are not served.
fn target(
    world: &World,
    ingress: &ObjectKey,
    wanted: &IngressBackend,
    backends: &mut Backends,
) -> Option<Backend> {
    let named = wanted.service.as_ref()?;
    let service = ingress.sibling(named.name.clone());
    let port = named.port.as_ref();
    let number = port.and_then(|port| port.number).or_else(|| {
        let name = port?.name.as_deref()?;
        let spec = world.core_services.get(&service)?.spec.as_ref()?;
        let mut ports = spec.ports.iter().flatten();
        ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.port)
    });
    let number = number.unwrap_or_default();
    let revision = revision_key(&service, number);
    backends.insert(revision.clone(), (service, number));
    Some(Backend { revision, percent: 1 })
}

/// Says of an Ingress of ours where the gateway listens.
#[must_use]
pub fn reconcile_ingress(world: &World, key: &ObjectKey) -> Effects {
    let Some(ingress) = world.ingresses.get(key).filter(|found| is_ours(world, found)) else {
        return Effects::new();
    };
    // An address that stands for all of a machine's is nobody's to call.
    let Some(address) = world.gateway_address.filter(|address| !address.ip().is_unspecified()) else {
        return Effects::new();
    };
    let port = IngressPortStatus {
        port: i32::from(address.port()),
        protocol: "TCP".to_owned(),
        ..IngressPortStatus::default()
    };
    let point = IngressLoadBalancerIngress {
        ip: Some(address.ip().to_string()),
        ports: Some(vec![port]),
        ..IngressLoadBalancerIngress::default()
    };
    let status =
        IngressStatus { load_balancer: Some(IngressLoadBalancerStatus { ingress: Some(vec![point]) }) };
    Effect::status::<Ingress, _>(key, ingress.status.as_ref(), &status).into_iter().collect()
}
