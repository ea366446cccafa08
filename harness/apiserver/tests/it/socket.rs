//! The server over a real socket, with friendly and unfriendly clients.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{DEADLINE, call_as, served::Served, server};

#[tokio::test]
async fn kube_rs_works_over_tls_with_the_administrators_kubeconfig() {
    let served = Served::start().await;
    let maps: Api<ConfigMap> = Api::namespaced(served.admin().await, "default");
    let map = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_some());
    drop(maps);
    served.stop().await;
}

#[tokio::test]
async fn alpn_chooses_http_2_and_http_1() {
    let served = Served::start().await;
    let stream = served.connect(&[b"h2"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::builder()
        .uri(format!("https://{}/version", served.address))
        .body(Full::new(Bytes::new()))
        .unwrap();
    let response = timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap();
    let version: Value =
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(version["minor"], "36");
    drop(sender);
    let old = served.connect(&[b"http/1.1"]).await.unwrap();
    assert_eq!(old.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    drop(old);
    served.stop().await;
    driver.abort();
}

/// If this fails whoever makes a certificate of their own is an administrator.
#[tokio::test]
async fn a_certificate_of_another_authority_opens_nothing() {
    let served = Served::start().await;
    let other = windtunnel_apiserver::Pki::generate().unwrap();
    let maps: Api<ConfigMap> = Api::all(served.client_with(&other, "root", "system:masters").await);
    assert!(timeout(DEADLINE, maps.list(&ListParams::default())).await.unwrap().is_err());
    let jane: Api<ConfigMap> = Api::all(served.client_with(served.server.pki(), "jane", "devs").await);
    let refused = jane.list(&ListParams::default()).await.unwrap_err();
    assert!(refused.to_string().contains("User \"jane\" cannot list resource \"configmaps\""), "{refused}");
    drop((maps, jane));
    served.stop().await;
}

#[tokio::test]
async fn garbage_on_the_wire_harms_nobody() {
    let served = Served::start().await;
    for garbage in
        [&b"\x00\x01\x02\r\n\r\n"[..], b"GET", b"POST /api/v1 HTTP/1.1\r\ncontent-length: x\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the connection hangs");
    }
    let mut stream = served.connect(&[]).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    served.stop().await;
}

/// If this fails a client whose write was refused finds its connection broken at the next request.
#[tokio::test]
async fn a_refused_request_leaves_its_connection_usable() {
    let served = Served::start().await;
    let mut stream = served.connect(&[b"http/1.1"]).await.unwrap();
    stream
        .write_all(b"POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n")
        .await
        .unwrap();
    stream.flush().await.unwrap();
    // A whole exchange on another connection: the server has seen the head, and not the body.
    let mut other = served.connect(&[b"http/1.1"]).await.unwrap();
    other.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, other.read_to_string(&mut answer)).await.unwrap().unwrap();
    stream.write_all(b"{}GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answers = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answers)).await.unwrap().unwrap();
    assert!(answers.starts_with("HTTP/1.1 403") && answers.contains("HTTP/1.1 200"), "{answers}");
    served.stop().await;
}

#[tokio::test]
async fn hostile_requests_get_a_status_that_says_why() {
    let server = server();
    let maps = "/api/v1/namespaces/default/configmaps";
    let deep = format!("{{\"data\":{}{}}}", "{\"a\":".repeat(5_000), "1".to_owned() + &"}".repeat(5_000));
    for (method, path, kind, body, code) in [
        ("POST", maps, "application/json", deep, 400),
        ("POST", maps, "text/html", "x".to_owned(), 415),
        ("POST", maps, "application/json", "x".repeat(4 * 1024 * 1024), 413),
        ("POST", maps, "application/json", "{\"metadata\":7}".to_owned(), 400),
        ("POST", maps, "application/yaml", "a: [".to_owned(), 400),
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/kube-root-ca.crt",
            "application/json-patch+json",
            "[{\"op\":\"remove\",\"path\":\"/nope/x\"}]".to_owned(),
            422,
        ),
        ("GET", "/api/v1/namespaces/default/configmaps/..%2F..%2Fetc", "", String::new(), 404),
        ("GET", "/api/v1/namespaces/default/configmaps?labelSelector=%3D%3D%3D", "", String::new(), 400),
        ("GET", "/api/v1/namespaces/default/configmaps?resourceVersion=x", "", String::new(), 400),
        ("GET", "/api/v1/namespaces/default/configmaps?limit=1&continue=%21", "", String::new(), 400),
        ("DELETE", "/api/v1/namespaces/default", "application/json", "[1".to_owned(), 400),
    ] {
        let (found, answer) = call_as(&server, method, path, kind, body).await;
        assert_eq!(found, code, "{method} {path}: {answer}");
        assert_eq!(answer["kind"], "Status", "{method} {path}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
    }
}
