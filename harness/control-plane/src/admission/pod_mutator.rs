//! `inferenceservice.kserve-webhook-server.pod-mutator`.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use windtunnel_api::kserve::{names, pod};
use windtunnel_apiserver::{Admission, Attributes, Denial, Operation};

use super::LiveConfig;

pub(super) struct PodMutator {
    pub(super) config: LiveConfig,
}

impl Admission for PodMutator {
    fn name(&self) -> &str {
        "inferenceservice.kserve-webhook-server.pod-mutator"
    }

    fn matches(&self, attributes: &Attributes) -> bool {
        attributes.group.is_empty()
            && attributes.resource == "pods"
            && attributes.subresource.is_empty()
            && attributes.operation == Operation::Create
    }

    fn review(&self, _: &Attributes, object: &mut Value, _: Option<&Value>) -> Result<(), Denial> {
        if object["metadata"]["labels"].get(names::INFERENCE_SERVICE_LABEL).is_none() {
            return Ok(());
        }
        let mut parsed: Pod =
            serde_json::from_value(object.clone()).map_err(|error| Denial::new(error.to_string()))?;
        pod::mutate(&mut parsed, &self.config.get());
        *object = serde_json::to_value(parsed).map_err(|error| Denial::new(error.to_string()))?;
        Ok(())
    }
}
