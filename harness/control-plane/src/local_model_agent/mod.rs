//! The agent of nodes that keep models: it looks at their disks and lists, and starts downloads, reports and removes
//! folders as [`windtunnel_api::kserve::local_models::agent`] decides.
//!
//! On a cluster of machines one agent runs on each node, as a DaemonSet with the group's folder at `/mnt/models`. On the
//! embedded cluster all nodes are this machine: one agent looks after all of them, at the volumes' own paths.
//!
//! The agent looks at everything anew each time: when a list, a job or the configuration changes, and every
//! `reconcilationFrequencyInSecs`, because folders don't tell when they go. Jobs are listed at the API server, so that a job
//! that was created a moment ago is never created again.
//!
//! What it needs: `get`, `list`, `watch` of localmodelnodes and `patch` of their `status`; `list` of localmodelnodegroups and
//! clusterstoragecontainers; `get`, `list`, `watch` of configmaps in KServe's namespace; and in the namespace of the jobs
//! `get`, `list`, `watch`, `create`, `delete` of jobs, `get` of secrets and serviceaccounts.

mod disk;
mod look;

use std::path::PathBuf;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windtunnel_api::kserve::LocalModelNode;
use windtunnel_api::kserve::config::{CONFIG_MAP, CONFIG_NAMESPACE};
use windtunnel_api::kserve::local_models::NODE_LABEL;

use look::Looked;

/// Wait before the first new try after a look that failed; doubles each time.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Longest wait before a new try.
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// Longest time for one look.
const LOOK_WITHIN: Duration = Duration::from_secs(60);

/// What an agent looks after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Name of its node; absent looks after all nodes, which then are all on this machine.
    pub node: Option<String>,
    /// Where the volumes of all groups are mounted; absent looks at the paths that the groups' volumes have.
    pub mount: Option<PathBuf>,
}

/// A running agent. It stops with [`LocalModelAgent::stop`] or when the value is dropped.
#[derive(Debug)]
pub struct LocalModelAgent {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl LocalModelAgent {
    /// Starts an agent.
    #[must_use]
    pub fn start(client: Client, options: Options) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(client, options, stop.clone()));
        Self { stop, task }
    }

    /// Stops the agent; the look that is under way is given up.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            tracing::error!(%error, "the local model agent's task failed");
        }
    }
}

impl Drop for LocalModelAgent {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn run(client: Client, options: Options, stop: CancellationToken) {
    let agent = look::Agent::new(client.clone(), options.clone());
    let mut lists = changes(
        Api::<LocalModelNode>::all(client.clone()),
        options
            .node
            .iter()
            .fold(watcher::Config::default(), |config, node| config.fields(&format!("metadata.name={node}"))),
    );
    let mut configured = changes(
        Api::<ConfigMap>::namespaced(client.clone(), CONFIG_NAMESPACE),
        watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}")),
    );
    // The namespace of the jobs is known when the configuration has been read.
    let mut jobs: (Option<String>, BoxStream<'static, ()>) = (None, futures::stream::pending().boxed());
    let mut failures = 0_u32;
    let mut due = Some(Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(()) = lists.next() => {}
            Some(()) = configured.next() => {}
            Some(()) = jobs.1.next() => {}
            () = sleep_until(due) => {}
        }
        let looked = tokio::select! {
            () = stop.cancelled() => return,
            looked = tokio::time::timeout(LOOK_WITHIN, agent.look()) => looked,
        };
        let failed = match looked {
            Ok(Ok(looked)) => {
                let Looked { jobs_namespace, again } = looked;
                if jobs.0 != jobs_namespace {
                    let watched = jobs_namespace.as_deref().map(|namespace| {
                        let label = options
                            .node
                            .as_ref()
                            .map_or(NODE_LABEL.to_owned(), |node| format!("{NODE_LABEL}={node}"));
                        let config = watcher::Config::default().labels(&label);
                        changes(Api::<Job>::namespaced(client.clone(), namespace), config)
                    });
                    jobs = (jobs_namespace, watched.unwrap_or_else(|| futures::stream::pending().boxed()));
                }
                failures = 0;
                due = again.map(|after| Instant::now() + after);
                continue;
            }
            Ok(Err(error)) => error,
            Err(_) => format!("no end within {} s", LOOK_WITHIN.as_secs()),
        };
        let wait = RETRY_FIRST.saturating_mul(1 << failures.min(16)).min(RETRY_LONGEST);
        failures += 1;
        tracing::warn!(error = failed, "the nodes' models could not be looked after; trying again");
        due = Some(Instant::now() + wait);
    }
}

/// A tick for each change; what has changed is found out by looking.
fn changes<K>(api: Api<K>, config: watcher::Config) -> BoxStream<'static, ()>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    bundled(watcher(api, config).default_backoff()).boxed()
}

/// The events of a watch without its interruptions; what has come together is one.
fn bundled<T: Send + 'static>(
    events: impl Stream<Item = Result<watcher::Event<T>, watcher::Error>> + Send + 'static,
) -> impl Stream<Item = ()> + Send + 'static {
    let told = events.filter(|event| {
        let is_change = matches!(
            event,
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone)
        );
        std::future::ready(is_change)
    });
    told.ready_chunks(256).map(|_| ())
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
