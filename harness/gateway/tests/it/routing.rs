//! Where a request goes, and what reaches the pod and the client.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::pods::{HOST, Pod, client, gateway, header, key, post, split_table, table, text};

/// A user who mistypes the host needs to learn which hosts there are.
#[tokio::test]
async fn an_unknown_host_gets_a_404_that_says_what_to_ask_for() {
    let (gateway, _handle) = gateway(table(0, &[])).await;
    let response = client().request(post(gateway.address(), "nothing.example.com", "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    let body = text(response).await;
    assert!(body.starts_with(r#"{"error":"no route for host \"nothing.example.com\""#), "{body}");
    assert!(body.contains(HOST) && body.contains("status.url"), "{body}");
    gateway.shutdown().await;
}

/// Any form of the host, and HTTP/2 clients, reach the service; the pod sees the client's own request.
#[tokio::test]
async fn requests_reach_the_pod_unchanged_and_answers_carry_the_revision() {
    let pod = Pod::start("a").await;
    let (gateway, _handle) = gateway(table(0, &[pod.address])).await;
    for (client, host) in [
        (client(), HOST.to_owned()),
        (client(), HOST.to_uppercase()),
        (client(), format!("{HOST}:8080")),
        (client(), "digits.default.svc.cluster.local".to_owned()),
    ] {
        let response = client.request(post(gateway.address(), &host, "rows")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{host}");
        assert_eq!(header(&response, "x-windtunnel-revision"), Some("digits-00001"));
        assert_eq!(header(&response, "x-windtunnel-weight"), Some("100"));
        assert_eq!(header(&response, "x-windtunnel-held-us"), None, "a pod was there");
        assert_eq!(header(&response, "x-path"), Some("/v1/models/digits:predict?row=1"));
        assert_eq!(header(&response, "seen-host"), Some(&*host));
        assert_eq!(header(&response, "seen-x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(header(&response, "x-secret"), None, "listed in the pod's Connection header");
        assert_eq!(text(response).await, "rows");
    }
    gateway.shutdown().await;
    pod.stop().await;
}

/// A canary at 10 % that gets 0 % or 30 % of a short test's requests says nothing about the canary.
#[tokio::test]
async fn every_prefix_of_a_split_is_within_one_request_of_its_share() {
    let (stable, canary) = (Pod::start("stable").await, Pod::start("canary").await);
    let split = |endpoints: &[std::net::SocketAddr]| {
        split_table(&[("digits-00001", 90, endpoints), ("digits-00002", 10, &[canary.address])], 0)
    };
    let (gateway, handle) = gateway(split(&[stable.address])).await;
    let client = client();
    for sent in 1..=200_u32 {
        let response = client.request(post(gateway.address(), HOST, "")).await.unwrap();
        let weight = if header(&response, "x-pod") == Some("canary") { "10" } else { "90" };
        assert_eq!(header(&response, "x-windtunnel-weight"), Some(weight));
        let share = f64::from(sent) * 0.1;
        assert!((f64::from(canary.total()) - share).abs() <= 1.0, "{} of {sent}", canary.total());
        // A table with the same split and other pods must not start the split over.
        let both = [stable.address, canary.address];
        handle.apply(split(&both[..1 + sent as usize % 2]));
        handle.apply(split(&both[..1]));
    }
    assert_eq!(canary.total(), 20);
    gateway.shutdown().await;
    stable.stop().await;
    canary.stop().await;
}

/// Images and batches are larger than what is kept for a second attempt.
#[tokio::test]
async fn large_bodies_stream_both_ways() {
    let pod = Pod::start("a").await;
    let (gateway, _handle) = gateway(table(0, &[pod.address])).await;
    let body = Bytes::from(vec![b'x'; 5_000_000]);
    let response = client().request(post(gateway.address(), HOST, body.clone())).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await.len(), body.len());
    gateway.shutdown().await;
    pod.stop().await;
}

/// Requests on their way when the gateway is told to stop are answered; later ones find nobody.
#[tokio::test]
async fn shutdown_drains() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let pod = Pod::gated("a", &gate).await;
    let (gateway, handle) = gateway(table(0, &[pod.address])).await;
    let address = gateway.address();
    let request = tokio::spawn(async move { client().request(post(address, HOST, "last")).await });
    crate::pods::eventually("request at the pod", || pod.in_flight() == 1).await;
    let shutdown = tokio::spawn(gateway.shutdown());
    crate::pods::eventually("listener closed", || std::net::TcpStream::connect(address).is_err()).await;
    gate.add_permits(1);
    let response = request.await.unwrap().unwrap();
    assert_eq!(text(response).await, "last");
    crate::pods::in_time("shutdown", shutdown).await.unwrap();
    assert_eq!(handle.in_flight(&key("digits-00001")), 0);
    pod.stop().await;
}

/// gRPC-style clients speak HTTP/2 without asking first, and name the service in the target.
#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    let pod = Pod::start("a").await;
    let (gateway, _handle) = gateway(table(0, &[pod.address])).await;
    let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for row in 0..3 {
        let request = http::Request::post(format!("http://{HOST}/v2/models/digits/infer"))
            .body(Full::new(Bytes::from(row.to_string())))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "seen-host"), Some(HOST));
        assert_eq!(header(&response, "x-path"), Some("/v2/models/digits/infer"));
        assert_eq!(text(response).await, row.to_string());
    }
    drop(sender);
    gateway.shutdown().await;
    crate::pods::in_time("connection ends", connection).await.unwrap().unwrap();
    pod.stop().await;
}

/// Generated tokens must reach the reader as they are made, not when the last one is.
#[tokio::test]
async fn answers_stream() {
    let (parts, received) = tokio::sync::mpsc::channel::<Bytes>(1);
    let received = std::sync::Arc::new(tokio::sync::Mutex::new(Some(received)));
    let app = axum::Router::new().fallback(move || async move {
        let received = received.lock().await.take();
        let stream = futures::stream::unfold(received, |received| async move {
            let mut received = received?;
            let part = received.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(part), Some(received)))
        });
        axum::body::Body::from_stream(stream)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pod = tokio::spawn(async move { axum::serve(listener, app).await });
    let (gateway, handle) = gateway(table(0, &[address])).await;
    let mut response = client().request(post(gateway.address(), HOST, "")).await.unwrap();
    for part in ["one", "two", "three"] {
        parts.send(Bytes::from(part)).await.unwrap();
        let frame = crate::pods::in_time("part", response.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
        assert_eq!(handle.in_flight(&key("digits-00001")), 1, "until the last byte");
    }
    drop(parts);
    assert!(crate::pods::in_time("end", response.frame()).await.is_none());
    crate::pods::eventually("counted out", || handle.in_flight(&key("digits-00001")) == 0).await;
    gateway.shutdown().await;
    pod.abort();
}
