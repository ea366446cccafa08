//! LocalModelCaches (`localmodel/controller_test.go`, `localmodelnode/controller_test.go`).

use k8s_openapi::api::batch::v1::JobStatus;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use windtunnel_api::kserve::local_models::{Inputs, download_job, model_state, plan};
use windtunnel_api::kserve::{KserveConfig, LocalModelCache, LocalModelNode, LocalModelNodeGroup};

use super::{names, tensorflow, value};

fn cache() -> LocalModelCache {
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelCache",
        "metadata": {"name": "iris", "uid": "u"},
        "spec": {"sourceModelUri": "s3://mybucket/mymodel", "modelSize": "123Gi", "nodeGroups": ["gpu", "gone"]}}))
    .unwrap()
}

fn group() -> LocalModelNodeGroup {
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelNodeGroup",
        "metadata": {"name": "gpu"},
        "spec": {
            "storageLimit": "10Gi",
            "persistentVolumeSpec": {
                "capacity": {"storage": "2Gi"},
                "hostPath": {"path": "/models", "type": "DirectoryOrCreate"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["gpu"]}]}]}}},
            "persistentVolumeClaimSpec": {"accessModes": ["ReadWriteOnce"]}}}))
    .unwrap()
}

fn node(name: &str, kind: &str, ready: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"node.kubernetes.io/instance-type": kind}},
        "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
    .unwrap()
}

fn model_node(name: &str, state: &Value) -> LocalModelNode {
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelNode",
        "metadata": {"name": name, "uid": "n"}, "spec": {"localModels": []},
        "status": {"modelStatus": {"iris": state}}}))
    .unwrap()
}

/// Volumes for the download and for every namespace with a service, entries on the group's nodes, and how many of them
/// have the model.
#[test]
fn volumes_nodes_and_status() {
    let (cache, group, config) = (cache(), group(), KserveConfig::default());
    let nodes = [
        node("a", "gpu", "True"),
        node("b", "gpu", "True"),
        node("c", "gpu", "False"),
        node("d", "cpu", "True"),
        node("e", "gpu", "True"),
    ];
    let have = [model_node("a", &json!("ModelDownloaded")), model_node("b", &json!("ModelDownloadError"))];
    let mut service = tensorflow(&json!({}), &json!({}));
    service.metadata.labels =
        Some([("internal.serving.kserve.io/localmodel".to_owned(), "iris".to_owned())].into());
    let other = tensorflow(&json!({}), &json!({}));
    let plan = plan(&Inputs {
        cache: &cache,
        config: &config,
        groups: vec![&group],
        nodes: nodes.iter().collect(),
        model_nodes: have.iter().collect(),
        services: vec![&service, &other],
    });
    assert_eq!(plan.missing_groups, ["gone"]);
    assert_eq!(names(&plan.volumes), ["iris-gpu-download", "iris-gpu-default"]);
    let claims: Vec<_> = plan
        .claims
        .iter()
        .map(|claim| {
            let claim = value(claim);
            (
                claim["metadata"]["namespace"].clone(),
                claim["metadata"]["name"].clone(),
                claim["spec"]["volumeName"].clone(),
            )
        })
        .collect();
    assert_eq!(
        claims,
        [
            (json!("kserve-localmodel-jobs"), json!("iris-gpu"), json!("iris-gpu-download")),
            (json!("default"), json!("iris-gpu"), json!("iris-gpu-default")),
        ]
    );
    assert_eq!(value(&plan.volumes[0])["spec"]["hostPath"]["path"], "/models");
    assert_eq!(value(&plan.volumes[0])["metadata"]["ownerReferences"][0]["kind"], "LocalModelCache");
    assert_eq!(plan.on_nodes.keys().collect::<Vec<_>>(), ["a", "b", "e"]);
    assert_eq!(plan.on_nodes["a"].node_group.as_deref(), Some("gpu"));
    let status = value(&plan.status);
    assert_eq!(
        status["nodeStatus"],
        json!({"a": "NodeDownloaded", "b": "NodeDownloadError", "c": "NodeNotReady", "e": "NodeDownloadPending"})
    );
    assert_eq!(
        (&status["copies"]["available"], &status["copies"]["total"], &status["copies"]["failed"]),
        (&json!(1), &json!(4), &json!(1))
    );
    assert_eq!(status["inferenceServices"], json!([{"namespace": "default", "name": "raw-foo"}]));
}

/// The download goes to the folder of the URI on the group's volume of the right node.
#[test]
fn the_download_job() {
    let (cache, group, config) = (cache(), group(), KserveConfig::default());
    let nodes = [node("a", "gpu", "True")];
    let plan = plan(&Inputs {
        cache: &cache,
        config: &config,
        groups: vec![&group],
        nodes: nodes.iter().collect(),
        model_nodes: Vec::new(),
        services: Vec::new(),
    });
    let job = value(&download_job(&plan.on_nodes["a"], &model_node("a", &json!("")), &[], &config));
    assert_eq!(job["metadata"]["generateName"], "iris-a");
    assert_eq!(job["metadata"]["labels"], json!({"model": "iris", "node": "a"}));
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/hostname": "a"}));
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(pod["containers"][0]["args"], json!(["s3://mybucket/mymodel", "/mnt/models"]));
    // The first 16 digits of the URI's SHA-256.
    assert_eq!(pod["containers"][0]["volumeMounts"][0]["subPath"], "models/89da10faf446bbf1");
    assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], "iris-gpu");
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 3600);
}

/// localmodelnode/controller.go, `getModelStatusFromJobStatus`.
#[test]
fn states_of_jobs() {
    let state = |status: Value| model_state(&serde_json::from_value::<JobStatus>(status).unwrap());
    assert_eq!(state(json!({"succeeded": 1, "failed": 2})), "ModelDownloaded");
    assert_eq!(state(json!({"failed": 1, "ready": 1})), "ModelDownloadError");
    assert_eq!(state(json!({"ready": 1})), "ModelDownloading");
    assert_eq!(state(json!({})), "ModelDownloadPending");
}
