//! Admission webhooks over HTTPS: by address and by service, asked again when the object has changed meanwhile.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::{call, server};

type Respond = dyn Fn(&Value) -> Value + Send + Sync;

/// A webhook that answers with what a function makes of the request of each review.
struct Webhook {
    address: SocketAddr,
    ca_bundle: String,
    seen: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Webhook {
    /// With `gate`, each call waits for a permit before it is answered.
    async fn start(
        respond: impl Fn(&Value) -> Value + Send + Sync + 'static,
        gate: Option<Arc<Semaphore>>,
    ) -> Self {
        let names = ["localhost", "hook.default.svc"].map(ToOwned::to_owned);
        let mut params = CertificateParams::new(names).unwrap();
        // As many operators make them: self-signed, and an authority at the same time.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let respond: Arc<Respond> = Arc::new(respond);
        let task = tokio::spawn(accept(listener, Arc::new(config), respond, Arc::clone(&seen), gate));
        Self { address, ca_bundle: STANDARD.encode(certificate.pem()), seen, task }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/review", self.address.port())
    }

    fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    respond: Arc<Respond>,
    seen: Arc<Mutex<Vec<Value>>>,
    gate: Option<Arc<Semaphore>>,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let tls = TlsAcceptor::from(Arc::clone(&config));
        let (respond, seen, gate) = (Arc::clone(&respond), Arc::clone(&seen), gate.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (respond, seen, gate) = (Arc::clone(&respond), Arc::clone(&seen), gate.clone());
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let review: Value = serde_json::from_slice(&body).unwrap();
                    seen.lock().unwrap().push(review["request"].clone());
                    if let Some(gate) = gate {
                        gate.acquire().await.unwrap().forget();
                    }
                    let mut response = respond(&review["request"]);
                    response["uid"] = review["request"]["uid"].clone();
                    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer.to_string()))))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn configuration(kind: &str, client: &Value, more: &Value) -> Value {
    let mut hook = json!({"name": "hook.example.test", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": client,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        hook[key] = value.clone();
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "h"}, "webhooks": [hook]})
}

const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn patch(operations: &Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

#[tokio::test]
async fn a_webhook_behind_a_service_changes_objects() {
    let server = server();
    let label = json!([{"op": "add", "path": "/metadata/labels", "value": {"by": "hook"}}]);
    let webhook = Webhook::start(move |_| patch(&label), None).await;
    let service = json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "https", "port": 443}]}});
    assert_eq!(call(&server, "POST", "/api/v1/namespaces/default/services", Some(service)).await.0, 201);
    let client = json!({"service": {"name": "hook", "namespace": "default", "path": "/review"}, "caBundle": webhook.ca_bundle});
    let hooks = configuration("MutatingWebhookConfiguration", &client, &json!({}));
    assert_eq!(call(&server, "POST", MUTATING, Some(hooks)).await.0, 201);
    let (code, refused) = call(&server, "POST", MAPS, Some(json!({"metadata": {"name": "early"}}))).await;
    assert_eq!(code, 500);
    assert_eq!(
        refused["message"],
        "Internal error occurred: failed calling webhook \"hook.example.test\": failed to call webhook: Post \
\"https://hook.default.svc:443/review?timeout=10s\": no endpoints available for service \"hook\""
    );
    let subset = json!({"addresses": [{"ip": webhook.address.ip().to_string()}],
        "ports": [{"name": "https", "port": webhook.address.port()}]});
    let endpoints = json!({"metadata": {"name": "hook"}, "subsets": [subset]});
    assert_eq!(call(&server, "POST", "/api/v1/namespaces/default/endpoints", Some(endpoints)).await.0, 201);
    let (code, made) = call(&server, "POST", MAPS, Some(json!({"metadata": {"name": "a"}}))).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["metadata"]["labels"], json!({"by": "hook"}));
    let request = &webhook.seen()[0];
    assert_eq!(request["userInfo"]["username"], "system:admin");
    assert_eq!(
        request["object"]["metadata"]["uid"], made["metadata"]["uid"],
        "what was reviewed is what is stored"
    );
}

/// If this fails a webhook has approved something else than what is stored.
#[tokio::test]
async fn an_object_that_changes_during_the_review_is_reviewed_again() {
    let server = server();
    assert_eq!(call(&server, "POST", MAPS, Some(json!({"metadata": {"name": "a"}}))).await.0, 201);
    let gate = Arc::new(Semaphore::new(0));
    let webhook = Webhook::start(|_| json!({"allowed": true}), Some(Arc::clone(&gate))).await;
    let client = json!({"url": webhook.url(), "caBundle": webhook.ca_bundle});
    let more = json!({"objectSelector": {"matchLabels": {"slow": "yes"}}});
    let hooks = configuration("ValidatingWebhookConfiguration", &client, &more);
    assert_eq!(call(&server, "POST", VALIDATING, Some(hooks)).await.0, 201);
    let path = format!("{MAPS}/a");
    let slow = {
        let (server, path) = (server.clone(), path.clone());
        tokio::spawn(async move {
            call(&server, "PATCH", &path, Some(json!({"metadata": {"labels": {"slow": "yes"}}}))).await
        })
    };
    while webhook.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    // The lock is free while the webhook thinks: others write, to this object too.
    let (code, _) = call(&server, "PATCH", &path, Some(json!({"data": {"k": "v"}}))).await;
    assert_eq!(code, 200);
    gate.add_permits(2);
    let (code, patched) = slow.await.unwrap();
    assert_eq!(code, 200, "{patched}");
    assert_eq!((&patched["data"]["k"], &patched["metadata"]["labels"]["slow"]), (&json!("v"), &json!("yes")));
    let seen = webhook.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0]["object"].get("data"), None);
    assert_eq!(seen[1]["object"]["data"], json!({"k": "v"}));
}

#[tokio::test]
async fn refusals_reach_deletions_and_ignored_failures_let_through() {
    let server = server();
    let webhook = Webhook::start(
        |request| json!({"allowed": request["operation"] != "DELETE", "warnings": ["careful"], "status": {"message": "keep it"}}),
        None,
    )
    .await;
    let client = json!({"url": webhook.url(), "caBundle": webhook.ca_bundle});
    let hooks = configuration("ValidatingWebhookConfiguration", &client, &json!({"failurePolicy": "Ignore"}));
    assert_eq!(call(&server, "POST", VALIDATING, Some(hooks)).await.0, 201);
    for name in ["a", "b"] {
        assert_eq!(call(&server, "POST", MAPS, Some(json!({"metadata": {"name": name}}))).await.0, 201);
    }
    let (code, refused) = call(&server, "DELETE", &format!("{MAPS}/a"), None).await;
    assert_eq!(code, 400);
    assert_eq!(refused["message"], "admission webhook \"hook.example.test\" denied the request: keep it");
    let last = webhook.seen().pop().unwrap();
    assert!(last["object"].is_null() && last["oldObject"]["metadata"]["name"] == "a", "{last}");
    assert_eq!(call(&server, "DELETE", MAPS, None).await.0, 400);
    assert_eq!(call(&server, "GET", &format!("{MAPS}/b"), None).await.0, 200, "none of them went");
    drop(webhook);
    assert_eq!(call(&server, "DELETE", &format!("{MAPS}/a"), None).await.0, 200);
}
