//! What the controllers ask for where the conformance suite does not go: TrainedModels that go with their service, and
//! KEDA with secrets and with both kinds of targets.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Node, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windtunnel_api::keda::{ScaledObject, TriggerAuthentication};
use windtunnel_api::kserve::{
    InferenceService, LocalModelCache, LocalModelNode, LocalModelNodeGroup, TrainedModel,
};

use crate::digits;
use crate::platform::{Platform, eventually, standard};
use crate::wait::until;

async fn create<K>(platform: &Platform, object: Value)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + serde::Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).expect("an object");
    platform.api::<K>().create(&PostParams::default(), &object).await.expect("created");
}

/// A missing permission is found when a customer needs it; one too many when somebody has stolen the token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_suite_does_not_ask_for_is_needed_too() {
    let platform = Platform::new().await;
    platform.server.log_authorizations();
    let running = platform.start(platform.controllers()).await;

    let mut parent = standard("parent");
    // A server of many models has none of its own.
    parent.spec.predictor.model.as_mut().expect("a model").extension.storage_uri = None;
    platform.api().create(&PostParams::default(), &parent).await.expect("a service");
    create::<TrainedModel>(
        &platform,
        json!({"metadata": {"name": "child"}, "spec": {"inferenceService": "parent",
        "model": {"framework": "onnx", "storageUri": "s3://m/child", "memory": "1Mi"}}}),
    )
    .await;

    create::<Secret>(&platform, json!({"metadata": {"name": "login"}, "stringData": {"token": "t"}})).await;
    create::<ConfigMap>(
        &platform,
        json!({"metadata": {"name": "settings"}, "data": {"authModes": "bearer"}}),
    )
    .await;
    create::<TriggerAuthentication>(
        &platform,
        json!({"metadata": {"name": "login"}, "spec": {
        "secretTargetRef": [{"parameter": "bearerToken", "name": "login", "key": "token"}],
        "configMapTargetRef": [{"parameter": "authModes", "name": "settings", "key": "authModes"}],
        "boundServiceAccountToken": [{"parameter": "token", "serviceAccountName": "default"}]}}),
    )
    .await;
    let template =
        json!({"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let selector = json!({"matchLabels": {"app": "w"}});
    create::<Deployment>(
        &platform,
        json!({"metadata": {"name": "w"},
        "spec": {"replicas": 0, "selector": selector, "template": template}}),
    )
    .await;
    create::<StatefulSet>(
        &platform,
        json!({"metadata": {"name": "w"},
        "spec": {"replicas": 0, "serviceName": "w", "selector": selector, "template": template}}),
    )
    .await;
    let cron = json!({"type": "cron", "metadata":
        {"timezone": "UTC", "start": "0 0 1 1 *", "end": "59 23 31 12 *", "desiredReplicas": "1"}});
    let prometheus = json!({"type": "prometheus", "authenticationRef": {"name": "login"}, "metadata":
        {"serverAddress": "http://127.0.0.1:1", "query": "up", "threshold": "1"}});
    let everywhere = json!({"type": "prometheus", "authenticationRef": {"name": "absent", "kind": "ClusterTriggerAuthentication"},
        "metadata": {"serverAddress": "http://127.0.0.1:1", "query": "up", "threshold": "1"}});
    for (kind, triggers) in
        [("Deployment", json!([cron, prometheus])), ("StatefulSet", json!([cron, everywhere]))]
    {
        create::<ScaledObject>(&platform, json!({"metadata": {"name": kind.to_lowercase()}, "spec": {
            "scaleTargetRef": {"kind": kind, "name": "w"}, "pollingInterval": 1, "minReplicaCount": 0, "triggers": triggers}}))
        .await;
    }
    let _kubelet = platform.kubelet();
    two_revisions(&platform).await;
    two_caches(&platform).await;
    let asked = || async { missing(&platform) };
    eventually("every permission used", Duration::from_secs(15), asked, |missing| missing.len() <= 1).await;
    let services = platform.api::<InferenceService>();
    services.delete("parent", &DeleteParams::default()).await.expect("deleted");
    let asked = || async { missing(&platform) };
    eventually("every permission used", Duration::from_secs(15), asked, Vec::is_empty).await;
    running.stop().await;

    let refused: Vec<_> =
        platform.server.authorizations().into_iter().filter(|entry| entry.role.is_none()).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// A Knative service whose first revision is deleted as soon as the second has its traffic.
async fn two_revisions(platform: &Platform) {
    let policy = json!({"data": {"retain-since-create-time": "disabled", "retain-since-last-active-time": "disabled",
        "min-non-active-revisions": "0", "max-non-active-revisions": "0"}});
    let maps = Api::<ConfigMap>::namespaced(platform.client.clone(), "knative-serving");
    maps.patch("config-gc", &PatchParams::default(), &Patch::Merge(&policy)).await.expect("a policy");
    for number in 1..=2 {
        create::<Endpoints>(
            platform,
            json!({"metadata": {"name": format!("digits-predictor-0000{number}-private")},
            "subsets": [{"addresses": [{"ip": "127.64.1.1"}], "ports": [{"port": 8080}]}]}),
        )
        .await;
    }
    let services = platform.api::<InferenceService>();
    let service = digits("v1", json!({"minReplicas": 1}));
    services.create(&PostParams::default(), &service).await.expect("a service");
    let is_ready = |service: &InferenceService| {
        service.status.as_ref().is_some_and(windtunnel_api::kserve::InferenceServiceStatus::is_ready)
    };
    until(services.clone(), "digits", "a ready service", is_ready).await;
    let second = json!({"spec": {"predictor": {"model": {"storageUri": "s3://models/digits/v2"}}}});
    services.patch("digits", &PatchParams::default(), &Patch::Merge(&second)).await.expect("changed");
}

/// Two caches of local models, one after the other, for a node that should have both.
async fn two_caches(platform: &Platform) {
    let client = &platform.client;
    let enabled = json!({"data": {"localModel": json!({"enabled": true}).to_string()}});
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "kserve");
    maps.patch("inferenceservice-config", &PatchParams::default(), &Patch::Merge(&enabled))
        .await
        .expect("enabled");
    let node: Node = serde_json::from_value(json!({"metadata": {"name": "a", "labels": {"kind": "gpu"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}}))
    .expect("a node");
    Api::all(client.clone()).create(&PostParams::default(), &node).await.expect("created");
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let nodes = Api::<Node>::all(client.clone());
    nodes.patch_status("a", &PatchParams::default(), &Patch::Merge(&ready)).await.expect("a ready node");
    let group: LocalModelNodeGroup = serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelNodeGroup", "metadata": {"name": "gpu"},
        "spec": {"storageLimit": "10Gi",
            "persistentVolumeSpec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "10Gi"},
                "hostPath": {"path": "/models"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions":
                    [{"key": "kind", "operator": "In", "values": ["gpu"]}]}]}}},
            "persistentVolumeClaimSpec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "10Gi"}}}}}))
    .expect("a group");
    Api::all(client.clone()).create(&PostParams::default(), &group).await.expect("created");
    let caches = Api::<LocalModelCache>::all(client.clone());
    let lists = Api::<LocalModelNode>::all(client.clone());
    for number in 1..=2 {
        let cache: LocalModelCache = serde_json::from_value(json!({
            "apiVersion": "serving.kserve.io/v1alpha1", "kind": "LocalModelCache",
            "metadata": {"name": format!("cache-{number}")},
            "spec": {"sourceModelUri": format!("s3://models/{number}"), "modelSize": "1Gi", "nodeGroups": ["gpu"]}}))
        .expect("a cache");
        caches.create(&PostParams::default(), &cache).await.expect("created");
        let has_all = move |list: &LocalModelNode| list.spec.local_models.len() == number;
        until(lists.clone(), "a", "a model more on the node's list", has_all).await;
    }
}

