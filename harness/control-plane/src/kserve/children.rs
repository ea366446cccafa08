//! The children of a plan: writing those that are wanted, deleting those that are not.

use std::collections::BTreeSet;

use windtunnel_api::condition::{self, Condition, FALSE};
use windtunnel_api::kserve::names;
use windtunnel_api::kserve::plan::Children;

use crate::effect::{Effect, Effects};
use crate::world::{Kept, Key, Kind, Object, ObjectKey, World};

/// The condition that sums up all others.
const READY: &str = "Ready";

/// Kinds that services and graphs are made of; an object of these that they control and do not want is deleted.
const CHILDREN: [Kind; 10] = [
    Kind::Deployment,
    Kind::CoreService,
    Kind::HorizontalPodAutoscaler,
    Kind::ScaledObject,
    Kind::OpenTelemetryCollector,
    Kind::HttpRoute,
    Kind::Ingress,
    Kind::Service,
    Kind::VirtualService,
    Kind::ConfigMap,
];

pub(super) fn objects(children: Children) -> Vec<Object> {
    fn of<K: Kept>(objects: Vec<K>) -> impl Iterator<Item = Object> {
        objects.into_iter().map(Kept::wrap)
    }
    // Services first, so that pods find their names; routes last, when there is something behind them.
    of(children.config_maps)
        .chain(of(children.services))
        .chain(of(children.collectors))
        .chain(of(children.deployments))
        .chain(of(children.autoscalers))
        .chain(of(children.scaled_objects))
        .chain(of(children.knative_services))
        .chain(of(children.virtual_services))
        .chain(of(children.ingresses))
        .chain(of(children.http_routes))
        .collect()
}

/// The writes that make the children of the object with this UID what is wanted.
pub(super) fn write(world: &World, uid: &str, wanted: Vec<Object>, prune: bool) -> Effects {
    let mut effects = Effects::new();
    if prune {
        let names: BTreeSet<_> = wanted.iter().map(|object| (object.kind(), object.key())).collect();
        let orphans = world.all_controlled_by(uid).filter(|(kind, _)| CHILDREN.contains(kind));
        effects.extend(
            orphans
                .filter(|(kind, child)| !names.contains(&(*kind, (*child).clone())))
                .filter(|(kind, child)| !is_going(world, *kind, child))
                .map(|(kind, child)| Effect::Delete { kind, key: child.clone() }),
        );
    }
    effects.extend(wanted.into_iter().map(Effect::Apply));
    effects
}

/// Says in the conditions of a service or a graph which children the API server has refused: that of the component that
/// they are for, or that of the ingress for routes.
pub(super) fn tell_refusals(world: &World, work: &Key, wanted: &[Object], conditions: &mut Vec<Condition>) {
    let refused: Vec<_> =
        wanted.iter().filter_map(|object| Some((object, world.refusal(work, object)?))).collect();
    if refused.is_empty() {
        return;
    }
    for (object, refusal) in refused {
        let message = format!("{:?} {} is refused: {}", object.kind(), object.key(), refusal.message);
        let type_ = condition_about(work, object);
        condition::set(conditions, Condition::new(type_, FALSE, &refusal.reason, &message));
    }
    if matches!(work, Key::InferenceService(_)) {
        let parts = ["PredictorReady", "TransformerReady", "ExplainerReady", "IngressReady"];
        let told: Vec<_> =
            parts.into_iter().filter(|part| condition::find(conditions, part).is_some()).collect();
        condition::summarise(conditions, READY, &told);
    }
}

/// The condition that a child decides about.
fn condition_about(work: &Key, child: &Object) -> &'static str {
    if matches!(work, Key::InferenceGraph(_)) {
        return READY;
    }
    if matches!(child.kind(), Kind::HttpRoute | Kind::Ingress | Kind::VirtualService) {
        return "IngressReady";
    }
    let component = child.metadata().labels.as_ref().and_then(|labels| labels.get(names::COMPONENT_LABEL));
    match component.map(String::as_str) {
        Some("transformer") => "TransformerReady",
        Some("explainer") => "ExplainerReady",
        _ => "PredictorReady",
    }
}

/// Whether the object is there and is somebody else's.
pub(super) fn is_foreign(world: &World, object: &Object, uid: &str) -> bool {
    let Some(found) = world.object(object.kind(), &object.key()) else { return false };
    let owners = found.metadata().owner_references.iter().flatten();
    !owners.into_iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

fn is_going(world: &World, kind: Kind, key: &ObjectKey) -> bool {
    world.object(kind, key).is_none_or(|object| object.metadata().deletion_timestamp.is_some())
}
