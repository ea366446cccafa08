//! What the webhooks are told of the world's changes.

use crate::admission::{LiveConfig, LiveKind};
use crate::world::{Kind, Object, ObjectKey};

/// Tells the webhooks of an object that they look at.
pub(super) fn applied(live: &LiveConfig, object: &Object) {
    match object.clone() {
        Object::Secret(object) => live.apply(*object),
        Object::ServiceAccount(object) => live.apply(*object),
        Object::ClusterStorageContainer(object) => live.apply(*object),
        Object::InferenceService(object) => live.apply(*object),
        Object::ServingRuntime(object) => live.apply(*object),
        Object::ClusterServingRuntime(object) => live.apply(*object),
        Object::LocalModelCache(object) => live.apply(*object),
        Object::LocalModelNamespaceCache(object) => live.apply(*object),
        Object::LocalModelNodeGroup(object) => live.apply(*object),
        _ => {}
    }
}

/// Tells the webhooks that an object is gone.
pub(super) fn deleted(live: &LiveConfig, kind: Kind, key: &ObjectKey) {
    let kind = match kind {
        Kind::Secret => LiveKind::Secret,
        Kind::ServiceAccount => LiveKind::ServiceAccount,
        Kind::ClusterStorageContainer => LiveKind::ClusterStorageContainer,
        Kind::InferenceService => LiveKind::InferenceService,
        Kind::ServingRuntime => LiveKind::ServingRuntime,
        Kind::ClusterServingRuntime => LiveKind::ClusterServingRuntime,
        Kind::LocalModelCache => LiveKind::LocalModelCache,
        Kind::LocalModelNamespaceCache => LiveKind::LocalModelNamespaceCache,
        Kind::LocalModelNodeGroup => LiveKind::LocalModelNodeGroup,
        _ => return,
    };
    live.remove(kind, &key.namespace, &key.name);
}
