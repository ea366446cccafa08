//! The machines of a plan: pools, bandwidths and caches of the environment as the fleet takes them.

use std::collections::BTreeSet;

use windtunnel_scenario::{DisturbanceKind, ModelLoad, Nodes, Scheduling as Named, Transfer};

use super::{Plan, ServicePlan};
use crate::error::SimError;
use crate::fleet::{
    Autoscaler, AutoscalerSettings, Fleet, FleetError, MOST_BITS_PER_S, ModelCache, Network, Pool, Scheduling,
};

/// Machines, network and caches before anything happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClusterPlan {
    /// Whether the scenario names machines; otherwise there is one without limits.
    pub(crate) has_nodes: bool,
    pub(crate) fleet: Fleet,
    pub(crate) network: Network,
    pub(crate) models: ModelCache,
    pub(crate) autoscaler: Option<AutoscalerSettings>,
    /// What faults can slow down or stop and that is not a storage service of its own: a prefix of storage URIs
    /// with the bits a second that go through at most.
    pub(crate) gates: Vec<(String, u64)>,
}

impl ClusterPlan {
    /// The cluster of a plan; `None` where pods need none: no machines are named and nothing has a size.
    ///
    /// # Errors
    /// Pools or bandwidths that cannot be.
    pub(crate) fn of(plan: &Plan) -> Result<Option<Self>, FleetError> {
        let environment = &plan.environment;
        let start = &environment.pod_start;
        let is_sized = |transfer| matches!(transfer, Transfer::Size(_));
        let has_sizes = is_sized(start.image_pull)
            || !environment.images.is_empty()
            || is_sized(start.download)
            || environment.models.iter().any(|model| model.size.is_some());
        if environment.nodes.is_none() && !has_sizes {
            return Ok(None);
        }
        let storage: Vec<(String, u64)> = environment
            .bandwidth
            .storage
            .iter()
            .map(|(prefix, bandwidth)| (prefix.clone(), bandwidth.as_bits_per_s()))
            .collect();
        let registry = environment.bandwidth.registry.map(windtunnel_scenario::Bandwidth::as_bits_per_s);
        let mut network = Network::new(registry, &storage)?;
        let fleet = match &environment.nodes {
            Some(nodes) => Fleet::new(pools_of(nodes), scheduling_of(nodes))?,
            None => Fleet::unlimited(),
        };
        for (id, node) in fleet.nodes() {
            network.add_node(id, fleet.pools()[node.pool].bandwidth_bits)?;
        }
        let autoscaler = environment.nodes.as_ref().and_then(autoscaler_of);
        if let Some(settings) = &autoscaler {
            Autoscaler::new(settings.clone(), 0)?;
        }
        Ok(Some(Self {
            has_nodes: environment.nodes.is_some(),
            gates: gates_of(plan),
            models: ModelCache::new(environment.local_model_cache.clone(), Vec::new()),
            fleet,
            network,
            autoscaler,
        }))
    }
}

/// What is asked of machines and cannot be answered.
///
/// # Errors
/// The first of these, with its place.
pub(super) fn check(plan: &Plan) -> Result<(), SimError> {
    ClusterPlan::of(plan)?;
    let environment = &plan.environment;
    let uris = uris_of(&plan.services);
    let wrong =
        |place: &str, message: String| Err(SimError::Environment { place: place.to_owned(), message });
    if matches!(environment.pod_start.load, ModelLoad::Rate(_))
        && let Some(uri) = uris.iter().find(|uri| environment.model_size(uri).is_none())
    {
        let message = format!(
            "the size of {uri:?} is not known; write environment.models with its size, or pod-start.download: \
             {{size: 7GiB}}"
        );
        return wrong("spec.environment.pod-start.load.rate", message);
    }
    for fault in &plan.faults {
        let (DisturbanceKind::SlowStorage { prefix, .. } | DisturbanceKind::StorageFailure { prefix, .. }) =
            &fault.kind
        else {
            continue;
        };
        let place = format!("{}:{}: fault {}", plan.scenario.path.display(), fault.line, fault.kind.name());
        let mut struck = uris.iter().filter(|uri| uri.starts_with(prefix.as_str())).peekable();
        // What lies on the nodes is not downloaded: the fault is without effect, and says so when it strikes.
        if struck.peek().is_some() && struck.clone().all(|uri| environment.is_local(uri)) {
            continue;
        }
        if !struck.any(|uri| !environment.is_local(uri) && environment.model_size(uri).is_some()) {
            let message = format!(
                "no pod downloads a model of known size from {prefix:?}, so nothing would happen; write the size of \
                 the models, as pod-start.download: {{size: 7GiB}} or in environment.models"
            );
            return wrong(&place, message);
        }
        let is_slow = matches!(fault.kind, DisturbanceKind::SlowStorage { .. });
        let related =
            |known: &String| known.starts_with(prefix.as_str()) || prefix.starts_with(known.as_str());
        if is_slow && !environment.bandwidth.storage.keys().any(related) {
            let message = format!(
                "the bandwidth of {prefix:?} has no limit that could be divided; write one in \
                 environment.bandwidth.storage"
            );
            return wrong(&place, message);
        }
    }
    Ok(())
}

