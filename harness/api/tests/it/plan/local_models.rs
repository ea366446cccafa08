//! Caches of models on nodes (`localmodel/controller_test.go`, `localmodelnode/controller_test.go`).

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use windtunnel_api::kserve::local_models::{Cache, Inputs, NodeInputs, Plan, models_of_node, plan};
use windtunnel_api::kserve::{
    InferenceService, KserveConfig, LocalModelCache, LocalModelNamespaceCache, LocalModelNode,
    LocalModelNodeGroup,
};

use super::{names, tensorflow, value};

pub(super) fn cache(name: &str, groups: &[&str]) -> LocalModelCache {
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelCache",
        "metadata": {"name": name, "uid": "u"},
        "spec": {"sourceModelUri": "s3://mybucket/mymodel", "modelSize": "123Gi", "nodeGroups": groups}}))
    .unwrap()
}

pub(super) fn namespace_cache(namespace: &str, name: &str) -> LocalModelNamespaceCache {
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelNamespaceCache",
        "metadata": {"name": name, "namespace": namespace, "uid": "v"},
        "spec": {"sourceModelUri": "s3://mybucket/mymodel", "modelSize": "123Gi", "nodeGroups": ["gpu"]}}))
    .unwrap()
}

fn group(name: &str) -> LocalModelNodeGroup {
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelNodeGroup",
        "metadata": {"name": name},
        "spec": {
            "storageLimit": "10Gi",
            "persistentVolumeSpec": {
                "capacity": {"storage": "2Gi"},
                "hostPath": {"path": "/models", "type": "DirectoryOrCreate"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": format!("group/{name}"), "operator": "Exists"}]}]}}},
            "persistentVolumeClaimSpec": {"accessModes": ["ReadWriteOnce"]}}}))
    .unwrap()
}

fn node(name: &str, groups: &[&str], ready: &str) -> Node {
    let labels: serde_json::Map<String, Value> =
        groups.iter().map(|group| (format!("group/{group}"), json!(""))).collect();
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
    .unwrap()
}

fn list(name: &str, models: &Value, status: &Value) -> LocalModelNode {
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelNode",
        "metadata": {"name": name, "uid": "n"}, "spec": {"localModels": models}, "status": {"modelStatus": status}}))
    .unwrap()
}

fn user(namespace: &str, name: &str, labels: &[(&str, &str)], group: Option<&str>) -> InferenceService {
    let mut service = tensorflow(&json!({}), &json!({}));
    service.metadata.name = Some(name.to_owned());
    service.metadata.namespace = Some(namespace.to_owned());
    let label =
        |(key, value): &(&str, &str)| (format!("internal.serving.kserve.io/{key}"), (*value).to_owned());
    service.metadata.labels = Some(labels.iter().map(label).collect());
    if let Some(group) = group {
        let annotations = service.metadata.annotations.get_or_insert_default();
        annotations.insert("serving.kserve.io/nodegroup".to_owned(), group.to_owned());
    }
    service
}

/// Namespace, name and volume of the claims.
fn claims(plan: &Plan) -> Vec<[String; 3]> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    plan.claims
        .iter()
        .map(|claim| {
            let claim = value(claim);
            let metadata = &claim["metadata"];
            [text(&metadata["namespace"]), text(&metadata["name"]), text(&claim["spec"]["volumeName"])]
        })
        .collect()
}

fn owner(object: &impl serde::Serialize) -> Value {
    value(object)["metadata"]["ownerReferences"][0]["kind"].clone()
}

