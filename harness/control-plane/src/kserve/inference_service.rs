//! InferenceServices.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service as CoreService};
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::json;
use windtunnel_api::condition::{self, Condition, FALSE};
use windtunnel_api::gateway_api::HttpRoute;
use windtunnel_api::knative::Service as KnativeService;
use windtunnel_api::kserve::config::CONFIG_NAMESPACE;
use windtunnel_api::kserve::plan::{self, Inputs, Observed, Plan, PlannedEvent};
use windtunnel_api::kserve::pod::Surroundings;
use windtunnel_api::kserve::runtime::Runtime;
use windtunnel_api::kserve::{InferenceService, InferenceServiceStatus, KserveConfig, names};

use super::trained_models::models_of;
use super::{children, runtimes};
use crate::clock::time;
use crate::effect::{Effect, Effects};
use crate::world::{Kept, Key, Kind, Object, ObjectKey, World};

/// What to do for one InferenceService: apply its children, delete what it controls and should not, write its status,
/// tell what has happened.
#[must_use]
pub fn reconcile(world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
    let Some(service) = world.inference_services.get(key) else { return Effects::new() };
    if service.metadata.deletion_timestamp.is_some() {
        return finalize(world, key, service);
    }
    let mut effects = Effects::new();
    effects.extend(with_finalizer(key, service));
    let config = match world.kserve_config() {
        Ok(config) => config,
        Err(fault) => {
            let status = plan::not_reconciled(service, "InvalidConfiguration", &fault);
            effects.extend(written(key, service, status, now_ns));
            return effects;
        }
    };
    match ca_bundle(world, &config, key) {
        Ok(copy) => effects.extend(copy.map(|copy| Effect::Apply(copy.wrap()))),
        Err(fault) => {
            // Upstream stops here without a word in the status.
            let status = plan::not_reconciled(service, "ReconcileFailed", &fault);
            effects.extend(written(key, service, status, now_ns));
            return effects;
        }
    }
    let runtimes = runtimes(world, &key.namespace);
    let models = models_of(world, key);
    let models_json = plan::trained_models::models_json(service, &models);
    let containers: Vec<_> = world.storage_containers.values().map(|found| (**found).clone()).collect();
    let secret = |namespace: &str, name: &str| {
        world.secrets.get(&ObjectKey::new(namespace, name)).map(|found| (**found).clone())
    };
    let account = |namespace: &str, name: &str| {
        world.service_accounts.get(&ObjectKey::new(namespace, name)).map(|found| (**found).clone())
    };
    let around = Surroundings {
        secret: &secret,
        service_account: &account,
        storage_containers: &containers,
        service: Some(service),
    };
    let inputs =
        Inputs { around, models_json: Some(&models_json), ..inputs(world, key, service, &config, &runtimes) };
    let Plan { children, prune, mut status, events, requeue_ms } = plan::plan(&inputs);
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let wanted = children::objects(children);
    if let Some(foreign) = wanted.iter().find(|object| children::is_foreign(world, object, uid)) {
        let message = format!(
            "{:?} {} exists and does not belong to this InferenceService",
            foreign.kind(),
            foreign.key()
        );
        not_owned(&mut status, &message);
    } else {
        if !world.profile.has_upstream_bugs() {
            status.observed_generation = observed_generation(world, key, service, &wanted);
        }
        children::tell_refusals(world, &Key::InferenceService(key.clone()), &wanted, &mut status.conditions);
        effects.extend(children::write(world, uid, wanted, prune));
    }
    effects.extend(events.into_iter().map(|event| told(key, service, event)));
    effects.extend(written(key, service, status, now_ns));
    effects.extend(requeue_ms.map(|after_ms| Effect::Requeue { after_ms }));
    effects
}

/// The namespace's copy of the operator's certificate authorities.
fn ca_bundle(world: &World, config: &KserveConfig, key: &ObjectKey) -> Result<Option<ConfigMap>, String> {
    let config = &config.storage_initializer;
    let source = ObjectKey::new(CONFIG_NAMESPACE, config.ca_bundle_config_map_name.as_str());
    plan::ca_bundle::copy(config, world.config_maps.get(&source).map(|found| &**found), &key.namespace)
}

