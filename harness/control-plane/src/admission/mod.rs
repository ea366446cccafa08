//! The webhooks: InferenceService defaulter and validator, pod mutator. Pure and synchronous, as the
//! embedded API server wants them.

mod defaulter;
mod pod_mutator;
mod validator;

use std::sync::{Arc, PoisonError, RwLock};

use windtunnel_api::kserve::KserveConfig;
use windtunnel_apiserver::{Admission, Attributes, Operation};

/// KServe's configuration, shared between the webhooks and the controller that follows the ConfigMap.
#[derive(Clone, Debug, Default)]
pub struct LiveConfig(Arc<RwLock<Arc<KserveConfig>>>);

impl LiveConfig {
    /// The configuration now.
    #[must_use]
    pub fn get(&self) -> Arc<KserveConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the configuration.
    pub fn set(&self, config: KserveConfig) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}

/// The reviewers, in the order in which they must run.
pub(crate) fn reviewers(config: &LiveConfig) -> Vec<Arc<dyn Admission>> {
    vec![
        Arc::new(defaulter::Defaulter { config: config.clone() }),
        Arc::new(validator::Validator),
        Arc::new(pod_mutator::PodMutator { config: config.clone() }),
    ]
}

/// Whether the request creates or updates an InferenceService itself.
fn writes_inference_service(attributes: &Attributes) -> bool {
    attributes.group == "serving.kserve.io"
        && attributes.resource == "inferenceservices"
        && attributes.subresource.is_empty()
        && matches!(attributes.operation, Operation::Create | Operation::Update)
}
