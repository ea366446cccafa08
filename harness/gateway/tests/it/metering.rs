//! What the autoscaler is told.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::pods::{HOST, Pod, client, eventually, gateway, in_time, key, post, table};

/// Without the immediate first report a service at zero starts up to a second later than it could.
#[tokio::test]
async fn the_first_request_is_reported_at_once_and_the_rest_each_second() {
    let gate = Arc::new(Semaphore::new(0));
    let (gateway, handle) = gateway(table(0, &[])).await;
    let mut stats = handle.stats();
    let at = gateway.address();
    let requests: Vec<_> = (0..3)
        .map(|_| tokio::spawn(async move { client().request(post(at, HOST, "")).await.unwrap() }))
        .collect();
    let first = in_time("first report", stats.recv()).await.unwrap();
    assert_eq!(first.revision, key("digits-00001"));
    assert_eq!((first.stat.average_concurrency, first.stat.request_count), (1.0, 1.0));

    eventually("all in", || handle.in_flight(&key("digits-00001")) == 3).await;
    let pod = Pod::gated("a", &gate).await;
    handle.apply(table(0, &[pod.address]));
    // Held and running requests count alike; one of them is left out of the report after the immediate one.
    let mut counted = 0.0;
    in_time("a full second of three", async {
        loop {
            let report = stats.recv().await.unwrap().stat;
            counted += report.request_count;
            if (report.average_concurrency - 3.0).abs() < 1e-6 {
                break;
            }
        }
    })
    .await;
    assert_eq!(counted, 2.0, "three requests, the first of which was reported before");
    gate.add_permits(3);
    for request in requests {
        in_time("answer", request).await.unwrap();
    }
    in_time("the report of silence", async {
        while stats.recv().await.unwrap().stat.average_concurrency != 0.0 {}
    })
    .await;
    gateway.shutdown().await;
    pod.stop().await;
}