/// Volumes for the download and for every namespace with a service, and how many nodes have the model.
#[test]
fn volumes_and_status_of_a_cache() {
    let (cache, gpu, big, config) =
        (cache("iris", &["gpu", "big"]), group("gpu"), group("big"), KserveConfig::default());
    let nodes = [
        node("a", &["gpu"], "True"),
        node("b", &["gpu", "big"], "True"),
        node("c", &["big"], "False"),
        node("d", &[], "True"),
        node("e", &["gpu"], "True"),
    ];
    let have = [
        list("a", &json!([]), &json!({"iris": "ModelDownloaded"})),
        list("b", &json!([]), &json!({"iris": "ModelDownloadError", "other/iris": "ModelDownloaded"})),
        list("c", &json!([]), &json!({"iris": "ModelDownloaded"})),
    ];
    let services = [
        user("default", "raw-foo", &[("localmodel", "iris")], None),
        user("one", "wants-big", &[("localmodel", "iris")], Some("big")),
        user("one", "wants-gpu", &[("localmodel", "iris")], Some("gpu")),
        // A group that the cache does not have gives no volume.
        user("two", "wants-none", &[("localmodel", "iris")], Some("small")),
        // Somebody else's models.
        user("three", "other", &[("localmodel", "other")], None),
        user("three", "near", &[("localmodel", "iris"), ("localmodel-namespace", "three")], None),
    ];
    let mut inputs = Inputs {
        cache: Cache::Cluster(&cache),
        config: &config,
        groups: vec![&big, &gpu],
        nodes: nodes.iter().collect(),
        model_nodes: have.iter().collect(),
        services: services.iter().collect(),
    };
    let made = plan(&inputs);
    assert!(made.missing_groups.is_empty() && made.prune);
    assert_eq!(
        names(&made.volumes),
        ["iris-gpu-download", "iris-big-download", "iris-gpu-default", "iris-gpu-one", "iris-big-one"]
    );
    let expected = [
        ["kserve-localmodel-jobs", "iris-gpu", "iris-gpu-download"],
        ["kserve-localmodel-jobs", "iris-big", "iris-big-download"],
        ["default", "iris-gpu", "iris-gpu-default"],
        ["one", "iris-gpu", "iris-gpu-one"],
        ["one", "iris-big", "iris-big-one"],
    ];
    assert_eq!(claims(&made), expected.map(|claim| claim.map(str::to_owned)));
    assert_eq!(value(&made.volumes[0])["spec"]["hostPath"]["path"], "/models");
    assert_eq!(value(&made.claims[0])["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(
        (owner(&made.volumes[0]), owner(&made.claims[2])),
        (json!("LocalModelCache"), json!("LocalModelCache"))
    );
    let status = value(&made.status);
    assert_eq!(
        status["nodeStatus"],
        json!({"a": "NodeDownloaded", "b": "NodeDownloadError", "c": "NodeNotReady", "e": "NodeDownloadPending"})
    );
    assert_eq!(status["copies"], json!({"available": 1, "total": 4, "failed": 1}));
    assert_eq!(
        status["inferenceServices"],
        json!([{"namespace": "default", "name": "raw-foo"}, {"namespace": "one", "name": "wants-big"},
            {"namespace": "one", "name": "wants-gpu"}, {"namespace": "two", "name": "wants-none"}])
    );

    // Somebody else looks after the volumes of services.
    let mut disabled = config.clone();
    disabled.local_model.disable_volume_management = true;
    inputs.config = &disabled;
    let made = plan(&inputs);
    assert_eq!(names(&made.volumes), ["iris-gpu-download", "iris-big-download"]);
    assert!(!made.prune && made.status.inference_services.is_empty());
}

/// A node that is lost for a moment keeps its state, and one that is gone is not counted; nothing is taken away for want of
/// a group.
#[test]
fn lost_nodes_and_groups() {
    let mut cache = cache("iris", &["gpu", "big"]);
    cache.status = serde_json::from_value(json!({
        "nodeStatus": {"a": "NodeDownloaded", "b": "NodeDownloaded", "gone": "NodeDownloaded"}}))
    .unwrap();
    let (gpu, config) = (group("gpu"), KserveConfig::default());
    let nodes = [node("a", &["gpu"], "False"), node("b", &["big"], "True")];
    let made = plan(&Inputs {
        cache: Cache::Cluster(&cache),
        config: &config,
        groups: vec![&gpu],
        nodes: nodes.iter().collect(),
        model_nodes: Vec::new(),
        services: Vec::new(),
    });
    assert_eq!(made.missing_groups, ["big"]);
    assert!(!made.prune);
    assert_eq!(value(&made.status)["nodeStatus"], json!({"a": "NodeDownloaded", "b": "NodeDownloaded"}));
}

/// A namespace's cache serves its own namespace; what lies elsewhere can't be owned by it.
#[test]
fn a_cache_of_a_namespace() {
    let (cache, gpu, config) = (namespace_cache("team", "iris"), group("gpu"), KserveConfig::default());
    let nodes = [node("a", &["gpu"], "True")];
    let have =
        [list("a", &json!([]), &json!({"iris": "ModelDownloadError", "team/iris": "ModelDownloaded"}))];
    let own = [("localmodel", "iris"), ("localmodel-namespace", "team")];
    let services = [
        user("team", "mine", &own, None),
        user("team", "far", &[("localmodel", "iris")], None),
        user("other", "theirs", &own, None),
    ];
    let made = plan(&Inputs {
        cache: Cache::Namespace(&cache),
        config: &config,
        groups: vec![&gpu],
        nodes: nodes.iter().collect(),
        model_nodes: have.iter().collect(),
        services: services.iter().collect(),
    });
    assert_eq!(names(&made.volumes), ["iris-gpu-team-download", "iris-gpu-team"]);
    let expected = [
        ["kserve-localmodel-jobs", "iris-gpu-team-download", "iris-gpu-team-download"],
        ["team", "iris-gpu", "iris-gpu-team"],
    ];
    assert_eq!(claims(&made), expected.map(|claim| claim.map(str::to_owned)));
    assert_eq!(made.volumes.iter().map(owner).collect::<Vec<_>>(), [Value::Null, Value::Null]);
    assert_eq!(
        made.claims.iter().map(owner).collect::<Vec<_>>(),
        [Value::Null, json!("LocalModelNamespaceCache")]
    );
    assert_eq!(value(&made.status)["nodeStatus"], json!({"a": "NodeDownloaded"}));
    assert_eq!(value(&made.status)["inferenceServices"], json!([{"namespace": "team", "name": "mine"}]));
}

fn entries(inputs: &NodeInputs<'_>) -> Vec<[String; 2]> {
    models_of_node(inputs)
        .iter()
        .map(|info| [info.status_key(), info.node_group.clone().unwrap_or_default()])
        .collect()
}

fn pair(key: &str, group: &str) -> [String; 2] {
    [key.to_owned(), group.to_owned()]
}

/// A node has the models of its groups; one that is not ready neither gets a model nor loses one, except of a cache that
/// goes.
#[test]
fn the_list_of_a_node() {
    let (both, big, team) =
        (cache("both", &["gpu", "big"]), cache("big", &["big"]), namespace_cache("team", "both"));
    let (gpu_group, big_group) = (group("gpu"), group("big"));
    let caches = vec![Cache::Namespace(&team), Cache::Cluster(&both), Cache::Cluster(&big)];
    let groups = vec![&gpu_group, &big_group];
    let ready = node("a", &["gpu", "big"], "True");
    let inputs = NodeInputs { node: Some(&ready), list: None, caches, groups };
    // The first of a cache's groups counts: services without a wish use its claim.
    let all = [pair("big", "big"), pair("both", "gpu"), pair("team/both", "gpu")];
    assert_eq!(entries(&inputs), all);

    let stored = list(
        "a",
        &json!([
            {"sourceModelUri": "s3://mybucket/mymodel", "modelName": "both", "nodeGroup": "gpu"},
            {"sourceModelUri": "s3://old", "modelName": "gone", "nodeGroup": "gpu"}]),
        &json!({}),
    );
    let lost = node("a", &["gpu", "big"], "False");
    let kept = [pair("both", "gpu")];
    assert_eq!(entries(&NodeInputs { node: Some(&lost), list: Some(&stored), ..inputs.clone() }), kept);
    assert_eq!(entries(&NodeInputs { node: None, list: Some(&stored), ..inputs.clone() }), kept);
    // The group is gone, perhaps for a moment; the node has left the group.
    let without = vec![&big_group];
    let gpu_only = node("a", &["gpu"], "True");
    let missing =
        NodeInputs { node: Some(&gpu_only), list: Some(&stored), groups: without, ..inputs.clone() };
    assert_eq!(entries(&missing), kept);
    let elsewhere = node("a", &[], "True");
    let left = NodeInputs { node: Some(&elsewhere), list: Some(&stored), ..inputs.clone() };
    assert_eq!(entries(&left), Vec::<[String; 2]>::new());

    let mut going = cache("both", &["gpu", "big"]);
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let caches = vec![Cache::Cluster(&going), Cache::Cluster(&big)];
    for node in [Some(&ready), Some(&lost), None] {
        let of_going = NodeInputs { node, list: Some(&stored), caches: caches.clone(), ..inputs.clone() };
        assert!(!entries(&of_going).contains(&kept[0]), "{node:?}");
    }
}
