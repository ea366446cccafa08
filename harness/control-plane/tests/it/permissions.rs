//! What the controllers ask for where the conformance suite does not go: TrainedModels that go with their service, and
//! KEDA with secrets and with both kinds of targets.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Resource;
use kube::api::{DeleteParams, PostParams};
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windtunnel_api::keda::{ScaledObject, TriggerAuthentication};
use windtunnel_api::kserve::{InferenceService, TrainedModel};

use crate::platform::{Platform, eventually, standard};

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
        "configMapTargetRef": [{"parameter": "authModes", "name": "settings", "key": "authModes"}]}}),
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
