//! Caches of models on nodes (LocalModelCache, LocalModelNamespaceCache), as pure functions: the volumes and the status of
//! a cache ([`plan`]), the models that a node should have ([`models_of_node`]), and what the agent of a node does about
//! them ([`agent`]).
//!
//! The rules are those of upstream's controllers (`pkg/controller/v1alpha1/{localmodel,localmodelnode}`).
//!
//! | object | name, for a cache `C` of group `G` (and namespace `N`) |
//! | --- | --- |
//! | claim in a namespace with services | `C-G` |
//! | its volume | `C-G-{namespace}` |
//! | claim for downloads, in the namespace of the jobs | `C-G`, of a namespace's cache `C-G-N-download` |
//! | its volume | `C-G-download`, of a namespace's cache `C-G-N-download` |
//! | folder on the volume | `models/` and the first 16 digits of the URI's SHA-256 |

mod affinity;
mod agent;
mod cache;
mod job;
mod node;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::super::config::KserveConfig;
use super::super::inference_service::InferenceService;
use super::super::local_model::{
    LocalModelCacheStatus, LocalModelCopies, LocalModelNode, LocalModelNodeGroup, NamespacedName,
};

pub use affinity::{belongs, is_ready};
pub use agent::{AgentInputs, AgentPlan, Disk, Folders, agent};
pub use cache::{Cache, OWNER};
pub use job::{MODEL_LABEL, MODEL_NAMESPACE_LABEL, NODE_LABEL, download_job, model_state};
pub use node::{NodeInputs, models_of_node};

/// Annotation of a service with the group of nodes that it runs on.
pub const NODE_GROUP: &str = "serving.kserve.io/nodegroup";
/// Folder of a volume that holds the models.
pub const MODELS_FOLDER: &str = "models";

/// What a cache's plan is made of.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The cache, as stored.
    pub cache: Cache<'a>,
    /// The ConfigMap `inferenceservice-config`.
    pub config: &'a KserveConfig,
    /// Groups of nodes; those that the cache does not name are passed over.
    pub groups: Vec<&'a LocalModelNodeGroup>,
    /// Nodes of the cluster.
    pub nodes: Vec<&'a Node>,
    /// What nodes have.
    pub model_nodes: Vec<&'a LocalModelNode>,
    /// InferenceServices of all namespaces.
    pub services: Vec<&'a InferenceService>,
}

/// What to do for a cache.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Volumes, one a group for downloads and one a group and namespace for services.
    pub volumes: Vec<PersistentVolume>,
    /// Claims, in the namespace of the jobs and in those of the services.
    pub claims: Vec<PersistentVolumeClaim>,
    /// Whether volumes and claims of the cache that are not in the plan are to be deleted: no service of their namespace
    /// uses the model any more. `false` where somebody else looks after volumes, or a group is not there.
    pub prune: bool,
    /// The wanted status.
    pub status: LocalModelCacheStatus,
    /// Groups that the cache names and that are not there: what is there of them stays, nothing else is done.
    pub missing_groups: Vec<String>,
}

/// Plans a cache.
#[must_use]
pub fn plan(inputs: &Inputs<'_>) -> Plan {
    let cache = inputs.cache;
    let (groups, missing_groups) = groups_of(cache, &inputs.groups);
    let settings = &inputs.config.local_model;
    let mut plan = Plan {
        prune: !settings.disable_volume_management && missing_groups.is_empty(),
        status: cache.status().cloned().unwrap_or_default(),
        missing_groups,
        ..Plan::default()
    };
    let states = node_states(inputs, &groups, !plan.missing_groups.is_empty());
    let count = |wanted: &str| {
        states.values().filter(|state| *state == wanted).count().try_into().unwrap_or(i64::MAX)
    };
    plan.status.copies = Some(LocalModelCopies {
        available: count("NodeDownloaded"),
        total: states.len().try_into().unwrap_or(i64::MAX),
        failed: count("NodeDownloadError"),
    });
    plan.status.node_status = states;
    for group in &groups {
        let name = group.name_any();
        let claim = cache.download_claim(&name);
        plan.add(cache, group, cache.download_volume(&name), &claim, &settings.job_namespace);
    }
    if settings.disable_volume_management {
        return plan;
    }
    let mut users = BTreeSet::new();
    let mut places = BTreeSet::new();
    for service in inputs.services.iter().filter(|service| cache.is_used_by(service)) {
        let namespace = service.namespace().to_owned();
        users.insert(NamespacedName { namespace: namespace.clone(), name: service.name().to_owned() });
        let index = match service.annotation(NODE_GROUP) {
            Some(asked) => groups.iter().position(|group| group.name_any() == asked),
            None => (!groups.is_empty()).then_some(0),
        };
        places.extend(index.map(|index| (namespace, index)));
    }
    for (namespace, index) in places {
        let name = groups[index].name_any();
        let volume = cache.serving_volume(&name, &namespace);
        plan.add(cache, groups[index], volume, &cache.claim(&name), &namespace);
    }
    plan.status.inference_services = users.into_iter().collect();
    plan
}

