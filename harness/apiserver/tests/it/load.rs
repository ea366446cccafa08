//! Much at once, and clients that mean no good: the server goes on, and says what is wrong.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use windtunnel_apiserver::{ApiServer, Options};

use crate::{DEADLINE, call, call_as, served::Served, server};

const OBJECTS: usize = 10_000;
const WATCHERS: usize = 1_000;

/// Resident memory of this process.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

async fn services(server: &ApiServer) -> Api<DynamicObject> {
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "services.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "services", "singular": "service", "kind": "Service", "listKind": "ServiceList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"type": "object", "properties": {"replicas": {"type": "integer", "default": 1},
            "model": {"type": "string"}}}}}}}]}});
    let (code, answer) =
        call(server, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", Some(definition))
            .await;
    assert_eq!(code, 201, "{answer}");
    let resource = ApiResource {
        group: "example.com".into(),
        version: "v1".into(),
        api_version: "example.com/v1".into(),
        kind: "Service".into(),
        plural: "services".into(),
    };
    Api::namespaced_with(server.client(), "default", &resource)
}

/// If this fails a cluster of a larger platform does not fit.
#[tokio::test]
async fn ten_thousand_objects_and_a_thousand_watchers() {
    const WRITES: usize = 20;
    let server = server();
    let services = services(&server).await;
    let object = |number: usize| -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "example.com/v1", "kind": "Service",
            "metadata": {"name": format!("s{number}")}, "spec": {"model": "digits"}}))
        .unwrap()
    };
    for number in 0..OBJECTS {
        services.create(&PostParams::default(), &object(number)).await.unwrap();
    }
    let list = services.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), OBJECTS);
    assert!(list.items.iter().all(|object| object.data["spec"]["replicas"] == 1), "defaults are missing");
    let revision = list.metadata.resource_version.unwrap();
    let mut watches = Vec::new();
    for _ in 0..WATCHERS {
        let watch = services.watch(&WatchParams::default().disable_bookmarks(), &revision).await.unwrap();
        watches.push(tokio::spawn(async move {
            let names = watch.take(WRITES).map_ok(|event| match event {
                WatchEvent::Modified(object) => object.name_any(),
                other => panic!("{other:?}"),
            });
            names.try_collect::<Vec<_>>().await.unwrap()
        }));
    }
    let mut expected = Vec::new();
    for number in (0..OBJECTS).step_by(OBJECTS / WRITES) {
        let patch = Patch::Merge(json!({"spec": {"replicas": 2}}));
        services.patch(&format!("s{number}"), &PatchParams::default(), &patch).await.unwrap();
        expected.push(format!("s{number}"));
    }
    for watch in watches {
        assert_eq!(timeout(DEADLINE, watch).await.expect("a watcher was forgotten").unwrap(), expected);
    }
}

/// If this fails one hanging client ends the cluster for all.
#[tokio::test]
async fn watchers_that_stop_reading_cost_no_memory_and_block_nobody() {
    const WRITES: usize = 4_000;
    let server = ApiServer::new(Options { event_log_capacity: 500, seed: Some(1), ..Options::default() });
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    let map =
        serde_json::from_value(json!({"metadata": {"name": "a"}, "data": {"k": "x".repeat(2_000)}})).unwrap();
    let created = maps.create(&PostParams::default(), &map).await.unwrap();
    let from = created.resource_version().unwrap();
    let params = WatchParams::default();
    let watching = stream::iter(0..WATCHERS).then(|_| maps.watch(&params, &from));
    let watches: Vec<_> = watching.map(|watch| watch.unwrap().boxed()).collect().await;
    let before = resident_mib();
    for number in 0..WRITES {
        let patch = Patch::Merge(json!({"data": {"n": number.to_string()}}));
        timeout(DEADLINE, maps.patch("a", &PatchParams::default(), &patch))
            .await
            .expect("a write hangs")
            .unwrap();
    }
    let grown = resident_mib() - before;
    // A queue for each watcher would be 8 GB.
    assert!(grown < 100.0, "{WATCHERS} silent watchers cost {grown:.0} MiB");
    for mut watch in watches {
        let first = timeout(DEADLINE, watch.next()).await.unwrap().unwrap().unwrap();
        assert!(matches!(&first, WatchEvent::Error(status) if status.code == 410), "{first:?}");
        assert!(timeout(DEADLINE, watch.next()).await.unwrap().is_none(), "the stream goes on after 410");
    }
}

/// The same over a socket, whose buffers are full.
#[tokio::test]
async fn a_connection_that_is_not_read_is_told_gone_at_last() {
    let served =
        Served::start_with(Options { event_log_capacity: 16, seed: Some(1), ..Options::default() }).await;
    let admin: Api<ConfigMap> = Api::namespaced(served.admin().await, "default");
    let start = admin.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let mut silent = admin.watch(&WatchParams::default(), &start).await.unwrap().boxed();
    let maps: Api<ConfigMap> = Api::namespaced(served.server.client(), "default");
    for number in 0..60 {
        let map = serde_json::from_value(
            json!({"metadata": {"name": format!("m{number}")}, "data": {"k": "x".repeat(900_000)}}),
        );
        let create = maps.create(&PostParams::default(), &map.unwrap()).await;
        create.unwrap();
    }
    let mut last = None;
    while let Some(event) = timeout(DEADLINE, silent.next()).await.expect("the watch hangs") {
        last = Some(event.unwrap());
    }
    assert!(
        matches!(&last, Some(WatchEvent::Error(status)) if status.code == 410),
        "the client does not know"
    );
    drop((admin, silent));
    served.stop().await;
}

