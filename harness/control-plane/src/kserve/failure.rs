//! Failures that last, told to the users of an object.

use crate::effect::Effect;
use crate::world::{Key, World};

/// Longest message of an event.
const MESSAGE_BYTES: usize = 1024;

/// The event about an object of KServe or Knative that could not be reconciled, with the reason that both give upstream;
/// `None` for other kinds and for objects that are gone.
pub(crate) fn failure_event(world: &World, key: &Key, error: &str) -> Option<Effect> {
    let (api_version, uid) = match key {
        Key::InferenceService(of) => {
            ("serving.kserve.io/v1beta1", world.inference_services.get(of)?.metadata.uid.clone())
        }
        Key::InferenceGraph(of) => {
            ("serving.kserve.io/v1alpha1", world.inference_graphs.get(of)?.metadata.uid.clone())
        }
        Key::TrainedModel(of) => {
            ("serving.kserve.io/v1alpha1", world.trained_models.get(of)?.metadata.uid.clone())
        }
        Key::Service(of) => ("serving.knative.dev/v1", world.services.get(of)?.metadata.uid.clone()),
        Key::Configuration(of) => {
            ("serving.knative.dev/v1", world.configurations.get(of)?.metadata.uid.clone())
        }
        Key::Revision(of) => ("serving.knative.dev/v1", world.revisions.get(of)?.metadata.uid.clone()),
        Key::Route(of) => ("serving.knative.dev/v1", world.routes.get(of)?.metadata.uid.clone()),
        _ => return None,
    };
    let end = (0..=error.len().min(MESSAGE_BYTES)).rev().find(|end| error.is_char_boundary(*end))?;
    Some(Effect::Event {
        api_version,
        kind: key.kind(),
        key: key.object().clone(),
        uid: uid?,
        severity: "Warning",
        reason: "InternalError".to_owned(),
        message: error[..end].to_owned(),
    })
}
