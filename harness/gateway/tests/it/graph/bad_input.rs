//! Graphs that can't work, requests that are too much, and steps that die.

use http::StatusCode;
use serde_json::{Value, json};
use windtunnel_gateway::graph::{Graph, Options};

use super::{Rig, one_node, refusal};

#[expect(clippy::needless_pass_by_value, reason = "cases write their steps in place")]
fn node(steps: Value) -> Value {
    json!({"routerType": "Sequence", "steps": steps})
}

/// Each is refused at the start, with the place and what to do. Upstream overflows its stack on a circle, and answers each
/// request with `invalid route type: ` for a name that leads nowhere.
#[test]
fn graphs_that_cannot_work_are_refused() {
    let mut chain = serde_json::Map::new();
    for level in 0..70 {
        let name = if level == 0 { "root".to_owned() } else { format!("n{level}") };
        chain.insert(name, node(json!([{"nodeName": format!("n{}", level + 1)}])));
    }
    chain.insert("n70".to_owned(), node(json!([{"serviceUrl": "http://a/"}])));
    for (graph, expected) in [
        (json!({"nodes": {}}), "there is no node \"root\""),
        (
            json!({"nodes": {"first": node(json!([{"serviceUrl": "http://a/"}]))}}),
            "there is no node \"root\"",
        ),
        (
            one_node("Sequence", json!([{"serviceUrl": "http://a/"}, {"nodeName": "gone"}])),
            "nodes.root.steps[1].nodeName: there is no node \"gone\"; the graph has root",
        ),
        (one_node("Ensemble", json!([{"nodeName": "root"}])), "root -> root is a circle"),
        (
            json!({"nodes": {
                "root": node(json!([{"nodeName": "a"}])), "a": node(json!([{"serviceUrl": "http://a/"}, {"nodeName": "b"}])),
                "b": node(json!([{"nodeName": "a"}]))}}),
            "a -> b -> a is a circle",
        ),
        (json!({"nodes": chain}), "more than 64 levels"),
        (one_node("Sequence", json!([])), "nodes.root.steps: a Sequence needs at least one step"),
        (one_node("Splitter", json!([{"serviceUrl": "http://a/"}])), "nodes.root.steps[0].weight"),
        (
            one_node("Switch", json!([{"serviceUrl": "http://a/", "condition": "a.".repeat(500)}])),
            "nodes.root.steps[0].condition: has more than 200 parts",
        ),
        (one_node("Loop", json!([])), "unknown variant `Loop`"),
        (json!([]), "the graph is not the JSON of an InferenceGraph's spec"),
    ] {
        let refused = Graph::from_json(&graph.to_string()).expect_err(expected).to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    for text in ["", "{", "null", &"[".repeat(100_000), "{\"nodes\":"] {
        assert!(Graph::from_json(text).is_err());
    }
    // Nodes that several steps share are no circle.
    let shared = json!({"nodes": {
        "root": node(json!([{"nodeName": "a"}, {"nodeName": "b"}, {"nodeName": "a"}])),
        "a": node(json!([{"nodeName": "b"}])), "b": node(json!([{"serviceUrl": "http://a/"}]))}});
    assert!(Graph::from_json(&shared.to_string()).is_ok());
}

/// TestMalformedURL and its kin: a step that can't be called is a 500 that says why.
#[tokio::test]
async fn steps_that_cannot_be_called() {
    for (url, expected) in [
        (
            "http://single-1.default.{$your-domain}/switch",
            "parse \"http://single-1.default.{$your-domain}/switch\": ",
        ),
        ("", "unsupported protocol scheme \"\""),
        ("ftp://127.0.0.1/", "Post \"ftp://127.0.0.1/\": unsupported protocol scheme \"ftp\""),
        (
            "http://127.0.0.1:1/a",
            "Post \"http://127.0.0.1:1/a\": dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        ("{circle}", "stopped after 10 redirects"),
        ("{dies}", "/dies\": EOF"),
        ("{breaks}", "/breaks\": the answer broke off"),
    ] {
        let rig = Rig::start(&one_node("Sequence", json!([{"serviceUrl": url}]))).await;
        let answered = rig.post("{}").await;
        let cause = answered.json()["cause"].as_str().unwrap().to_owned();
        assert_eq!(answered.status, 500, "{url}");
        assert!(cause.contains(expected), "{url}: {cause}");
        assert_eq!(answered.json()["error"], "Failed to process request");
    }
}

/// Redirects are followed as Go's client does: 307 repeats the request, 303 asks for another page.
#[tokio::test]
async fn redirects_are_followed() {
    for (step, expected) in [("{moved}", ("POST", "{\"a\":1}")), ("{see-other}", ("GET", ""))] {
        let rig = Rig::start(&one_node("Sequence", json!([{"serviceUrl": step}]))).await;
        let echoed = rig.post("{\"a\":1}").await.json();
        assert_eq!((echoed["method"].as_str().unwrap(), echoed["body"].as_str().unwrap()), expected);
    }
}

/// A request that is no JSON meets no condition; one that is millions of brackets deep does no harm.
#[tokio::test]
async fn strange_bodies() {
    let switch = one_node("Switch", json!([{"serviceUrl": "{ok}", "condition": "0.0.a"}]));
    let none = refusal(StatusCode::NOT_FOUND, "None of the routes matched with the switch condition");
    let rig = Rig::start(&switch).await;
    let deep = "[".repeat(2_000_000) + &"]".repeat(2_000_000);
    for body in [&b"not JSON"[..], b"", b"\xff\xfe", b"{\"a\":", deep.as_bytes(), &deep.as_bytes()[1..]] {
        assert_eq!(rig.post(body.to_vec()).await, none);
    }
    assert_eq!(rig.post(r#"[[{"a":1}]]"#).await.status, 200);
    // Without conditions bytes go through as they are.
    let rig = Rig::start(&one_node("Sequence", json!([{"serviceUrl": "{bytes}"}]))).await;
    let response = crate::pods::client().request(rig.request(&b"\xff"[..])).await.unwrap();
    assert_eq!(crate::pods::header(&response, "content-type"), Some("application/octet-stream"));
}

/// If this fails one request, or one answer, takes the router's memory.
#[tokio::test]
async fn too_much_is_refused() {
    let options = Options { max_body_bytes: 4096, ..Options::default() };
    let rig = Rig::with(&one_node("Sequence", json!([{"serviceUrl": "{echo}"}])), options.clone()).await;
    assert_eq!(rig.post(vec![b'1'; 3000]).await.status, 200);
    let refused = rig.post(vec![b'1'; 5000]).await;
    assert_eq!(refused.status, 413);
    assert_eq!(
        refused.json()["cause"],
        "the request body has more than 4096 bytes, the most that this router takes"
    );
    let rig = Rig::with(&one_node("Sequence", json!([{"serviceUrl": "{large}"}])), options).await;
    let refused = rig.post("{}").await;
    assert_eq!(refused.status, 500);
    let cause = refused.json()["cause"].as_str().unwrap().to_owned();
    assert!(
        cause.ends_with("the answer has more than 4096 bytes, the most that this router takes"),
        "{cause}"
    );
}
