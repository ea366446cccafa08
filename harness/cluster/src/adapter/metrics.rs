//! Serves what containers use as `metrics.k8s.io`, which `kubectl top` and others read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use windtunnel_apiserver::ApiServer;

use super::Store;
use crate::{
    controllers::autoscaler::{PodUsage, ResourceMetrics, Usage},
    world::Key,
};

const BYTES_PER_KIB: u64 = 1024;

/// Publishes the usage of all pods once a `period`, until `stop`.
pub(crate) async fn publish_metrics(
    period: Duration,
    server: ApiServer,
    store: Arc<Store>,
    metrics: Arc<dyn ResourceMetrics>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let (nodes, measured) = store.read(|world| {
            let nodes: Vec<Key> = world.nodes.iter().map(|(key, _)| key.clone()).collect();
            let measured: Vec<(Arc<Pod>, PodUsage)> = world
                .pods
                .iter()
                .filter_map(|(key, pod)| Some((pod.clone(), metrics.pod_usage(key)?)))
                .collect();
            (nodes, measured)
        });
        let now = Timestamp::now();
        let names: Vec<&str> = nodes.iter().map(|node| &*node.name).collect();
        server.publish_metrics(of_nodes(&names, &measured, period, now), of_pods(&measured));
    }
}

fn of_pods(measured: &[(Arc<Pod>, PodUsage)]) -> Vec<Value> {
    let one = |(pod, usage): &(Arc<Pod>, PodUsage)| {
        let containers: Vec<Value> = usage
            .containers
            .iter()
            .map(|(name, usage)| json!({"name": name, "usage": quantities(*usage)}))
            .collect();
        let metadata = &pod.metadata;
        json!({
            "metadata": {"name": metadata.name, "namespace": metadata.namespace,
                "labels": metadata.labels.clone().unwrap_or_default(), "creationTimestamp": seconds(usage.at)},
            "timestamp": seconds(usage.at),
            "window": window(usage.window),
            "containers": containers,
        })
    };
    measured.iter().map(one).collect()
}

/// A node uses what its pods use.
fn of_nodes(
    names: &[&str],
    measured: &[(Arc<Pod>, PodUsage)],
    period: Duration,
    now: Timestamp,
) -> Vec<Value> {
    let mut sums: BTreeMap<&str, Usage> = BTreeMap::new();
    for (pod, usage) in measured {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        let sum = sums.entry(node).or_default();
        for usage in usage.containers.values() {
            sum.cpu_nano = sum.cpu_nano.saturating_add(usage.cpu_nano);
            sum.memory_bytes = sum.memory_bytes.saturating_add(usage.memory_bytes);
        }
    }
    let one = |name: &&str| {
        let usage = sums.get(*name).copied().unwrap_or_default();
        json!({
            "metadata": {"name": name, "creationTimestamp": seconds(now)},
            "timestamp": seconds(now),
            "window": window(period),
            "usage": quantities(usage),
        })
    };
    names.iter().map(one).collect()
}

fn quantities(usage: Usage) -> Value {
    json!({"cpu": format!("{}n", usage.cpu_nano), "memory": format!("{}Ki", usage.memory_bytes / BYTES_PER_KIB)})
}

fn window(length: Duration) -> String {
    format!("{:.3}s", length.as_secs_f64())
}

fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails `kubectl top` shows a node that is idle under load, or a pod with a part of its containers.
    #[test]
    fn a_node_uses_what_its_pods_use() {
        let pod = |name: &str, node: &str| -> Arc<Pod> {
            let pod = json!({"metadata": {"name": name, "namespace": "n", "labels": {"a": "b"}},
                "spec": {"nodeName": node, "containers": []}});
            Arc::new(serde_json::from_value(pod).expect("a pod"))
        };
        let usage = |containers: &[(&str, u64, u64)]| PodUsage {
            at: Timestamp::from_second(100).expect("a time"),
            window: Duration::from_millis(1500),
            containers: containers
                .iter()
                .map(|(name, cpu_nano, memory_bytes)| {
                    ((*name).to_owned(), Usage { cpu_nano: *cpu_nano, memory_bytes: *memory_bytes })
                })
                .collect(),
        };
        let measured = [
            (pod("p", "one"), usage(&[("a", 5, 2048), ("b", 6, 1024)])),
            (pod("q", "one"), usage(&[("a", 1, 1024)])),
        ];
        let now = Timestamp::from_second(101).expect("a time");
        let nodes = of_nodes(&["one", "two"], &measured, Duration::from_secs(15), now);
        assert_eq!(nodes[0]["usage"], json!({"cpu": "12n", "memory": "4Ki"}));
        assert_eq!(nodes[1]["usage"], json!({"cpu": "0n", "memory": "0Ki"}));
        let pods = of_pods(&measured);
        assert_eq!(pods[0]["containers"][1], json!({"name": "b", "usage": {"cpu": "6n", "memory": "1Ki"}}));
        assert_eq!(pods[0]["metadata"]["labels"]["a"], "b", "kubectl top selects by labels");
        assert_eq!(
            (&pods[0]["timestamp"], &pods[0]["window"]),
            (&json!("1970-01-01T00:01:40Z"), &json!("1.500s"))
        );
    }
}