/// What the suite does not ask for, and nobody has asked for here yet.
fn missing(platform: &Platform) -> Vec<(&'static str, &'static str)> {
    let used: BTreeSet<(String, String)> = platform
        .server
        .authorizations()
        .into_iter()
        .filter(|entry| entry.role.is_some())
        .map(|entry| (entry.verb, entry.resource))
        .collect();
    let wanted = [
        ("delete", "trainedmodels"),
        ("patch", "trainedmodels"),
        ("patch", "trainedmodels/status"),
        ("create", "localmodelnodes"),
        ("patch", "localmodelnodes"),
        ("delete", "revisions"),
        ("create", "serviceaccounts/token"),
        ("create", "configmaps"),
        ("patch", "configmaps"),
        ("get", "triggerauthentications"),
        ("get", "clustertriggerauthentications"),
        ("patch", "scaledobjects/status"),
        ("get", "secrets"),
        ("get", "configmaps"),
        ("get", "statefulsets"),
        ("get", "deployments/scale"),
        ("patch", "deployments/scale"),
        ("get", "statefulsets/scale"),
        ("patch", "statefulsets/scale"),
    ];
    wanted
        .into_iter()
        .filter(|(verb, resource)| !used.contains(&((*verb).to_owned(), (*resource).to_owned())))
        .collect()
}
