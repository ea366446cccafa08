//! A cluster with a data directory, stopped and started again.

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Node, Pod},
};
use kube::{Api, Resource, api::ListParams};
use serde_json::json;
use windtunnel_apiserver::StorageError;
use windtunnel_cluster::{ClusterError, EmbeddedCluster, Options};

use crate::flight::{Flight, NAMESPACE, get, options, web_deployment, within};

/// How long a stopped cluster may hold its store.
const RELEASE: Duration = Duration::from_secs(20);

/// Starts as soon as the store of the cluster before is free.
async fn start_again(make: impl Fn() -> Options) -> EmbeddedCluster {
    let deadline = Instant::now() + RELEASE;
    loop {
        match EmbeddedCluster::start(make()).await {
            Err(ClusterError::Storage(StorageError::InUse { path })) => {
                assert!(Instant::now() < deadline, "{} is still in use", path.display());
                tokio::task::yield_now().await;
            }
            started => return started.expect("a cluster"),
        }
    }
}

fn uid<K: Resource>(object: &K) -> Option<String> {
    object.meta().uid.clone()
}

/// If this fails who stops a cluster for the night finds it empty, doubled or dead in the morning.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_where_it_was_stopped() {
    let kept = tempfile::tempdir().expect("a temporary folder");
    let data = kept.path().join("data");
    let flight = Flight::start_with(|options| options.data_directory = Some(data.clone())).await;
    flight.create::<ConfigMap>(json!({"metadata": {"name": "note"}, "data": {"k": "v"}})).await;
    web_deployment(&flight, 1, json!({})).await;
    let address = flight.until_ready("web", 1).await.remove(0);
    assert!(get(&address, "/").await.is_ok());
    let before: Deployment = flight.api().get("web").await.expect("the deployment");
    let note: ConfigMap = flight.api().get("note").await.expect("the config map");

    // While it runs nobody else may have the folder.
    let mut other = options(flight.folder.path().join("other"), &flight.token);
    other.data_directory = Some(data.clone());
    let refused = EmbeddedCluster::start(other).await;
    assert!(matches!(refused, Err(ClusterError::Storage(StorageError::InUse { .. }))), "{refused:?}");

    let Flight { cluster, folder, token } = flight;
    cluster.stop().await;
    let cluster = start_again(|| {
        let mut again = options(folder.path().join("again"), &token);
        again.data_directory = Some(data.clone());
        again
    })
    .await;
    let flight = Flight { cluster, folder, token };
    let found: ConfigMap = flight.api().get("note").await.expect("the config map");
    assert_eq!((uid(&found), found.data), (uid(&note), note.data));
    // Addresses of another life are in the Endpoints until the pod has its new one.
    let answers = async {
        loop {
            let address = flight.until_ready("web", 1).await.remove(0);
            if get(&address, "/").await.is_ok_and(|answer| answer.starts_with("HTTP/1.0 200")) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(answers, "the deployment to answer again").await;
    let after: Deployment = flight
        .until("web", |deployment: &Deployment| {
            deployment.status.as_ref().is_some_and(|status| status.ready_replicas == Some(1))
        })
        .await;
    assert_eq!(uid(&after), uid(&before));
    let nodes = Api::<Node>::all(flight.cluster.client()).list(&ListParams::default()).await.expect("nodes");
    let names: Vec<_> = nodes.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
    assert_eq!(names, ["windtunnel"]);
    let pods = Api::<Pod>::namespaced(flight.cluster.client(), NAMESPACE);
    let pods = pods.list(&ListParams::default()).await.expect("pods");
    assert_eq!(pods.items.len(), 1, "{:?}", pods.items);
    flight.cluster.stop().await;
}
