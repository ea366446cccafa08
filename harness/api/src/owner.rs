//! Controller references, as upstream's controllers write them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

/// The controller reference to an object, once it has a name and a UID. Its deletion in the foreground waits for what
/// refers to it.
pub(crate) fn reference<K: Resource<DynamicType = ()>>(object: &K) -> Option<OwnerReference> {
    let reference = object.controller_owner_ref(&())?;
    Some(OwnerReference { block_owner_deletion: Some(true), ..reference })
}

/// The same as a list, for `metadata.ownerReferences`.
pub(crate) fn references<K: Resource<DynamicType = ()>>(object: &K) -> Option<Vec<OwnerReference>> {
    reference(object).map(|reference| vec![reference])
}
