//! Which ClusterStorageContainer downloads a URI, and the init container with it merged over.

use k8s_openapi::api::core::v1::Container;
use serde_json::Value;

use super::super::merge;
use super::super::storage_container::{ClusterStorageContainer, StorageContainerSpec, WorkloadType};

/// The container for a URI: the one of that name, else the first that takes the URI; `None` where none does.
///
/// # Errors
/// Upstream's words for a name that is of no use, or a regular expression that is none.
pub(super) fn choose<'a>(
    uri: &str,
    name: Option<&str>,
    all: &'a [ClusterStorageContainer],
) -> Result<Option<&'a StorageContainerSpec>, String> {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        return by_name(uri, name, all).map(Some);
    }
    let usable = all.iter().filter(|container| !container.is_disabled() && is_init(&container.spec));
    for container in usable {
        let takes = container
            .spec
            .supports(uri)
            .map_err(|error| format!("error checking storage container {}: {error}", container.name()))?;
        if takes {
            return Ok(Some(&container.spec));
        }
    }
    Ok(None)
}

fn is_init(spec: &StorageContainerSpec) -> bool {
    spec.workload_type.0 == WorkloadType::INIT_CONTAINER
}

fn by_name<'a>(
    uri: &str,
    name: &str,
    all: &'a [ClusterStorageContainer],
) -> Result<&'a StorageContainerSpec, String> {
    let wrong = |what: String| format!("ClusterStorageContainer {name:?} {what}");
    let found = all.iter().find(|container| container.name() == name);
    let container = found.ok_or_else(|| wrong("not found".to_owned()))?;
    let spec = &container.spec;
    if container.is_disabled() {
        return Err(wrong("is disabled".to_owned()));
    }
    if !is_init(spec) {
        let kind = &spec.workload_type.0;
        let wanted = WorkloadType::INIT_CONTAINER;
        return Err(wrong(format!("has workloadType {kind:?}; explicit selection requires {wanted:?}")));
    }
    match spec.supports(uri) {
        Ok(true) => Ok(spec),
        Ok(false) => Err(wrong(format!("does not support storageUri {uri:?}"))),
        Err(error) => Err(wrong(format!("URI check failed for {uri:?}: {error}"))),
    }
}

/// The init container with the storage container's settings over it, as Kubernetes' strategic merge does it.
/// A variable keeps one of value and source, the storage container's.
///
/// # Errors
/// A field of the wrong type, in words.
pub(super) fn merged(base: &Container, over: &Value) -> Result<Container, String> {
    let wrong = |error: serde_json::Error| format!("could not apply strategic merge patch: {error}");
    let base = serde_json::to_value(base).map_err(wrong)?;
    let (Some(base), Some(over)) = (base.as_object(), over.as_object()) else {
        return Err("could not apply strategic merge patch: the container is no object".to_owned());
    };
    let mut all = merge::container(base, over);
    // Unlike a runtime's, these arguments replace the others, and the name may be another.
    for key in ["args", "name"] {
        if let Some(value) = over.get(key).filter(|value| !value.is_null() && *value != "") {
            all.insert(key.to_owned(), value.clone());
        }
    }
    let fields = all.into_iter().collect();
    let mut container = crate::pod_fields::container(&fields)
        .map_err(|error| format!("could not apply strategic merge patch: {error}"))?;
    let theirs = over.get("env").and_then(Value::as_array);
    for variable in container.env.iter_mut().flatten() {
        if variable.value.as_deref().unwrap_or_default().is_empty() || variable.value_from.is_none() {
            continue;
        }
        let named = |entry: &&Value| entry["name"] == variable.name.as_str();
        match theirs.into_iter().flatten().find(named) {
            Some(entry) if entry["valueFrom"].is_object() => variable.value = None,
            Some(_) => variable.value_from = None,
            None => {}
        }
    }
    Ok(container)
}
