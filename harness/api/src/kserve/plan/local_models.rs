//! LocalModelCaches: the volumes that hold a model on the nodes of its groups, what each node should have, the jobs that
//! download, and the status.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{
    Container, Node, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, PersistentVolumeSpec, PodSecurityContext,
    PodSpec, PodTemplateSpec, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use serde_json::Value;

use super::super::config::KserveConfig;
use super::super::inference_service::InferenceService;
use super::super::local_model::{
    LocalModelCache, LocalModelCacheStatus, LocalModelCopies, LocalModelInfo, LocalModelNode,
    LocalModelNodeGroup, NamespacedName, storage_key,
};
use super::super::names;
use super::super::pod::CLAIM_VOLUME;
use super::super::storage_container::{ClusterStorageContainer, WorkloadType};

/// Label of a service with the name of the cache that its model is in.
pub const LOCAL_MODEL_LABEL: &str = "internal.serving.kserve.io/localmodel";
/// Annotation of a service with the group of nodes that it runs on.
pub const NODE_GROUP: &str = "serving.kserve.io/nodegroup";
/// Finalizer of a LocalModelCache.
pub const FINALIZER: &str = "localmodel.kserve.io/finalizer";
/// Name of the container that downloads.
const DOWNLOAD_CONTAINER: &str = "kserve-localmodel-download";

/// What a cache's plan is made of.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The cache, as stored.
    pub cache: &'a LocalModelCache,
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
    /// What nodes must have in `spec.localModels`, by node: exactly one entry of this name and namespace.
    pub on_nodes: BTreeMap<String, LocalModelInfo>,
    /// The wanted status.
    pub status: LocalModelCacheStatus,
    /// Groups that the cache names and that are not there: nothing is done for them.
    pub missing_groups: Vec<String>,
}

/// Plans a cache. Volumes and claims that the cache controls and that are not in the plan any more can go: no service of
/// their namespace uses the model.
#[must_use]
pub fn plan(inputs: &Inputs<'_>) -> Plan {
    let cache = inputs.cache;
    let name = cache.name_any();
    let owner = crate::owner::reference(cache);
    let mut plan = Plan { status: cache.status.clone().unwrap_or_default(), ..Plan::default() };
    let mut groups: Vec<&LocalModelNodeGroup> = Vec::new();
    for wanted in &cache.spec.node_groups {
        match inputs.groups.iter().copied().find(|group| group.name_any() == *wanted) {
            Some(group) => groups.push(group),
            None => plan.missing_groups.push(wanted.clone()),
        }
    }
    let mut states = BTreeMap::new();
    for group in &groups {
        let info = LocalModelInfo {
            source_model_uri: cache.spec.source_model_uri.clone(),
            model_name: name.clone(),
            namespace: None,
            node_group: Some(group.name_any()),
            service_account_name: cache.spec.service_account_name.clone(),
            storage: cache.spec.storage.clone(),
        };
        let volume = volume_spec(group);
        for node in
            inputs.nodes.iter().filter(|node| volume.as_ref().is_some_and(|volume| belongs(node, volume)))
        {
            let node_name = node.name_any();
            if !is_ready(node) {
                // What the node had before it was lost is still the best that is known.
                let known = plan.status.node_status.get(&node_name).cloned();
                states.entry(node_name).or_insert_with(|| known.unwrap_or_else(|| "NodeNotReady".to_owned()));
                continue;
            }
            let observed =
                inputs.model_nodes.iter().copied().find(|model_node| model_node.name_any() == node_name);
            let state = observed
                .and_then(|node| node.status.as_ref()?.model_status.get(&info.status_key()))
                .map_or("NodeDownloadPending", |state| node_state(state));
            states.insert(node_name.clone(), state.to_owned());
            plan.on_nodes.insert(node_name, info.clone());
        }
        let claim = format!("{name}-{}", group.name_any());
        let jobs = &inputs.config.local_model.job_namespace;
        pair(&mut plan, group, format!("{claim}-download"), &claim, jobs, owner.as_ref());
    }
    let count = |wanted: &str| {
        states.values().filter(|state| *state == wanted).count().try_into().unwrap_or(i64::MAX)
    };
    plan.status.copies = Some(LocalModelCopies {
        available: count("NodeDownloaded"),
        total: states.len().try_into().unwrap_or(i64::MAX),
        failed: count("NodeDownloadError"),
    });
    plan.status.node_status = states;
    if inputs.config.local_model.disable_volume_management {
        return plan;
    }
    let mut used = BTreeSet::new();
    let mut places = BTreeSet::new();
    for service in &inputs.services {
        if service.labels().get(LOCAL_MODEL_LABEL) != Some(&name) {
            continue;
        }
        used.insert(NamespacedName {
            namespace: service.namespace().to_owned(),
            name: service.name().to_owned(),
        });
        let asked = service.annotation(NODE_GROUP);
        let index = match asked {
            Some(asked) => groups.iter().position(|group| group.name_any() == asked),
            None => (!groups.is_empty()).then_some(0),
        };
        places.extend(index.map(|index| (service.namespace().to_owned(), index)));
    }
    for (namespace, index) in places {
        let claim = format!("{name}-{}", groups[index].name_any());
        pair(&mut plan, groups[index], format!("{claim}-{namespace}"), &claim, &namespace, owner.as_ref());
    }
    plan.status.inference_services = used.into_iter().collect();
    plan
}

