//! The node: pods as processes of this machine.
//!
//! Each pod has a worker with the tasks of its containers. Decisions are pure and public: [`status`] (what the API
//! is told), [`backoff`], [`probe`] (what answers mean), [`images`], [`expansion`] and [`environment`] (what a process
//! sees).
//!
//! # How a pod ends
//! 1. A deletion sets `deletionTimestamp`; the Endpoints controller takes the pod's address out, and the node marks
//!    the pod as not ready.
//! 2. The node waits until no Endpoints object has the address any more (at most 500 ms) and 50 ms more, for routers
//!    to take the change in. A pod that was not ready, or that no Service selects, is not held up.
//! 3. preStop hooks, SIGTERM to the process groups, SIGKILL when the grace (counted from the deletion) is over.
//! 4. The last status is written, the object is removed, then the pod's folder.
//!
//! # What this node does not do
//! Processor limits are not enforced, and there are no network namespaces: a
//! server that binds 0.0.0.0 takes its port on all pod addresses. Without mount namespaces (see [`Isolation`]) paths are
//! rewritten instead of mounted, read-only mounts can be written to, and programs must ask the name server themselves.

mod addresses;
pub mod backoff;
mod container;
mod dns;
pub mod environment;
pub mod expansion;
mod grpc_probe;
mod https_probe;
pub mod images;
mod isolation;
mod kubelet;
mod lifecycle;
mod log_reader;
mod logs;
mod machine;
mod memory;
mod names;
pub mod probe;
mod process;
pub mod record;
mod registry;
mod rootfs;
mod sandbox;
mod service_proxy;
pub mod service_variables;
mod sources;
pub mod status;
mod terminal;
mod udp_proxy;
mod usage;
mod volumes;
mod warden;
mod worker;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

pub use container::AGGRESSIVE_PROBE_ANNOTATION;
pub use isolation::{Isolation, Tools};
pub use machine::{NODE_NAME, node, node_names};
pub use process::Launch;

pub(crate) use addresses::PodNetwork;
pub(crate) use dns::NameServer;
pub(crate) use kubelet::NodeKubelet;
pub(crate) use machine::capacity;
pub(crate) use names::HostsFiles;
pub(crate) use process::Processes;
pub(crate) use registry::Registry;
pub(crate) use usage::Meter;

use crate::{
    adapter::{Executor, Recorder, Store},
    controllers::pods,
    directory::Directory,
    world::Key,
};
use worker::Update;

/// Component name in events.
pub(crate) const COMPONENT: &str = "kubelet";
/// Variables of this program's environment that processes get too: what programs of this machine need to run at all.
const INHERITED: [&str; 8] =
    ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"];
/// Pods that have ended whose logs are kept.
const RETIRED_LOGS: usize = 64;

/// What all pods of the node share.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) store: Arc<Store>,
    pub(crate) executor: Executor,
    pub(crate) recorder: Recorder,
    pub(crate) images: images::Images,
    pub(crate) network: PodNetwork,
    pub(crate) processes: Arc<Processes>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) inherited: BTreeMap<String, String>,
    pub(crate) capacity: (i128, i128),
    /// Where pods reach the API server.
    pub(crate) server_address: SocketAddr,
    pub(crate) isolation: Isolation,
    pub(crate) registry: Registry,
    pub(crate) hosts: HostsFiles,
    /// Where the cluster's name server is asked.
    pub(crate) name_server: Option<SocketAddr>,
    /// Ends all pods.
    pub(crate) stop: CancellationToken,
    /// What containers use.
    pub(crate) usage: Arc<Meter>,
    pub(crate) retired_logs: Mutex<VecDeque<PathBuf>>,
}

impl Context {
    fn pod_folder(&self, uid: &str) -> PathBuf {
        self.directory.path().join("pods").join(uid)
    }

    fn log_folder(&self, key: &Key, uid: &str) -> PathBuf {
        self.directory.path().join("logs").join(format!("{}_{}_{uid}", key.namespace, key.name))
    }

    /// Keeps the logs of a pod that has ended for a while: until so many others have ended.
    fn retire_logs(&self, key: &Key, uid: &str) {
        let mut retired = self.retired_logs.lock().unwrap_or_else(PoisonError::into_inner);
        retired.push_back(self.log_folder(key, uid));
        while retired.len() > RETIRED_LOGS
            && let Some(oldest) = retired.pop_front()
        {
            // Nothing was logged by a pod that never started.
            let _ = std::fs::remove_dir_all(oldest);
        }
    }
}

/// The part of this program's environment that processes get.
pub(crate) fn inherited() -> BTreeMap<String, String> {
    INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}

struct Worker {
    uid: String,
    task: Id,
    updates: watch::Sender<Update>,
}

/// Runs the pods that are bound to this node, until the node stops and all its processes have ended.
pub(crate) async fn run(context: Arc<Context>) {
    let mut workers: HashMap<Key, Worker> = HashMap::new();
    let mut tasks: JoinSet<()> = JoinSet::new();
    let queue = context.store.node.clone();
    loop {
        let key = tokio::select! {
            biased;
            () = context.stop.cancelled() => break,
            Some(ended) = tasks.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => {
                        tracing::error!(%error, "a pod's worker failed");
                        error.id()
                    }
                };
                let key = workers.iter().find(|(_, worker)| worker.task == id).map(|(key, _)| key.clone());
                let Some(key) = key else { continue };
                workers.remove(&key);
                key
            }
            key = queue.next() => key,
        };
        look_at(&context, &key, &mut workers, &mut tasks);
    }
    while tasks.join_next().await.is_some() {}
}

/// Serves the addresses and names of Services until the node stops.
pub(crate) async fn run_services(context: Arc<Context>) {
    service_proxy::run(context).await;
}

/// Answers questions about names until the node stops.
pub(crate) async fn run_names(context: Arc<Context>, server: NameServer) {
    server.run(context).await;
}

fn look_at(context: &Arc<Context>, key: &Key, workers: &mut HashMap<Key, Worker>, tasks: &mut JoinSet<()>) {
    let is_ours = |pod: &Arc<Pod>| {
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(machine::is_ours)
    };
    let pod = context.store.read(|world| world.pods.get(key).filter(|pod| is_ours(pod)).cloned());
    if let Some(worker) = workers.get(key) {
        let same = pod.filter(|pod| pod.metadata.uid.as_deref() == Some(worker.uid.as_str()));
        worker.updates.send_modify(|update| match same {
            Some(pod) => update.pod = pod,
            None => update.is_gone = true,
        });
        return;
    }
    let Some(pod) = pod else { return };
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    if pods::is_terminating(&pod) || pods::is_finished(&pod) {
        // It never ran here or has ended: all that is left is to let it go.
        if pods::is_terminating(&pod) {
            let (context, key) = (context.clone(), key.clone());
            tasks.spawn(async move {
                if let Err(error) = context.executor.remove_pod(&key, &uid).await {
                    tracing::debug!(%error, pod = %key, "a pod was not removed");
                }
            });
        }
        return;
    }
    let (updates, receiver) = watch::channel(Update { pod, is_gone: false });
    let task = tasks.spawn(worker::run(context.clone(), receiver)).id();
    workers.insert(key.clone(), Worker { uid, task, updates });
}
