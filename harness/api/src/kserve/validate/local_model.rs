//! Rules of local model caches.

use super::super::inference_service::InferenceService;
use super::super::local_model::{
    LOCAL_MODEL_LABEL, LOCAL_MODEL_NAMESPACE_LABEL, LocalModelCache, LocalModelNamespaceCache, NamespacedName,
};

/// Checks a cache that is created or updated against the others: two caches of one URI would be two owners of
/// one folder.
///
/// # Errors
/// Upstream's message.
pub fn local_model_cache<'a, I>(cache: &LocalModelCache, existing: I) -> Result<(), String>
where
    I: IntoIterator<Item = &'a LocalModelCache>,
{
    if cache.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let uri = &cache.spec.source_model_uri;
    let other = existing
        .into_iter()
        .find(|other| other.metadata.name != cache.metadata.name && other.spec.source_model_uri == *uri);
    match other {
        None => Ok(()),
        Some(other) => Err(format!(
            "LocalModelCache {} has the same StorageURI {uri}",
            other.metadata.name.as_deref().unwrap_or_default()
        )),
    }
}

/// Checks whether a cache may be deleted: not while a service that its status lists still uses it. Services that are
/// gone don't count; upstream refuses the deletion then.
///
/// # Errors
/// Upstream's message for the first service.
pub fn local_model_cache_deletion<'a, F>(cache: &LocalModelCache, service: F) -> Result<(), String>
where
    F: Fn(&NamespacedName) -> Option<&'a InferenceService>,
{
    let name = cache.metadata.name.as_deref().unwrap_or_default();
    let users = cache.status.as_ref().map(|status| status.inference_services.as_slice()).unwrap_or_default();
    let uses = |user: &&NamespacedName| {
        service(user).and_then(|service| label(service, LOCAL_MODEL_LABEL)) == Some(name)
    };
    match users.iter().find(uses) {
        None => Ok(()),
        Some(user) => Err(format!("LocalModelCache {name} is being used by InferenceService {}", user.name)),
    }
}

/// Checks a namespace's cache that is created or updated: its node groups must be there.
///
/// # Errors
/// Upstream's message for the first group.
pub fn local_model_namespace_cache<F>(cache: &LocalModelNamespaceCache, group_exists: F) -> Result<(), String>
where
    F: Fn(&str) -> bool,
{
    if cache.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    match cache.spec.node_groups.iter().find(|group| !group_exists(group)) {
        None => Ok(()),
        Some(group) => Err(format!(
            "NodeGroup {group} not found: localmodelnodegroups.serving.kserve.io \"{group}\" not found"
        )),
    }
}

/// Checks whether a namespace's cache may be deleted.
///
/// # Errors
/// Upstream's message for the first service that uses it.
pub fn local_model_namespace_cache_deletion<'a, F>(
    cache: &LocalModelNamespaceCache,
    service: F,
) -> Result<(), String>
where
    F: Fn(&NamespacedName) -> Option<&'a InferenceService>,
{
    let name = cache.metadata.name.as_deref().unwrap_or_default();
    let namespace = cache.metadata.namespace.as_deref().unwrap_or("default");
    let users = cache.status.as_ref().map(|status| status.inference_services.as_slice()).unwrap_or_default();
    let uses = |user: &&NamespacedName| {
        service(user).is_some_and(|service| {
            label(service, LOCAL_MODEL_LABEL) == Some(name)
                && label(service, LOCAL_MODEL_NAMESPACE_LABEL) == Some(namespace)
        })
    };
    match users.iter().find(uses) {
        None => Ok(()),
        Some(user) => Err(format!(
            "LocalModelNamespaceCache {namespace}/{name} is being used by InferenceService {}/{}",
            user.namespace, user.name
        )),
    }
}

fn label<'a>(service: &'a InferenceService, key: &str) -> Option<&'a str> {
    service.metadata.labels.as_ref()?.get(key).map(String::as_str)
}
