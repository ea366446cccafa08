//! Models kept on nodes: the download runs as a job on the node, and services mount what it brought.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use windtunnel_testkit::until;

use super::up::{Local, gateway, post};
use super::{stderr, stdout};

const LIMIT: Duration = Duration::from_secs(60);
/// The first 16 digits of the SHA-256 of `s3://models/digits/v1`.
const FOLDER: &str = "7568eb5611082c30";

/// A local KServe whose node keeps models.
struct Shelf {
    local: Local,
    disk: tempfile::TempDir,
}

impl Shelf {
    fn start() -> Self {
        let shelf = Self { local: Local::start(), disk: tempfile::tempdir().unwrap() };
        let settings = json!({"enabled": true, "reconcilationFrequencyInSecs": 1}).to_string();
        shelf.run(&[
            "patch",
            "configmap",
            "inferenceservice-config",
            "-n",
            "kserve",
            "--type=merge",
            "-p",
            &json!({"data": {"localModel": settings}}).to_string(),
        ]);
        shelf.apply(&json!({"apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelNodeGroup",
            "metadata": {"name": "gpu"}, "spec": {"storageLimit": "10Gi",
                "persistentVolumeSpec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "10Gi"},
                    "storageClassName": "local", "volumeMode": "Filesystem",
                    "hostPath": {"path": shelf.disk.path().join("shelf"), "type": "DirectoryOrCreate"},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions":
                        [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["windtunnel"]}]}]}}},
                "persistentVolumeClaimSpec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local",
                    "volumeMode": "Filesystem", "resources": {"requests": {"storage": "10Gi"}}}}}));
        shelf
    }

    /// Runs kubectl, which must succeed.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.local.kubectl(arguments);
        assert!(output.status.success(), "{arguments:?}: {}\n{}", stderr(&output), self.all());
        stdout(&output)
    }

    fn apply(&self, object: &Value) {
        let output = self.local.kubectl_with(&["apply", "-f", "-"], &object.to_string());
        assert!(output.status.success(), "{}", stderr(&output));
    }

    fn cache(&self, name: &str, uri: &str) {
        self.apply(&json!({"apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelCache",
            "metadata": {"name": name}, "spec": {"sourceModelUri": uri, "modelSize": "1Mi", "nodeGroups": ["gpu"]}}));
    }

    fn service(&self, namespace: &str, name: &str) {
        self.apply(&json!({"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
            "metadata": {"name": name, "namespace": namespace,
                "annotations": {"serving.kserve.io/deploymentMode": "Standard"}},
            "spec": {"predictor": {"model": {"modelFormat": {"name": "onnx"},
                "storageUri": "s3://models/digits/v1"}}}}));
        self.run(&[
            "wait",
            "--for=condition=Ready",
            &format!("isvc/{name}"),
            "-n",
            namespace,
            "--timeout=60s",
        ]);
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["get", "-o", "json"];
        all.extend(arguments);
        serde_json::from_str(&self.run(&all)).unwrap()
    }

    /// What there is of local models, for a test that fails.
    fn all(&self) -> String {
        let kinds = "localmodelcaches,localmodelnamespacecaches,localmodelnodes,jobs,pods,pv,pvc,isvc,events";
        stdout(&self.local.kubectl(&["get", kinds, "-A", "-o", "wide"]))
            + &stdout(&self.local.kubectl(&["get", "localmodelcaches,localmodelnodes", "-o", "yaml"]))
    }

    fn model(&self) -> PathBuf {
        self.disk.path().join("shelf/models").join(FOLDER)
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        until(what, LIMIT, || Seen { shelf: self, is_so: holds() }, |seen| seen.is_so);
    }
}

/// One look at a shelf; a test that fails shows what else there is.
struct Seen<'a> {
    shelf: &'a Shelf,
    is_so: bool,
}

impl std::fmt::Debug for Seen<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.shelf.all())
    }
}

