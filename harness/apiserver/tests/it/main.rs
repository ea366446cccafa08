//! Integration tests: the server seen through clients, in process and over a socket.

mod admission;
mod admission_plugins;
mod client;
mod definitions;
mod durable;
mod eviction;
mod forms;
mod garbage;
mod load;
mod metrics;
mod patches;
mod pod_rules;
mod policies;
mod quotas;
mod rules;
mod security;
mod selection;
mod served;
mod service_rules;
mod socket;
mod watching;
mod webhooks;
mod workload_rules;

use std::time::Duration;

use serde_json::{Value, json};
use windtunnel_apiserver::{ApiServer, Options};

/// Nothing here takes long; a test that waits for more is stuck.
const DEADLINE: Duration = Duration::from_secs(20);

fn server() -> ApiServer {
    ApiServer::new(Options { seed: Some(1), ..Options::default() })
}

/// One request in process: status and body.
async fn call(server: &ApiServer, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    call_as(server, method, path, kind, body.map(|body| body.to_string()).unwrap_or_default()).await
}

/// One request in process with a content type of its own.
async fn call_as(server: &ApiServer, method: &str, path: &str, kind: &str, body: String) -> (u16, Value) {
    let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
    send(server, request, body).await
}

/// A GET in process for one of the forms that the client can read.
async fn get_as(server: &ApiServer, path: &str, accept: &str) -> (u16, Value) {
    send(server, http::Request::get(path).header("accept", accept), String::new()).await
}

async fn send(server: &ApiServer, request: http::request::Builder, body: String) -> (u16, Value) {
    let request =
        request.header("user-agent", "test/1").body(kube::client::Body::from(body.into_bytes())).unwrap();
    let response = tokio::time::timeout(DEADLINE, server.client().send(request)).await.unwrap().unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect_bytes().await.unwrap();
    (code, serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))))
}
