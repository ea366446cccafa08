//! `inferenceservice.kserve-webhook-server.defaulter`.

use serde_json::Value;
use windtunnel_api::kserve::{InferenceService, defaults};
use windtunnel_apiserver::{Admission, Attributes, Denial};

use super::{LiveConfig, writes_inference_service};

pub(super) struct Defaulter {
    pub(super) config: LiveConfig,
}

impl Admission for Defaulter {
    fn name(&self) -> &str {
        "inferenceservice.kserve-webhook-server.defaulter"
    }

    fn matches(&self, attributes: &Attributes) -> bool {
        writes_inference_service(attributes)
    }

    fn review(&self, _: &Attributes, object: &mut Value, _: Option<&Value>) -> Result<(), Denial> {
        let mut service: InferenceService =
            serde_json::from_value(object.clone()).map_err(|error| Denial::new(error.to_string()))?;
        if service.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        defaults::default(&mut service, &self.config.get());
        *object = serde_json::to_value(service).map_err(|error| Denial::new(error.to_string()))?;
        Ok(())
    }
}