/// If this fails services download what is on their node already, or start without a model.
#[test]
fn a_model_is_downloaded_to_the_node_once_and_served_from_there() {
    let shelf = Shelf::start();
    shelf.cache("digits", "s3://models/digits/v1");
    shelf.run(&[
        "wait",
        "--for=jsonpath={.status.copies.available}=1",
        "localmodelcache/digits",
        "--timeout=60s",
    ]);
    let files: Vec<_> = std::fs::read_dir(shelf.model()).unwrap().flatten().collect();
    assert!(!files.is_empty(), "nothing in {}", shelf.model().display());
    let job =
        &shelf.json(&["jobs", "-n", "kserve-localmodel-jobs", "-l", "model=digits,node=windtunnel"])["items"];
    assert_eq!((job.as_array().map(Vec::len), &job[0]["status"]["succeeded"]), (Some(1), &json!(1)));
    assert_eq!(job[0]["metadata"]["ownerReferences"][0]["kind"], "LocalModelNode");

    shelf.service("default", "digits");
    let pod =
        shelf.json(&["pods", "-l", "serving.kserve.io/inferenceservice=digits"])["items"][0]["spec"].clone();
    assert!(pod["initContainers"].is_null(), "{pod}");
    let claims: Vec<&Value> = pod["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|volume| volume.get("persistentVolumeClaim"))
        .map(|claim| &claim["claimName"])
        .collect();
    assert_eq!(claims, [&json!("digits-gpu")]);
    let body = json!({"instances": [vec![0; 64]]}).to_string();
    let answer = post(
        &gateway(shelf.local.folder.path()),
        "digits-default.example.com",
        "/v1/models/digits:predict",
        &body,
    );
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"label\""), "{answer}");
    let users = &shelf.json(&["localmodelcache", "digits"])["status"]["inferenceServices"];
    assert_eq!(users, &json!([{"name": "digits", "namespace": "default"}]));

    // A cache in use stays.
    let refused = shelf.local.kubectl(&["delete", "localmodelcache", "digits", "--wait=false"]);
    let told = stderr(&refused);
    assert!(told.contains("LocalModelCache digits is being used by InferenceService digits"), "{told}");

    // Somebody clears the disk: the model comes back.
    std::fs::remove_dir_all(shelf.model()).unwrap();
    shelf.until("the model is there again", || {
        std::fs::read_dir(shelf.model()).is_ok_and(|mut all| all.next().is_some())
    });
    shelf.run(&[
        "wait",
        "--for=jsonpath={.status.copies.available}=1",
        "localmodelcache/digits",
        "--timeout=60s",
    ]);

    shelf.run(&["delete", "isvc", "digits", "--timeout=60s"]);
    shelf.until("the service's claim is gone", || {
        stdout(&shelf.local.kubectl(&["get", "pvc,pv", "-o", "name"]))
            .lines()
            .all(|name| !name.contains("digits-gpu-default"))
    });
    shelf.run(&["delete", "localmodelcache", "digits", "--timeout=60s"]);
    shelf.until("the model is gone", || !shelf.model().exists());
    shelf.until("volumes, claims and jobs are gone", || {
        shelf.run(&["get", "pv,pvc,jobs", "-A", "-o", "name"]).is_empty()
    });
}

/// If this fails a namespace has to download for itself, or takes the model away from the others.
#[test]
fn a_namespace_keeps_a_model_of_its_own() {
    let shelf = Shelf::start();
    shelf.run(&["create", "namespace", "team"]);
    shelf.apply(&json!({"apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelNamespaceCache",
        "metadata": {"name": "near", "namespace": "team"},
        "spec": {"sourceModelUri": "s3://models/digits/v1", "modelSize": "1Mi", "nodeGroups": ["gpu"]}}));
    let near = ["localmodelnamespacecache/near", "-n", "team"];
    let available = "--for=jsonpath={.status.copies.available}=1";
    shelf.run(&["wait", available, near[0], near[1], near[2], "--timeout=60s"]);
    // The cluster's cache of the same URI finds the folder of the first.
    shelf.cache("digits", "s3://models/digits/v1");
    shelf.run(&["wait", available, "localmodelcache/digits", "--timeout=60s"]);
    let status = &shelf.json(&["localmodelnode", "windtunnel"])["status"]["modelStatus"];
    assert_eq!(status, &json!({"digits": "ModelDownloaded", "team/near": "ModelDownloaded"}));

    shelf.service("team", "mine");
    let pods = ["pods", "-n", "team", "-l", "serving.kserve.io/inferenceservice=mine"];
    let pod = shelf.json(&pods)["items"][0]["spec"].to_string();
    assert!(pod.contains("near-gpu") && !pod.contains("initContainers"), "{pod}");

    shelf.run(&["delete", "isvc", "mine", "-n", "team", "--timeout=60s"]);
    shelf.run(&["delete", near[0], near[1], near[2], "--timeout=60s"]);
    shelf.until("only the other cache's volume is left", || {
        let names = shelf.run(&["get", "pv,pvc", "-A", "-o", "name"]);
        names.lines().collect::<Vec<_>>()
            == ["persistentvolume/digits-gpu-download", "persistentvolumeclaim/digits-gpu"]
    });
    assert!(shelf.model().exists(), "the model of the other cache is gone");
}

/// If this fails a cache that can't be filled looks as if it were on its way.
#[test]
fn a_download_that_fails_is_told() {
    let shelf = Shelf::start();
    shelf.cache("absent", "s3://models/no-such-model");
    shelf.run(&[
        "wait",
        "--for=jsonpath={.status.copies.failed}=1",
        "localmodelcache/absent",
        "--timeout=60s",
    ]);
    let status = &shelf.json(&["localmodelcache", "absent"])["status"];
    assert_eq!(status["nodeStatus"], json!({"windtunnel": "NodeDownloadError"}));
    shelf.run(&["delete", "localmodelcache", "absent", "--timeout=60s"]);
    shelf.until("the job is gone", || {
        shelf.run(&["get", "jobs,pods", "-n", "kserve-localmodel-jobs", "-o", "name"]).is_empty()
    });
}
