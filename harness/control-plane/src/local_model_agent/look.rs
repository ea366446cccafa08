//! One look of the agent: what there is, what follows, and doing it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use windtunnel_api::kserve::config::{CONFIG_MAP, CONFIG_NAMESPACE};
use windtunnel_api::kserve::local_models::{
    AgentInputs, AgentPlan, Disk, MODELS_FOLDER, NODE_LABEL, agent, folder_of,
};
use windtunnel_api::kserve::pod::Surroundings;
use windtunnel_api::kserve::{
    ClusterStorageContainer, KserveConfig, LocalModelInfo, LocalModelNode, LocalModelNodeGroup,
};

use super::{Options, disk};
use crate::effect::Effect;
use crate::world::ObjectKey;

/// How often folders are looked at when the configuration does not say.
const EVERY_S: i64 = 60;

/// The storage secret when the configuration names none.
const STORAGE_SECRET: &str = "storage-config";

/// What a look came to.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Where the jobs are; absent while no node has a list.
    pub(super) jobs_namespace: Option<String>,
    /// When to look again although nothing changes.
    pub(super) again: Option<Duration>,
}

/// An agent between two looks.
pub(super) struct Agent {
    client: Client,
    options: Options,
    /// Folders of groups that are or were there: models of a group that is gone are still on its disk.
    disks: Mutex<BTreeSet<Disk>>,
}

/// Secrets and service accounts by name.
#[derive(Default)]
struct Credentials {
    secrets: BTreeMap<String, Secret>,
    accounts: BTreeMap<String, ServiceAccount>,
}

impl Agent {
    pub(super) fn new(client: Client, options: Options) -> Self {
        Self { client, options, disks: Mutex::default() }
    }

    /// Looks after all nodes once.
    ///
    /// # Errors
    /// What could not be read or written, in words.
    pub(super) async fn look(&self) -> Result<Looked, String> {
        let nodes = self.lists().await?;
        if nodes.is_empty() {
            return Ok(Looked::default());
        }
        let config = self.config().await?;
        let namespace = config.local_model.job_namespace.clone();
        let groups = self.all::<LocalModelNodeGroup>().await?;
        let containers = self.all::<ClusterStorageContainer>().await?;
        let jobs: Vec<Job> = self.jobs(&namespace).await?;
        let places: BTreeMap<String, Disk> = groups
            .iter()
            .filter_map(|group| Some((group.name_any(), self.disk(folder_of(group))?)))
            .collect();
        let folders = disk::folders(self.remembered(places.values())).await?;
        let credentials = self.credentials(&nodes, &config).await?;
        let disk = |info: &LocalModelInfo| match &self.options.mount {
            Some(_) => self.disk(None),
            None => places.get(info.node_group.as_deref()?).cloned(),
        };
        let secret = |_: &str, name: &str| credentials.secrets.get(name).cloned();
        let service_account = |_: &str, name: &str| credentials.accounts.get(name).cloned();
        for node in &nodes {
            let others = nodes.iter().filter(|other| other.name_any() != node.name_any());
            let neighbours: Vec<_> = others.flat_map(|other| other.spec.local_models.clone()).collect();
            let around = Surroundings {
                secret: &secret,
                service_account: &service_account,
                storage_containers: &containers,
                service: None,
            };
            let plan = agent(&AgentInputs {
                node,
                config: &config,
                jobs: &jobs,
                around,
                disk: &disk,
                folders: &folders,
                neighbours: &neighbours,
            });
            self.carry_out(node, &namespace, plan).await?;
        }
        let every = config.local_model.reconcilation_frequency_in_secs.unwrap_or(EVERY_S).max(1);
        let again = Some(Duration::from_secs(every.unsigned_abs()));
        Ok(Looked { jobs_namespace: Some(namespace), again })
    }

    /// The lists of the nodes that this agent looks after.
    async fn lists(&self) -> Result<Vec<LocalModelNode>, String> {
        let Some(name) = &self.options.node else { return self.all().await };
        let api = Api::<LocalModelNode>::all(self.client.clone());
        let found = api.get_opt(name).await.map_err(|error| format!("LocalModelNode {name}: {error}"))?;
        Ok(found.into_iter().collect())
    }

