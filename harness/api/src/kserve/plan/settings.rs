//! The settings of `inferenceservice-config` that children and URLs follow from, in one place.

use serde_json::{Map, Value};

use super::super::config::{KserveConfig, ResourceDefaults};
use super::super::names;

/// What upstream calls an ingress inside the cluster only.
pub(super) const CLUSTER_LOCAL_DOMAIN: &str = "svc.cluster.local";

/// Resources that are GPUs everywhere.
const GPU_TYPES: [&str; 4] = ["nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu", "habana.ai/gaudi"];

/// The settings that children and URLs follow from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    /// Whether HTTPRoutes are made in the Standard mode (else an Ingress).
    pub(super) enable_gateway_api: bool,
    /// Namespace and name of the Gateway that serves the routes.
    pub(super) gateway: (String, String),
    pub(super) ingress_domain: String,
    pub(super) additional_domains: Vec<String>,
    pub(super) domain_template: String,
    /// Path under the ingress domain; empty for none.
    pub(super) path_template: String,
    pub(super) url_scheme: String,
    pub(super) ingress_class: Option<String>,
    pub(super) disable_ingress_creation: bool,
    pub(super) disable_route_timeout: bool,
    pub(super) disable_istio_virtual_host: bool,
    /// Istio's gateways for requests from outside and from inside.
    pub(super) ingress_gateway: String,
    pub(super) local_gateway: String,
    /// Host of the gateway for requests from inside.
    pub(super) local_gateway_service: String,
    pub(super) knative_local_gateway_service: String,
    /// `maxSurge` and `maxUnavailable` of Deployments that don't say; empty for the default.
    pub(super) rollout: Option<(String, String)>,
    /// Whether Services are headless.
    pub(super) headless: bool,
    /// Stabilisation windows of ScaledObjects that don't say, up and down.
    pub(super) scale_up_window_s: Option<i32>,
    pub(super) scale_down_window_s: Option<i32>,
    /// The OpenTelemetry collector beside model servers.
    pub(super) scrape_interval: String,
    pub(super) metric_receiver: String,
    pub(super) metric_scaler: String,
    pub(super) collector_resources: Option<serde_json::Value>,
    /// The ART explainer.
    pub(super) art_image: String,
    pub(super) art_version: String,
    /// Resources that count as GPUs.
    pub(super) gpu_types: Vec<String>,
}

impl Settings {
    /// The settings in a configuration.
    pub(super) fn of(config: &KserveConfig) -> Self {
        let ingress = &config.ingress;
        let collector = &config.opentelemetry_collector;
        let text = str::to_owned;
        let (namespace, gateway) = ingress.kserve_ingress_gateway.split_once('/').unwrap_or_default();
        let local = Some(&ingress.knative_local_gateway_service).filter(|name| !name.is_empty());
        let window = |seconds: &str| seconds.parse().ok();
        let mut gpu_types = GPU_TYPES.map(text).to_vec();
        gpu_types.extend(config.custom_gpu_resource_types.iter().cloned());
        Self {
            enable_gateway_api: ingress.enable_gateway_api,
            gateway: (text(namespace), text(gateway)),
            ingress_domain: config.ingress_domain.clone(),
            additional_domains: ingress.additional_ingress_domains.clone(),
            domain_template: ingress.domain_template.clone(),
            path_template: ingress.path_template.clone(),
            url_scheme: config.url_scheme.clone(),
            ingress_class: ingress.ingress_class_name.clone(),
            disable_ingress_creation: ingress.disable_ingress_creation,
            disable_route_timeout: ingress.disable_http_route_timeout,
            disable_istio_virtual_host: ingress.disable_istio_virtual_host,
            ingress_gateway: ingress.ingress_gateway.clone(),
            local_gateway: ingress.local_gateway.clone(),
            local_gateway_service: ingress.local_gateway_service.clone(),
            knative_local_gateway_service: local.unwrap_or(&ingress.local_gateway_service).clone(),
            // Upstream reads it only where Standard is the default mode.
            rollout: config
                .default_rollout
                .as_ref()
                .filter(|_| config.default_deployment_mode == names::STANDARD)
                .map(|rollout| (rollout.max_surge.clone(), rollout.max_unavailable.clone())),
            headless: config.service_cluster_ip_none,
            scale_up_window_s: window(&config.autoscaler.scale_up_stabilization_window_seconds),
            scale_down_window_s: window(&config.autoscaler.scale_down_stabilization_window_seconds),
            scrape_interval: collector.scrape_interval.clone(),
            metric_receiver: collector.metric_receiver_endpoint.clone(),
            metric_scaler: collector.metric_scaler_endpoint.clone(),
            collector_resources: resources(&collector.resource),
            art_image: config.art_explainer.image.clone(),
            art_version: config.art_explainer.default_image_version.clone(),
            gpu_types,
        }
    }
}

/// Requests and limits as they stand in a container; `None` where there are none.
pub(super) fn resources(given: &ResourceDefaults) -> Option<Value> {
    let list = |cpu: &str, memory: &str| {
        let pairs = [("cpu", cpu), ("memory", memory)].into_iter().filter(|(_, text)| !text.is_empty());
        let list: Map<String, Value> =
            pairs.map(|(name, text)| (name.to_owned(), Value::from(text))).collect();
        (!list.is_empty()).then_some(Value::Object(list))
    };
    let kinds = [
        ("requests", list(&given.cpu_request, &given.memory_request)),
        ("limits", list(&given.cpu_limit, &given.memory_limit)),
    ];
    let all: Map<String, Value> =
        kinds.into_iter().filter_map(|(kind, list)| Some((kind.to_owned(), list?))).collect();
    (!all.is_empty()).then_some(Value::Object(all))
}
