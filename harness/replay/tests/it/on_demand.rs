//! Scaling by requests in the Standard mode on the embedded platform: a service of real processes goes from zero to one answer,
//! to several replicas under load, and back to zero, and no request is lost on the way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use windtunnel_api::condition;
use windtunnel_api::kserve::InferenceService;
use windtunnel_cluster::Image;
use windtunnel_replay::{EmbeddedStack, StackOptions};

const HOST: &str = "m-default.example.com";
/// Longest wait for anything; starts of processes on a busy machine take seconds.
const DEADLINE: Duration = Duration::from_secs(90);
/// A server that says when its process began and when it listened, and takes its time below `/slow`.
const SERVER: &str = r#"
import http.server, json, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/slow"):
            time.sleep(0.3)
        body = json.dumps({"began_ns": int(os.environ["BEGAN_NS"]), "listens_ns": LISTENS_NS}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
server = Server((os.environ["POD_IP"], 8080), Handler)
LISTENS_NS = time.time_ns()
server.serve_forever()
"#;

struct Platform {
    stack: EmbeddedStack,
    _folder: tempfile::TempDir,
}

impl Platform {
    /// A platform with short windows and the ready service `m`; `None` without Python on the machine.
    async fn start(predictor: Value) -> Option<Self> {
        let has_python = std::process::Command::new("python3").arg("--version").output().is_ok();
        if !has_python {
            eprintln!("skipped: no python3");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("server.py");
        std::fs::write(&script, SERVER).expect("written");
        let mut options = StackOptions::new(folder.path().join("stack"), PathBuf::from("/bin/false"));
        let command = format!("BEGAN_NS=$(date +%s%N) exec python3 {}", script.display());
        options.images.push(Image::new("test/server", ["/bin/sh", "-c", &command]));
        let settings = [("stable-window", "6s"), ("scale-to-zero-grace-period", "1s")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        options.knative.insert("config-autoscaler".to_owned(), BTreeMap::from(settings));
        let platform =
            Self { stack: EmbeddedStack::start(options).await.expect("a platform"), _folder: folder };
        let mut service = json!({
            "metadata": {"name": "m", "annotations": {
                "serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "kpa"}},
            "spec": {"predictor": {"minReplicas": 0, "terminationGracePeriodSeconds": 5, "containers": [{
                "name": "kserve-container", "image": "test/server", "ports": [{"containerPort": 8080}],
                "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}]}},
        });
        for (key, value) in predictor.as_object().expect("settings") {
            service["spec"]["predictor"][key] = value.clone();
        }
        let service: InferenceService = serde_json::from_value(service).expect("a service");
        platform.api().create(&PostParams::default(), &service).await.expect("created");
        platform.until::<InferenceService>("m", "ready", is_ready).await;
        Some(platform)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.stack.client(), "default")
    }

    /// Waits until the object is as `is_so` wants it.
    async fn until<K>(&self, name: &str, what: &str, is_so: impl Fn(&K) -> bool) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + serde::Serialize
            + Send
            + 'static,
    {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut objects =
            std::pin::pin!(watcher(self.api::<K>(), config).default_backoff().applied_objects());
        let mut last = None;
        let wait = async {
            while let Some(object) = objects.next().await {
                let Ok(object) = object else { continue };
                if is_so(&object) {
                    return Some(object);
                }
                last = Some(object);
            }
            None
        };
        match tokio::time::timeout(DEADLINE, wait).await {
            Ok(Some(object)) => object,
            _ => panic!(
                "{name} was not {what} within {DEADLINE:?}; last seen: {}",
                serde_json::to_string_pretty(&last).unwrap_or_default()
            ),
        }
    }

    /// Waits until the Deployment has no replica, wanted or left, and its pods are gone.
    async fn until_asleep(&self) {
        let is_asleep = |found: &Deployment| {
            let left = found.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
            wanted(found) == 0 && left == 0
        };
        self.until::<Deployment>("m-predictor", "asleep", is_asleep).await;
        let pods = self.api::<Pod>();
        for pod in pods.list(&ListParams::default()).await.expect("pods") {
            let name = pod.name_any();
            let gone = await_condition(pods.clone(), &name, |found: Option<&Pod>| found.is_none());
            let gone = tokio::time::timeout(DEADLINE, gone).await;
            gone.unwrap_or_else(|_| panic!("{name} is not gone within {DEADLINE:?}")).expect("a watch");
        }
    }

    async fn assert_ready(&self) {
        let service = self.api::<InferenceService>().get("m").await.expect("the service");
        assert!(is_ready(&service), "{:#?}", service.status);
    }

    async fn stop(self) {
        self.stack.stop().await;
    }
}

fn is_ready(service: &InferenceService) -> bool {
    service.status.as_ref().is_some_and(|status| condition::is_true(&status.conditions, "Ready"))
}

fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Sends a request through the gateway; gives the head and the body of its answer.
async fn get(gateway: SocketAddr, path: &str) -> Result<(String, Value), String> {
    let exchange = async {
        let mut stream = TcpStream::connect(gateway).await.map_err(|error| error.to_string())?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if !head.starts_with("HTTP/1.1 200") {
            return Err(answer);
        }
        let body = serde_json::from_str(body).map_err(|error| format!("{error}: {answer}"))?;
        Ok((head.to_ascii_lowercase(), body))
    };
    tokio::time::timeout(DEADLINE, exchange).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// Wakes the service with one request; gives the whole time to its answer and the server's own start.
async fn wake(platform: &Platform) -> (Duration, Duration) {
    platform.until_asleep().await;
    let began = Instant::now();
    let (head, body) = get(platform.stack.gateway_address(), "/").await.expect("an answer");
    let took = began.elapsed();
    assert!(head.contains("x-windtunnel-held-us"), "it was not held: {head}");
    let ns = |key: &str| body[key].as_u64().expect("a time");
    (took, Duration::from_nanos(ns("listens_ns").saturating_sub(ns("began_ns"))))
}

/// Idle services would hold their pods, requests at zero would be lost, load would pile up on one pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standard_service_goes_from_zero_to_many_and_back() {
    let settings = json!({"maxReplicas": 3, "scaleTarget": 2, "containerConcurrency": 4});
    let Some(platform) = Platform::start(settings).await else { return };
    let (took, start) = wake(&platform).await;
    println!("zero to the first answer: {took:?}, of which the server's own start took {start:?}");
    platform.assert_ready().await;
    let autoscalers = platform.api::<HorizontalPodAutoscaler>().list(&ListParams::default()).await;
    let autoscalers: Vec<_> = autoscalers.expect("a list").iter().map(ResourceExt::name_any).collect();
    assert_eq!(autoscalers, Vec::<String>::new());

    // Ten clients: ceil(10 / (2 * 0.7)) is far over the most that there may be.
    let gateway = platform.stack.gateway_address();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut clients = JoinSet::new();
    for _ in 0..10 {
        let stopped = stopped.clone();
        clients.spawn(async move {
            let mut answered = 0_u32;
            while !*stopped.borrow() {
                get(gateway, "/slow").await?;
                answered += 1;
            }
            Ok::<u32, String>(answered)
        });
    }
    let is_wide = |found: &Deployment| {
        let available = found.status.as_ref().and_then(|status| status.available_replicas);
        available.is_some_and(|available| available >= 3)
    };
    let wide = platform.until::<Deployment>("m-predictor", "of three replicas", is_wide).await;
    assert_eq!(wanted(&wide), 3, "maxReplicas");
    platform.assert_ready().await;
    stop.send(true).expect("clients");
    let mut answered = 0;
    while let Some(client) = clients.join_next().await {
        answered += client.expect("a client").unwrap_or_else(|lost| panic!("a request was lost: {lost}"));
    }
    assert!(answered >= 10, "{answered} answers");

    platform.until_asleep().await;
    platform.assert_ready().await;
    platform.stop().await;
}
