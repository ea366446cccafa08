//! Requests that find no pod wait for one.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::Semaphore;

use crate::pods::{
    HOST, Pod, client, eventually, gateway, header, in_time, key, post, split_table, table, text,
};

/// The first request after a quiet night must be answered by the pod that it caused, and say how long it took.
#[tokio::test]
async fn requests_at_zero_are_held_until_a_pod_is_ready() {
    let (gateway, handle) = gateway(table(0, &[])).await;
    let address = gateway.address();
    let requests: Vec<_> = (0..20)
        .map(|row| tokio::spawn(async move { client().request(post(address, HOST, row.to_string())).await }))
        .collect();
    eventually("all wait", || handle.in_flight(&key("digits-00001")) == 20).await;
    let pod = Pod::start("a").await;
    handle.apply(table(0, &[pod.address]));
    for (row, request) in requests.into_iter().enumerate() {
        let response = in_time("answer", request).await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let held: u64 = header(&response, "x-windtunnel-held-us").expect("it was held").parse().unwrap();
        assert!(held > 0);
        assert_eq!(text(response).await, row.to_string());
    }
    eventually("nothing in flight", || handle.in_flight(&key("digits-00001")) == 0).await;
    gateway.shutdown().await;
    pod.stop().await;
}

/// A pod that can only serve one request at a time must never see two, however many wait.
#[tokio::test]
async fn container_concurrency_is_a_hard_limit() {
    for (limit, name) in [(1, "first available"), (4, "round robin")] {
        let gate = Arc::new(Semaphore::new(0));
        let pods = [Pod::gated("a", &gate).await, Pod::gated("b", &gate).await];
        let (gateway, handle) = gateway(table(limit, &pods.each_ref().map(|pod| pod.address))).await;
        let address = gateway.address();
        let requests: Vec<_> = (0..20)
            .map(|_| tokio::spawn(async move { client().request(post(address, HOST, "")).await.unwrap() }))
            .collect();
        eventually("all in", || handle.in_flight(&key("digits-00001")) == 20).await;
        eventually("pods full", || pods.iter().all(|pod| pod.in_flight() == limit)).await;
        gate.add_permits(20);
        for request in requests {
            let response = in_time("answer", request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(
                header(&response, "x-windtunnel-held-us"),
                None,
                "{name}: waited for a slot, not for a pod"
            );
        }
        for pod in &pods {
            assert!(pod.most() <= limit, "{name}: {} at once", pod.most());
        }
        gateway.shutdown().await;
        for pod in pods {
            pod.stop().await;
        }
    }
}

/// A client that gives up while it waits must not take the pod that comes from those who still wait.
#[tokio::test]
async fn a_client_that_leaves_gives_up_its_place() {
    let (gateway, handle) = gateway(table(1, &[])).await;
    let address = gateway.address();
    let leaving = tokio::spawn(async move { client().request(post(address, HOST, "left")).await });
    eventually("it waits", || handle.in_flight(&key("digits-00001")) == 1).await;
    leaving.abort();
    eventually("it is counted out", || handle.in_flight(&key("digits-00001")) == 0).await;
    let staying = tokio::spawn(async move { client().request(post(address, HOST, "stayed")).await });
    eventually("the other waits", || handle.in_flight(&key("digits-00001")) == 1).await;
    let pod = Pod::start("a").await;
    handle.apply(table(1, &[pod.address]));
    let response = in_time("answer", staying).await.unwrap().unwrap();
    assert_eq!(text(response).await, "stayed");
    assert_eq!(pod.total(), 1);
    gateway.shutdown().await;
    pod.stop().await;
}

/// A canary that is rolled back before its first pod was ready must not keep its requests until they time out.
#[tokio::test]
async fn requests_for_a_revision_that_goes_away_choose_again() {
    let pod = Pod::start("stable").await;
    let (gateway, handle) =
        gateway(split_table(&[("digits-00001", 0, &[pod.address]), ("digits-00002", 100, &[])], 0)).await;
    let address = gateway.address();
    let request = tokio::spawn(async move { client().request(post(address, HOST, "kept")).await });
    eventually("it waits", || handle.in_flight(&key("digits-00002")) == 1).await;
    handle.apply(table(0, &[pod.address]));
    let response = in_time("answer", request).await.unwrap().unwrap();
    assert_eq!(header(&response, "x-windtunnel-revision"), Some("digits-00001"));
    assert_eq!(text(response).await, "kept");
    gateway.shutdown().await;
    pod.stop().await;
}

/// A service whose pods never come must say so instead of hanging its clients.
#[tokio::test]
async fn waiting_ends_at_the_route_timeout() {
    let mut short = table(0, &[]);
    short.routes[0].rules[0].timeout_ms = 50;
    let (gateway, handle) = gateway(short).await;
    let response = client().request(post(gateway.address(), HOST, "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = text(response).await;
    assert!(body.contains("default/digits-00001") && body.contains("50 ms"), "{body}");
    eventually("counted out", || handle.in_flight(&key("digits-00001")) == 0).await;
    gateway.shutdown().await;
}

/// A split without any share is a mistake that the answer names.
#[tokio::test]
async fn a_route_without_shares_is_refused() {
    let (gateway, _handle) = gateway(split_table(&[("digits-00001", 0, &[])], 0)).await;
    let response = client().request(post(gateway.address(), HOST, "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(response).await.contains("sends no traffic anywhere"));
    gateway.shutdown().await;
}

/// Without the activator a burst must not pile up behind pods that would refuse it: each takes one request and queues ten.
#[tokio::test]
async fn without_the_activator_only_the_pods_queues_are_there() {
    let gate = Arc::new(Semaphore::new(0));
    let pod = Pod::gated("a", &gate).await;
    let mut direct = table(1, &[pod.address]);
    direct.revisions[0].activated = false;
    let (gateway, handle) = gateway(direct).await;
    let address = gateway.address();
    let requests: Vec<_> = (0..11)
        .map(|_| tokio::spawn(async move { client().request(post(address, HOST, "")).await.unwrap() }))
        .collect();
    eventually("all in", || handle.in_flight(&key("digits-00001")) == 11).await;
    eventually("the pod is full", || pod.in_flight() == 1).await;
    let refused = client().request(post(address, HOST, "")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = text(refused).await;
    assert!(body.contains("10"), "{body}");
    // With the activator back in the path there is room again.
    handle.apply(table(1, &[pod.address]));
    let waits = tokio::spawn(async move { client().request(post(address, HOST, "")).await.unwrap() });
    eventually("it waits", || handle.in_flight(&key("digits-00001")) == 12).await;
    gate.add_permits(12);
    for request in requests.into_iter().chain([waits]) {
        assert_eq!(in_time("answer", request).await.unwrap().status(), StatusCode::OK);
    }
    gateway.shutdown().await;
    pod.stop().await;
}
