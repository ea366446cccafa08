//! Pods that refuse, break and stall.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
    task::JoinHandle,
};

use crate::pods::{HOST, Pod, client, eventually, gateway, header, in_time, key, post, table, text};

/// A pod made of bytes: on each connection it answers `answers` requests, reads one more and hangs up.
struct Rude {
    address: SocketAddr,
    connections: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Rude {
    async fn start(answers: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let mut buffer = [0; 16_384];
                for _ in 0..answers {
                    if stream.read(&mut buffer).await.unwrap_or(0) == 0 {
                        break;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
                let _ = stream.read(&mut buffer).await;
            }
        });
        Self { address, connections, task }
    }

    fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Rude {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A kept-alive connection that the pod closes as the next request arrives is everyday life at scale-down.
#[tokio::test]
async fn a_request_on_a_closed_idle_connection_is_sent_again() {
    let pod = Rude::start(1).await;
    let (gateway, _handle) = gateway(table(0, &[pod.address])).await;
    let client = client();
    for sent in 1..=5 {
        let response = client.request(post(gateway.address(), HOST, "body")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "request {sent}");
        assert_eq!(text(response).await, "ok");
    }
    gateway.shutdown().await;
}

/// A payment, a counter, an expensive generation: what may have run must not run again behind the client's back.
#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_sent_again() {
    let pod = Rude::start(0).await;
    let (gateway, _handle) = gateway(table(0, &[pod.address])).await;
    let response = client().request(post(gateway.address(), HOST, "body")).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let body = text(response).await;
    assert!(body.contains("may have been processed") && body.contains(&pod.address.to_string()), "{body}");
    assert_eq!(pod.connections(), 1);
    gateway.shutdown().await;
}

/// A body too long to be kept is not sent half.
#[tokio::test]
async fn a_long_body_is_not_sent_again() {
    let pod = Rude::start(1).await;
    let (gateway, _handle) = gateway(table(0, &[pod.address])).await;
    let client = client();
    let first = client.request(post(gateway.address(), HOST, "small")).await.unwrap();
    assert_eq!(text(first).await, "ok");
    let response =
        client.request(post(gateway.address(), HOST, Bytes::from(vec![0; 8_000_000]))).await.unwrap();
    // Either the idle connection was seen to be dead in time and a new one was used, or the answer is honest.
    assert!([StatusCode::OK, StatusCode::BAD_GATEWAY].contains(&response.status()), "{}", response.status());
    gateway.shutdown().await;
}

/// A pod that died before the endpoints say so costs nobody an answer while another one lives.
#[tokio::test]
async fn refused_connections_go_to_another_pod() {
    let pod = Pod::start("alive").await;
    for limit in [0, 1, 8] {
        let (gateway, _handle) = gateway(table(limit, &[nobody().await, pod.address, nobody().await])).await;
        let client = client();
        for _ in 0..20 {
            let response = client.request(post(gateway.address(), HOST, "body")).await.unwrap();
            assert_eq!(header(&response, "x-pod"), Some("alive"));
            assert_eq!(text(response).await, "body");
        }
        gateway.shutdown().await;
    }
    pod.stop().await;
}

/// The only pod restarts under the same address: its requests wait for it.
#[tokio::test]
async fn requests_wait_for_a_pod_that_comes_back() {
    let address = nobody().await;
    let (gateway, handle) = gateway(table(1, &[address])).await;
    let at = gateway.address();
    let request = tokio::spawn(async move { client().request(post(at, HOST, "patient")).await });
    eventually("it waits", || handle.in_flight(&key("digits-00001")) == 1).await;
    let pod = Pod::serve(TcpListener::bind(address).await.unwrap(), "back", None);
    let response = in_time("answer", request).await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await, "patient");
    gateway.shutdown().await;
    pod.stop().await;
}

/// A pod that hangs must not hang its clients.
#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_is_a_504() {
    let gate = Arc::new(Semaphore::new(0));
    let pod = Pod::gated("stuck", &gate).await;
    let mut short = table(0, &[pod.address]);
    short.routes[0].rules[0].timeout_ms = 100;
    let (gateway, _handle) = gateway(short).await;
    let response = client().request(post(gateway.address(), HOST, "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(text(response).await.contains("100 ms"));
    eventually("the pod is told", || pod.in_flight() == 0).await;
    gateway.shutdown().await;
    pod.stop().await;
}

/// A client that hangs up must not leave its request running and its slot taken.
#[tokio::test]
async fn a_client_that_leaves_cancels_its_request() {
    let gate = Arc::new(Semaphore::new(0));
    let pod = Pod::gated("slow", &gate).await;
    let (gateway, handle) = gateway(table(1, &[pod.address])).await;
    let at = gateway.address();
    let request = tokio::spawn(async move { client().request(post(at, HOST, "")).await });
    eventually("at the pod", || pod.in_flight() == 1).await;
    request.abort();
    eventually("the pod is told", || pod.in_flight() == 0).await;
    eventually("counted out", || handle.in_flight(&key("digits-00001")) == 0).await;
    gate.add_permits(1);
    let response = client().request(post(at, HOST, "next")).await.unwrap();
    assert_eq!(text(response).await, "next", "its slot is free");
    gateway.shutdown().await;
    pod.stop().await;
}
