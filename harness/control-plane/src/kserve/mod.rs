//! The InferenceService controller: what there is of a service goes to the plan of `api`, and the plan's children and
//! status are written.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Service as CoreService;
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::json;
use windtunnel_api::condition::{self, Condition, FALSE};
use windtunnel_api::gateway_api::HttpRoute;
use windtunnel_api::knative::Service as KnativeService;
use windtunnel_api::kserve::plan::{self, Children, Inputs, Observed, Plan, PlannedEvent};
use windtunnel_api::kserve::runtime::Runtime;
use windtunnel_api::kserve::{InferenceService, InferenceServiceStatus, KserveConfig, names};

use crate::clock::time;
use crate::effect::{Effect, Effects};
use crate::world::{Kept, Kind, Object, ObjectKey, World};

/// What to do for one InferenceService: apply its children, delete what it controls and should not, write its status,
/// tell what has happened.
#[must_use]
pub fn reconcile(world: &World, key: &ObjectKey, now_ns: u64) -> Effects {
    let Some(service) = world.inference_services.get(key) else { return Effects::new() };
    if service.metadata.deletion_timestamp.is_some() {
        return finalize(key, service);
    }
    let mut effects = Effects::new();
    effects.extend(with_finalizer(key, service));
    let config = match world.kserve_config() {
        Ok(config) => config,
        Err(fault) => {
            let status =
                windtunnel_api::kserve::status::not_reconciled(service, "InvalidConfiguration", &fault);
            effects.extend(written(key, service, status, now_ns));
            return effects;
        }
    };
    let runtimes = runtimes(world, &key.namespace);
    let Plan { children, prune, mut status, events, requeue_ms } =
        plan::plan(&inputs(world, key, service, &config, &runtimes));
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let wanted = objects(children);
    if let Some(foreign) = wanted.iter().find(|object| is_foreign(world, object, uid)) {
        let message = format!(
            "{:?} {} exists and does not belong to this InferenceService",
            foreign.kind(),
            foreign.key()
        );
        not_owned(&mut status, &message);
    } else {
        if !world.profile.has_upstream_bugs() {
            status.observed_generation = observed_generation(world, service, &wanted);
        }
        if prune {
            let names: BTreeSet<_> = wanted.iter().map(|object| (object.kind(), object.key())).collect();
            let orphans = world.all_controlled_by(uid).filter(|(kind, _)| CHILDREN.contains(kind));
            effects.extend(
                orphans
                    .filter(|(kind, child)| !names.contains(&(*kind, (*child).clone())))
                    .filter(|(kind, child)| !is_going(world, *kind, child))
                    .map(|(kind, child)| Effect::Delete { kind, key: child.clone() }),
            );
        }
        effects.extend(wanted.into_iter().map(Effect::Apply));
    }
    effects.extend(events.into_iter().map(|event| told(key, service, event)));
    effects.extend(written(key, service, status, now_ns));
    effects.extend(requeue_ms.map(|after_ms| Effect::Requeue { after_ms }));
    effects
}

/// Kinds that an InferenceService is made of; an object of these that it controls and does not want is deleted.
const CHILDREN: [Kind; 10] = [
    Kind::Deployment,
    Kind::CoreService,
    Kind::HorizontalPodAutoscaler,
    Kind::ScaledObject,
    Kind::OpenTelemetryCollector,
    Kind::HttpRoute,
    Kind::Ingress,
    Kind::Service,
    Kind::VirtualService,
    Kind::ConfigMap,
];

fn objects(children: Children) -> Vec<Object> {
    fn of<K: Kept>(objects: Vec<K>) -> impl Iterator<Item = Object> {
        objects.into_iter().map(Kept::wrap)
    }
    // Services first, so that pods find their names; routes last, when there is something behind them.
    of(children.config_maps)
        .chain(of(children.services))
        .chain(of(children.collectors))
        .chain(of(children.deployments))
        .chain(of(children.autoscalers))
        .chain(of(children.scaled_objects))
        .chain(of(children.knative_services))
        .chain(of(children.virtual_services))
        .chain(of(children.ingresses))
        .chain(of(children.http_routes))
        .collect()
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
    let deployments = of::<Deployment>(world, uid);
    let replica_sets = deployments
        .iter()
        .filter_map(|deployment| deployment.metadata.uid.as_deref())
        .flat_map(|uid| of::<ReplicaSet>(world, uid))
        .collect();
    Inputs {
        cluster: world.capabilities(),
        profile: world.profile,
        observed: Observed {
            deployments,
            replica_sets,
            services: of::<CoreService>(world, uid),
            http_routes: of::<HttpRoute>(world, uid),
            ingresses: of::<Ingress>(world, uid),
            knative_services: of::<KnativeService>(world, uid),
            pods: world.pods_of(key).map(|pod| &**pod).collect(),
        },
        allow_zero_initial_scale: world.allows_zero_initial_scale(),
        ..Inputs::new(service, config, runtimes)
    }
}

/// The generation that the status is about: the service's own, once its children are as it wants them and their own
/// controllers have seen that; until then the one before. Upstream copies a child's generation instead, so that
/// `kubectl wait` comes back too early, or never (kserve/kserve#6081).
fn observed_generation(world: &World, service: &InferenceService, wanted: &[Object]) -> Option<i64> {
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
    if wanted.iter().all(|object| world.is_applied(object) && seen(object)) {
        service.metadata.generation
    } else {
        service.status.as_ref().and_then(|status| status.observed_generation)
    }
}

/// Whether the object is there and is not this service's.
fn is_foreign(world: &World, object: &Object, uid: &str) -> bool {
    let Some(found) = world.object(object.kind(), &object.key()) else { return false };
    let owners = found.metadata().owner_references.iter().flatten();
    !owners.into_iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

fn is_going(world: &World, kind: Kind, key: &ObjectKey) -> bool {
    world.object(kind, key).is_none_or(|object| object.metadata().deletion_timestamp.is_some())
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

fn finalize(key: &ObjectKey, service: &InferenceService) -> Effects {
    let mut finalizers = service.metadata.finalizers.clone().unwrap_or_default();
    let before = finalizers.len();
    finalizers.retain(|found| found != names::FINALIZER);
    if finalizers.len() == before {
        return Effects::new();
    }
    vec![finalizers_patch(key, service, &finalizers)]
}

/// The version makes sure that nobody's finalizer gets lost.
fn finalizers_patch(key: &ObjectKey, service: &InferenceService, finalizers: &[String]) -> Effect {
    let version = service.metadata.resource_version.as_deref();
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
    Effect::Patch { kind: Kind::InferenceService, key: key.clone(), patch, status: false }
}

/// The namespace's runtimes and the cluster's.
pub(crate) fn runtimes(world: &World, namespace: &str) -> Vec<Runtime> {
    let own = world.serving_runtimes.range(ObjectKey::new(namespace, "")..);
    own.take_while(|(key, _)| key.namespace == namespace)
        .map(|(_, runtime)| Runtime::from(&**runtime))
        .chain(world.cluster_serving_runtimes.values().map(|runtime| Runtime::from(&**runtime)))
        .collect()
}
