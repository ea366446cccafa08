//! Ingresses, served by a real gateway. Where requests go is told by the backend that has no pod.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use windtunnel_control_plane::{Effect, ObjectKey, gateway_routes};
use windtunnel_gateway::Gateway;

use crate::sandbox::Sandbox;

const OURS: &str = "windtunnel.dev/ingress-controller";

fn class(sandbox: &mut Sandbox, name: &str, controller: &str, annotations: &Value) {
    sandbox.put::<IngressClass>(
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": annotations}, "spec": {"controller": controller},
        }))
        .unwrap(),
    );
}

fn ingress(sandbox: &mut Sandbox, name: &str, spec: &Value) {
    let metadata = json!({"name": name, "namespace": "default"});
    sandbox.put::<Ingress>(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap());
}

fn path(type_: &str, path: &str, service: &str) -> Value {
    let backend = json!({"service": {"name": service, "port": {"number": 80}}});
    json!({"pathType": type_, "path": path, "backend": backend})
}

/// Status and body of the gateway's answer.
async fn ask(address: SocketAddr, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Requests would reach the wrong model. The paths are those of Kubernetes' documentation of Ingresses.
#[tokio::test]
async fn requests_go_where_kubernetes_says() {
    let mut sandbox = Sandbox::new();
    class(&mut sandbox, "windtunnel", OURS, &json!({}));
    class(&mut sandbox, "other", "example.com/other", &json!({}));
    let named = json!({"service": {"name": "segments", "port": {"name": "rest"}}});
    ingress(
        &mut sandbox,
        "web",
        &json!({
            "ingressClassName": "windtunnel",
            "defaultBackend": path("", "", "fallback")["backend"],
            "rules": [
                {"host": "a.example.com", "http": {"paths": [
                    path("Prefix", "/foo", "prefix"),
                    path("Exact", "/foo", "exact"),
                    path("Prefix", "/foo/bar/", "longer"),
                    {"pathType": "ImplementationSpecific", "path": "/aaa/bbb", "backend": named},
                ]}},
                {"host": "*.example.org", "http": {"paths": [path("Prefix", "/", "wildcard")]}},
            ],
        }),
    );
    sandbox.put::<Service>(
        serde_json::from_value(json!({
            "metadata": {"name": "segments", "namespace": "default"},
            "spec": {"ports": [{"name": "metrics", "port": 9090}, {"name": "rest", "port": 8080}]},
        }))
        .unwrap(),
    );
    let paths = json!([path("Prefix", "/", "foreign")]);
    let rules = json!([{"host": "b.example.com", "http": {"paths": paths}}]);
    ingress(&mut sandbox, "foreign", &json!({"ingressClassName": "other", "rules": rules}));
    ingress(&mut sandbox, "classless", &json!({"rules": rules}));

    let gateway =
        Gateway::bind("127.0.0.1:0".parse().unwrap(), windtunnel_gateway::Options::default()).await.unwrap();
    gateway.handle().apply(gateway_routes::table(&sandbox.world));
    for (host, path, expected) in [
        ("a.example.com", "/foo", "exact"),
        ("a.example.com", "/foo/", "prefix"),
        ("a.example.com", "/foo/x", "prefix"),
        ("a.example.com", "/foo/bar", "longer"),
        ("a.example.com", "/foo/bar/baz", "longer"),
        ("a.example.com", "/foobar", "fallback"),
        ("a.example.com", "/FOO", "fallback"),
        ("a.example.com", "/aaa/bbb/ccc", "segments:8080"),
        ("a.example.com", "/aaa/bbbxyz", "fallback"),
        ("x.example.org", "/any", "wildcard"),
        ("x.y.example.org", "/any", "fallback"),
        ("example.org", "/any", "fallback"),
        ("b.example.com", "/", "fallback"),
    ] {
        let answer = ask(gateway.address(), host, path).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{host}{path}: {answer}");
        assert!(answer.contains(&format!("default/{expected} has no ready pod")), "{host}{path}: {answer}");
    }

    class(&mut sandbox, "windtunnel", OURS, &json!({"ingressclass.kubernetes.io/is-default-class": "true"}));
    gateway.handle().apply(gateway_routes::table(&sandbox.world));
    let answer = ask(gateway.address(), "b.example.com", "/").await;
    assert!(answer.contains("default/foreign has no ready pod"), "{answer}");
    gateway.shutdown().await;
}

/// `kubectl get ingress` would show no address, and tools that wait for one would wait for ever.
#[test]
fn an_ingress_says_where_it_is_served() {
    let mut sandbox = Sandbox::new();
    class(&mut sandbox, "windtunnel", OURS, &json!({}));
    let fallback = path("", "", "fallback")["backend"].clone();
    for name in ["windtunnel", "other"] {
        ingress(&mut sandbox, name, &json!({"ingressClassName": name, "defaultBackend": fallback}));
    }
    let key = |name: &str| ObjectKey::new("default", name);
    assert!(gateway_routes::reconcile_ingress(&sandbox.world, &key("windtunnel")).is_empty(), "no address");
    sandbox.world.gateway_address = Some("127.0.0.1:8443".parse().unwrap());
    assert!(gateway_routes::reconcile_ingress(&sandbox.world, &key("other")).is_empty(), "not ours");
    let effects = gateway_routes::reconcile_ingress(&sandbox.world, &key("windtunnel"));
    let [Effect::Patch { patch, status: true, .. }] = &effects[..] else { panic!("{effects:?}") };
    let point = json!({"ip": "127.0.0.1", "ports": [{"port": 8443, "protocol": "TCP"}]});
    assert_eq!(*patch, json!({"status": {"loadBalancer": {"ingress": [point]}}}));
    sandbox.patch::<Ingress>(&key("windtunnel"), patch);
    assert!(gateway_routes::reconcile_ingress(&sandbox.world, &key("windtunnel")).is_empty(), "at rest");
}
