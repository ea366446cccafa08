//! What every namespace gets: the service account `default`.

use k8s_openapi::{
    api::core::v1::ServiceAccount, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp,
};

use crate::{
    effect::{Effect, Outcome},
    world::{Key, World},
};

/// Decides for one namespace; `key` is cluster-scoped.
#[must_use]
pub fn reconcile(world: &World, key: &Key, _now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let active =
        world.namespaces.get(key).is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none());
    if active && world.service_accounts.get(&Key::new(key.name.as_str(), "default")).is_none() {
        outcome.push(Effect::CreateServiceAccount(Box::new(ServiceAccount {
            metadata: ObjectMeta {
                name: Some("default".into()),
                namespace: Some(key.name.clone()),
                ..ObjectMeta::default()
            },
            ..ServiceAccount::default()
        })));
    }
    outcome
}
