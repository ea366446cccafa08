//! `servingruntime.kserve-webhook-server.validator` and `clusterservingruntime.kserve-webhook-server.validator`.

use serde_json::Value;
use windtunnel_api::kserve::validate::{self, RuntimeScope};
use windtunnel_api::kserve::{ClusterServingRuntime, ServingRuntime, ServingRuntimeSpec};
use windtunnel_apiserver::{Attributes, Denial};

use super::{Cluster, read, refused};

/// A ClusterServingRuntime against the others, and against what it was: the review knows that better than the watch,
/// which may be behind.
pub(super) fn of_the_cluster(
    cluster: &Cluster,
    _: &Attributes,
    object: &mut Value,
    old: Option<&Value>,
    _: &mut Vec<String>,
) -> Result<(), Denial> {
    let runtime: ClusterServingRuntime = read(object)?;
    let before: Option<ClusterServingRuntime> = old.map(read).transpose()?;
    let name = runtime.metadata.name.as_deref().unwrap_or_default();
    let others = cluster.cluster_runtimes.iter();
    let others = others.map(|(key, other)| (key.name.as_str(), &other.spec.runtime));
    let existing = existing(name, others, before.as_ref().map(|before| &before.spec.runtime));
    let gpus = &cluster.config.custom_gpu_resource_types;
    validate::serving_runtime(RuntimeScope::Cluster, name, &runtime.spec.runtime, &existing, gpus)
        .map_err(refused)
}

/// A ServingRuntime against the others of its namespace, and against what it was.
pub(super) fn of_a_namespace(
    cluster: &Cluster,
    attributes: &Attributes,
    object: &mut Value,
    old: Option<&Value>,
    _: &mut Vec<String>,
) -> Result<(), Denial> {
    let runtime: ServingRuntime = read(object)?;
    let before: Option<ServingRuntime> = old.map(read).transpose()?;
    let namespace = runtime.metadata.namespace.as_deref().unwrap_or(&attributes.namespace);
    let name = runtime.metadata.name.as_deref().unwrap_or_default();
    let there = cluster.runtimes.iter().filter(|(key, _)| key.namespace == namespace);
    let others = there.map(|(key, other)| (key.name.as_str(), &other.spec));
    let existing = existing(name, others, before.as_ref().map(|before| &before.spec));
    let gpus = &cluster.config.custom_gpu_resource_types;
    validate::serving_runtime(RuntimeScope::Namespace(namespace), name, &runtime.spec, &existing, gpus)
        .map_err(refused)
}

/// The runtimes that there are: the others as they were seen last, and this one as it was.
fn existing<'a>(
    name: &'a str,
    others: impl Iterator<Item = (&'a str, &'a ServingRuntimeSpec)>,
    before: Option<&'a ServingRuntimeSpec>,
) -> Vec<(&'a str, &'a ServingRuntimeSpec)> {
    let others = others.filter(|(other, _)| *other != name);
    others.chain(before.map(|before| (name, before))).collect()
}
