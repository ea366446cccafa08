//! The Knative Serving controllers: Service to Configuration and Route, Configuration to Revision, Revision
//! to Deployment and Service, Route to its traffic; and which old revisions are deleted.

pub mod configuration;
pub mod gc;
pub mod revision;
pub mod route;
pub mod service;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use windtunnel_api::condition::{Condition, FALSE};

use crate::effect::Effect;
use crate::world::{Key, World};

/// The condition that says why the API server has refused a child that is to be created; `None` if it has not.
fn refused(world: &World, work: &Key, effect: &Effect, type_: &str) -> Option<Condition> {
    let Effect::Create(child) = effect else { return None };
    let refusal = world.refusal(work, child)?;
    let message = format!("{:?} {} is refused: {}", child.kind(), child.key(), refusal.message);
    Some(Condition::new(type_, FALSE, &refusal.reason, &message))
}

/// Whether the child's controller is the object with the given UID.
fn is_controlled_by(child: &ObjectMeta, uid: Option<&String>) -> bool {
    let owners = child.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.controller == Some(true) && Some(&owner.uid) == uid)
}
