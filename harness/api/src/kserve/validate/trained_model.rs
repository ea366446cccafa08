//! Rules of TrainedModels.

use super::super::trained_model::TrainedModel;
use crate::quantity;

/// What the agent can download.
const PROTOCOLS: [&str; 4] = ["s3://", "gs://", "https://", "http://"];

/// Checks a TrainedModel that is created (`old` absent) or updated. Objects that are being deleted are let
/// through.
///
/// # Errors
/// Upstream's message for the first rule that is broken.
pub fn trained_model(model: &TrainedModel, old: Option<&TrainedModel>) -> Result<(), String> {
    if model.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let name = model.metadata.name.as_deref().unwrap_or_default();
    let unnamed = name.is_empty() && model.metadata.generate_name.is_some();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !unnamed && (name.is_empty() || !name.bytes().all(is_plain)) {
        return Err(format!(
            "the Trained Model \"{name}\" is invalid: a Trained Model name must consist of alphanumeric characters, \
             '_', or '-'. (e.g. \"my-Name\" or \"abc_123\", regex used for validation is '^[a-zA-Z0-9_-]+$')"
        ));
    }
    let uri = &model.spec.model.storage_uri;
    if !PROTOCOLS.iter().any(|protocol| uri.starts_with(protocol)) {
        return Err(format!(
            "the Trained Model \"{name}\" storageUri field is invalid. The storage uri must start with one of the \
             prefixes: {}. (the storage uri given is \"{uri}\")",
            PROTOCOLS.join(", ")
        ));
    }
    let Some(old) = old else { return Ok(()) };
    let (before, now) = (&old.spec.model.memory, &model.spec.model.memory);
    if !quantity::equal(before, now) {
        return Err(format!(
            "the Trained Model \"{name}\" memory field is immutable. The memory was \"{}\" but it is updated to \"{}\"",
            before.0, now.0
        ));
    }
    Ok(())
}
