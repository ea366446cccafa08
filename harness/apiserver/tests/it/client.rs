//! What controllers written with kube-rs do all day.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod, Service},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{call, server};

fn deployment(replicas: u32) -> serde_json::Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": "d"}}, "template": {"metadata": {"labels": {"app": "d"}},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}})
}

#[tokio::test]
async fn an_object_lives_through_its_whole_life() {
    let server = server();
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    let map = |data: &str| -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"name": "a"}, "data": {"k": data}})).unwrap()
    };
    let created = maps.create(&PostParams::default(), &map("1")).await.unwrap();
    let stale = created.clone();
    let mut changed = created;
    changed.data = map("2").data;
    maps.replace("a", &PostParams::default(), &changed).await.unwrap();
    let error = maps.replace("a", &PostParams::default(), &stale).await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 409),
        "a lost update goes unnoticed: {error}"
    );
    assert_eq!(
        maps.list(&ListParams::default()).await.unwrap().items.len(),
        2,
        "its own and the certificate's"
    );
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn server_side_apply_keeps_the_fields_of_others() {
    let server = server();
    let deployments: Api<Deployment> = Api::namespaced(server.client(), "default");
    let apply = PatchParams::apply("controller");
    let created = deployments.patch("d", &apply, &Patch::Apply(deployment(1))).await.unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    let scaler = PatchParams::apply("scaler").force();
    let scale = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 5}});
    deployments.patch("d", &scaler, &Patch::Apply(scale)).await.unwrap();
    let error = deployments.patch("d", &apply, &Patch::Apply(deployment(1))).await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 409),
        "the autoscaler was overruled: {error}"
    );
    let mut without = deployment(1);
    without["spec"].as_object_mut().unwrap().remove("replicas");
    let merged = deployments.patch("d", &apply, &Patch::Apply(without)).await.unwrap();
    assert_eq!(merged.spec.unwrap().replicas, Some(5));
}

#[tokio::test]
async fn an_apply_that_changes_nothing_writes_nothing() {
    let server = server();
    let deployments: Api<Deployment> = Api::namespaced(server.client(), "default");
    let apply = PatchParams::apply("controller").force();
    let first = deployments.patch("d", &apply, &Patch::Apply(deployment(1))).await.unwrap();
    let second = deployments.patch("d", &apply, &Patch::Apply(deployment(1))).await.unwrap();
    assert_eq!(
        first.resource_version(),
        second.resource_version(),
        "controllers would wake each other for ever"
    );
}

#[tokio::test]
async fn status_and_spec_have_their_own_endpoints() {
    let server = server();
    let deployments: Api<Deployment> = Api::namespaced(server.client(), "default");
    let object = serde_json::from_value(deployment(1)).unwrap();
    deployments.create(&PostParams::default(), &object).await.unwrap();
    let both = json!({"status": {"readyReplicas": 1}, "spec": {"replicas": 9}});
    let after = deployments.patch_status("d", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    assert_eq!((after.spec.unwrap().replicas, after.metadata.generation), (Some(1), Some(1)));
    assert_eq!(after.status.unwrap().ready_replicas, Some(1));
    let after = deployments.patch("d", &PatchParams::default(), &Patch::Merge(&both)).await.unwrap();
    assert_eq!((after.spec.unwrap().replicas, after.metadata.generation), (Some(9), Some(2)));
    assert_eq!(after.status.unwrap().ready_replicas, Some(1));
    let scale = deployments.get_scale("d").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(9));
    let to = json!({"spec": {"replicas": 3}});
    deployments.patch_scale("d", &PatchParams::default(), &Patch::Merge(&to)).await.unwrap();
    assert_eq!(deployments.get("d").await.unwrap().spec.unwrap().replicas, Some(3));
}

#[tokio::test]
async fn a_running_pod_goes_when_its_node_lets_go() {
    let server = server();
    let pods: Api<Pod> = Api::namespaced(server.client(), "default");
    let pod = serde_json::from_value(json!({"metadata": {"name": "p"},
        "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 7, "containers": [{"name": "c", "image": "i"}]}}))
    .unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let on_node = ListParams::default().fields("spec.nodeName=n");
    assert_eq!(pods.list(&on_node).await.unwrap().items.len(), 1, "a node would not find its pods");
    let deleted = pods.delete("p", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(deleted.metadata.deletion_grace_period_seconds, Some(7));
    assert!(pods.get("p").await.unwrap().metadata.deletion_timestamp.is_some(), "the node must still see it");
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(pods.get_opt("p").await.unwrap().is_none());
}

#[tokio::test]
async fn lists_are_read_in_pages_of_one_moment() {
    let server = server();
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "kube-public");
    for name in ["a", "b", "c", "d"] {
        let map = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    let first = maps.list(&ListParams::default().limit(2)).await.unwrap();
    maps.delete("c", &DeleteParams::default()).await.unwrap();
    let token = first.metadata.continue_.unwrap();
    let second = maps.list(&ListParams::default().limit(9).continue_token(&token)).await.unwrap();
    let names: Vec<String> = first.items.iter().chain(&second.items).map(ResourceExt::name_any).collect();
    assert_eq!(
        names,
        ["a", "b", "c", "d", "kube-root-ca.crt"],
        "a page must not miss what was there at the start"
    );
}

#[tokio::test]
async fn services_get_an_address_and_namespaces_end_empty() {
    let server = server();
    let namespaces: Api<Namespace> = Api::all(server.client());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let services: Api<Service> = Api::namespaced(server.client(), "n");
    let service =
        serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}))
            .unwrap();
    let created = services.create(&PostParams::default(), &service).await.unwrap();
    assert!(created.spec.unwrap().cluster_ip.is_some_and(|address| address.starts_with("10.")));
    namespaces.delete("n", &DeleteParams::default()).await.unwrap();
    assert!(services.get_opt("s").await.unwrap().is_none());
    assert!(namespaces.get_opt("n").await.unwrap().is_none());
    let (code, body) =
        call(&server, "POST", "/api/v1/namespaces/n/configmaps", Some(json!({"metadata": {"name": "a"}})))
            .await;
    assert_eq!((code, body["message"].as_str().unwrap()), (404, "namespaces \"n\" not found"));
}
