//! The settings of `inferenceservice-config` that children and URLs follow from, in one place.

use super::super::config::KserveConfig;

/// What upstream calls an ingress inside the cluster only.
pub(super) const CLUSTER_LOCAL_DOMAIN: &str = "svc.cluster.local";

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
        let text = str::to_owned;
        Self {
            enable_gateway_api: false,
            gateway: (text("kserve"), text("kserve-ingress-gateway")),
            ingress_domain: config.ingress_domain.clone(),
            additional_domains: Vec::new(),
            domain_template: text("{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}"),
            path_template: String::new(),
            url_scheme: config.url_scheme.clone(),
            ingress_class: Some(text("istio")),
            disable_ingress_creation: false,
            disable_route_timeout: false,
            disable_istio_virtual_host: false,
            ingress_gateway: text("knative-serving/knative-ingress-gateway"),
            local_gateway: text("knative-serving/knative-local-gateway"),
            local_gateway_service: text("knative-local-gateway.istio-system.svc.cluster.local"),
            knative_local_gateway_service: text("knative-local-gateway.istio-system.svc.cluster.local"),
            rollout: None,
            headless: false,
            scale_up_window_s: Some(0),
            scale_down_window_s: Some(300),
            scrape_interval: text("5s"),
            metric_receiver: text("keda-otel-scaler.keda.svc:4317"),
            metric_scaler: text("keda-otel-scaler.keda.svc:4318"),
            collector_resources: None,
            art_image: text("kserve/art-explainer"),
            art_version: text("latest"),
            gpu_types: ["nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu", "habana.ai/gaudi"]
                .map(text)
                .to_vec(),
        }
    }
}
