//! The children of a plan: writing those that are wanted, deleting those that are not.

use std::collections::BTreeSet;

use windtunnel_api::kserve::plan::Children;

use crate::effect::{Effect, Effects};
use crate::world::{Kept, Kind, Object, ObjectKey, World};

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

/// Whether the object is there and is somebody else's.
pub(super) fn is_foreign(world: &World, object: &Object, uid: &str) -> bool {
    let Some(found) = world.object(object.kind(), &object.key()) else { return false };
    let owners = found.metadata().owner_references.iter().flatten();
    !owners.into_iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

fn is_going(world: &World, kind: Kind, key: &ObjectKey) -> bool {
    world.object(kind, key).is_none_or(|object| object.metadata().deletion_timestamp.is_some())
}