fn inputs<'a>(
    world: &'a World,
    key: &ObjectKey,
    service: &'a InferenceService,
    config: &'a KserveConfig,
    runtimes: &'a [Runtime],
) -> Inputs<'a> {
    fn of<'a, K: Kept>(world: &'a World, uid: &'a str) -> Vec<&'a K> {
        world.controlled_by::<K>(uid).map(|object| &**object).collect()
    }
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    Inputs {
        cluster: world.capabilities(),
        profile: world.profile,
        observed: Observed {
            deployments: of::<Deployment>(world, uid),
            services: of::<CoreService>(world, uid),
            http_routes: of::<HttpRoute>(world, uid),
            ingresses: of::<Ingress>(world, uid),
            knative_services: of::<KnativeService>(world, uid),
            pods: world.pods_of(key).map(|pod| &**pod).collect(),
        },
        allow_zero_initial_scale: world.allows_zero_initial_scale(),
        kubernetes: world.kubernetes.as_ref(),
        ..Inputs::new(service, config, runtimes)
    }
}

/// The generation that the status is about: the service's own, once its children are as it wants them and their own
/// controllers have seen that; until then the one before. Upstream copies a child's generation instead, so that
/// `kubectl wait` comes back too early, or never (kserve/kserve#6081).
fn observed_generation(
    world: &World,
    key: &ObjectKey,
    service: &InferenceService,
    wanted: &[Object],
) -> Option<i64> {
    let work = Key::InferenceService(key.clone());
    let seen = |object: &Object| {
        let found = world.object(object.kind(), &object.key());
        let (generation, observed) = match &found {
            Some(Object::Deployment(found)) => (
                found.metadata.generation,
                found.status.as_ref().and_then(|status| status.observed_generation),
            ),
            Some(Object::Service(found)) => (
                found.metadata.generation,
                found.status.as_ref().and_then(|status| status.observed_generation),
            ),
            Some(_) => return true,
            None => return false,
        };
        observed >= generation
    };
    // What the API server refuses is as far as it gets.
    let is_settled =
        |object: &Object| world.refusal(&work, object).is_some() || world.is_applied(object) && seen(object);
    if wanted.iter().all(is_settled) {
        service.metadata.generation
    } else {
        service.status.as_ref().and_then(|status| status.observed_generation)
    }
}

fn not_owned(status: &mut InferenceServiceStatus, message: &str) {
    condition::set(&mut status.conditions, Condition::new("PredictorReady", FALSE, "NotOwned", message));
    condition::summarise(&mut status.conditions, "Ready", &["PredictorReady", "IngressReady"]);
}

fn written(
    key: &ObjectKey,
    service: &InferenceService,
    mut status: InferenceServiceStatus,
    now_ns: u64,
) -> Option<Effect> {
    condition::stamp(&mut status.conditions, &time(now_ns));
    Effect::status::<InferenceService, _>(key, service.status.as_ref(), &status)
}

fn told(key: &ObjectKey, service: &InferenceService, event: PlannedEvent) -> Effect {
    Effect::Event {
        api_version: "serving.kserve.io/v1beta1",
        kind: "InferenceService",
        key: key.clone(),
        uid: service.metadata.uid.clone().unwrap_or_default(),
        severity: event.type_,
        reason: event.reason,
        message: event.message,
    }
}

/// Upstream's finalizer, without which a service would be gone before its TrainedModels are.
fn with_finalizer(key: &ObjectKey, service: &InferenceService) -> Option<Effect> {
    let mut finalizers = service.metadata.finalizers.clone().unwrap_or_default();
    if finalizers.iter().any(|found| found == names::FINALIZER) {
        return None;
    }
    finalizers.push(names::FINALIZER.to_owned());
    Some(finalizers_patch(key, service, &finalizers))
}

/// Before a service goes, its TrainedModels do.
fn finalize(world: &World, key: &ObjectKey, service: &InferenceService) -> Effects {
    let mut finalizers = service.metadata.finalizers.clone().unwrap_or_default();
    let before = finalizers.len();
    finalizers.retain(|found| found != names::FINALIZER);
    if finalizers.len() == before {
        return Effects::new();
    }
    let models =
        models_of(world, key).into_iter().filter(|model| model.metadata.deletion_timestamp.is_none());
    let mut effects: Effects =
        models.map(|model| Effect::Delete { kind: Kind::TrainedModel, key: ObjectKey::of(model) }).collect();
    effects.push(finalizers_patch(key, service, &finalizers));
    effects
}

/// The version makes sure that nobody's finalizer gets lost.
fn finalizers_patch(key: &ObjectKey, service: &InferenceService, finalizers: &[String]) -> Effect {
    let version = service.metadata.resource_version.as_deref();
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
    Effect::Patch { kind: Kind::InferenceService, key: key.clone(), patch, status: false }
}
