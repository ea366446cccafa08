//! What an autoscaler scales, and what the world says about it: a revision's Deployment in the Knative mode, a component's
//! own in the Standard mode.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use windtunnel_api::knative::{Revision, deployment_name, names as knative};
use windtunnel_api::kserve::names;
use windtunnel_api::kserve::plan::on_demand;
use windtunnel_gateway::RevisionKey;
use windtunnel_kernel::autoscale::kpa::{Config, Reachability};

use crate::gateway_routes::{addresses, serves_components, service_addresses};
use crate::world::{ObjectKey, Target, World};

/// The number of a revision's ready pods.
#[must_use]
pub fn ready_pods(world: &World, revision: &ObjectKey) -> usize {
    addresses(world, revision).len()
}

/// A revision's configuration: its annotations over the cluster's ConfigMap.
///
/// # Errors
/// The setting that cannot be used, in words.
pub fn resolve(world: &World, revision: &Revision) -> Result<Config, String> {
    let global = world.autoscaler_config()?;
    revision.autoscaling(&global).map_err(|error| error.to_string())
}

/// A component's Deployment, if it is scaled by its requests.
pub(crate) fn component<'a>(world: &'a World, key: &ObjectKey) -> Option<&'a Deployment> {
    world.deployments.get(key).map(|found| &**found).filter(|found| on_demand::is_on_demand(found))
}

/// The predictor that a transformer or explainer calls past the gateway, if that predictor is scaled by its requests. What
/// the gateway counts for the caller is its load too, and the caller's requests wait until there are pods of both.
pub(crate) fn predictor_behind(world: &World, caller: &ObjectKey) -> Option<ObjectKey> {
    let labels = world.deployments.get(caller)?.labels();
    let calls = labels.get(names::COMPONENT_LABEL).is_some_and(|word| word != "predictor");
    let service = labels.get(names::INFERENCE_SERVICE_LABEL).filter(|_| calls)?;
    let service = world.inference_services.get(&caller.sibling(service.clone()))?;
    let name = service.spec.predictor.name.as_deref();
    let predictor = caller.sibling(names::predictor_service_name(service.name(), name));
    component(world, &predictor).map(|_| predictor)
}

impl Target {
    /// What a report of the gateway is about. A Service with several ports has a name for each in the gateway.
    pub(super) fn of_report(world: &World, key: &RevisionKey) -> Vec<Self> {
        let revision = ObjectKey::new(key.namespace.clone(), key.name.clone());
        if world.revisions.contains_key(&revision) {
            return vec![Self::Revision(revision)];
        }
        let service = key.name.split(':').next().unwrap_or_default();
        let service = revision.sibling(service);
        let behind = predictor_behind(world, &service);
        let own = component(world, &service).map(|_| service);
        own.into_iter().chain(behind).map(Self::Component).collect()
    }

    /// The Deployment that is scaled.
    pub(super) fn deployment(&self) -> ObjectKey {
        match self {
            Self::Revision(key) => key.sibling(deployment_name(&key.name)),
            Self::Component(key) => key.clone(),
        }
    }

    /// The settings of its autoscaler; `None` when there is nothing to scale.
    pub(super) fn config(&self, world: &World) -> Option<Result<Config, String>> {
        match self {
            Self::Revision(key) => {
                let revision = world.revisions.get(key)?;
                let is_there = revision.metadata.deletion_timestamp.is_none()
                    && world.deployments.contains_key(&self.deployment());
                is_there.then(|| resolve(world, revision))
            }
            Self::Component(key) => {
                let deployment = component(world, key)?;
                let is_there = deployment.metadata.deletion_timestamp.is_none();
                is_there.then(|| {
                    let mut config = on_demand::config(deployment, &world.autoscaler_config()?)?;
                    if !serves_components(world) {
                        // Nobody would count the request that wakes it.
                        config.min_scale = config.min_scale.max(1);
                    }
                    Ok(config)
                })
            }
        }
    }

    /// The number of its ready pods.
    pub(super) fn ready(&self, world: &World) -> u32 {
        let ready = match self {
            Self::Revision(key) => ready_pods(world, key),
            Self::Component(key) => service_addresses(world, key).len(),
        };
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// A revision is reachable while a Route points at it, and unknown until one has for the first time; a component
    /// always is.
    pub(super) fn reachability(&self, world: &World) -> Reachability {
        let Self::Revision(key) = self else { return Reachability::Reachable };
        let revision = world.revisions.get(key);
        let labels = revision.and_then(|revision| revision.metadata.labels.as_ref());
        match labels.and_then(|labels| labels.get(knative::ROUTING_STATE)).map(String::as_str) {
            Some(knative::ACTIVE) => Reachability::Reachable,
            Some(knative::RESERVE) => Reachability::Unreachable,
            _ => Reachability::Unknown,
        }
    }
}
