//! Watches of all kinds, as one stream of changes.

use std::collections::BTreeSet;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Pod, Service as CoreService};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use windtunnel_api::knative::{Configuration, Revision, Route, Service, names as knative};
use windtunnel_api::kserve::config::CONFIG_NAMESPACE;
use windtunnel_api::kserve::{ClusterServingRuntime, InferenceService, ServingRuntime, names as kserve};

use crate::install::KNATIVE_NAMESPACE;
use crate::world::{Kept, Kind, Object, ObjectKey};

/// A change on the API server.
pub(super) enum Change {
    /// An object is there, or is another now.
    Applied(Box<Object>),
    /// An object is gone.
    Deleted(Kind, ObjectKey),
    /// These are all objects of the kind (in the namespace): others are gone.
    Listed {
        /// The kind.
        kind: Kind,
        /// The namespace that was listed; all when absent.
        namespace: Option<String>,
        /// What is there.
        keys: BTreeSet<ObjectKey>,
    },
}

/// Starts a watch for every kind. They end when the receiver is dropped or the set is shut down.
pub(super) fn start(client: &Client, changes: &Sender<Change>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let config = watcher::Config::default;
    everywhere::<InferenceService>(&mut tasks, client, changes, config());
    everywhere::<ServingRuntime>(&mut tasks, client, changes, config());
    everywhere::<ClusterServingRuntime>(&mut tasks, client, changes, config());
    everywhere::<Service>(&mut tasks, client, changes, config());
    everywhere::<Configuration>(&mut tasks, client, changes, config());
    everywhere::<Revision>(&mut tasks, client, changes, config());
    everywhere::<Route>(&mut tasks, client, changes, config());
    everywhere::<Deployment>(&mut tasks, client, changes, config().labels(knative::REVISION));
    everywhere::<CoreService>(&mut tasks, client, changes, config().labels(knative::REVISION));
    everywhere::<Endpoints>(&mut tasks, client, changes, config());
    everywhere::<Pod>(&mut tasks, client, changes, config().labels(kserve::INFERENCE_SERVICE_LABEL));
    for namespace in [CONFIG_NAMESPACE, KNATIVE_NAMESPACE] {
        let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        tasks.spawn(follow(api, config(), Some(namespace.to_owned()), changes.clone()));
    }
    tasks
}

fn everywhere<K: Kept>(
    tasks: &mut JoinSet<()>,
    client: &Client,
    changes: &Sender<Change>,
    config: watcher::Config,
) {
    tasks.spawn(follow(Api::<K>::all(client.clone()), config, None, changes.clone()));
}

async fn follow<K: Kept>(
    api: Api<K>,
    config: watcher::Config,
    namespace: Option<String>,
    changes: Sender<Change>,
) {
    let mut events = std::pin::pin!(watch(api, config).default_backoff());
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed.insert(ObjectKey::of(&object));
                Change::Applied(Box::new(object.wrap()))
            }
            Ok(Event::InitDone) => Change::Listed {
                kind: K::KIND,
                namespace: namespace.clone(),
                keys: std::mem::take(&mut listed),
            },
            Ok(Event::Apply(object)) => Change::Applied(Box::new(object.wrap())),
            Ok(Event::Delete(object)) => Change::Deleted(K::KIND, ObjectKey::of(&object)),
            Err(error) => {
                tracing::warn!(kind = ?K::KIND, %error, "a watch was interrupted and goes on");
                continue;
            }
        };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}