/// Whether all models below a prefix of storage URIs lie on the nodes already.
pub(crate) fn is_all_local(plan: &Plan, prefix: &str) -> bool {
    let uris = uris_of(&plan.services);
    uris.iter().filter(|uri| uri.starts_with(prefix)).all(|uri| plan.environment.is_local(uri))
}

/// Where the models of all versions come from, as far as they are not inside of their images.
fn uris_of(services: &[ServicePlan]) -> BTreeSet<&str> {
    let mut uris = BTreeSet::new();
    for version in services.iter().flat_map(|service| &service.versions) {
        let deployments = version.standard.iter().flat_map(|standard| standard.deployments());
        uris.extend(deployments.map(|deployment| deployment.revision.storage_uri.as_str()));
        uris.insert(version.storage_uri.as_str());
    }
    uris.remove("");
    uris
}

pub(crate) fn pools_of(nodes: &Nodes) -> Vec<Pool> {
    let pool = |pool: &windtunnel_scenario::Pool| Pool {
        least: pool.least,
        most: pool.most,
        gpus: pool.gpus,
        gpu_memory: pool.gpu_memory.get(),
        price_micro_per_hour: (pool.price.as_per_hour() * 1e6).round() as u64,
        bandwidth_bits: pool.bandwidth.map(windtunnel_scenario::Bandwidth::as_bits_per_s),
        zone: pool.zone.clone(),
        ..Pool::new(&pool.name, pool.count, pool.cpu_milli, pool.memory.get())
    };
    nodes.pools.iter().map(pool).collect()
}

fn scheduling_of(nodes: &Nodes) -> Scheduling {
    match nodes.scheduling {
        Named::Spread => Scheduling::Spread,
        Named::Pack => Scheduling::Pack,
    }
}

fn autoscaler_of(nodes: &Nodes) -> Option<AutoscalerSettings> {
    nodes.autoscaler.map(|autoscaler| AutoscalerSettings {
        scan_ns: autoscaler.scan.as_ns(),
        provisioning_ns: autoscaler.provisioning.as_ns(),
        idle_ns: autoscaler.idle.as_ns(),
        ..AutoscalerSettings::default()
    })
}

/// Prefixes that a fault names and that are only a part of a storage service, or none that has a limit.
fn gates_of(plan: &Plan) -> Vec<(String, u64)> {
    let storage = &plan.environment.bandwidth.storage;
    let mut gates: Vec<(String, u64)> = Vec::new();
    for fault in &plan.faults {
        let (DisturbanceKind::SlowStorage { prefix, .. } | DisturbanceKind::StorageFailure { prefix, .. }) =
            &fault.kind
        else {
            continue;
        };
        let prefix: &String = prefix;
        if storage.contains_key(prefix) || gates.iter().any(|(known, _)| known == prefix) {
            continue;
        }
        let around = storage.iter().filter(|(known, _)| prefix.starts_with(known.as_str()));
        let widest = around.max_by_key(|(known, _)| known.len());
        let bits_per_s = widest.map_or(MOST_BITS_PER_S, |(_, bandwidth)| bandwidth.as_bits_per_s());
        gates.push((prefix.clone(), bits_per_s));
    }
    gates
}
