//! A real cluster for a test: images of this machine's programs, waits on conditions, a look at the processes.

use std::{fmt::Debug, future::Future, path::PathBuf, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Endpoints, Pod},
};
use kube::{
    Api, Resource,
    api::PostParams,
    runtime::{WatchStreamExt, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windtunnel_cluster::{EmbeddedCluster, Image, Options};

/// The longest that a test waits for anything.
const LIMIT: Duration = Duration::from_secs(60);
/// Namespace of all objects.
pub(crate) const NAMESPACE: &str = "default";
/// Variable by which a test's processes are found.
const TOKEN: &str = "WINDTUNNEL_TEST_TOKEN";

/// A cluster with the images `shell` (no entrypoint) and `web` (Python's web server on the pod's address).
pub(crate) struct Flight {
    pub(crate) cluster: EmbeddedCluster,
    pub(crate) folder: tempfile::TempDir,
    /// Marks all processes of this flight.
    pub(crate) token: String,
}

impl Flight {
    /// Writes what the kubeconfig holds into the files `ca`, `certificate` and `key`; gives their folder.
    pub(crate) fn write_credentials(&self) -> &std::path::Path {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let config = std::fs::read_to_string(self.cluster.kubeconfig()).expect("the kubeconfig");
        for (field, file) in [
            ("certificate-authority-data: ", "ca"),
            ("client-certificate-data: ", "certificate"),
            ("client-key-data: ", "key"),
        ] {
            let data = config.lines().find_map(|line| line.trim().strip_prefix(field)).expect(field);
            let pem = STANDARD.decode(data).expect("base64");
            std::fs::write(self.folder.path().join(file), pem).expect("written");
        }
        self.folder.path()
    }

    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A cluster with changed options.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let token = format!("{}-{}", std::process::id(), folder.path().display());
        let mut options = options(folder.path().join("cluster"), &token);
        change(&mut options);
        let cluster = EmbeddedCluster::start(options).await;
        Self { cluster: cluster.expect("a cluster"), folder, token }
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client(), NAMESPACE)
    }

    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object).expect("an object");
        self.api::<K>().create(&PostParams::default(), &object).await.expect("created")
    }

    /// Creates a pod with this specification.
    pub(crate) async fn pod(&self, name: &str, spec: Value) -> Pod {
        self.create(json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec})).await
    }

    /// Waits until the object is as `is_so` wants it, and returns it.
    pub(crate) async fn until<K>(&self, name: &str, is_so: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned
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
        match tokio::time::timeout(LIMIT, wait).await {
            Ok(Some(object)) => object,
            _ => {
                let last = serde_json::to_string_pretty(&last).unwrap_or_default();
                panic!("{name} did not come to the state that was waited for; last seen: {last}")
            }
        }
    }

    /// Waits until the object is gone.
    pub(crate) async fn until_gone<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let absent = kube::runtime::wait::await_condition(self.api::<K>(), name, |object: Option<&K>| {
            object.is_none()
        });
        within(absent, "the object to go").await.expect("a watch");
    }

    /// Waits until an Event with this reason says this.
    pub(crate) async fn until_event(&self, reason: &str, message: &str) {
        let api = self.api::<k8s_openapi::api::core::v1::Event>();
        let events = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
        let mut found = std::pin::pin!(events.try_filter(|event| {
            let is_it = event.reason.as_deref() == Some(reason)
                && event.message.as_deref().is_some_and(|text| text.contains(message));
            std::future::ready(is_it)
        }));
        within(found.next(), &format!("event {reason}: {message}")).await;
    }

    /// Where the ready pods of a Service answer, once there are so many.
    pub(crate) async fn until_ready(&self, service: &str, count: usize) -> Vec<String> {
        let endpoints: Endpoints = self.until(service, |endpoints| addresses(endpoints).len() == count).await;
        addresses(&endpoints)
    }

    /// Process ids of this flight's processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes(&self.token)
    }
}

/// Options with the test images, for processes that are marked with the token.
pub(crate) fn options(directory: PathBuf, token: &str) -> Options {
    let mut options = Options::new(directory);
    for mut image in
        [Image::new("shell", [] as [&str; 0]), Image::new("web", ["python3", "-u", "-m", "http.server"])]
    {
        image.env.insert(TOKEN.into(), token.into());
        options.images.push(image);
    }
    options
}

/// Ready addresses of Endpoints, as `ip:port`.
pub(crate) fn addresses(endpoints: &Endpoints) -> Vec<String> {
    let subsets = endpoints.subsets.iter().flatten();
    let pairs = subsets.flat_map(|subset| {
        let ports = subset.ports.iter().flatten();
        ports.flat_map(|port| {
            subset.addresses.iter().flatten().map(move |address| format!("{}:{}", address.ip, port.port))
        })
    });
    pairs.collect()
}

/// Waits for a future, but not for ever.
pub(crate) async fn within<T>(future: impl Future<Output = T>, what: &str) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// The answer to a GET request, head and body.
pub(crate) async fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Processes with this token in their environment. Zombies have none any more.
pub(crate) fn processes(token: &str) -> Vec<u32> {
    let marked = format!("{TOKEN}={token}");
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == marked.as_bytes())
    })
    .collect()
}

/// A container of the shell image that runs a script.
pub(crate) fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "shell", "command": ["/bin/sh", "-c", script]})
}

/// A container of the web image on a port.
pub(crate) fn web(port: u16) -> Value {
    json!({
        "name": "web",
        "image": "web:1",
        "args": [port.to_string(), "--bind", "$(POD_IP)"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    })
}

/// A Deployment of web servers and the Service `web` in front of them.
pub(crate) async fn web_deployment(flight: &Flight, replicas: u32, strategy: Value) {
    flight
        .create::<k8s_openapi::api::apps::v1::Deployment>(json!({
            "metadata": {"name": "web"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": strategy,
                "template": {
                    "metadata": {
                        "labels": {"app": "web"},
                        "annotations": {"cluster.windtunnel.dev/aggressive-probe-ms": "25"},
                    },
                    "spec": {"terminationGracePeriodSeconds": 5, "containers": [web(8080)]},
                },
            },
        }))
        .await;
    flight
        .create::<k8s_openapi::api::core::v1::Service>(json!({
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
        }))
        .await;
}

/// How the container of a pod ended, as JSON; null while it has not.
pub(crate) fn termination(pod: &Pod, container: &str) -> Value {
    let status = serde_json::to_value(&pod.status).unwrap_or_default();
    let lists = ["initContainerStatuses", "containerStatuses"];
    let all = lists.iter().filter_map(|list| status[*list].as_array().cloned()).flatten();
    all.into_iter()
        .find(|found| found["name"] == container)
        .map(|found| found["state"]["terminated"].clone())
        .unwrap_or_default()
}

/// The phase of a pod.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the pod's Ready condition is true.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    windtunnel_cluster::controllers::pods::is_ready(pod)
}
