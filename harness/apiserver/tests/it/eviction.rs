//! Evictions and the budgets that refuse them.

use serde_json::{Value, json};
use windtunnel_apiserver::ApiServer;

use crate::{call, server};

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

async fn running_pod(server: &ApiServer, name: &str) {
    let body = json!({"metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(call(server, "POST", PODS, Some(body)).await.0, 201);
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    assert_eq!(call(server, "PATCH", &format!("{PODS}/{name}/status"), Some(status)).await.0, 200);
}

async fn budget(server: &ApiServer, name: &str, status: Value) {
    let body = json!({"metadata": {"name": name}, "spec": {"minAvailable": 1,
        "selector": {"matchLabels": {"app": "a"}}}});
    assert_eq!(call(server, "POST", BUDGETS, Some(body)).await.0, 201);
    let patch = json!({"status": status});
    assert_eq!(call(server, "PATCH", &format!("{BUDGETS}/{name}/status"), Some(patch)).await.0, 200);
}

async fn evict(server: &ApiServer, name: &str) -> (u16, Value) {
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    call(server, "POST", &format!("{PODS}/{name}/eviction"), Some(body)).await
}

/// If this fails a drained node takes a service down.
#[tokio::test]
async fn a_budget_gives_so_many_disruptions_and_no_more() {
    let server = server();
    for name in ["p", "q"] {
        running_pod(&server, name).await;
    }
    let status = json!({"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1,
        "expectedPods": 2});
    budget(&server, "b", status).await;
    assert_eq!(evict(&server, "p").await.0, 201);
    assert_eq!(call(&server, "GET", &format!("{PODS}/p"), None).await.0, 404);
    let (_, budget) = call(&server, "GET", &format!("{BUDGETS}/b"), None).await;
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert!(budget["status"]["disruptedPods"]["p"].is_string());
    let (code, refusal) = evict(&server, "q").await;
    assert_eq!((code, &refusal["reason"]), (429, &json!("TooManyRequests")));
    assert_eq!(refusal["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    let causes = json!([{"reason": "DisruptionBudget",
        "message": "The disruption budget b needs 1 healthy pods and has 2 currently"}]);
    assert_eq!(refusal["details"]["causes"], causes);
    assert_eq!(call(&server, "GET", &format!("{PODS}/q"), None).await.0, 200);
}

/// If this fails a budget that nobody has looked at yet lets every pod go.
#[tokio::test]
async fn a_budget_whose_status_is_behind_refuses() {
    let server = server();
    running_pod(&server, "p").await;
    budget(&server, "b", json!({"disruptionsAllowed": 1})).await;
    let (code, refusal) = evict(&server, "p").await;
    assert_eq!((code, &refusal["details"]["retryAfterSeconds"]), (429, &json!(10)));
    budget(&server, "c", json!({"disruptionsAllowed": 1})).await;
    let (code, refusal) = evict(&server, "p").await;
    assert_eq!(code, 500, "{refusal}");
}

/// If this fails a pod that never comes up can't be moved away.
#[tokio::test]
async fn pods_that_serve_nobody_are_evicted_whatever_the_budget_says() {
    let server = server();
    running_pod(&server, "p").await;
    let pending = json!({"status": {"phase": "Pending"}});
    call(&server, "PATCH", &format!("{PODS}/p/status"), Some(pending)).await;
    budget(&server, "b", json!({"observedGeneration": 1})).await;
    assert_eq!(evict(&server, "p").await.0, 201);
}
