//! Whole clusters: Deployments that are reached, updated, scaled; and what is left when a cluster ends.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Endpoints, Node, Pod, ServiceAccount},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use windtunnel_cluster::{ClusterError, EmbeddedCluster};

use crate::flight::{
    Flight, addresses, get, is_ready, options, phase, processes, shell, web_deployment, within,
};

/// If this fails nothing that is deployed can be reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_comes_up_and_is_reached_through_its_endpoints() {
    let flight = Flight::start().await;
    web_deployment(&flight, 2, json!({})).await;
    let addresses = flight.until_ready("web", 2).await;
    assert_ne!(addresses[0], addresses[1], "each pod has an address of its own and the same port");
    for address in &addresses {
        assert!(address.ends_with(":8080"), "{address}");
        assert!(get(address, "/").await.expect("an answer").starts_with("HTTP/1.0 200 OK"));
    }
    let available = |deployment: &Deployment| {
        deployment.status.as_ref().and_then(|status| status.available_replicas) == Some(2)
    };
    flight.until("web", available).await;
    flight.cluster.stop().await;
}

/// If this fails an update interrupts the service.
#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_never_drops_below_what_must_be_available() {
    let flight = Flight::start().await;
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    web_deployment(&flight, 2, strategy).await;
    let before = flight.until_ready("web", 2).await;
    let config = watcher::Config::default().fields("metadata.name=web");
    let mut versions =
        std::pin::pin!(watcher(flight.api::<Endpoints>(), config).default_backoff().applied_objects());
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}});
    let deployments = flight.api::<Deployment>();
    deployments.patch("web", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("patched");
    let replaced = async {
        while let Some(version) = versions.next().await {
            let now = addresses(&version.expect("a watch"));
            assert!(now.len() >= 2, "only {now:?} ready during the update");
            if now.len() == 2 && now.iter().all(|address| !before.contains(address)) {
                return;
            }
        }
    };
    within(replaced, "both pods to be replaced").await;
    let done = |deployment: &Deployment| {
        let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut progress = conditions.filter(|condition| condition.type_ == "Progressing");
        progress.any(|condition| condition.reason.as_deref() == Some("NewReplicaSetAvailable"))
            && deployment.status.as_ref().and_then(|status| status.replicas) == Some(2)
    };
    let deployment = flight.until("web", done).await;
    let revision =
        deployment.metadata.annotations.as_ref().map(|all| all["deployment.kubernetes.io/revision"].clone());
    assert_eq!(revision.as_deref(), Some("2"));
    flight.cluster.stop().await;
}

/// If this fails a service that is scaled to zero goes on using the machine, or does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn scaling_to_zero_ends_the_processes_and_scaling_up_starts_new_ones() {
    let flight = Flight::start().await;
    web_deployment(&flight, 1, json!({})).await;
    flight.until_ready("web", 1).await;
    let scale = async |replicas: u32| {
        let patch = json!({"spec": {"replicas": replicas}});
        let api = flight.api::<Deployment>();
        api.patch("web", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("scaled");
    };
    scale(0).await;
    let pods = flight.api::<Pod>().list(&ListParams::default()).await.expect("pods");
    for pod in pods {
        flight.until_gone::<Pod>(&pod.metadata.name.unwrap_or_default()).await;
    }
    assert_eq!(flight.processes(), [0_u32; 0]);
    assert_eq!(flight.until_ready("web", 0).await, [""; 0]);
    scale(1).await;
    let address = flight.until_ready("web", 1).await.remove(0);
    assert!(get(&address, "/").await.is_ok());
    flight.cluster.stop().await;
}

/// If this fails stopping a cluster leaves processes or files behind.
#[tokio::test(flavor = "multi_thread")]
async fn stopping_leaves_no_process_and_no_file() {
    let flight = Flight::start().await;
    let containers = json!([
        shell("polite", "exec sleep 1000"),
        shell("stubborn", "trap '' TERM; sleep 1000 & wait; wait"),
        shell("crashing", "exit 1"),
    ]);
    flight.pod("p", json!({"containers": containers})).await;
    flight
        .pod("q", json!({"initContainers": [shell("i", "sleep 1000")], "containers": [shell("c", "true")]}))
        .await;
    web_deployment(&flight, 1, json!({})).await;
    flight.until("p", |pod: &Pod| phase(pod) == "Running").await;
    flight.until_ready("web", 1).await;
    let directory = flight.folder.path().join("cluster");
    assert!(directory.join("kubeconfig").exists());
    flight.cluster.stop().await;
    assert_eq!(processes(&flight.token), [0_u32; 0]);
    assert!(!directory.exists());
}

/// If this fails a panic or an early return leaves servers running.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_cluster_kills_its_processes_and_frees_its_folder() {
    let flight = Flight::start().await;
    let lifeline = Lifeline::new(flight.folder.path());
    flight.pod("p", json!({"containers": [Lifeline::container(&lifeline.path)]})).await;
    flight.until("p", is_ready).await;
    let directory = flight.folder.path().join("cluster");
    let second = EmbeddedCluster::start(options(directory.clone(), &flight.token)).await;
    assert!(matches!(second, Err(ClusterError::DirectoryInUse { .. })), "{second:?}");
    drop(flight.cluster);
    lifeline.ended(&flight.token).await;
    let again = EmbeddedCluster::start(options(directory, &flight.token)).await.expect("a cluster");
    again.stop().await;
}