/// A volume and the claim that is bound to it.
fn pair(
    plan: &mut Plan,
    group: &LocalModelNodeGroup,
    volume: String,
    claim: &str,
    namespace: &str,
    owner: Option<&OwnerReference>,
) {
    let owner_references = owner.map(|owner| vec![owner.clone()]);
    let claim_spec: Option<PersistentVolumeClaimSpec> =
        serde_json::from_value(group.spec.persistent_volume_claim_spec.clone()).ok();
    plan.volumes.push(PersistentVolume {
        metadata: ObjectMeta {
            name: Some(volume.clone()),
            owner_references: owner_references.clone(),
            ..ObjectMeta::default()
        },
        spec: volume_spec(group),
        status: None,
    });
    plan.claims.push(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(claim.to_owned()),
            namespace: Some(namespace.to_owned()),
            owner_references,
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec { volume_name: Some(volume), ..claim_spec.unwrap_or_default() }),
        status: None,
    });
}

fn volume_spec(group: &LocalModelNodeGroup) -> Option<PersistentVolumeSpec> {
    serde_json::from_value(group.spec.persistent_volume_spec.clone()).ok()
}

fn node_state(model_state: &str) -> &'static str {
    match model_state {
        "ModelDownloading" => "NodeDownloading",
        "ModelDownloadError" => "NodeDownloadError",
        "ModelDownloaded" => "NodeDownloaded",
        _ => "NodeDownloadPending",
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether the volume can be on the node: one term of its required affinity matches, or it has none.
fn belongs(node: &Node, volume: &PersistentVolumeSpec) -> bool {
    let required = volume.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|required| required.node_selector_terms.iter().any(|term| matches(node, term)))
}

fn matches(node: &Node, term: &NodeSelectorTerm) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = node.name_any();
    // A term without conditions matches nothing.
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|one| holds(one, node.labels().get(&one.key).map(String::as_str)))
        && fields.iter().all(|one| one.key == "metadata.name" && holds(one, Some(&name)))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || value.is_some_and(|value| values.iter().any(|known| known == value));
    let compared = |wanted: fn(&i64, &i64) -> bool| {
        let own = value.and_then(|value| value.parse().ok());
        let bound = values.first().and_then(|bound| bound.parse().ok());
        own.zip(bound).is_some_and(|(own, bound)| wanted(&own, &bound))
    };
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(i64::gt),
        "Lt" => compared(i64::lt),
        _ => false,
    }
}

/// The job that downloads a model to a node (it has a generated name, so it is created and not applied). Credentials are
/// the pod webhook's.
#[must_use]
pub fn download_job(
    info: &LocalModelInfo,
    node: &LocalModelNode,
    storage_containers: &[ClusterStorageContainer],
    config: &KserveConfig,
) -> Job {
    let settings = &config.local_model;
    let group = info.node_group.as_deref().unwrap_or_default();
    let mut claim = format!("{}-{group}", info.model_name);
    let mut labels =
        BTreeMap::from([("model".to_owned(), info.model_name.clone()), ("node".to_owned(), node.name_any())]);
    if let Some(namespace) = info.namespace.as_ref().filter(|namespace| !namespace.is_empty()) {
        claim = format!("{claim}-{namespace}-download");
        labels.insert("modelNamespace".to_owned(), namespace.clone());
    }
    let special = storage_containers.iter().find(|container| {
        !container.is_disabled()
            && container.spec.workload_type.0 == WorkloadType::LOCAL_MODEL_DOWNLOAD_JOB
            && container.spec.supports(&info.source_model_uri) == Ok(true)
    });
    let special: Option<Container> = special.and_then(|container| {
        serde_json::from_value::<Container>(Value::clone(&container.spec.container)).ok()
    });
    let base = special.unwrap_or_else(|| Container {
        name: DOWNLOAD_CONTAINER.to_owned(),
        image: Some(config.storage_initializer.image.clone()).filter(|image| !image.is_empty()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    });
    let container = Container {
        args: Some(vec![info.source_model_uri.clone(), names::MODEL_MOUNT_PATH.to_owned()]),
        volume_mounts: Some(vec![VolumeMount {
            name: CLAIM_VOLUME.to_owned(),
            mount_path: names::MODEL_MOUNT_PATH.to_owned(),
            sub_path: Some(format!("models/{}", storage_key(&info.source_model_uri))),
            ..VolumeMount::default()
        }]),
        ..base
    };
    let pod = PodSpec {
        node_selector: Some(BTreeMap::from([("kubernetes.io/hostname".to_owned(), node.name_any())])),
        containers: vec![container],
        restart_policy: Some("Never".to_owned()),
        volumes: Some(vec![Volume {
            name: CLAIM_VOLUME.to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim,
                read_only: None,
            }),
            ..Volume::default()
        }]),
        security_context: Some(PodSecurityContext {
            fs_group: settings.fs_group,
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    };
    Job {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-{}", info.model_name, node.name_any())),
            namespace: Some(settings.job_namespace.clone()),
            labels: Some(labels),
            owner_references: crate::owner::references(node),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            ttl_seconds_after_finished: settings.job_ttl_seconds_after_finished.or(Some(3600)),
            template: PodTemplateSpec { metadata: None, spec: Some(pod) },
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// A model's state on a node, from its newest download job.
#[must_use]
pub fn model_state(job: &JobStatus) -> &'static str {
    let some = |count: Option<i32>| count.unwrap_or(0) > 0;
    if some(job.succeeded) {
        "ModelDownloaded"
    } else if some(job.failed) {
        "ModelDownloadError"
    } else if some(job.ready) {
        "ModelDownloading"
    } else {
        "ModelDownloadPending"
    }
}
