//! Knative's Routes, Revisions and their Endpoints.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use windtunnel_api::knative::{DEFAULT_TIMEOUT_S, RouteStatus, private_service_name};
use windtunnel_gateway::{Backend, RevisionBackend, RevisionKey, Route as GatewayRoute, RouteTable, Rule};

use super::knative_hosts::{self, host};
use crate::world::{ObjectKey, Target, World};

/// Adds all Routes and Revisions. A tagged target of a Route has a host of its own, and a tag's name inside the cluster.
pub(super) fn add(world: &World, table: &mut RouteTable) {
    let routes = &mut table.routes;
    for (key, route) in &world.routes {
        let Some(status) = &route.status else { continue };
        for (host, tagged) in tagged(status) {
            let backends = match tagged.shares.as_slice() {
                // A tag leads to its revision, whatever part of the route's own traffic that has.
                [(revision, _)] => vec![Backend { revision: gateway_key(key, revision), percent: 100 }],
                several => several
                    .iter()
                    .map(|(revision, percent)| Backend {
                        revision: gateway_key(key, revision),
                        percent: *percent,
                    })
                    .collect(),
            };
            let timeout_ms = timeout_ms(world, key, tagged.shares.iter().map(|(revision, _)| *revision));
            let mut hosts = vec![host.to_owned()];
            hosts.extend(tagged.tag.iter().flat_map(|tag| knative_hosts::of_tag(key, tag)));
            routes.push(GatewayRoute::split(hosts, backends, timeout_ms));
        }
        let mut shares = status.shares();
        shares.retain(|(_, percent)| *percent > 0);
        if shares.is_empty() {
            continue;
        }
        let timeout_ms = timeout_ms(world, key, shares.iter().map(|(revision, _)| *revision));
        let backends: Vec<_> = shares
            .into_iter()
            .map(|(revision, percent)| Backend { revision: gateway_key(key, revision), percent })
            .collect();
        if let Some(share) = knative_hosts::share(world, key, route) {
            let rule = Rule {
                matches: share.matches,
                filters: share.filters,
                backends: backends.clone(),
                timeout_ms,
            };
            routes.push(GatewayRoute { hosts: share.hosts, rules: vec![rule] });
        }
        routes.push(GatewayRoute::split(knative_hosts::own(key, route), backends, timeout_ms));
    }
    table.revisions.extend(world.revisions.iter().map(|(key, revision)| RevisionBackend {
        key: gateway_key(key, &key.name),
        container_concurrency: revision.container_concurrency(),
        activated: !is_direct(world, &Target::Revision(key.clone()), &addresses(world, key)),
        endpoints: addresses(world, key),
    }));
}

/// The revisions behind the host of a tag, with their shares in percent: several while a rollout goes on.
#[derive(Default)]
struct Tagged<'a> {
    tag: Option<&'a str>,
    shares: Vec<(&'a str, u32)>,
}

/// The tagged revisions by the hosts of their tags.
fn tagged(status: &RouteStatus) -> BTreeMap<&str, Tagged<'_>> {
    let mut tagged: BTreeMap<&str, Tagged<'_>> = BTreeMap::new();
    for target in &status.traffic {
        let Some(revision) = target.revision_name.as_deref() else { continue };
        let Some(host) = target.url.as_deref().and_then(host) else { continue };
        let found = tagged.entry(host).or_default();
        found.tag = found.tag.or(target.tag.as_deref());
        found
            .shares
            .push((revision, target.percent.and_then(|percent| u32::try_from(percent).ok()).unwrap_or(0)));
    }
    tagged
}

/// Where a revision's ready pods listen, sorted.
#[must_use]
pub fn addresses(world: &World, revision: &ObjectKey) -> Vec<SocketAddr> {
    ready(world, &revision.sibling(private_service_name(&revision.name)), None)
}

/// Whether requests go straight to the pods: burst capacity is to spare, and there are pods. Otherwise they may wait in the
/// activator.
pub(super) fn is_direct(world: &World, target: &Target, pods: &[SocketAddr]) -> bool {
    !pods.is_empty() && world.scales.get(target).is_some_and(|view| view.is_direct)
}

/// Where the ready pods of a Service listen on its first port, sorted.
pub(crate) fn service_addresses(world: &World, service: &ObjectKey) -> Vec<SocketAddr> {
    ready(world, service, None)
}

/// Where the ready pods of a Service listen, sorted; under a port's name where the Service has several.
pub(super) fn ready(world: &World, service: &ObjectKey, port: Option<&str>) -> Vec<SocketAddr> {
    let Some(endpoints) = world.endpoints.get(service) else { return Vec::new() };
    let mut found: Vec<SocketAddr> = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let mut ports = subset.ports.iter().flatten();
        let named = ports.clone().find(|found| port.is_some() && found.name.as_deref() == port);
        let Some(port) = named.or_else(|| ports.next()).and_then(|port| u16::try_from(port.port).ok()) else {
            continue;
        };
        let addresses = subset.addresses.iter().flatten();
        found.extend(
            addresses.filter_map(|address| Some(SocketAddr::new(address.ip.parse::<IpAddr>().ok()?, port))),
        );
    }
    found.sort();
    found.dedup();
    found
}

fn gateway_key(route: &ObjectKey, revision: &str) -> RevisionKey {
    RevisionKey { namespace: route.namespace.clone(), name: revision.to_owned() }
}

/// The longest timeout of the revisions, since a request may meet any of them.
fn timeout_ms<'a>(world: &World, key: &ObjectKey, revisions: impl Iterator<Item = &'a str>) -> u64 {
    let known = revisions.filter_map(|name| world.revisions.get(&key.sibling(name)));
    let seconds = known.map(|revision| revision.timeout_s()).max();
    let default = u64::try_from(DEFAULT_TIMEOUT_S).unwrap_or(0);
    seconds.unwrap_or(default).saturating_mul(1000)
}
