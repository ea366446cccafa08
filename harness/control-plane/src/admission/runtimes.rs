//! `servingruntime.kserve-webhook-server.validator` and `clusterservingruntime.kserve-webhook-server.validator`.

use serde_json::Value;
use windtunnel_api::kserve::validate::{self, RuntimeScope};
use windtunnel_api::kserve::{ClusterServingRuntime, ServingRuntime, ServingRuntimeSpec};
use windtunnel_apiserver::{Attributes, Denial};

use super::{Cluster, read, refused};

/// A ClusterServingRuntime against the others.
pub(super) fn of_the_cluster(
    cluster: &Cluster,
    _: &Attributes,
    object: &mut Value,
    _: Option<&Value>,
    _: &mut Vec<String>,
) -> Result<(), Denial> {
    let runtime: ClusterServingRuntime = read(object)?;
    let existing: Vec<(&str, &ServingRuntimeSpec)> = cluster
        .cluster_runtimes
        .iter()
        .map(|(key, other)| (key.name.as_str(), &other.spec.runtime))
        .collect();
    let name = runtime.metadata.name.as_deref().unwrap_or_default();
    let gpus = &cluster.config.custom_gpu_resource_types;
    validate::serving_runtime(RuntimeScope::Cluster, name, &runtime.spec.runtime, &existing, gpus)
        .map_err(refused)
}

/// A ServingRuntime against the others of its namespace.
pub(super) fn of_a_namespace(
    cluster: &Cluster,
    attributes: &Attributes,
    object: &mut Value,
    _: Option<&Value>,
    _: &mut Vec<String>,
) -> Result<(), Denial> {
    let runtime: ServingRuntime = read(object)?;
    let namespace = runtime.metadata.namespace.as_deref().unwrap_or(&attributes.namespace);
    let there = cluster.runtimes.iter().filter(|(key, _)| key.namespace == namespace);
    let existing: Vec<(&str, &ServingRuntimeSpec)> =
        there.map(|(key, other)| (key.name.as_str(), &other.spec)).collect();
    let name = runtime.metadata.name.as_deref().unwrap_or_default();
    let gpus = &cluster.config.custom_gpu_resource_types;
    validate::serving_runtime(RuntimeScope::Namespace(namespace), name, &runtime.spec, &existing, gpus)
        .map_err(refused)
}
