//! Configuration to Revision.

use windtunnel_api::condition;
use windtunnel_api::knative::{Configuration, configuration_status, revision_name, revision_of};

use super::{gc, is_controlled_by, refused};
use crate::clock::time;
use crate::effect::{Effect, Effects};
use crate::world::{Key, ObjectKey, World};

/// What to do for one Configuration: make the revision of its present generation, follow that one's
/// readiness, delete old ones.
#[must_use]
pub fn reconcile(world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
    let found = world.configurations.get(key);
    let Some(configuration) = found.filter(|found| found.metadata.deletion_timestamp.is_none()) else {
        return Effects::new();
    };
    let mut effects = Effects::new();
    let revision = world.revisions.get(&key.sibling(revision_name(configuration)));
    match revision {
        None => effects.push(Effect::create(revision_of(configuration))),
        Some(old) if is_controlled_by(&old.metadata, configuration.metadata.uid.as_ref()) => {}
        // A revision of a Configuration that was deleted; its removal comes back here.
        Some(_) => return effects,
    }
    let mut status = configuration_status(configuration, revision.map(|revision| &**revision));
    let work = Key::Configuration(key.clone());
    if let Some(refused) = effects.first().and_then(|effect| refused(world, &work, effect, "Ready")) {
        condition::set(&mut status.conditions, refused);
        status.observed_generation = configuration.metadata.generation;
    }
    condition::stamp(&mut status.conditions, &time(now_ns));
    effects.extend(Effect::status::<Configuration, _>(key, configuration.status.as_ref(), &status));
    effects.extend(gc::collect(world, key, configuration, now_ns));
    effects
}
