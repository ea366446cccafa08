//! The Knative Serving controllers: Service to Configuration and Route, Configuration to Revision, Revision
//! to Deployment and Service, Route to its traffic; and which old revisions are deleted.

pub mod configuration;
pub mod gc;
pub mod revision;
pub mod route;
pub mod service;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Whether the child's controller is the object with the given UID.
fn is_controlled_by(child: &ObjectMeta, uid: Option<&String>) -> bool {
    let owners = child.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.controller == Some(true) && Some(&owner.uid) == uid)
}
