//! Knative Service to Configuration and Route.

use windtunnel_api::condition;
use windtunnel_api::knative::{Service, configuration_of, route_of, service_status};

use super::{is_controlled_by, refused};
use crate::clock::time;
use crate::effect::{Effect, Effects};
use crate::world::{Key, Kind, ObjectKey, World};

/// What to do for one Service.
#[must_use]
pub fn reconcile(world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
    let Some(service) =
        world.services.get(key).filter(|service| service.metadata.deletion_timestamp.is_none())
    else {
        return Effects::new();
    };
    let mut effects = Effects::new();
    let uid = service.metadata.uid.as_ref();
    // A child of a Service that was deleted and made again is on its way out: its removal comes back here.
    let configuration = world.configurations.get(key);
    match configuration {
        None => effects.push(Effect::create(configuration_of(service))),
        Some(old) if is_controlled_by(&old.metadata, uid) => {
            effects.extend(Effect::specification(key, &**old, &configuration_of(service)));
        }
        Some(_) => return effects,
    }
    let route = world.routes.get(key);
    match route {
        None => effects.push(Effect::create(route_of(service))),
        Some(old) if is_controlled_by(&old.metadata, uid) => {
            effects.extend(Effect::specification(key, &**old, &route_of(service)));
        }
        Some(_) => return effects,
    }
    // Children that are about to change say nothing about the present specification.
    let unchanged = effects.is_empty();
    let configuration = configuration.filter(|_| unchanged).map(|configuration| &**configuration);
    let route = route.filter(|_| unchanged).map(|route| &**route);
    let mut status = service_status(service, configuration, route);
    let work = Key::Service(key.clone());
    for effect in &effects {
        let about_route = matches!(effect, Effect::Create(child) if child.kind() == Kind::Route);
        let type_ = if about_route { "RoutesReady" } else { "ConfigurationsReady" };
        if let Some(refused) = refused(world, &work, effect, type_) {
            condition::set(&mut status.conditions, refused);
            condition::summarise(&mut status.conditions, "Ready", &["ConfigurationsReady", "RoutesReady"]);
            status.observed_generation = service.metadata.generation;
        }
    }
    condition::stamp(&mut status.conditions, &time(now_ns));
    effects.extend(Effect::status::<Service, _>(key, service.status.as_ref(), &status));
    effects
}
