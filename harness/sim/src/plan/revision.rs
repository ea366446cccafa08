//! What the simulator takes from a Knative Revision.

use std::collections::BTreeMap;

use windtunnel_api::knative::{self, DEFAULT_TIMEOUT_S, deployment_of, names};
use windtunnel_api::kserve::InferenceService;
use windtunnel_kernel::autoscale::kpa::{Config, GlobalConfig};

use crate::error::SimError;

/// One revision, as far as it matters to the simulator.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionPlan {
    /// Its name.
    pub name: String,
    /// Where its model comes from; empty when it is inside the image.
    pub storage_uri: String,
    /// How long a request may take in the gateway, the activator included.
    pub timeout_ns: u64,
    /// How it is scaled, resolved from its annotations and the cluster's configuration.
    pub autoscaler: Config,
}

impl RevisionPlan {
    /// Reads a revision of `service`.
    ///
    /// # Errors
    /// What cannot be, or is not modelled, with the name of the service.
    pub fn of(
        revision: &knative::Revision,
        service: &InferenceService,
        global: &GlobalConfig,
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
        let spec = &revision.spec;
        let concurrency = spec.container_concurrency.unwrap_or(0);
        let container_concurrency = u32::try_from(concurrency).map_err(|_| SimError::Refused {
            service: service.name().to_owned(),
            after: String::new(),
            message: format!(
                "containerConcurrency {concurrency} is out of range; it may be 0 (no limit) to 1000"
            ),
        })?;
        let deployment = deployment_of(revision, 1).map_err(|message| SimError::Refused {
            service: service.name().to_owned(),
            after: String::new(),
            message,
        })?;
        let progress_deadline_s = deployment.spec.and_then(|spec| spec.progress_deadline_seconds);
        let autoscaler = Config::resolve(
            global,
            annotations,
            container_concurrency,
            progress_deadline_s.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(600),
        )
        .map_err(|source| SimError::Autoscaling { place, source })?;
        let given = |seconds: Option<i64>| seconds.filter(|seconds| *seconds > 0);
        let whole_s = given(spec.timeout_seconds).unwrap_or(DEFAULT_TIMEOUT_S);
        let timeout_s =
            given(spec.response_start_timeout_seconds).map_or(whole_s, |first| first.min(whole_s));
        Ok(Self {
            name: revision.metadata.name.clone().unwrap_or_default(),
            storage_uri: service.spec.predictor.storage_uri().unwrap_or_default().to_owned(),
            timeout_ns: u64::try_from(timeout_s).unwrap_or(0).saturating_mul(1_000_000_000),
            autoscaler,
        })
    }
}
