//! Rules of encrypted models.

use super::super::predictor::{Confidential, Framework, PredictorSpec};

/// Warnings, and the first rule that is broken.
pub(super) fn check(predictor: &PredictorSpec, warnings: &mut Vec<String>) -> Result<(), String> {
    let legacy = Framework::ALL.into_iter().filter_map(|framework| predictor.framework(framework));
    let model = predictor.model.as_ref().map(|model| &model.extension);
    let Some(confidential) = legacy.chain(model).find_map(|extension| extension.confidential.as_ref()) else {
        return Ok(());
    };
    if !confidential.enabled {
        return Ok(());
    }
    let Some(uri) = predictor.storage_uri().filter(|uri| !uri.is_empty()) else {
        return Err("confidential model serving requires storageUri to be set".to_owned());
    };
    if uri.starts_with("oci://") {
        warnings.push(
            "confidential has no effect with OCI URIs; OCI image decryption is handled by the container runtime \
             via runtimeClassName"
                .to_owned(),
        );
    }
    if uri.starts_with("pvc://") {
        warnings.push(
            "confidential has no effect with PVC URIs; the storage-initializer is not injected for PVC volumes"
                .to_owned(),
        );
    }
    resource_id(confidential)
}

fn resource_id(confidential: &Confidential) -> Result<(), String> {
    let Some(id) = confidential.resource_id.as_deref().filter(|id| !id.is_empty()) else { return Ok(()) };
    let is_part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    let parts: Vec<&str> =
        id.strip_prefix("kbs:///").map(|rest| rest.split('/').collect()).unwrap_or_default();
    if parts.len() == 3 && parts.into_iter().all(is_part) {
        return Ok(());
    }
    Err(format!(
        "spec.predictor.confidential.resourceId: Invalid value: {id:?}: must be in the format \
         kbs:///<repo>/<type>/<tag>"
    ))
}
