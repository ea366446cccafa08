//! Owners and their dependents.

use serde_json::{Value, json};
use windtunnel_apiserver::ApiServer;

use crate::{call, server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn create(server: &ApiServer, name: &str, owner: Option<&Value>) -> Value {
    let owners: Vec<Value> = owner
        .into_iter()
        .map(|owner| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true})
        })
        .collect();
    let body = json!({"metadata": {"name": name, "ownerReferences": owners}});
    let (code, created) = call(server, "POST", MAPS, Some(body)).await;
    assert_eq!(code, 201, "{created}");
    created
}

async fn exists(server: &ApiServer, name: &str) -> bool {
    call(server, "GET", &format!("{MAPS}/{name}"), None).await.0 == 200
}

async fn delete(server: &ApiServer, name: &str, policy: &str) -> Value {
    call(server, "DELETE", &format!("{MAPS}/{name}"), Some(json!({"propagationPolicy": policy}))).await.1
}

#[tokio::test]
async fn background_deletion_takes_the_whole_tree() {
    let server = server();
    let owner = create(&server, "owner", None).await;
    let child = create(&server, "child", Some(&owner)).await;
    create(&server, "grandchild", Some(&child)).await;
    delete(&server, "owner", "Background").await;
    for name in ["owner", "child", "grandchild"] {
        assert!(!exists(&server, name).await, "{name} is left behind");
    }
}

#[tokio::test]
async fn foreground_deletion_waits_for_a_dependent_with_a_finalizer() {
    let server = server();
    let owner = create(&server, "owner", None).await;
    create(&server, "child", Some(&owner)).await;
    let hold = json!({"metadata": {"finalizers": ["example.test/hold"]}});
    call(&server, "PATCH", &format!("{MAPS}/child"), Some(hold)).await;
    let waiting = delete(&server, "owner", "Foreground").await;
    assert_eq!(waiting["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert!(exists(&server, "owner").await && exists(&server, "child").await);
    let release = json!({"metadata": {"finalizers": null}});
    call(&server, "PATCH", &format!("{MAPS}/child"), Some(release)).await;
    assert!(!exists(&server, "child").await && !exists(&server, "owner").await);
}

#[tokio::test]
async fn orphaned_dependents_stay() {
    let server = server();
    let owner = create(&server, "owner", None).await;
    create(&server, "child", Some(&owner)).await;
    delete(&server, "owner", "Orphan").await;
    assert!(!exists(&server, "owner").await);
    let (_, child) = call(&server, "GET", &format!("{MAPS}/child"), None).await;
    assert_eq!(child["metadata"].get("ownerReferences"), None);
}

#[tokio::test]
async fn an_object_whose_owner_is_gone_does_not_stay() {
    let server = server();
    let owner = create(&server, "owner", None).await;
    delete(&server, "owner", "Background").await;
    create(&server, "late", Some(&owner)).await;
    assert!(!exists(&server, "late").await, "a child made just after its owner went would live for ever");
}

#[tokio::test]
async fn a_dependent_of_two_owners_outlives_the_first() {
    let server = server();
    let (one, two) = (create(&server, "one", None).await, create(&server, "two", None).await);
    create(&server, "child", Some(&one)).await;
    let reference = |owner: &Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"]})
    };
    let owners = json!({"metadata": {"ownerReferences": [reference(&one), reference(&two)]}});
    call(&server, "PATCH", &format!("{MAPS}/child"), Some(owners)).await;
    delete(&server, "one", "Background").await;
    assert!(exists(&server, "child").await);
    delete(&server, "two", "Background").await;
    assert!(!exists(&server, "child").await);
}

#[tokio::test]
async fn a_very_long_chain_of_owners_is_no_stack_overflow() {
    let server = server();
    let mut owner = create(&server, "c0", None).await;
    for index in 1..3_000 {
        owner = create(&server, &format!("c{index}"), Some(&owner)).await;
    }
    delete(&server, "c0", "Foreground").await;
    let (_, list) = call(&server, "GET", MAPS, None).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "only the certificate is left");
}
