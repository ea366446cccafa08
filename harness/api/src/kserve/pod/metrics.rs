//! Metrics of the model server: together with the queue-proxy's, and where Prometheus finds them.

use k8s_openapi::api::core::v1::{ContainerPort, Pod};

use super::super::config::MetricsAggregator;
use super::super::names::{METRIC_AGGREGATION, PROMETHEUS_SCRAPING};
use super::annotation;
use super::containers::{merge, variable};
use crate::pod_fields::QUEUE_PROXY;

const AGGREGATE_PORT: i32 = 9088;
/// The queue-proxy's own port.
const QUEUE_PROXY_PORT: i32 = 9091;
const PORT_NAME: &str = "aggr-metric";
const PATH: &str = "/metrics";

/// Writes the defaults into the pod's annotations and does what they then say.
pub(super) fn inject(pod: &mut Pod, defaults: &MetricsAggregator) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    let mut wanted = |key: &str, default: &str| {
        annotations.entry(key.to_owned()).or_insert_with(|| default.to_owned()) == "true"
    };
    let aggregate = wanted(METRIC_AGGREGATION, &defaults.enable_metric_aggregation);
    let scrape = wanted(PROMETHEUS_SCRAPING, &defaults.enable_prometheus_scraping);
    if aggregate {
        let port = annotation(pod, "prometheus.kserve.io/port").unwrap_or("8080").to_owned();
        let path = annotation(pod, "prometheus.kserve.io/path").unwrap_or(PATH).to_owned();
        let containers = pod.spec.iter_mut().flat_map(|spec| spec.containers.iter_mut());
        for proxy in containers.filter(|container| container.name == QUEUE_PROXY) {
            let variables = vec![
                variable("KSERVE_CONTAINER_PROMETHEUS_METRICS_PORT", port.clone()),
                variable("KSERVE_CONTAINER_PROMETHEUS_METRICS_PATH", path.clone()),
                variable("AGGREGATE_PROMETHEUS_METRICS_PORT", AGGREGATE_PORT.to_string()),
            ];
            merge(proxy, variables);
            let ports = proxy.ports.get_or_insert_default();
            if !ports.iter().any(|port| port.name.as_deref() == Some(PORT_NAME)) {
                ports.push(ContainerPort {
                    name: Some(PORT_NAME.to_owned()),
                    container_port: AGGREGATE_PORT,
                    protocol: Some("TCP".to_owned()),
                    ..ContainerPort::default()
                });
            }
        }
    }
    if scrape {
        let port = if aggregate { AGGREGATE_PORT } else { QUEUE_PROXY_PORT };
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert("prometheus.io/port".to_owned(), port.to_string());
        annotations.insert("prometheus.io/path".to_owned(), PATH.to_owned());
    }
}
