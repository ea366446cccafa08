//! What the pod webhook does: it makes pods of InferenceServices ready to load their models, to log and batch
//! requests, and to be measured.
//!
//! The injectors run in upstream's order (see [`mutate`]); each leaves alone what is there already, because
//! the webhook is called again when another webhook changes the pod. Everything that they look at beside the
//! pod comes in as [`Surroundings`].

mod accelerator;
mod agent;
mod agent_arguments;
mod ca_bundle;
mod containers;
mod credentials;
mod istio;
mod metrics;
mod oci;
mod s3;
mod secret_kinds;
mod storage_container;
mod storage_initializer;
mod storage_spec;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};

use super::config::KserveConfig;
use super::inference_service::InferenceService;
use super::names;
use super::storage_container::ClusterStorageContainer;

pub(super) use agent::PORT as AGENT_PORT;
pub(super) use credentials::add_download_credentials;
pub use storage_initializer::{
    CLAIM_VOLUME, PROVISION_VOLUME, STORAGE_INITIALIZER, StorageUris, storage_uris,
};

/// What the webhook looks at beside the pod and the configuration. Functions and not collections, so that a
/// caller can answer from wherever it keeps its objects.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// A Secret by namespace and name.
    pub secret: &'a dyn Fn(&str, &str) -> Option<Secret>,
    /// A ServiceAccount by namespace and name.
    pub service_account: &'a dyn Fn(&str, &str) -> Option<ServiceAccount>,
    /// All ClusterStorageContainers, by name.
    pub storage_containers: &'a [ClusterStorageContainer],
    /// The pod's InferenceService, if it is there: its logger settings go before the configuration's.
    pub service: Option<&'a InferenceService>,
}

impl Surroundings<'static> {
    /// Nothing there: no secrets, no service accounts, no storage containers.
    pub const EMPTY: Self =
        Self { secret: &|_, _| None, service_account: &|_, _| None, storage_containers: &[], service: None };
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Surroundings")
            .field("storage_containers", &self.storage_containers)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// Whether the webhook wants to see a pod with these labels.
#[must_use]
pub fn is_ours(labels: Option<&BTreeMap<String, String>>) -> bool {
    labels.is_some_and(|labels| labels.contains_key(names::INFERENCE_SERVICE_LABEL))
}

/// Changes a pod of an InferenceService, in this order: node selector for GPUs, storage initializer with its
/// credentials, its user under Istio's CNI, agent, metrics, OCI images. Other pods stay as they are, and
/// doing it again changes nothing.
///
/// # Errors
/// Why the pod must not start, in upstream's words. The pod may have been changed in part.
pub fn mutate(pod: &mut Pod, config: &KserveConfig, around: &Surroundings<'_>) -> Result<(), String> {
    if !is_ours(pod.metadata.labels.as_ref()) {
        return Ok(());
    }
    if pod.spec.as_ref().is_none_or(|spec| spec.containers.is_empty()) {
        // The API server refuses it in its own words.
        return Ok(());
    }
    accelerator::inject(pod);
    storage_initializer::inject(pod, config, around)?;
    istio::inject(pod)?;
    agent::inject(pod, config, around)?;
    metrics::inject(pod, &config.metrics_aggregator);
    oci::inject(pod, config)
}

/// A pod's annotation.
fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// A pod's label.
fn label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// A pod's namespace.
fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}
