//! What a workload is: what its pods are made of, and who decides how many of them there are.

use std::collections::BTreeMap;

use windtunnel_api::knative::{self, deployment_of, names};
use windtunnel_api::kserve::InferenceService;
use windtunnel_kernel::autoscale::kpa::{Config, GlobalConfig};

use super::{Kserve, Template};
use crate::error::SimError;

/// One kind of pods, whatever makes them: a Knative revision or a ReplicaSet.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionPlan {
    /// Its name.
    pub name: String,
    /// Where its model comes from; empty when it is inside the image.
    pub storage_uri: String,
    /// What its pods ask for.
    pub template: Template,
    /// How long a request may take in the gateway, the activator included.
    pub timeout_ns: u64,
    /// Requests that a pod takes at a time, the rest waits in front of it; 0 is no limit.
    pub container_concurrency: u32,
    /// Who decides how many replicas it has.
    pub control: ControlPlan,
}

/// Who decides how many replicas a workload has.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlPlan {
    /// Knative's pod autoscaler, its settings resolved from annotations and the cluster's configuration.
    Knative(Box<Config>),
    /// The Deployment that it is a ReplicaSet of.
    Deployment,
}

impl RevisionPlan {
    /// Reads a Knative revision of `service`.
    ///
    /// # Errors
    /// What cannot be, or is not modelled, with the name of the service.
    pub fn of(
        revision: &knative::Revision,
        service: &InferenceService,
        global: &GlobalConfig,
        kserve: &Kserve,
    ) -> Result<Self, SimError> {
        let place = format!("InferenceService {:?}", service.name());
        let empty = BTreeMap::new();
        let annotations = revision.metadata.annotations.as_ref().unwrap_or(&empty);
        let class =
            annotations.get(names::CLASS).map_or(global.pod_autoscaler_class.as_str(), String::as_str);
        if class != names::KPA_CLASS {
            return Err(SimError::Unsupported {
                place,
                what: format!("the autoscaler class {class:?}"),
                remedy: format!("use {}", names::KPA_CLASS),
            });
        }
        let concurrency = revision.spec.container_concurrency.unwrap_or(0);
        let container_concurrency = u32::try_from(concurrency).map_err(|_| SimError::Refused {
            service: service.name().to_owned(),
            after: String::new(),
            message: format!(
                "containerConcurrency {concurrency} is out of range; it may be 0 (no limit) to 1000"
            ),
        })?;
        let refused =
            |message| SimError::Refused { service: service.name().to_owned(), after: String::new(), message };
        let deployment = deployment_of(revision, 1).map_err(refused)?.spec.unwrap_or_default();
        let (template, storage_uri) =
            Template::read(&deployment.template, service, kserve).map_err(refused)?;
        let autoscaler =
            revision.autoscaling(global).map_err(|source| SimError::Autoscaling { place, source })?;
        Ok(Self {
            name: revision.metadata.name.clone().unwrap_or_default(),
            storage_uri,
            template,
            timeout_ns: revision.timeout_s().saturating_mul(1_000_000_000),
            container_concurrency,
            control: ControlPlan::Knative(Box::new(autoscaler)),
        })
    }

    /// The settings of Knative's autoscaler, where it is that one.
    pub fn knative(&self) -> Option<&Config> {
        match &self.control {
            ControlPlan::Knative(config) => Some(config),
            ControlPlan::Deployment => None,
        }
    }
}
