//! The running controllers on the embedded API server. The test plays kubelet: it writes the Endpoints.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use windtunnel_api::knative::{Revision, Route};
use windtunnel_api::kserve::{InferenceService, InferenceServiceStatus};
use windtunnel_control_plane::{ControlPlane, Options};
use windtunnel_gateway::Gateway;

use crate::digits;
use crate::platform::Platform;
use crate::wait::until;

const FIRST: &str = "digits-predictor-00001";
const SECOND: &str = "digits-predictor-00002";

/// API server, gateway and control plane.
struct Stage {
    client: Client,
    gateway: Gateway,
    control_plane: ControlPlane,
}

impl Stage {
    async fn start() -> Self {
        let platform = Platform::new().await;
        let gateway = Gateway::bind("127.0.0.1:0".parse().unwrap(), windtunnel_gateway::Options::default())
            .await
            .unwrap();
        let options = Options { install: false, ..Options::default() };
        let control_plane = ControlPlane::start(platform.controllers(), gateway.handle(), options)
            .await
            .expect("a control plane");
        let client = platform.client;
        Self { client, gateway, control_plane }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Waits for the revision's Deployment and makes one pod of it ready, at the address.
    async fn kubelet(&self, revision: &str, address: SocketAddr) {
        let deployments = self.api::<Deployment>();
        until(deployments, &format!("{revision}-deployment"), "a Deployment", |_| true).await;
        let endpoints: Endpoints = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": format!("{revision}-private"), "namespace": "default"},
            "subsets": [{"addresses": [{"ip": address.ip()}], "ports": [{"port": address.port()}]}],
        }))
        .unwrap();
        self.api::<Endpoints>().create(&PostParams::default(), &endpoints).await.expect("Endpoints");
    }

    async fn ready(&self) -> InferenceServiceStatus {
        let is_ready = |service: &InferenceService| {
            service.status.as_ref().is_some_and(InferenceServiceStatus::is_ready)
        };
        until(self.api::<InferenceService>(), "digits", "a ready InferenceService", is_ready)
            .await
            .status
            .unwrap()
    }

    /// Sends a request through the gateway and returns the revision that answered.
    async fn ask(&self, host: &str) -> String {
        let mut stream = TcpStream::connect(self.gateway.address()).await.expect("a connection");
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let header = answer.lines().find_map(|line| line.strip_prefix("x-windtunnel-revision: "));
        header.expect("the revision's header").to_owned()
    }

    async fn stop(self) {
        self.control_plane.stop().await;
        self.gateway.shutdown().await;
    }
}

