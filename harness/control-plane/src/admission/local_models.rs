//! `localmodelcache.kserve-webhook-server.validator` and `localmodelnamespacecache.kserve-webhook-server.validator`.

use serde_json::Value;
use windtunnel_api::kserve::validate;
use windtunnel_api::kserve::{InferenceService, LocalModelCache, LocalModelNamespaceCache, NamespacedName};
use windtunnel_apiserver::{Attributes, Denial, Operation};

use super::{Cluster, read, refused};
use crate::world::ObjectKey;

fn service<'a>(cluster: &'a Cluster) -> impl Fn(&NamespacedName) -> Option<&'a InferenceService> {
    |user| cluster.services.get(&ObjectKey::new(&user.namespace, &user.name)).map(|service| &**service)
}

/// A deletion shows the object as the old one; the embedded API server shows it as both.
fn deleted<'a>(object: &'a Value, old: Option<&'a Value>) -> &'a Value {
    old.filter(|_| object.is_null()).unwrap_or(object)
}

pub(super) fn cache(
    cluster: &Cluster,
    attributes: &Attributes,
    object: &mut Value,
    old: Option<&Value>,
    _: &mut Vec<String>,
) -> Result<(), Denial> {
    if attributes.operation == Operation::Delete {
        let cache: LocalModelCache = read(deleted(object, old))?;
        return validate::local_model_cache_deletion(&cache, service(cluster)).map_err(refused);
    }
    let cache: LocalModelCache = read(object)?;
    validate::local_model_cache(&cache, cluster.local_models.values().map(|other| &**other)).map_err(refused)
}

pub(super) fn namespace_cache(
    cluster: &Cluster,
    attributes: &Attributes,
    object: &mut Value,
    old: Option<&Value>,
    _: &mut Vec<String>,
) -> Result<(), Denial> {
    if attributes.operation == Operation::Delete {
        let cache: LocalModelNamespaceCache = read(deleted(object, old))?;
        return validate::local_model_namespace_cache_deletion(&cache, service(cluster)).map_err(refused);
    }
    let cache: LocalModelNamespaceCache = read(object)?;
    let exists = |group: &str| cluster.node_groups.contains_key(&ObjectKey::new("", group));
    validate::local_model_namespace_cache(&cache, exists).map_err(refused)
}
