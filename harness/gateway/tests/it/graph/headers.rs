//! Header propagation: upstream's five cases, and what no pattern lets through.

use std::collections::BTreeMap;

use serde_json::json;
use windtunnel_gateway::graph::{Options, Propagation};

use super::{Rig, one_node};

/// The headers that a step gets, without those of every request.
async fn seen(patterns: Option<&str>, sent: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    let (propagation, _) = patterns.map(Propagation::parse).unwrap_or_default();
    let options = Options { propagation, ..Options::default() };
    let rig = Rig::with(&one_node("Sequence", json!([{"serviceUrl": "{echo}"}])), options).await;
    let mut request = rig.request("{}");
    for (name, value) in sent {
        request
            .headers_mut()
            .append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let echoed = rig.send(request).await.json();
    let pairs: Vec<(String, String)> = serde_json::from_value(echoed["headers"].clone()).unwrap();
    let mut seen = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in pairs.into_iter().filter(|(name, _)| name != "host" && name != "content-length") {
        seen.entry(name).or_default().push(value);
    }
    seen
}

fn headers(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    pairs
        .iter()
        .map(|(name, values)| ((*name).to_owned(), values.iter().map(|value| (*value).to_owned()).collect()))
        .collect()
}

const JSON: (&str, &[&str]) = ("content-type", &["application/json"]);

/// TestCallServiceWhen… of cmd/router. If this fails steps miss a trace id, or see a credential that is not theirs.
#[tokio::test]
async fn patterns_choose_headers() {
    let two = [("Authorization", "Bearer Token"), ("Test-Header-Key", "Test-Header-Value")];
    let four = [
        ("Authorization", "Bearer Token"),
        ("Test-Header-1", "1"),
        ("Test-Header-2", "2"),
        ("Test-Header-3", "3"),
    ];
    let authorization: (&str, &[&str]) = ("authorization", &["Bearer Token"]);
    let key: (&str, &[&str]) = ("test-header-key", &["Test-Header-Value"]);
    assert_eq!(seen(None, &two).await, headers(&[JSON]));
    assert_eq!(seen(Some("Test-Header-Key"), &two).await, headers(&[JSON, key]));
    assert_eq!(seen(Some("Test-Header-Key,Authorization"), &two).await, headers(&[JSON, key, authorization]));
    assert_eq!(
        seen(Some("Test-Header-*,Auth*"), &four).await,
        headers(&[
            JSON,
            authorization,
            ("test-header-1", &["1"]),
            ("test-header-2", &["2"]),
            ("test-header-3", &["3"])
        ])
    );
    // An invalid pattern is dropped, the others count.
    assert_eq!(seen(Some("Test-Header-[0-9,Auth*"), &four).await, headers(&[JSON, authorization]));
    let (_, dropped) = Propagation::parse("Test-Header-[0-9,Auth*");
    assert_eq!(dropped.len(), 1);
    assert!(dropped[0].starts_with("failed to compile pattern \"Test-Header-[0-9\""), "{dropped:?}");
}

/// Names are matched as Go writes them, anywhere in the name; a header that two patterns match goes once, with all its
/// values; an empty pattern is none.
#[tokio::test]
async fn names_are_canonical_and_values_complete() {
    let sent = [("x-request-id", "a"), ("x-request-id", "b"), ("x-other", "c"), ("content-type", "text/csv")];
    let id: (&str, &[&str]) = ("x-request-id", &["a", "b"]);
    assert_eq!(seen(Some("^X-Request-Id$,Request"), &sent).await, headers(&[JSON, id]));
    assert_eq!(seen(Some("x-request-id"), &sent).await, headers(&[JSON]));
    assert_eq!(seen(Some(",X-Request-Id,"), &sent).await, headers(&[JSON, id]));
    assert_eq!(seen(Some("Content-Type"), &sent).await, headers(&[("content-type", &["text/csv"])]));
}

/// A pattern for everything does not hand on how the client's connection works.
#[tokio::test]
async fn a_connections_own_headers_stay() {
    let sent = [("te", "trailers"), ("keep-alive", "timeout=5"), ("expect", "x"), ("x-a", "1")];
    assert_eq!(seen(Some(".*"), &sent).await, headers(&[JSON, ("x-a", &["1"])]));
}
