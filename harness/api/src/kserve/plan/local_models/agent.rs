//! What the agent of a node does: it starts downloads of the models that the node should have, tells how they are getting
//! on, and removes the folders of models that the node should not have any more.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use kube::ResourceExt;

use super::super::super::config::KserveConfig;
use super::super::super::local_model::{LocalModelInfo, LocalModelNode, LocalModelNodeStatus, storage_key};
use super::super::super::pod::Surroundings;
use super::job::{MODEL_LABEL, MODEL_NAMESPACE_LABEL, NODE_LABEL, download_job, model_state, sub_path};

const DOWNLOADED: &str = "ModelDownloaded";
const ERROR: &str = "ModelDownloadError";
/// Jobs of a model whose folder does not come into being; more would be no use.
const MOST_FRUITLESS_JOBS: usize = 2;

/// The folders of models on one disk, by name, and whether there is anything in them.
pub type Folders = BTreeMap<String, bool>;

/// The models' folder of a disk, as a path of whoever looks at it.
pub type Disk = String;

/// What an agent looks at.
#[derive(Clone)]
pub struct AgentInputs<'a> {
    /// The node's list, as stored.
    pub node: &'a LocalModelNode,
    /// The ConfigMap `inferenceservice-config`.
    pub config: &'a KserveConfig,
    /// Jobs in their namespace; those of other nodes are passed over.
    pub jobs: &'a [Job],
    /// ClusterStorageContainers for downloads, and what credentials are made of.
    pub around: Surroundings<'a>,
    /// The disk that a model of a group of nodes is on; `None` where nobody can look.
    pub disk: &'a dyn Fn(&LocalModelInfo) -> Option<Disk>,
    /// The disks of the node, with their folders.
    pub folders: &'a BTreeMap<Disk, Folders>,
    /// Models of other nodes that are kept on the same disks.
    pub neighbours: &'a [LocalModelInfo],
}

impl std::fmt::Debug for AgentInputs<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AgentInputs")
            .field("node", &self.node)
            .field("jobs", &self.jobs)
            .field("folders", &self.folders)
            .field("neighbours", &self.neighbours)
            .finish_non_exhaustive()
    }
}

/// What an agent does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentPlan {
    /// Names of jobs to delete, with their pods: the node should not have their models any more.
    pub delete_jobs: Vec<String>,
    /// Jobs to create.
    pub jobs: Vec<Job>,
    /// The wanted status of the node's list. The jobs to create are in it as if they were there.
    pub status: LocalModelNodeStatus,
    /// Folders to remove, each with its disk.
    pub remove_folders: Vec<(Disk, String)>,
    /// What is wrong, for the log.
    pub faults: Vec<String>,
}

/// Decides for a node.
///
/// A model is looked for on its disk first: a folder with files that was completely downloaded before needs no job. Else
/// the newest job tells. A job is created if there is none, or if the folder is gone after the last one has succeeded. A
/// failed job is not repeated: it has tried again itself (`backoffLimit`); who deletes it, or its time to live, starts the
/// next. Models of one URI share a folder and its download.
///
/// Upstream says that a model is downloaded when its jobs have succeeded and its folder is not there: here that is an error.
#[must_use]
pub fn agent(inputs: &AgentInputs<'_>) -> AgentPlan {
    let mut plan = AgentPlan::default();
    let name = inputs.node.name_any();
    let models = &inputs.node.spec.local_models;
    let of_node: Vec<&Job> = inputs
        .jobs
        .iter()
        .filter(|job| job.metadata.deletion_timestamp.is_none())
        .filter(|job| job.labels().get(NODE_LABEL) == Some(&name) && job.labels().contains_key(MODEL_LABEL))
        .collect();
    let unwanted = of_node.iter().filter(|job| !models.iter().any(|model| downloads(job, model)));
    plan.delete_jobs = unwanted.map(|job| job.name_any()).collect();
    let mut shared: BTreeMap<(Option<Disk>, String), &'static str> = BTreeMap::new();
    for model in models {
        let disk = (inputs.disk)(model);
        let folder = (disk, storage_key(&model.source_model_uri));
        let state = match shared.get(&folder) {
            Some(state) => *state,
            None => {
                let jobs: Vec<&Job> = of_node.iter().copied().filter(|job| downloads(job, model)).collect();
                let state = plan.look_after(inputs, model, folder.0.as_ref(), &jobs);
                shared.insert(folder, state);
                state
            }
        };
        plan.status.model_status.insert(model.status_key(), state.to_owned());
    }
    let wanted: BTreeSet<(Option<Disk>, String)> = models
        .iter()
        .chain(inputs.neighbours)
        .map(|model| ((inputs.disk)(model), storage_key(&model.source_model_uri)))
        .collect();
    for (disk, folders) in inputs.folders {
        let unwanted = folders.keys().filter(|folder| is_storage_key(folder));
        let unwanted = unwanted.filter(|folder| !wanted.contains(&(Some(disk.clone()), (*folder).clone())));
        plan.remove_folders.extend(unwanted.map(|folder| (disk.clone(), folder.clone())));
    }
    plan
}