/// The state of the model on the nodes of the groups. Nodes that are gone or left their group are left out, which upstream
/// keeps for ever.
fn node_states(
    inputs: &Inputs<'_>,
    groups: &[&LocalModelNodeGroup],
    has_missing: bool,
) -> BTreeMap<String, String> {
    let known = inputs.cache.status().map(|status| &status.node_status);
    let mut states = BTreeMap::new();
    for node in &inputs.nodes {
        let name = node.name_any();
        let before = known.and_then(|known| known.get(&name)).cloned();
        if !groups.iter().any(|group| node::has(group, node)) {
            // It may belong to the group that nobody knows.
            states.extend(before.filter(|_| has_missing).map(|before| (name, before)));
        } else if is_ready(node) {
            let found = inputs.model_nodes.iter().find(|found| found.name_any() == name);
            let status = found.and_then(|found| found.status.as_ref());
            let state = status.and_then(|status| status.model_status.get(&inputs.cache.status_key()));
            states.insert(name, node_state(state.map_or("", String::as_str)).to_owned());
        } else {
            // What the node had before it was lost is still the best that is known.
            states.insert(name, before.unwrap_or_else(|| "NodeNotReady".to_owned()));
        }
    }
    states
}

fn node_state(model_state: &str) -> &'static str {
    match model_state {
        "ModelDownloading" => "NodeDownloading",
        "ModelDownloadError" => "NodeDownloadError",
        "ModelDownloaded" => "NodeDownloaded",
        _ => "NodeDownloadPending",
    }
}

/// The groups of a cache in its order, and the names of those that are not there.
fn groups_of<'a>(
    cache: Cache<'_>,
    all: &[&'a LocalModelNodeGroup],
) -> (Vec<&'a LocalModelNodeGroup>, Vec<String>) {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for wanted in cache.node_groups() {
        match all.iter().copied().find(|group| group.name_any() == *wanted) {
            Some(group) => found.push(group),
            None => missing.push(wanted.clone()),
        }
    }
    (found, missing)
}

impl Plan {
    /// A volume and the claim that is bound to it.
    fn add(
        &mut self,
        cache: Cache<'_>,
        group: &LocalModelNodeGroup,
        volume: String,
        claim: &str,
        namespace: &str,
    ) {
        let claim_spec: Option<PersistentVolumeClaimSpec> =
            serde_json::from_value(group.spec.persistent_volume_claim_spec.clone()).ok();
        let metadata = |name: &str, namespace: Option<&str>| ObjectMeta {
            name: Some(name.to_owned()),
            namespace: namespace.map(str::to_owned),
            annotations: Some([(OWNER.to_owned(), cache.status_key())].into()),
            owner_references: cache.owner_of(namespace).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        self.volumes.push(PersistentVolume {
            metadata: metadata(&volume, None),
            spec: volume_spec(group),
            status: None,
        });
        self.claims.push(PersistentVolumeClaim {
            metadata: metadata(claim, Some(namespace)),
            spec: Some(PersistentVolumeClaimSpec {
                volume_name: Some(volume),
                ..claim_spec.unwrap_or_default()
            }),
            status: None,
        });
    }
}

fn volume_spec(group: &LocalModelNodeGroup) -> Option<PersistentVolumeSpec> {
    serde_json::from_value(group.spec.persistent_volume_spec.clone()).ok()
}

/// The folder of a node that a group's volumes are at; `None` where they are no folders of nodes.
#[must_use]
pub fn folder_of(group: &LocalModelNodeGroup) -> Option<String> {
    let spec = volume_spec(group)?;
    spec.host_path.map(|host| host.path).or_else(|| spec.local.map(|local| local.path))
}
