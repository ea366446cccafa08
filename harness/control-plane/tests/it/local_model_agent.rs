//! The agent of one node, as a DaemonSet runs it: the group's folder is mounted somewhere else. The test plays the jobs.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use windtunnel_api::kserve::LocalModelNode;
use windtunnel_apiserver::ApiServer;
use windtunnel_control_plane::local_model_agent::{LocalModelAgent, Options};

use crate::platform::eventually;
use crate::wait::until;

const JOBS: &str = "kserve-localmodel-jobs";
/// The first 16 digits of the SHA-256 of `s3://mybucket/mymodel`.
const FOLDER: &str = "89da10faf446bbf1";

/// A node with its agent, and a folder that goes with the value.
struct Node {
    client: Client,
    _agent: LocalModelAgent,
    mount: std::path::PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.mount);
    }
}

impl Node {
    async fn start() -> Self {
        let client = ApiServer::new(windtunnel_apiserver::Options::default()).client();
        windtunnel_control_plane::install::install(&client, "example.com").await.expect("installed");
        let maps = Api::<ConfigMap>::namespaced(client.clone(), "kserve");
        let settings = json!({"enabled": true, "reconcilationFrequencyInSecs": 1}).to_string();
        let patch = Patch::Merge(json!({"data": {"localModel": settings}}));
        maps.patch("inferenceservice-config", &PatchParams::default(), &patch).await.expect("configured");
        let mount = std::env::temp_dir().join(format!("windtunnel-agent-{}", std::process::id()));
        std::fs::create_dir_all(&mount).expect("a folder");
        let options = Options { node: Some("a".to_owned()), mount: Some(mount.clone()) };
        let agent = LocalModelAgent::start(client.clone(), options);
        Self { client, _agent: agent, mount }
    }

    fn lists(&self) -> Api<LocalModelNode> {
        Api::all(self.client.clone())
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), JOBS)
    }

    async fn list(&self, node: &str, models: &Value) {
        let list: LocalModelNode = serde_json::from_value(json!({
            "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelNode", "metadata": {"name": node},
            "spec": {"localModels": models}}))
        .expect("a list");
        self.lists().create(&PostParams::default(), &list).await.expect("created");
    }

    /// Waits until the model has the state; gives the jobs that there are then.
    async fn state(&self, state: &str) -> Vec<String> {
        until(self.lists(), "a", state, |list| {
            let status = list.status.as_ref();
            status.and_then(|status| status.model_status.get("iris")).map_or("", String::as_str) == state
        })
        .await;
        let jobs = self.jobs().list(&ListParams::default()).await.expect("jobs");
        jobs.items.iter().map(ResourceExt::name_any).collect()
    }

    async fn finish(&self, job: &str, status: &Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.jobs().patch_status(job, &PatchParams::default(), &patch).await.expect("a status");
    }
}

/// A node would download for others, twice, or never again after its disk was cleared.
#[tokio::test]
async fn the_agent_of_one_node() {
    let node = Node::start().await;
    let model = json!([{"sourceModelUri": "s3://mybucket/mymodel", "modelName": "iris", "nodeGroup": "gpu"}]);
    node.list("b", &model).await;
    node.list("a", &model).await;
    let jobs = node.state("ModelDownloadPending").await;
    let [first] = &jobs[..] else { panic!("one job, not {jobs:?}") };
    assert!(first.starts_with("iris-a"), "{first}");

    node.finish(first, &json!({"ready": 1, "active": 1})).await;
    node.state("ModelDownloading").await;
    let folder = node.mount.join("models").join(FOLDER);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("model"), "m").expect("a file");
    node.finish(first, &json!({"ready": 0, "active": 0, "succeeded": 1})).await;
    assert_eq!(node.state("ModelDownloaded").await.len(), 1);

    // Nothing tells of a folder that goes: the agent looks by itself.
    std::fs::remove_dir_all(&folder).expect("removed");
    let jobs = node.state("ModelDownloadPending").await;
    let second = jobs.iter().find(|job| *job != first).unwrap_or_else(|| panic!("no second job: {jobs:?}"));
    node.finish(second, &json!({"failed": 1})).await;
    node.state("ModelDownloadError").await;
    // Who deletes the failed jobs gets another try.
    for job in [first, second] {
        node.jobs().delete(job, &kube::api::DeleteParams::background()).await.expect("deleted");
    }
    assert_eq!(node.state("ModelDownloadPending").await.len(), 1);

    // The model goes from the list: its job goes, and what there is of its folder.
    std::fs::create_dir_all(&folder).expect("a folder");
    let none = Patch::Merge(json!({"spec": {"localModels": []}}));
    node.lists().patch("a", &PatchParams::default(), &none).await.expect("patched");
    assert_eq!(node.state("").await, Vec::<String>::new());
    let look = async || folder.exists();
    eventually("the folder is gone", Duration::from_secs(20), look, |is_there| !is_there).await;
    assert!(
        node.lists().get("b").await.expect("the other list").status.is_none(),
        "other nodes are not its business"
    );
}
