//! The storage initializer's user under Istio's CNI plugin: before the sidecar runs, only traffic of the
//! sidecar's own user leaves the pod.

use k8s_openapi::api::core::v1::{Pod, SecurityContext};
use serde_json::Value;

use super::super::names;
use super::annotation;
use super::storage_initializer::STORAGE_INITIALIZER;

const INIT_CONTAINER: &str = "istio-init";
/// User of Istio's sidecar where it names none.
const SIDECAR_USER: i64 = 1337;

/// Sets the user: the annotated one, else the sidecar's where Istio's CNI plugin redirects traffic.
///
/// # Errors
/// A status annotation of Istio that is no JSON.
pub(super) fn inject(pod: &mut Pod) -> Result<(), String> {
    let user = match annotation(pod, names::STORAGE_INITIALIZER_UID) {
        Some(text) => text.parse().ok(),
        None => sidecar_user(pod)?,
    };
    let Some(user) = user else { return Ok(()) };
    let containers = pod.spec.iter_mut().flat_map(|spec| spec.init_containers.iter_mut().flatten());
    for container in containers.filter(|container| container.name == STORAGE_INITIALIZER) {
        container.security_context.get_or_insert_with(SecurityContext::default).run_as_user = Some(user);
    }
    Ok(())
}

fn sidecar_user(pod: &Pod) -> Result<Option<i64>, String> {
    let Some(spec) = &pod.spec else { return Ok(None) };
    let mut inits = spec.init_containers.iter().flatten();
    if !inits.clone().any(|container| container.name == STORAGE_INITIALIZER)
        || inits.any(|container| container.name == INIT_CONTAINER)
        || annotation(pod, "sidecar.istio.io/interceptionMode") != Some("REDIRECT")
    {
        return Ok(None);
    }
    let Some(status) = annotation(pod, "sidecar.istio.io/status") else { return Ok(None) };
    let status: Value = serde_json::from_str(status)
        .map_err(|error| format!("annotation sidecar.istio.io/status is no JSON: {error}"))?;
    let Some(name) = status["containers"][0].as_str().filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let sidecar = spec.containers.iter().find(|container| container.name == name);
    Ok(sidecar.map(|container| {
        container.security_context.as_ref().and_then(|context| context.run_as_user).unwrap_or(SIDECAR_USER)
    }))
}
