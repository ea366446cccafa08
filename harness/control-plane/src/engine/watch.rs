//! Watches of all kinds, as one stream of changes.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service as CoreService,
    ServiceAccount,
};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client};
use tokio::sync::mpsc::Sender;
use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use windtunnel_api::gateway_api::{Gateway, GatewayClass, HttpRoute};
use windtunnel_api::istio::VirtualService;
use windtunnel_api::keda::{ClusterTriggerAuthentication, ScaledObject, TriggerAuthentication};
use windtunnel_api::knative::{Configuration, Revision, Route, Service};
use windtunnel_api::kserve::config::CONFIG_NAMESPACE;
use windtunnel_api::kserve::plan::ca_bundle::GLOBAL_CA_BUNDLE;
use windtunnel_api::kserve::{
    ClusterServingRuntime, ClusterStorageContainer, InferenceGraph, InferenceService, LocalModelCache,
    LocalModelNamespaceCache, LocalModelNode, LocalModelNodeGroup, ServingRuntime, TrainedModel,
    names as kserve,
};
use windtunnel_api::opentelemetry::OpenTelemetryCollector;

use crate::install::KNATIVE_NAMESPACE;
use crate::world::{Kept, Kind, Object, ObjectKey};

/// A change on the API server.
pub(super) enum Change {
    /// An object is there, or is another now.
    Applied(Box<Object>),
    /// The API server serves a kind of others; or all is known of a kind that is not always watched.
    Served(Kind),
    /// A watch has told everything that was there when it began. Each does so once.
    Synced,
    /// An object is gone.
    Deleted(Kind, ObjectKey),
    /// These are all objects of the kind (in the namespace): others are gone.
    Listed {
        /// The kind.
        kind: Kind,
        /// Which of them were listed.
        part: Part,
        /// What is there.
        keys: BTreeSet<ObjectKey>,
    },
}

/// The objects of a kind that a watch is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    /// Those of a namespace; of all when absent.
    namespace: Option<&'static str>,
    /// Those of this name; of any when absent.
    name: Option<&'static str>,
}

impl Part {
    /// Whether an object is one of them.
    pub(super) fn has(&self, key: &ObjectKey) -> bool {
        self.namespace.is_none_or(|namespace| namespace == key.namespace)
            && self.name.is_none_or(|name| name == key.name)
    }
}

/// What some of the watches wait for.
pub(super) struct Wanted {
    /// There may be local models.
    pub(super) local_models: Receiver<bool>,
    /// There are copies of certificate authorities.
    pub(super) ca_bundles: Receiver<bool>,
}

/// Wait between two looks whether a kind is served that was not.
const SERVED_AGAIN: Duration = Duration::from_secs(5);

/// The same where the API server did not answer.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// Starts a watch for every kind. They end when the receiver is dropped or the set is shut down. What few need waits until it
/// is wanted.
pub(super) fn start(client: &Client, changes: &Sender<Change>, wanted: &Wanted) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let mut watches = Watches { tasks: &mut tasks, client, changes };
    watches.all::<InferenceService>();
    watches.all::<ServingRuntime>();
    watches.all::<ClusterServingRuntime>();
    watches.all::<Deployment>();
    watches.all::<CoreService>();
    watches.all::<Endpoints>();
    watches.all::<HorizontalPodAutoscaler>();
    watches.all::<Ingress>();
    watches.all::<IngressClass>();
    watches.all::<Secret>();
    watches.all::<ServiceAccount>();
    watches.all::<ClusterStorageContainer>();
    watches.all::<TrainedModel>();
    watches.all::<InferenceGraph>();
    watches.all::<LocalModelCache>();
    watches.all::<LocalModelNamespaceCache>();
    watches.all::<LocalModelNodeGroup>();
    watches.all::<LocalModelNode>();
    watches.when::<Node>(&wanted.local_models, Part::default());
    watches.when::<PersistentVolume>(&wanted.local_models, Part::default());
    watches.when::<PersistentVolumeClaim>(&wanted.local_models, Part::default());
    let copies = Part { name: Some(GLOBAL_CA_BUNDLE), ..Part::default() };
    watches.when::<ConfigMap>(&wanted.ca_bundles, copies);
    watches.labelled::<Pod>(kserve::INFERENCE_SERVICE_LABEL);
    watches.if_served::<Service>();
    watches.if_served::<Configuration>();
    watches.if_served::<Revision>();
    watches.if_served::<Route>();
    watches.if_served::<GatewayClass>();
    watches.if_served::<Gateway>();
    watches.if_served::<HttpRoute>();
    watches.if_served::<ScaledObject>();
    watches.if_served::<TriggerAuthentication>();
    watches.if_served::<ClusterTriggerAuthentication>();
    watches.if_served::<VirtualService>();
    watches.if_served::<OpenTelemetryCollector>();
    for namespace in [CONFIG_NAMESPACE, KNATIVE_NAMESPACE] {
        let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        tasks.spawn(follow(
            api,
            watcher::Config::default(),
            Part { namespace: Some(namespace), ..Part::default() },
            changes.clone(),
            Some(Change::Synced),
        ));
    }
    tasks
}