/// If this fails a program that is killed with SIGKILL leaves servers running for ever.
#[tokio::test]
async fn nothing_outlives_a_program_that_is_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = format!("killed-{}", folder.path().display());
    let lifeline = Lifeline::new(folder.path());
    let mut program = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "clusters::a_program_with_a_cluster", "--ignored", "--nocapture"])
        .env("CLUSTER_DIRECTORY", folder.path().join("cluster"))
        .env("CLUSTER_TOKEN", &token)
        .env("CLUSTER_LIFELINE", &lifeline.path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a program");
    let lines = BufReader::new(program.stdout.take().expect("its output")).lines();
    let is_up = lines.map_while(Result::ok).any(|line| line.contains("cluster is up"));
    assert!(is_up && processes(&token).len() >= 3, "{:?}", processes(&token));
    program.kill().expect("killed");
    program.wait().expect("ended");
    lifeline.ended(&token).await;
}

/// Not a test of its own: what `nothing_outlives_a_program_that_is_killed` kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a program for another test"]
async fn a_program_with_a_cluster() {
    let Ok(directory) = std::env::var("CLUSTER_DIRECTORY") else { return };
    let token = std::env::var("CLUSTER_TOKEN").unwrap_or_default();
    let cluster = EmbeddedCluster::start(options(directory.clone().into(), &token)).await.expect("a cluster");
    // It has no time to remove it, so it lies in a folder of the other test.
    let folder = tempfile::tempdir_in(format!("{directory}/..")).expect("a temporary folder");
    let flight = Flight { cluster, folder, token };
    let lifeline = std::env::var("CLUSTER_LIFELINE").unwrap_or_default();
    let container = Lifeline::container(Path::new(&lifeline));
    flight.pod("p", json!({"containers": [container]})).await;
    flight.until("p", is_ready).await;
    println!("cluster is up");
    std::future::pending::<()>().await;
}

/// A pipe that containers hold open: it ends when the last process that has it has ended.
struct Lifeline {
    path: PathBuf,
    ended: oneshot::Receiver<()>,
}

impl Lifeline {
    fn new(folder: &Path) -> Self {
        let path = folder.join("lifeline");
        let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        let (sender, ended) = oneshot::channel();
        let pipe = path.clone();
        std::thread::spawn(move || {
            let read = std::fs::File::open(pipe).and_then(|mut pipe| pipe.read_to_end(&mut Vec::new()));
            // Who waited in vain has said so.
            let _ = read.map(|_| sender.send(()));
        });
        Self { path, ended }
    }

    /// A container that holds the pipe, ignores SIGTERM and has children; ready when all that is so.
    fn container(path: &Path) -> Value {
        let hold = format!("exec 9> {}; trap '' TERM; sleep 1000 & sleep 1000 &", path.display());
        let mut container = shell("c", &format!("{hold} echo up > /dev/termination-log; wait; wait"));
        let command = ["grep", "up", "/dev/termination-log"];
        container["readinessProbe"] = json!({"exec": {"command": command}, "periodSeconds": 1});
        container
    }

    async fn ended(self, token: &str) {
        within(self.ended, "all processes to end").await.expect("the pipe");
        assert_eq!(processes(token), [0_u32; 0]);
    }
}

/// If this fails kubectl and others find no node, no context or no service account.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_has_a_node_a_kubeconfig_and_service_accounts() {
    let flight = Flight::start().await;
    let node = Api::<Node>::all(flight.cluster.client())
        .get(windtunnel_cluster::node::NODE_NAME)
        .await
        .expect("a node");
    let status = node.status.expect("a status");
    assert!(
        status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    );
    assert!(status.allocatable.is_some_and(|amounts| amounts.contains_key("cpu")));
    flight.until("default", |_: &ServiceAccount| true).await;
    let kubeconfig = kube::config::Kubeconfig::read_from(flight.cluster.kubeconfig()).expect("a kubeconfig");
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await;
    let client = kube::Client::try_from(config.expect("a configuration")).expect("a client");
    let nodes = Api::<Node>::all(client).list(&ListParams::default()).await.expect("nodes over the socket");
    assert_eq!(nodes.items.len(), 1);
    flight.cluster.stop().await;
}

/// If this fails two developers, or two CI jobs, on one machine disturb each other.
#[tokio::test(flavor = "multi_thread")]
async fn clusters_run_side_by_side() {
    let (one, two) = (Flight::start().await, Flight::start().await);
    web_deployment(&one, 1, json!({})).await;
    web_deployment(&two, 1, json!({})).await;
    let (first, second) = (one.until_ready("web", 1).await, two.until_ready("web", 1).await);
    assert_ne!(first, second);
    one.cluster.stop().await;
    assert!(get(&second[0], "/").await.is_ok(), "the other goes on");
    two.cluster.stop().await;
}
