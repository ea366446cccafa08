//! Route to its traffic, and the routing state of revisions.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;
use serde_json::json;
use windtunnel_api::condition;
use windtunnel_api::knative::{
    Route, RouteStatus, names, placeholder_service_of, roll_out, rollout_duration_s, route_status,
};
use windtunnel_api::kserve::config::LOCAL_GATEWAY_HOST;

use super::is_controlled_by;
use crate::clock::time;
use crate::effect::{Effect, Effects};
use crate::world::{Kept, Kind, ObjectKey, World};

/// Domain of routes when no ConfigMap names one.
const DEFAULT_DOMAIN: &str = "example.com";

/// What to do for one Route: resolve its targets, move traffic to new revisions step by step where that is asked for, and
/// tell the revisions whether a Route points at them.
#[must_use]
pub fn reconcile(world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
    let Some(route) = world.routes.get(key).filter(|route| route.metadata.deletion_timestamp.is_none())
    else {
        return Effects::new();
    };
    let latest_ready = |configuration: &str| {
        let configuration = world.configurations.get(&key.sibling(configuration))?;
        configuration.status.as_ref()?.latest_ready_revision_name.clone()
    };
    let revision_ready =
        |revision: &str| world.revisions.get(&key.sibling(revision)).map(|found| found.is_ready());
    let domain = world.knative_domain().unwrap_or_else(|| DEFAULT_DOMAIN.to_owned());
    let mut status = route_status(route, latest_ready, revision_ready, &domain);
    let duration_s = rollout_duration_s(route.metadata.annotations.as_ref(), &world.network_config());
    let exists = |revision: &str| world.revisions.contains_key(&key.sibling(revision));
    let rolled_out = roll_out(route, &mut status, exists, duration_s, now_ns);
    condition::stamp(&mut status.conditions, &time(now_ns));
    let mut effects = routing_states(world, key, route, &status, now_ns);
    effects.extend(placeholders(world, key, route, &status));
    let stored = route.metadata.annotations.as_ref().and_then(|found| found.get(names::ROLLOUT_STATE));
    if stored != rolled_out.annotation.as_ref() {
        let patch = json!({"metadata": {"annotations": {names::ROLLOUT_STATE: rolled_out.annotation}}});
        effects.push(Effect::Patch { kind: Kind::Route, key: key.clone(), patch, status: false });
    }
    let wait_ns = rolled_out.next_ns.map(|at_ns| at_ns.saturating_sub(now_ns));
    effects.extend(wait_ns.map(|wait_ns| Effect::Requeue { after_ms: wait_ns.div_ceil(1_000_000) }));
    effects.extend(Effect::status::<Route, _>(key, route.status.as_ref(), &status));
    effects
}

/// The Services by which the Route and its tags have names inside the cluster. A Service of somebody else's stays as it is.
fn placeholders(world: &World, key: &ObjectKey, route: &Route, status: &RouteStatus) -> Effects {
    let tags = status.traffic.iter().filter_map(|target| target.tag.as_deref());
    let wanted: Vec<_> = std::iter::once(None)
        .chain(tags.map(Some))
        .map(|tag| placeholder_service_of(route, tag, LOCAL_GATEWAY_HOST))
        .collect();
    let uid = route.metadata.uid.as_ref();
    let owned = uid.into_iter().flat_map(|uid| world.controlled_by::<Service>(uid));
    let gone = owned
        .filter(|found| found.metadata.deletion_timestamp.is_none())
        .filter(|found| wanted.iter().all(|wanted| wanted.metadata.name != found.metadata.name))
        .map(|found| Effect::Delete { kind: Kind::CoreService, key: ObjectKey::of(&**found) })
        .collect::<Effects>();
    let free = |name: &str| {
        let found = world.core_services.get(&key.sibling(name));
        found.is_none_or(|found| is_controlled_by(&found.metadata, uid))
    };
    let wanted =
        wanted.into_iter().filter(|wanted| free(wanted.metadata.name.as_deref().unwrap_or_default()));
    gone.into_iter().chain(wanted.map(|wanted| Effect::Apply(wanted.wrap()))).collect()
}

/// Revisions that the Route points at become `active` before it does; those of its Configurations that it
/// does not point at any more become `reserve`. Revisions that wait for their first traffic stay `pending`.
fn routing_states(
    world: &World,
    key: &ObjectKey,
    route: &Route,
    status: &RouteStatus,
    now_ns: u64,
) -> Effects {
    let targets: BTreeSet<&str> = status
        .traffic
        .iter()
        .chain(&route.spec.traffic)
        .filter_map(|target| target.revision_name.as_deref())
        .collect();
    let mut effects = Effects::new();
    let siblings = world
        .revisions
        .range(ObjectKey::new(key.namespace.clone(), "")..)
        .take_while(|(found, _)| found.namespace == key.namespace);
    for (revision_key, revision) in siblings {
        let label = |name: &str| revision.metadata.labels.as_ref().and_then(|labels| labels.get(name));
        let state = label(names::ROUTING_STATE).map_or(names::PENDING, String::as_str);
        let ours = label(names::SERVICE) == Some(&key.name) || label(names::CONFIGURATION) == Some(&key.name);
        let wanted = if targets.contains(revision_key.name.as_str()) {
            names::ACTIVE
        } else if ours && state == names::ACTIVE {
            names::RESERVE
        } else {
            continue;
        };
        if state != wanted {
            let routes = (wanted == names::ACTIVE).then_some(&key.name);
            let patch = json!({"metadata": {
                "labels": {names::ROUTING_STATE: wanted},
                "annotations": {names::ROUTES: routes, names::ROUTING_STATE_MODIFIED: time(now_ns)},
            }});
            effects.push(Effect::Patch {
                kind: Kind::Revision,
                key: revision_key.clone(),
                patch,
                status: false,
            });
        }
    }
    effects
}
