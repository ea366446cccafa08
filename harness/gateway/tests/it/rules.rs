//! Rules of routes: which match a request meets, and what filters change.

use http::{Method, StatusCode};
use windtunnel_gateway::{
    Backend, Filter, HeaderChanges, PathMatch, RequestMatch, Route, RouteTable, Rule, TextMatch,
};

use crate::pods::{Pod, client, gateway, header, key, post, split_table, text};

fn rule(matches: Vec<RequestMatch>, filters: Vec<Filter>, backend: &str) -> Rule {
    Rule {
        matches,
        filters,
        backends: vec![Backend { revision: key(backend), percent: 100 }],
        timeout_ms: 50_000,
    }
}

fn path(pattern: &str) -> RequestMatch {
    RequestMatch { path: Some(PathMatch::Regex(pattern.to_owned())), ..RequestMatch::default() }
}

/// The rules that KServe writes: explanations go to the explainer, gRPC to its own port, everything else to the
/// predictor, which learns from headers whose request it is.
#[tokio::test]
async fn requests_meet_the_rule_that_matches_best() {
    let (predictor, explainer, grpc) =
        (Pod::start("predictor").await, Pod::start("explainer").await, Pod::start("grpc").await);
    let mut table = split_table(
        &[
            ("predictor", 100, &[predictor.address]),
            ("explainer", 0, &[explainer.address]),
            ("grpc", 0, &[grpc.address]),
        ],
        0,
    );
    let name =
        HeaderChanges { set: vec![("KServe-Isvc-Name".into(), "digits".into())], ..HeaderChanges::default() };
    table.routes = vec![
        Route {
            hosts: vec!["digits.example.com".into(), "*.tenant.example.com".into()],
            rules: vec![rule(vec![path("^/.*$")], vec![Filter::RequestHeaders(name)], "predictor")],
        },
        Route {
            hosts: vec!["digits.example.com".into()],
            rules: vec![
                rule(vec![path(r"^/v1/models/[\w-]+:explain$")], vec![], "explainer"),
                rule(
                    vec![RequestMatch {
                        headers: vec![(
                            "content-type".into(),
                            TextMatch::Regex("^application/grpc.*$".into()),
                        )],
                        ..path(r"^/inference\.GRPCInferenceService/.*$")
                    }],
                    vec![],
                    "grpc",
                ),
            ],
        },
    ];
    let (gateway, _handle) = gateway(table).await;
    let client = client();
    for (host, path, kind, expected) in [
        ("digits.example.com", "/v1/models/digits:predict", "application/json", "predictor"),
        ("digits.example.com", "/v1/models/digits:explain", "application/json", "explainer"),
        ("digits.example.com", "/inference.GRPCInferenceService/ModelInfer", "application/grpc", "grpc"),
        ("digits.example.com", "/inference.GRPCInferenceService/ModelInfer", "text/plain", "predictor"),
        ("a.b.tenant.example.com", "/v1/models/digits:explain", "application/json", "predictor"),
    ] {
        let mut request = post(gateway.address(), host, "rows");
        *request.uri_mut() = format!("http://{}{path}", gateway.address()).parse().unwrap();
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        request.headers_mut().insert("kserve-isvc-name", "forged".parse().unwrap());
        let response = client.request(request).await.unwrap();
        assert_eq!(header(&response, "x-pod"), Some(expected), "{host}{path} {kind}");
        let named = if expected == "predictor" { "digits" } else { "forged" };
        assert_eq!(header(&response, "seen-kserve-isvc-name"), Some(named), "{host}{path}");
        assert_eq!(text(response).await, "rows");
    }
    gateway.shutdown().await;
    for pod in [predictor, explainer, grpc] {
        pod.stop().await;
    }
}

/// A redirection needs no pod; a host whose rules match nothing says so.
#[tokio::test]
async fn requests_without_a_pod_are_answered_by_the_gateway() {
    let only_get = RequestMatch { method: Some("GET".into()), ..RequestMatch::default() };
    let redirect =
        Filter::Redirect { scheme: Some("https".into()), host: None, port: None, path: None, status: 301 };
    let table = RouteTable {
        routes: vec![Route {
            hosts: vec!["digits.example.com".into()],
            rules: vec![Rule { matches: vec![only_get], filters: vec![redirect], ..Rule::default() }],
        }],
        revisions: vec![],
    };
    let (gateway, _handle) = gateway(table).await;
    let mut request = post(gateway.address(), "digits.example.com", "");
    let refused = client().request(request.clone()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    let body = text(refused).await;
    assert!(body.contains("no rule of host \\\"digits.example.com\\\" matches POST /v1/models"), "{body}");
    *request.method_mut() = Method::GET;
    let moved = client().request(request).await.unwrap();
    assert_eq!(moved.status(), StatusCode::MOVED_PERMANENTLY);
    assert_eq!(header(&moved, "location"), Some("https://digits.example.com/v1/models/digits:predict?row=1"));
    gateway.shutdown().await;
}

/// Where nobody scales from zero, a request must not hang until its timeout.
#[tokio::test]
async fn a_backend_that_is_not_activated_refuses_at_once() {
    let mut table = split_table(&[("digits-predictor", 100, &[])], 0);
    table.revisions[0].activated = false;
    let (gateway, _handle) = gateway(table).await;
    let response = client().request(post(gateway.address(), crate::pods::HOST, "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = text(response).await;
    assert!(body.contains("default/digits-predictor has no ready pod"), "{body}");
    gateway.shutdown().await;
}
