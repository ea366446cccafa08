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

/// If this fails an owner that shares a dependent with another one never goes.
#[tokio::test]
async fn a_shared_dependent_does_not_hold_up_foreground_deletion() {
    let server = server();
    let (one, two) = (create(&server, "one", None).await, create(&server, "two", None).await);
    create(&server, "child", Some(&one)).await;
    let reference = |owner: &Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true})
    };
    let owners = json!({"metadata": {"ownerReferences": [reference(&one), reference(&two)]}});
    call(&server, "PATCH", &format!("{MAPS}/child"), Some(owners)).await;
    delete(&server, "one", "Foreground").await;
    assert!(!exists(&server, "one").await);
    let (_, child) = call(&server, "GET", &format!("{MAPS}/child"), None).await;
    assert_eq!(child["metadata"]["ownerReferences"], json!([reference(&two)]));
}

/// If this fails foreground deletion waits for dependents that do not ask for it, or leaves them behind.
#[tokio::test]
async fn a_dependent_that_does_not_block_its_owner_goes_after_it() {
    let server = server();
    let owner = create(&server, "owner", None).await;
    let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
        "uid": owner["metadata"]["uid"]});
    let body = json!({"metadata": {"name": "child", "ownerReferences": [reference],
        "finalizers": ["example.test/hold"]}});
    assert_eq!(call(&server, "POST", MAPS, Some(body)).await.0, 201);
    delete(&server, "owner", "Foreground").await;
    assert!(!exists(&server, "owner").await);
    let (_, child) = call(&server, "GET", &format!("{MAPS}/child"), None).await;
    assert!(child["metadata"]["deletionTimestamp"].is_string(), "{child}");
}

/// If this fails `kubectl delete --cascade=orphan` answers otherwise than upstream, or dependents go with their owner.
#[tokio::test]
async fn an_orphaning_deletion_answers_with_the_object_and_its_finalizer() {
    let server = server();
    let owner = create(&server, "owner", None).await;
    create(&server, "child", Some(&owner)).await;
    let answer = delete(&server, "owner", "Orphan").await;
    assert_eq!(answer["kind"], "ConfigMap");
    assert_eq!(answer["metadata"]["finalizers"], json!(["orphan"]));
    assert!(answer["metadata"]["deletionTimestamp"].is_string());
    assert!(!exists(&server, "owner").await && exists(&server, "child").await);
}

/// If this fails objects are collected for owners that nobody can look up, or kept for owners of another namespace.
#[tokio::test]
async fn owners_are_looked_up_by_kind_name_and_namespace() {
    let server = server();
    let owner = create(&server, "owner", None).await;
    let with =
        |name: &str, reference: Value| json!({"metadata": {"name": name, "ownerReferences": [reference]}});
    let uid = &owner["metadata"]["uid"];
    let unknown = json!({"apiVersion": "example.test/v1", "kind": "Thing", "name": "x", "uid": "1"});
    call(&server, "POST", MAPS, Some(with("unknown-kind", unknown))).await;
    assert!(exists(&server, "unknown-kind").await, "its owner may well exist");
    call(&server, "POST", "/api/v1/namespaces", Some(json!({"metadata": {"name": "other"}}))).await;
    let elsewhere = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid});
    let there = "/api/v1/namespaces/other/configmaps";
    assert_eq!(call(&server, "POST", there, Some(with("far", elsewhere.clone()))).await.0, 201);
    assert_eq!(
        call(&server, "GET", &format!("{there}/far"), None).await.0,
        404,
        "owners do not cross namespaces"
    );
    create(&server, "late", None).await;
    let patch = json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "no",
        "uid": "2"}]}});
    call(&server, "PATCH", &format!("{MAPS}/late"), Some(patch)).await;
    assert!(!exists(&server, "late").await, "a reference that is added later counts too");
}

/// If this fails nobody sees why a namespace does not go.
#[tokio::test]
async fn a_namespace_that_cannot_go_says_what_is_left() {
    let server = server();
    call(&server, "POST", "/api/v1/namespaces", Some(json!({"metadata": {"name": "n"}}))).await;
    let body = json!({"metadata": {"name": "a", "finalizers": ["example.test/hold"]}});
    call(&server, "POST", "/api/v1/namespaces/n/configmaps", Some(body)).await;
    let (_, answer) = call(&server, "DELETE", "/api/v1/namespaces/n", None).await;
    assert_eq!(answer["status"]["phase"], "Terminating");
    let (_, namespace) = call(&server, "GET", "/api/v1/namespaces/n", None).await;
    let conditions = namespace["status"]["conditions"].as_array().expect("conditions").clone();
    let of = |kind: &str| {
        let found = conditions.iter().find(|condition| condition["type"] == kind).expect("the condition");
        (found["status"].clone(), found["reason"].clone(), found["message"].clone())
    };
    let expected = |status: &str, reason: &str, message: &str| (json!(status), json!(reason), json!(message));
    assert_eq!(
        of("NamespaceContentRemaining"),
        expected(
            "True",
            "SomeResourcesRemain",
            "Some resources are remaining: configmaps. has 1 resource instances"
        )
    );
    assert_eq!(
        of("NamespaceFinalizersRemaining"),
        expected(
            "True",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.test/hold in 1 resource instances"
        )
    );
    assert_eq!(of("NamespaceDeletionContentFailure").0, json!("False"));
    let release = json!({"metadata": {"finalizers": null}});
    call(&server, "PATCH", "/api/v1/namespaces/n/configmaps/a", Some(release)).await;
    assert_eq!(call(&server, "GET", "/api/v1/namespaces/n", None).await.0, 404);
}
