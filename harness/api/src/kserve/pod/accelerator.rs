//! Node selector for the kind of GPU on Google's clusters.

use k8s_openapi::api::core::v1::Pod;

use super::super::names;
use super::annotation;

const GPU: &str = "nvidia.com/gpu";
const SELECTOR: &str = "cloud.google.com/gke-accelerator";

/// Adds the selector to a pod that has a limit on GPUs and names their kind.
pub(super) fn inject(pod: &mut Pod) {
    let Some(kind) = annotation(pod, names::GKE_ACCELERATOR).map(str::to_owned) else { return };
    let Some(spec) = &mut pod.spec else { return };
    let limits = spec.containers.iter().filter_map(|container| container.resources.as_ref()?.limits.as_ref());
    if limits.into_iter().any(|limits| limits.contains_key(GPU)) {
        spec.node_selector.get_or_insert_default().insert(SELECTOR.to_owned(), kind);
    }
}
