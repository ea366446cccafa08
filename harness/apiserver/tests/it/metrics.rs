//! The page of metrics, as Prometheus would scrape it.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{PostParams, WatchParams},
};
use serde_json::json;
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, time::timeout};
use windtunnel_apiserver::ApiServer;

use crate::{DEADLINE, call, served::Served, server};

/// The samples of the page by name and labels; the page must have a type for each of them.
async fn scrape(server: &ApiServer) -> BTreeMap<String, f64> {
    let (code, page) = call(server, "GET", "/metrics", None).await;
    assert_eq!(code, 200);
    let page = page.as_str().expect("text").to_owned();
    let mut samples = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let family = name.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| family.strip_suffix(suffix).filter(|name| name.ends_with("duration_seconds")))
            .unwrap_or(family);
        assert!(page.contains(&format!("# TYPE {family} ")), "{line}");
        let before = samples.insert(name.to_owned(), value.parse().unwrap());
        assert_eq!(before, None, "{name} is there twice");
    }
    samples
}

fn labels(code: Option<u16>, scope: &str, verb: &str) -> String {
    let code = code.map(|code| format!("code=\"{code}\",")).unwrap_or_default();
    format!(
        "{{{code}component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope=\"{scope}\",subresource=\"\",\
verb=\"{verb}\",version=\"v1\"}}"
    )
}

/// If this fails dashboards and alerts made for Kubernetes stay empty.
#[tokio::test]
async fn requests_are_counted_under_kubernetes_names() {
    let server = server();
    let maps = "/api/v1/namespaces/default/configmaps";
    for (method, path, body, code) in [
        ("POST", maps.to_owned(), Some(json!({"metadata": {"name": "a"}})), 201),
        ("POST", maps.to_owned(), Some(json!({"metadata": {"name": "a"}})), 409),
        ("PATCH", format!("{maps}/a"), Some(json!({"data": {"k": "v"}})), 200),
        ("GET", format!("{maps}/a"), None, 200),
        ("GET", format!("{maps}/none"), None, 404),
        ("GET", maps.to_owned(), None, 200),
        ("GET", "/api/v1/configmaps".to_owned(), None, 200),
        ("DELETE", format!("{maps}/a?dryRun=All"), None, 200),
        // What nobody serves is not counted: whoever asks for nonsense must not fill the memory.
        ("GET", "/apis/example.com/v1/nonsense".to_owned(), None, 404),
    ] {
        assert_eq!(call(&server, method, &path, body).await.0, code, "{method} {path}");
    }
    let samples = scrape(&server).await;
    let total = |code: u16, scope: &str, verb: &str| {
        samples.get(&format!("apiserver_request_total{}", labels(Some(code), scope, verb))).copied()
    };
    assert_eq!((total(201, "resource", "POST"), total(409, "resource", "POST")), (Some(1.0), Some(1.0)));
    assert_eq!((total(200, "resource", "GET"), total(404, "resource", "GET")), (Some(1.0), Some(1.0)));
    assert_eq!((total(200, "namespace", "LIST"), total(200, "cluster", "LIST")), (Some(1.0), Some(1.0)));
    assert_eq!(total(200, "resource", "PATCH"), Some(1.0));
    let dry = labels(Some(200), "resource", "DELETE").replace("dry_run=\"\"", "dry_run=\"All\"");
    assert_eq!(samples.get(&format!("apiserver_request_total{dry}")), Some(&1.0));
    assert!(!samples.keys().any(|name| name.contains("nonsense")));
    let posts = labels(None, "resource", "POST");
    let bucket = posts.replace('}', ",le=\"+Inf\"}");
    assert_eq!(samples[&format!("apiserver_request_duration_seconds_bucket{bucket}")], 2.0);
    assert_eq!(samples[&format!("apiserver_request_duration_seconds_count{posts}")], 2.0);
    let sum_s = samples[&format!("apiserver_request_duration_seconds_sum{posts}")];
    assert!(sum_s > 0.0 && sum_s < DEADLINE.as_secs_f64(), "{sum_s}");
    // The map, and the certificate of each of the four namespaces.
    assert_eq!(samples["apiserver_resource_objects{group=\"\",resource=\"configmaps\"}"], 5.0);
    assert_eq!(samples["apiserver_storage_objects{resource=\"deployments.apps\"}"], 0.0);
    assert_eq!(samples["apiserver_current_inflight_requests{request_kind=\"readOnly\"}"], 1.0, "this scrape");
    assert_eq!(samples["apiserver_current_inflight_requests{request_kind=\"mutating\"}"], 0.0);
    assert!(samples["process_resident_memory_bytes"] > 1e6);
}

#[tokio::test]
async fn watches_are_counted_while_they_are_open_and_when_they_end() {
    let server = server();
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    let mut watch = maps.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    let map = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    for _ in 0..2 {
        timeout(DEADLINE, watch.try_next()).await.unwrap().unwrap().unwrap();
    }
    let open = format!(
        "apiserver_longrunning_requests{}",
        labels(None, "namespace", "WATCH").replace("dry_run=\"\",", "")
    );
    let ended = format!("apiserver_request_total{}", labels(Some(200), "namespace", "WATCH"));
    let samples = scrape(&server).await;
    assert_eq!((samples.get(&open), samples.get(&ended)), (Some(&1.0), None));
    let events = "apiserver_watch_events_total{group=\"\",resource=\"configmaps\",version=\"v1\"}";
    assert_eq!(samples[events], 2.0, "the certificate that was there, and the new map");
    drop(watch);
    let samples = scrape(&server).await;
    assert_eq!((samples.get(&open), samples.get(&ended)), (Some(&0.0), Some(&1.0)));
}

/// If this fails a probe that every Kubernetes answers says that the cluster is ill.
#[tokio::test]
async fn probes_say_what_they_have_checked() {
    let server = server();
    for probe in ["healthz", "livez", "readyz"] {
        assert_eq!(call(&server, "GET", &format!("/{probe}"), None).await, (200, json!("ok")));
        assert_eq!(call(&server, "GET", &format!("/{probe}/etcd"), None).await, (200, json!("ok")));
        assert_eq!(call(&server, "GET", &format!("/{probe}/nothing"), None).await.0, 404);
        let (code, text) = call(&server, "GET", &format!("/{probe}?verbose"), None).await;
        let lines = format!("[+]ping ok\n[+]log ok\n[+]etcd ok\n{probe} check passed\n");
        assert_eq!((code, text), (200, json!(lines)));
    }
    let (_, text) = call(&server, "GET", "/readyz?verbose&exclude=etcd&exclude=x", None).await;
    let text = text.as_str().unwrap();
    assert!(text.contains("[+]etcd excluded: ok\n") && text.contains("no matches for \"x\"\n"), "{text}");
}

/// If this fails a scan of the port goes unseen, or everybody may look into the server.
#[tokio::test]
async fn handshakes_that_fail_are_counted_and_strangers_see_nothing() {
    let served = Served::start().await;
    let mut stranger = served.connect(&[b"http/1.1"]).await.unwrap();
    stranger.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stranger.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let mut garbage = tokio::net::TcpStream::connect(served.address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let _ = timeout(DEADLINE, garbage.read_to_end(&mut Vec::new())).await.expect("the connection hangs");
    assert_eq!(scrape(&served.server).await["apiserver_tls_handshake_errors_total"], 1.0);
    served.stop().await;
}
