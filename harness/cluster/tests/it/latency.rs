//! Measurements, not tests: `cargo nextest run -p windtunnel-cluster --run-ignored only latency --no-capture`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::flight::{Flight, shell};

/// Prints how long a cluster takes to start and to stop, and a Deployment from 0 to 1: until the process runs, and
/// until its Endpoints have it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn latency() {
    let start = Instant::now();
    let flight = Flight::start().await;
    println!("cluster start: {:?}", start.elapsed());
    let file = flight.folder.path().join("started");
    let mut container =
        shell("c", &format!("date +%s%N > {0}.new; mv {0}.new {0}; exec sleep 1000", file.display()));
    container["readinessProbe"] = json!({"exec": {"command": ["ls", file.to_string_lossy()]}});
    flight
        .create::<Deployment>(json!({
            "metadata": {"name": "d"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "d"}}, "template": {
                "metadata": {"labels": {"app": "d"}, "annotations": {"cluster.windtunnel.dev/aggressive-probe-ms": "5"}},
                "spec": {"containers": [container]}}},
        }))
        .await;
    flight
        .create::<k8s_openapi::api::core::v1::Service>(json!({"metadata": {"name": "d"},
            "spec": {"selector": {"app": "d"}, "ports": [{"port": 80}]}}))
        .await;
    let observed = |deployment: &Deployment| {
        deployment.status.as_ref().and_then(|status| status.observed_generation) == Some(1)
    };
    flight.until("d", observed).await;
    let api = flight.api::<Deployment>();
    for round in 0..5 {
        let _ = std::fs::remove_file(&file);
        let scale = |replicas: u32| Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let (start, clock) = (Instant::now(), SystemTime::now());
        api.patch("d", &PatchParams::default(), &scale(1)).await.expect("scaled");
        flight.until_ready("d", 1).await;
        let ready = start.elapsed();
        let text = std::fs::read_to_string(&file).expect("the process's time");
        let started_ns: u128 = text.trim().parse().expect("a number");
        let asked_ns = clock.duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let spawned_ms = (started_ns.saturating_sub(asked_ns)) / 1_000_000;
        let start = Instant::now();
        api.patch("d", &PatchParams::default(), &scale(0)).await.expect("scaled");
        for pod in flight.api::<Pod>().list(&ListParams::default()).await.expect("pods") {
            flight.until_gone::<Pod>(&pod.metadata.name.unwrap_or_default()).await;
        }
        println!(
            "round {round}: 0->1 process after {spawned_ms} ms, ready after {ready:?}, 1->0 gone after {:?}",
            start.elapsed()
        );
    }
    let start = Instant::now();
    flight.cluster.stop().await;
    println!("cluster stop: {:?}", start.elapsed());
}
