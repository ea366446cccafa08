//! TrainedModels: models that a running server loads beside others.

use serde_json::json;
use windtunnel_api::condition;
use windtunnel_api::kserve::TrainedModel;
use windtunnel_api::kserve::plan::trained_models::{self, ALLOCATED_LABEL, FINALIZER, PARENT_LABEL};

use super::runtimes;
use crate::clock::time;
use crate::effect::{Effect, Effects};
use crate::world::{Kind, ObjectKey, World};

/// What to do for one TrainedModel: its labels, from which the list of its server is made, and its status.
#[must_use]
pub fn reconcile(world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
    let Some(model) = world.trained_models.get(key) else { return Effects::new() };
    let mut finalizers = model.metadata.finalizers.clone().unwrap_or_default();
    let version = model.metadata.resource_version.clone();
    let patch = |metadata: serde_json::Value| Effect::Patch {
        kind: Kind::TrainedModel,
        key: key.clone(),
        patch: json!({"metadata": metadata}),
        status: false,
    };
    if model.metadata.deletion_timestamp.is_some() {
        let before = finalizers.len();
        finalizers.retain(|found| found != FINALIZER);
        // The list of its server leaves out what is being deleted.
        return if finalizers.len() == before {
            Effects::new()
        } else {
            vec![patch(json!({"finalizers": finalizers, "resourceVersion": version}))]
        };
    }
    let parent = key.sibling(model.spec.inference_service.clone());
    let service = world.inference_services.get(&parent).map(|found| &**found);
    let models = models_in(world, &key.namespace);
    let runtimes = runtimes(world, &key.namespace);
    let plan = trained_models::plan(model, service, &models, &runtimes, world.profile);
    if plan.delete {
        return vec![Effect::Delete { kind: Kind::TrainedModel, key: key.clone() }];
    }
    let mut effects = Effects::new();
    let label = |name: &str| model.metadata.labels.as_ref().and_then(|labels| labels.get(name));
    let has_finalizer = finalizers.iter().any(|found| found == FINALIZER);
    let allocated = plan.is_allocated.then_some(&model.spec.inference_service);
    if !has_finalizer
        || label(PARENT_LABEL) != Some(&model.spec.inference_service)
        || label(ALLOCATED_LABEL) != allocated
    {
        if !has_finalizer {
            finalizers.push(FINALIZER.to_owned());
        }
        let labels = json!({PARENT_LABEL: model.spec.inference_service, ALLOCATED_LABEL: allocated});
        effects.push(patch(json!({"finalizers": finalizers, "labels": labels, "resourceVersion": version})));
    }
    let mut status = plan.status;
    condition::stamp(&mut status.conditions, &time(now_ns));
    effects.extend(Effect::status::<TrainedModel, _>(key, model.status.as_ref(), &status));
    effects
}

/// The models of a service.
pub(super) fn models_of<'a>(world: &'a World, service: &ObjectKey) -> Vec<&'a TrainedModel> {
    let mut models = models_in(world, &service.namespace);
    models.retain(|model| model.spec.inference_service == service.name);
    models
}

fn models_in<'a>(world: &'a World, namespace: &str) -> Vec<&'a TrainedModel> {
    let from = ObjectKey::new(namespace, "");
    let models = world.trained_models.range(from..).take_while(|(key, _)| key.namespace == namespace);
    models.map(|(_, model)| &**model).collect()
}