    async fn config(&self) -> Result<KserveConfig, String> {
        let place = format!("ConfigMap {CONFIG_NAMESPACE}/{CONFIG_MAP}");
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), CONFIG_NAMESPACE);
        let found = api.get(CONFIG_MAP).await.map_err(|error| format!("{place}: {error}"))?;
        KserveConfig::from_config_map(&found.data.unwrap_or_default())
            .map_err(|fault| format!("{place}: {fault}"))
    }

    /// All objects of a kind of the cluster.
    async fn all<K>(&self) -> Result<Vec<K>, String>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let listed = Api::<K>::all(self.client.clone()).list(&ListParams::default()).await;
        listed.map(|list| list.items).map_err(|error| format!("listing {}: {error}", K::plural(&())))
    }

    async fn jobs(&self, namespace: &str) -> Result<Vec<Job>, String> {
        let label = match &self.options.node {
            Some(node) => format!("{NODE_LABEL}={node}"),
            None => NODE_LABEL.to_owned(),
        };
        let api = Api::<Job>::namespaced(self.client.clone(), namespace);
        let listed = api.list(&ListParams::default().labels(&label)).await;
        listed.map(|list| list.items).map_err(|error| format!("listing jobs in {namespace}: {error}"))
    }

    /// Where the models of a group's volume are for this agent.
    fn disk(&self, folder: Option<String>) -> Option<Disk> {
        let mount = self.options.mount.as_ref().map(|mount| mount.display().to_string());
        mount.or(folder).map(|folder| format!("{}/{MODELS_FOLDER}", folder.trim_end_matches('/')))
    }

    /// These disks and all that were seen before.
    fn remembered<'a>(&self, disks: impl Iterator<Item = &'a Disk>) -> Vec<Disk> {
        let mut known = self.disks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.extend(disks.cloned());
        known.extend(self.options.mount.as_ref().and_then(|_| self.disk(None)));
        known.iter().cloned().collect()
    }

    /// What the downloads that may have to start need: the service accounts that their models name with the secrets of
    /// these, and the storage secret.
    async fn credentials(
        &self,
        nodes: &[LocalModelNode],
        config: &KserveConfig,
    ) -> Result<Credentials, String> {
        let namespace = config.local_model.job_namespace.as_str();
        let mut found = Credentials::default();
        let is_there = |node: &LocalModelNode, info: &LocalModelInfo| {
            let state = node.status.as_ref().and_then(|status| status.model_status.get(&info.status_key()));
            state.is_some_and(|state| state == "ModelDownloaded")
        };
        let models = nodes
            .iter()
            .flat_map(|node| node.spec.local_models.iter().filter(move |info| !is_there(node, info)));
        let mut accounts = BTreeSet::new();
        let mut secrets = BTreeSet::new();
        for model in models {
            if model.storage.as_ref().is_some_and(|storage| storage.key.is_some()) {
                let named = &config.credentials.storage_spec_secret_name;
                secrets.insert(if named.is_empty() { STORAGE_SECRET.to_owned() } else { named.clone() });
            } else if model.storage.is_some() || model.service_account_name.is_some() {
                let named = model.service_account_name.clone().filter(|name| !name.is_empty());
                accounts.insert(named.unwrap_or_else(|| "default".to_owned()));
            }
        }
        for name in accounts {
            let Some(account) = self.find::<ServiceAccount>(namespace, &name).await? else { continue };
            secrets.extend(account.secrets.iter().flatten().filter_map(|secret| secret.name.clone()));
            found.accounts.insert(name, account);
        }
        for name in secrets {
            if let Some(secret) = self.find::<Secret>(namespace, &name).await? {
                found.secrets.insert(name, secret);
            }
        }
        Ok(found)
    }

    async fn find<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await;
        found.map_err(|error| format!("{} {namespace}/{name}: {error}", K::kind(&())))
    }

    /// Does what was decided: jobs go before folders, so that none writes into a folder that is being removed.
    async fn carry_out(&self, node: &LocalModelNode, namespace: &str, plan: AgentPlan) -> Result<(), String> {
        let name = node.name_any();
        for fault in &plan.faults {
            tracing::warn!(node = name, fault, "a model can't be downloaded as wanted");
        }
        let jobs = Api::<Job>::namespaced(self.client.clone(), namespace);
        for job in plan.delete_jobs {
            match jobs.delete(&job, &DeleteParams::background()).await {
                Err(kube::Error::Api(answer)) if answer.code == 404 => {}
                deleted => drop(deleted.map_err(|error| format!("deleting job {namespace}/{job}: {error}"))?),
            }
        }
        for job in plan.jobs {
            let model = job.metadata.generate_name.clone().unwrap_or_default();
            let made = jobs.create(&PostParams::default(), &job).await;
            let made = made.map_err(|error| format!("creating a job {namespace}/{model}…: {error}"))?;
            tracing::info!(node = name, job = made.name_any(), "a model is downloaded");
        }
        let key = ObjectKey::new("", &name);
        let change = Effect::status::<LocalModelNode, _>(&key, node.status.as_ref(), &plan.status);
        if let Some(Effect::Patch { patch, .. }) = change {
            let lists = Api::<LocalModelNode>::all(self.client.clone());
            let written = lists.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
            written.map_err(|error| format!("status of LocalModelNode {name}: {error}"))?;
        }
        disk::remove(plan.remove_folders).await
    }
}