impl AgentPlan {
    /// Sees to it that the model is there; returns its state.
    fn look_after(
        &mut self,
        inputs: &AgentInputs<'_>,
        model: &LocalModelInfo,
        disk: Option<&Disk>,
        jobs: &[&Job],
    ) -> &'static str {
        let key = model.status_key();
        let folders = disk.and_then(|disk| inputs.folders.get(disk));
        // An empty folder is what a pod's mount leaves behind when the model is gone.
        let is_there = disk.is_none()
            || folders
                .is_some_and(|folders| folders.get(&storage_key(&model.source_model_uri)) == Some(&true));
        let known = inputs.node.status.as_ref().and_then(|status| status.model_status.get(&key));
        let was_downloaded = known.is_some_and(|state| state == DOWNLOADED);
        if is_there && was_downloaded {
            return DOWNLOADED;
        }
        // Times are whole seconds: of two jobs of one second, that which is still at work is the newer one.
        let is_at_work = |job: &Job| !matches!(state_of(job), DOWNLOADED | ERROR);
        let newest = jobs.iter().max_by_key(|job| (job.creation_timestamp(), is_at_work(job)));
        let state = newest.map(|job| state_of(job));
        let has_succeeded = state == Some(DOWNLOADED);
        match state {
            Some(state) if is_there || !has_succeeded => state,
            Some(_) if jobs.len() >= MOST_FRUITLESS_JOBS && !was_downloaded => {
                self.faults.push(format!(
                    "model {key}: {} downloads have succeeded and there is no folder {} on this node; do the agent and \
                     the volumes of the group {} look at the same folder?",
                    jobs.len(),
                    sub_path(&model.source_model_uri),
                    model.node_group.as_deref().unwrap_or_default()
                ));
                ERROR
            }
            None | Some(_) => {
                let (job, fault) = download_job(model, inputs.node, inputs.config, &inputs.around);
                self.faults.extend(fault.map(|fault| format!("credentials of model {key}: {fault}")));
                self.jobs.push(job);
                "ModelDownloadPending"
            }
        }
    }
}

/// Whether a job of the node downloads this model: the cache's, and the same URI, which a cache of the same name that was
/// there before need not have had.
fn downloads(job: &Job, model: &LocalModelInfo) -> bool {
    let label = |key: &str| job.labels().get(key).map(String::as_str);
    let namespace = |namespace: Option<&str>| namespace.unwrap_or_default().to_owned();
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let mounts = pod.into_iter().flat_map(|pod| &pod.containers);
    let mut mounts = mounts.flat_map(|container| container.volume_mounts.iter().flatten());
    let folder = sub_path(&model.source_model_uri);
    label(MODEL_LABEL) == Some(&model.model_name)
        && namespace(label(MODEL_NAMESPACE_LABEL)) == namespace(model.namespace.as_deref())
        && mounts.any(|mount| mount.sub_path.as_ref() == Some(&folder))
}

fn state_of(job: &Job) -> &'static str {
    model_state(job.status.as_ref().unwrap_or(&JobStatus::default()))
}

/// Whether a folder's name is one that [`storage_key`] makes. Upstream removes every folder that it does not know.
fn is_storage_key(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