/// A pod that answers everything with 200, until the set is dropped.
async fn stub(pods: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    pods.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// Nothing would be served on a real cluster, however right the pure functions are.
#[tokio::test]
async fn from_apply_to_ready_and_a_canary() {
    let stage = Stage::start().await;
    let mut pods = JoinSet::new();
    let services = stage.api::<InferenceService>();
    services.create(&PostParams::default(), &digits("v1", json!({}))).await.expect("an InferenceService");
    stage.kubelet(FIRST, stub(&mut pods).await).await;
    let status = stage.ready().await;
    assert_eq!(status.url.as_deref(), Some("http://digits-default.example.com"));
    let revision =
        |status: &InferenceServiceStatus| status.predictor().unwrap().latest_rolledout_revision.clone();
    assert_eq!(revision(&status).as_deref(), Some(FIRST));

    let canary = json!({"spec": {"predictor": {
        "canaryTrafficPercent": 10, "model": {"storageUri": "s3://models/digits/v2"},
    }}});
    services.patch("digits", &PatchParams::default(), &Patch::Merge(&canary)).await.expect("a patch");
    stage.kubelet(SECOND, stub(&mut pods).await).await;
    let split = |route: &Route| {
        let traffic = route.status.iter().flat_map(|status| &status.traffic);
        let mut shares: Vec<_> =
            traffic.map(|t| (t.revision_name.clone().unwrap(), t.percent.unwrap())).collect();
        shares.sort();
        shares == [(FIRST.to_owned(), 90), (SECOND.to_owned(), 10)]
    };
    until(stage.api::<Route>(), "digits-predictor", "a split of 90 to 10", split).await;
    let status = stage.ready().await;
    assert_eq!(revision(&status).as_deref(), Some(FIRST));

    let mut answers = BTreeMap::new();
    for _ in 0..20 {
        *answers.entry(stage.ask("digits-default.example.com").await).or_insert(0) += 1;
    }
    assert!((17..=19).contains(&answers[FIRST]) && (1..=3).contains(&answers[SECOND]), "{answers:?}");

    let events = stage.api::<Event>().list(&ListParams::default()).await.expect("events");
    assert!(events.iter().any(|event| event.reason.as_deref() == Some("InferenceServiceReady")));
    stage.stop().await;
}

/// An invalid service must be refused in the words that users of KServe know.
#[tokio::test]
async fn invalid_services_are_refused_by_the_webhook() {
    let stage = Stage::start().await;
    let invalid = digits("v1", json!({"minReplicas": 3, "maxReplicas": 1}));
    let refused = stage.api::<InferenceService>().create(&PostParams::default(), &invalid).await;
    let Err(kube::Error::Api(answer)) = refused else { panic!("{refused:?}") };
    assert_eq!(
        answer.message,
        "admission webhook \"inferenceservice.kserve-webhook-server.validator\" denied the request: 'MinReplicas' cannot be greater than MaxReplicas"
    );
    stage.stop().await;
}

/// Controllers that answer their own writes for ever would fill the event log and the machine.
#[tokio::test]
async fn a_ready_service_is_left_alone() {
    let stage = Stage::start().await;
    let services = stage.api::<InferenceService>();
    services.create(&PostParams::default(), &digits("v1", json!({"minReplicas": 1}))).await.expect("created");
    stage.kubelet(FIRST, "127.64.1.1:8080".parse().unwrap()).await;
    stage.ready().await;
    let before = services.get("digits").await.expect("the service").metadata.resource_version;
    // A change that concerns nobody makes every service be looked at again ...
    let note = json!({"metadata": {"annotations": {"note": "x"}}});
    let runtimes = Api::<windtunnel_api::kserve::ClusterServingRuntime>::all(stage.client.clone());
    runtimes
        .patch("windtunnel-onnxserver", &PatchParams::default(), &Patch::Merge(&note))
        .await
        .expect("patched");
    // ... and when a service that came later has been dealt with, so has the first.
    let mut marker = digits("v1", json!({"model": {"modelFormat": {"name": "nobody's"}}}));
    marker.metadata.name = Some("marker".to_owned());
    services.create(&PostParams::default(), &marker).await.expect("created");
    let seen = |service: &InferenceService| service.status.is_some();
    until(stage.api::<InferenceService>(), "marker", "a status", seen).await;
    let after = services.get("digits").await.expect("the service").metadata.resource_version;
    assert_eq!(before, after, "the service was written without a reason");
    stage.stop().await;
}

/// Pods of a model would start without it.
#[tokio::test]
async fn pods_are_mutated_on_creation() {
    let stage = Stage::start().await;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "labels": {"serving.kserve.io/inferenceservice": "digits"},
            "annotations": {"internal.serving.kserve.io/storage-initializer-sourceuri": "s3://m/v1"}},
        "spec": {"containers": [{"name": "kserve-container", "image": "x"}]},
    }))
    .unwrap();
    let created = stage.api::<Pod>().create(&PostParams::default(), &pod).await.expect("a pod");
    let initializers = created.spec.unwrap().init_containers.unwrap_or_default();
    assert_eq!(
        initializers[0].args.as_deref(),
        Some(&["s3://m/v1".to_owned(), "/mnt/models".to_owned()][..])
    );
    stage.stop().await;
}

/// Installing twice, or over what others have installed, must change nothing of theirs.
#[tokio::test]
async fn installing_leaves_what_is_there() {
    let stage = Stage::start().await;
    let maps =
        Api::<k8s_openapi::api::core::v1::ConfigMap>::namespaced(stage.client.clone(), "knative-serving");
    let theirs = json!({"data": {"scale-to-zero-grace-period": "7s"}});
    maps.patch("config-autoscaler", &PatchParams::default(), &Patch::Merge(&theirs)).await.expect("patched");
    windtunnel_control_plane::install::install(&stage.client, "other.example")
        .await
        .expect("installed again");
    let kept = maps.get("config-autoscaler").await.expect("the map");
    assert_eq!(kept.data.unwrap()["scale-to-zero-grace-period"], "7s");
    stage.stop().await;
}

