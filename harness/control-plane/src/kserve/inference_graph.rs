//! InferenceGraphs: the router of a graph, with the addresses of the services that its steps name.

use windtunnel_api::condition;
use windtunnel_api::kserve::plan::graph::{self, Inputs};
use windtunnel_api::kserve::{InferenceGraph, InferenceService};

use super::{children, runtimes};
use crate::clock::time;
use crate::effect::{Effect, Effects};
use crate::world::{Key, ObjectKey, World};

/// What to do for one InferenceGraph.
#[must_use]
pub fn reconcile(world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
    let found = world.inference_graphs.get(key);
    let Some(graph) = found.filter(|found| found.metadata.deletion_timestamp.is_none()) else {
        return Effects::new();
    };
    let Ok(config) = world.kserve_config() else {
        // The controller tells of a broken configuration; what runs goes on running.
        return Effects::new();
    };
    let runtimes = runtimes(world, &key.namespace);
    let plan = graph::plan(&Inputs {
        graph,
        config: &config,
        services: services(world, key).collect(),
        runtimes: &runtimes,
        cluster: world.capabilities(),
        profile: world.profile,
        deployment: world.deployments.get(key).map(|found| &**found),
        knative_service: world.services.get(key).map(|found| &**found),
        allow_zero_initial_scale: world.allows_zero_initial_scale(),
    });
    let uid = graph.metadata.uid.as_deref().unwrap_or_default();
    let wanted = children::objects(plan.children);
    let mut status = plan.status;
    children::tell_refusals(world, &Key::InferenceGraph(key.clone()), &wanted, &mut status.conditions);
    let mut effects = Effects::new();
    if !wanted.iter().any(|object| children::is_foreign(world, object, uid)) {
        effects.extend(children::write(world, uid, wanted, plan.prune));
    }
    effects.extend(plan.events.into_iter().map(|event| Effect::Event {
        api_version: "serving.kserve.io/v1alpha1",
        kind: "InferenceGraph",
        key: key.clone(),
        uid: uid.to_owned(),
        severity: event.type_,
        reason: event.reason,
        message: event.message,
    }));
    condition::stamp(&mut status.conditions, &time(now_ns));
    effects.extend(Effect::status::<InferenceGraph, _>(key, graph.status.as_ref(), &status));
    effects
}

fn services<'a>(world: &'a World, key: &ObjectKey) -> impl Iterator<Item = &'a InferenceService> {
    let namespace = key.namespace.clone();
    world
        .inference_services
        .range(ObjectKey::new(namespace.clone(), "")..)
        .take_while(move |(found, _)| found.namespace == namespace)
        .map(|(_, service)| &**service)
}