struct Watches<'a> {
    tasks: &'a mut JoinSet<()>,
    client: &'a Client,
    changes: &'a Sender<Change>,
}

impl Watches<'_> {
    fn all<K: Kept>(&mut self) {
        let api = Api::<K>::all(self.client.clone());
        self.tasks.spawn(follow(
            api,
            watcher::Config::default(),
            Part::default(),
            self.changes.clone(),
            Some(Change::Synced),
        ));
    }

    fn labelled<K: Kept>(&mut self, label: &str) {
        let api = Api::<K>::all(self.client.clone());
        let config = watcher::Config::default().labels(label);
        self.tasks.spawn(follow(api, config, Part::default(), self.changes.clone(), Some(Change::Synced)));
    }

    /// A kind of others: it may come later.
    fn if_served<K: Kept>(&mut self) {
        let api = Api::<K>::all(self.client.clone());
        let changes = self.changes.clone();
        self.tasks.spawn(async move {
            let one = ListParams::default().limit(1);
            let mut counted = false;
            while let Err(error) = api.list_metadata(&one).await {
                let code = if let kube::Error::Api(status) = &error { status.code } else { 0 };
                // An API server that does not answer may well have the kind.
                if !matches!(code, 403 | 404) {
                    tracing::warn!(kind = ?K::KIND, %error, "whether a kind is served is not known yet");
                    tokio::time::sleep(ASKED_AGAIN).await;
                    continue;
                }
                if code == 403 && !counted {
                    tracing::warn!(kind = ?K::KIND, %error, "a kind is left alone: its objects may not be listed");
                }
                // Nobody waits for a kind that may never come.
                if !std::mem::replace(&mut counted, true) && changes.send(Change::Synced).await.is_err() {
                    return;
                }
                tokio::time::sleep(SERVED_AGAIN).await;
            }
            if changes.send(Change::Served(K::KIND)).await.is_ok() {
                let first = (!counted).then_some(Change::Synced);
                follow(api, watcher::Config::default(), Part::default(), changes, first).await;
            }
        });
    }

    /// A kind, or its objects of one name, watched from the moment on at which it is wanted. Nobody waits for it: what needs
    /// it waits for [`Change::Served`], which comes when all these objects are known.
    fn when<K: Kept>(&mut self, wanted: &Receiver<bool>, part: Part) {
        let api = Api::<K>::all(self.client.clone());
        let (changes, mut wanted) = (self.changes.clone(), wanted.clone());
        self.tasks.spawn(async move {
            if changes.send(Change::Synced).await.is_ok() && wanted.wait_for(|wanted| *wanted).await.is_ok() {
                let config = part.name.iter().fold(watcher::Config::default(), |config, name| {
                    config.fields(&format!("metadata.name={name}"))
                });
                follow(api, config, part, changes, Some(Change::Served(K::KIND))).await;
            }
        });
    }
}

/// Tells of the objects of a kind, and what is to be told once when the first list is complete.
async fn follow<K: Kept>(
    api: Api<K>,
    config: watcher::Config,
    part: Part,
    changes: Sender<Change>,
    mut when_listed: Option<Change>,
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
            Ok(Event::InitDone) => Change::Listed { kind: K::KIND, part, keys: std::mem::take(&mut listed) },
            Ok(Event::Apply(object)) => Change::Applied(Box::new(object.wrap())),
            Ok(Event::Delete(object)) => Change::Deleted(K::KIND, ObjectKey::of(&object)),
            Err(error) => {
                tracing::warn!(kind = ?K::KIND, %error, "a watch was interrupted and goes on");
                continue;
            }
        };
        let listed_all = matches!(change, Change::Listed { .. });
        if changes.send(change).await.is_err() {
            return;
        }
        if listed_all
            && let Some(told) = when_listed.take()
            && changes.send(told).await.is_err()
        {
            return;
        }
    }
}
