//! `inferenceservice.kserve-webhook-server.validator`.

use serde_json::Value;
use windtunnel_api::kserve::{InferenceService, validate};
use windtunnel_apiserver::{Admission, Attributes, Denial};

use super::writes_inference_service;

pub(super) struct Validator;

impl Admission for Validator {
    fn name(&self) -> &str {
        "inferenceservice.kserve-webhook-server.validator"
    }

    fn matches(&self, attributes: &Attributes) -> bool {
        writes_inference_service(attributes)
    }

    fn review(&self, _: &Attributes, object: &mut Value, old: Option<&Value>) -> Result<(), Denial> {
        let parse = |value: &Value| {
            serde_json::from_value::<InferenceService>(value.clone())
                .map_err(|error| Denial::new(error.to_string()))
        };
        let service = parse(object)?;
        let old = old.map(parse).transpose()?;
        validate::validate(&service, old.as_ref()).map_err(Denial::new)
    }
}
