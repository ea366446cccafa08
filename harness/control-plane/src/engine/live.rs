//! What the webhooks are told of the world's changes.

use std::sync::Arc;

use crate::admission::{LiveConfig, LiveKind, LiveObject};
use crate::world::{Kind, ObjectKey, Store, World};

/// Tells the webhooks of an object of the world that they look at; it is the same one, not a copy.
pub(super) fn applied(live: &LiveConfig, world: &World, kind: Kind, key: &ObjectKey) {
    fn of<K>(store: &Store<K>, key: &ObjectKey) -> Option<LiveObject>
    where
        LiveObject: From<Arc<K>>,
    {
        store.get(key).map(|found| Arc::clone(found).into())
    }
    let found = match kind {
        Kind::Secret => of(&world.secrets, key),
        Kind::ServiceAccount => of(&world.service_accounts, key),
        Kind::ClusterStorageContainer => of(&world.storage_containers, key),
        Kind::InferenceService => of(&world.inference_services, key),
        Kind::ServingRuntime => of(&world.serving_runtimes, key),
        Kind::ClusterServingRuntime => of(&world.cluster_serving_runtimes, key),
        Kind::LocalModelCache => of(&world.local_models, key),
        Kind::LocalModelNamespaceCache => of(&world.namespace_models, key),
        Kind::LocalModelNodeGroup => of(&world.node_groups, key),
        _ => None,
    };
    if let Some(found) = found {
        live.apply(found);
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
