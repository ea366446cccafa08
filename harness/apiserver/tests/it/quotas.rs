//! Resource quotas.

use serde_json::{Value, json};

use crate::{call, server};

const NAMESPACE: &str = "/api/v1/namespaces/default";

/// If this fails one team takes what another was promised, or a quota never lets go.
#[tokio::test]
async fn a_quota_counts_refuses_and_gives_back() {
    let server = server();
    let hard = json!({"count/secrets": "1", "requests.cpu": "1", "requests.memory": "1Gi", "pods": "2"});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    assert_eq!(call(&server, "POST", &format!("{NAMESPACE}/resourcequotas"), Some(quota)).await.0, 201);
    let used = async || {
        call(&server, "GET", &format!("{NAMESPACE}/resourcequotas/q"), None).await.1["status"]["used"].clone()
    };
    assert_eq!(
        used().await,
        json!({"count/secrets": "0", "requests.cpu": "0", "requests.memory": "0", "pods": "0"})
    );
    let secret = |name: &str| json!({"metadata": {"name": name}});
    assert_eq!(call(&server, "POST", &format!("{NAMESPACE}/secrets"), Some(secret("a"))).await.0, 201);
    let (code, refusal) = call(&server, "POST", &format!("{NAMESPACE}/secrets"), Some(secret("b"))).await;
    assert_eq!(code, 403);
    assert_eq!(
        refusal["message"],
        "secrets \"b\" is forbidden: exceeded quota: q, requested: count/secrets=1, used: count/secrets=1, limited: \
count/secrets=1"
    );
    let pod = |name: &str, requests: Value| {
        json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i",
            "resources": {"requests": requests}}]}})
    };
    let pods = format!("{NAMESPACE}/pods");
    let (_, refusal) = call(&server, "POST", &pods, Some(pod("p", json!({})))).await;
    assert_eq!(
        refusal["message"],
        "pods \"p\" is forbidden: failed quota: q: must specify requests.cpu for: c; requests.memory for: c"
    );
    let half = json!({"cpu": "500m", "memory": "512Mi"});
    assert_eq!(call(&server, "POST", &pods, Some(pod("p", half.clone()))).await.0, 201);
    assert_eq!(
        used().await,
        json!({"count/secrets": "1", "requests.cpu": "500m", "requests.memory": "512Mi", "pods": "1"})
    );
    let more = json!({"cpu": "600m", "memory": "512Mi"});
    let (_, refusal) = call(&server, "POST", &pods, Some(pod("q", more))).await;
    assert_eq!(
        refusal["message"],
        "pods \"q\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=500m, limited: \
requests.cpu=1"
    );
    call(&server, "DELETE", &format!("{pods}/p"), None).await;
    call(&server, "DELETE", &format!("{NAMESPACE}/secrets/a"), None).await;
    assert_eq!(
        used().await,
        json!({"count/secrets": "0", "requests.cpu": "0", "requests.memory": "0", "pods": "0"})
    );
    assert_eq!(call(&server, "POST", &format!("{NAMESPACE}/secrets"), Some(secret("b"))).await.0, 201);
}

/// If this fails a quota is passed by creating something small and letting it grow.
#[tokio::test]
async fn a_quota_sees_what_updates_take() {
    let server = server();
    let hard = json!({"services.loadbalancers": "1", "services.nodeports": "2", "requests.storage": "3Gi"});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    assert_eq!(call(&server, "POST", &format!("{NAMESPACE}/resourcequotas"), Some(quota)).await.0, 201);
    let services = format!("{NAMESPACE}/services");
    for name in ["a", "b"] {
        let service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        assert_eq!(call(&server, "POST", &services, Some(service)).await.0, 201);
    }
    let balanced = json!({"spec": {"type": "LoadBalancer"}});
    let (code, answer) = call(&server, "PATCH", &format!("{services}/a"), Some(balanced.clone())).await;
    assert_eq!(code, 200, "{answer}");
    let (code, refusal) = call(&server, "PATCH", &format!("{services}/b"), Some(balanced)).await;
    assert_eq!(code, 403);
    assert_eq!(
        refusal["message"],
        "services \"b\" is forbidden: exceeded quota: q, requested: services.loadbalancers=1, used: \
services.loadbalancers=1, limited: services.loadbalancers=1"
    );
    let renamed = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(call(&server, "PATCH", &format!("{services}/a"), Some(renamed)).await.0, 200, "takes no more");
    let (_, quota) = call(&server, "GET", &format!("{NAMESPACE}/resourcequotas/q"), None).await;
    assert_eq!(
        quota["status"]["used"],
        json!({"services.loadbalancers": "1", "services.nodeports": "1", "requests.storage": "0"})
    );
    let claims = format!("{NAMESPACE}/persistentvolumeclaims");
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "2Gi"}}}});
    let (code, created) = call(&server, "POST", &claims, Some(claim)).await;
    assert_eq!((code, &created["metadata"]["finalizers"]), (201, &json!(["kubernetes.io/pvc-protection"])));
}