#[tokio::test]
async fn a_large_body_is_refused_in_words_that_arrive() {
    let served = Served::start().await;
    let body = "x".repeat(10 * 1024 * 1024);
    for token in [None, Some("Bearer nonsense")] {
        let mut stream = served.connect_as_admin().await;
        let authorization = token.map(|token| format!("authorization: {token}\r\n")).unwrap_or_default();
        let head = format!(
            "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             {authorization}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        timeout(DEADLINE, stream.write_all(body.as_bytes())).await.unwrap().unwrap();
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&answer).contains("\"code\":413") {
            let count = timeout(DEADLINE, stream.read(&mut piece)).await.expect("no answer").unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..count]);
        }
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("RequestEntityTooLarge"), "{answer}");
        assert!(answer.contains("limit is 3145728"), "{answer}");
    }
    served.stop().await;
}

/// If this fails whoever opens sockets and says nothing locks everybody out.
#[tokio::test]
async fn thousands_of_slow_connections_end_and_others_are_served_meanwhile() {
    const SLOW: usize = 2_000;
    let served =
        Served::start_with(Options { request_limit_s: 2, seed: Some(1), ..Options::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..SLOW {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    let mut slow = Vec::new();
    for (protocol, said) in [
        (&b"http/1.1"[..], &b""[..]),
        (b"http/1.1", b"GET /healthz HTTP/1.1\r\nhost:"),
        (b"http/1.1", b"POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"),
        (b"h2", b""),
        (b"h2", b"PRI * HTTP/2.0\r\n"),
    ] {
        for _ in 0..20 {
            let mut stream = served.connect(&[protocol]).await.unwrap();
            stream.write_all(said).await.unwrap();
            stream.flush().await.unwrap();
            slow.push(stream);
        }
    }
    let maps: Api<ConfigMap> = Api::namespaced(served.admin().await, "default");
    timeout(DEADLINE, maps.list(&ListParams::default())).await.expect("nobody is served").unwrap();
    // The server ends all of them.
    for mut stream in slow {
        let mut answer = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("a slow connection stays");
    }
    for mut stream in silent {
        let _ =
            timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.expect("a silent connection stays");
    }
    timeout(DEADLINE, maps.list(&ListParams::default())).await.expect("nobody is served any more").unwrap();
    drop(maps);
    served.stop().await;
}

#[tokio::test]
async fn names_that_climb_are_refused() {
    let server = server();
    let maps = "/api/v1/namespaces/default/configmaps";
    for name in ["..", ".", "../../etc/passwd", "a/b", "a%2fb", "a\u{0}b", "A", &"x".repeat(300)] {
        let (code, answer) = call(&server, "POST", maps, Some(json!({"metadata": {"name": name}}))).await;
        assert_eq!((code, answer["reason"].as_str()), (422, Some("Invalid")), "{name}: {answer}");
        let (code, answer) =
            call(&server, "POST", "/api/v1/namespaces", Some(json!({"metadata": {"name": name}}))).await;
        assert_eq!(code, 422, "{name}: {answer}");
    }
    for path in [
        "/api/v1/namespaces/default/configmaps/..",
        "/api/v1/namespaces/%2e%2e/configmaps/kube-root-ca.crt",
        "/api/v1/namespaces/default/configmaps/%2e%2e%2f%2e%2e",
        "/api/v1/namespaces/default/../../secrets",
        "//api//v1//namespaces",
        "/api/v1/namespaces/default/configmaps/%ff%fe",
        "/api/v1/namespaces/default/configmaps/%zz",
    ] {
        for method in ["GET", "DELETE", "PUT", "PATCH"] {
            let (code, answer) = call_as(&server, method, path, "application/json", "{}".into()).await;
            assert!((400..500).contains(&code), "{method} {path}: {code} {answer}");
            let is_status = answer["kind"] == "Status" && answer["message"] != Value::Null;
            assert!(is_status || answer == json!("404 page not found\n"), "{method} {path}: {answer}");
        }
    }
}

#[tokio::test]
async fn every_write_says_which_content_types_it_takes() {
    let server = server();
    let map = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt";
    for (method, path, kind) in [
        ("POST", "/api/v1/namespaces", "text/plain"),
        ("POST", "/api/v1/namespaces", "application/x-www-form-urlencoded"),
        ("PUT", map, "application/xml"),
        ("PATCH", map, "application/json"),
        ("PATCH", map, "text/html"),
        ("DELETE", map, "text/html"),
    ] {
        let (code, answer) = call_as(&server, method, path, kind, "{}".into()).await;
        assert_eq!(
            (code, answer["reason"].as_str()),
            (415, Some("UnsupportedMediaType")),
            "{method}: {answer}"
        );
    }
}