/// Without the timer a rollout would stay where its last event left it: 1 percent, 51 after a second, all after two.
#[tokio::test]
async fn traffic_moves_on_by_itself_and_what_it_left_is_deleted() {
    let stage = Stage::start().await;
    let mut pods = JoinSet::new();
    let services = stage.api::<InferenceService>();
    let mut service = digits("v1", json!({"minReplicas": 1}));
    let duration = ("serving.knative.dev/rollout-duration".to_owned(), "3s".to_owned());
    service.metadata.annotations = Some([duration].into());
    services.create(&PostParams::default(), &service).await.expect("an InferenceService");
    stage.kubelet(FIRST, stub(&mut pods).await).await;
    stage.ready().await;

    let collect = json!({"data": {"min-non-active-revisions": "0", "max-non-active-revisions": "0"}});
    let maps = Api::<ConfigMap>::namespaced(stage.client.clone(), "knative-serving");
    maps.patch("config-gc", &PatchParams::default(), &Patch::Merge(&collect)).await.expect("patched");
    let update = json!({"spec": {"predictor": {"model": {"storageUri": "s3://models/digits/v2"}}}});
    services.patch("digits", &PatchParams::default(), &Patch::Merge(&update)).await.expect("a patch");
    stage.kubelet(SECOND, stub(&mut pods).await).await;
    let split = |wanted: &'static [(&'static str, i64)]| {
        move |route: &Route| {
            let traffic = route.status.iter().flat_map(|status| &status.traffic);
            traffic
                .map(|t| (t.revision_name.as_deref().unwrap(), t.percent.unwrap()))
                .eq(wanted.iter().copied())
        }
    };
    let routes = || stage.api::<Route>();
    until(routes(), "digits-predictor", "one percent", split(&[(FIRST, 99), (SECOND, 1)])).await;
    until(routes(), "digits-predictor", "a half", split(&[(FIRST, 49), (SECOND, 51)])).await;
    assert!(stage.api::<Revision>().get_opt(FIRST).await.expect("an answer").is_some(), "it still serves");
    until(routes(), "digits-predictor", "everything", split(&[(SECOND, 100)])).await;
    let gone =
        kube::runtime::wait::await_condition(stage.api::<Revision>(), FIRST, |found: Option<&Revision>| {
            found.is_none()
        });
    let gone = tokio::time::timeout(std::time::Duration::from_secs(20), gone).await;
    gone.expect("the first revision is not deleted").expect("a watch");
    assert_eq!(stage.ask("digits-default.example.com").await, SECOND);
    stage.stop().await;
}

/// A pod that answers only with a permit.
async fn slow_stub(pods: &mut JoinSet<()>, permits: &Arc<Semaphore>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let permits = Arc::clone(permits);
    pods.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let permits = Arc::clone(&permits);
            connections.spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    permits.acquire().await.expect("it stays open").forget();
                    if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

async fn answer(gateway: SocketAddr) -> String {
    let mut stream = TcpStream::connect(gateway).await.expect("a connection");
    let request = b"GET / HTTP/1.1\r\nhost: digits-default.example.com\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// What the autoscaler finds out about bursts would not reach the gateway: without an activator a pod of one request has a
/// queue of ten, and the twelfth request is refused instead of waiting.
#[tokio::test]
async fn the_activator_leaves_the_path_of_a_revision_with_pods() {
    let stage = Stage::start().await;
    let (mut pods, permits) = (JoinSet::new(), Arc::new(Semaphore::new(0)));
    let settings = json!({"minReplicas": 1, "maxReplicas": 1, "containerConcurrency": 1});
    let mut service = digits("v1", settings);
    let capacity = ("autoscaling.knative.dev/target-burst-capacity".to_owned(), "0".to_owned());
    service.metadata.annotations = Some([capacity].into());
    stage.api::<InferenceService>().create(&PostParams::default(), &service).await.expect("created");
    stage.kubelet(FIRST, slow_stub(&mut pods, &permits).await).await;
    stage.ready().await;
    let gateway = stage.gateway.address();
    let mut clients = JoinSet::new();
    for _ in 0..11 {
        clients.spawn(answer(gateway));
    }
    let refused = async {
        loop {
            // One that waits goes again: the autoscaler has not decided yet.
            let patience = std::time::Duration::from_millis(300);
            if let Ok(answer) = tokio::time::timeout(patience, answer(gateway)).await {
                return answer;
            }
        }
    };
    let refused = tokio::time::timeout(std::time::Duration::from_secs(20), refused).await;
    let refused = refused.expect("the activator still holds every request after 20 s");
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("10"), "{refused}");
    permits.add_permits(1000);
    while let Some(answer) = clients.join_next().await {
        assert!(answer.expect("a client").starts_with("HTTP/1.1 200"));
    }
    stage.stop().await;
}
