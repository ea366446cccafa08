//! The ConfigMap `inferenceservice-config`: what an operator sets for all InferenceServices.
//!
//! Every key is a JSON object of its own. A key that cannot be read is a [`ConfigFault`] and keeps its last
//! good value, so that a slip in one of them changes nothing else; upstream stops at some and panics at
//! others.

mod ingress;
mod sections;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::names;
use crate::quantity;

pub use ingress::{DEFAULT_DOMAIN_TEMPLATE, Ingress};
pub use sections::{
    AgentConfig, ArtExplainer, AutoscalerConfig, BatcherConfig, Credentials, GcsCredentials,
    LocalModelConfig, LoggerConfig, MetricsAggregator, OciMode, OpenTelemetryConfig, ResourceDefaults,
    Rollout, RouterConfig, S3Credentials, StorageInitializer,
};

/// Name of the ConfigMap.
pub const CONFIG_MAP: &str = "inferenceservice-config";
/// Its namespace.
pub const CONFIG_NAMESPACE: &str = "kserve";

/// The settings that are used, with defaults for what the ConfigMap leaves out.
#[derive(Clone, Debug, PartialEq)]
pub struct KserveConfig {
    /// Mode of services that do not say: [`names::STANDARD`], [`names::KNATIVE`] or [`names::MODEL_MESH`].
    pub default_deployment_mode: String,
    /// How Deployments replace pods where services do not say; only used when Standard is the default mode.
    pub default_rollout: Option<Rollout>,
    /// End of every host name.
    pub ingress_domain: String,
    /// `http` or `https`.
    pub url_scheme: String,
    /// How services are reached.
    pub ingress: Ingress,
    /// How models get into pods.
    pub storage_initializer: StorageInitializer,
    /// How secrets reach the storage initializer.
    pub credentials: Credentials,
    /// Payload logging.
    pub logger: LoggerConfig,
    /// Batching.
    pub batcher: BatcherConfig,
    /// The container that logs, batches and pulls models.
    pub agent: AgentConfig,
    /// Pods of InferenceGraphs.
    pub router: RouterConfig,
    /// Metrics of pods that do not say.
    pub metrics_aggregator: MetricsAggregator,
    /// Models kept on nodes.
    pub local_model: LocalModelConfig,
    /// The ART explainer.
    pub art_explainer: ArtExplainer,
    /// Whether pods get a service account token.
    pub auto_mount_service_account_token: bool,
    /// Requests and limits (`cpu`, `memory`) that a custom container gets where it has none.
    pub resources: Option<ResourceDefaults>,
    /// Annotations that do not go from the service to its pods.
    pub disallowed_annotations: Vec<String>,
    /// Labels that do not go from the service to its pods.
    pub disallowed_labels: Vec<String>,
    /// Resource names of GPUs beside the well-known ones.
    pub custom_gpu_resource_types: Vec<String>,
    /// The sidecar of KEDA's pod metrics.
    pub opentelemetry_collector: OpenTelemetryConfig,
    /// Stabilization windows of ScaledObjects.
    pub autoscaler: AutoscalerConfig,
    /// Whether the Services of Standard mode are headless.
    pub service_cluster_ip_none: bool,
}

/// Annotations that never go from the service to its pods.
const DISALLOWED_ANNOTATIONS: [&str; 5] = [
    "autoscaling.knative.dev/min-scale",
    "autoscaling.knative.dev/max-scale",
    names::STORAGE_SOURCE_URI,
    "kubectl.kubernetes.io/last-applied-configuration",
    names::MODEL_FORMAT,
];

/// Labels that never go from the service to its revisions.
const DISALLOWED_LABELS: [&str; 1] = ["networking.knative.dev/visibility"];

impl Default for KserveConfig {
    fn default() -> Self {
        Self {
            default_deployment_mode: names::KNATIVE.to_owned(),
            default_rollout: None,
            ingress_domain: "example.com".to_owned(),
            url_scheme: "http".to_owned(),
            ingress: Ingress::default(),
            storage_initializer: StorageInitializer::default(),
            credentials: Credentials::default(),
            logger: LoggerConfig::default(),
            batcher: BatcherConfig::default(),
            agent: AgentConfig::default(),
            router: RouterConfig::default(),
            metrics_aggregator: MetricsAggregator::default(),
            local_model: LocalModelConfig::default(),
            art_explainer: ArtExplainer::default(),
            auto_mount_service_account_token: true,
            resources: Some(ResourceDefaults {
                cpu_request: "1".to_owned(),
                cpu_limit: "1".to_owned(),
                memory_request: "2Gi".to_owned(),
                memory_limit: "2Gi".to_owned(),
            }),
            disallowed_annotations: DISALLOWED_ANNOTATIONS.map(str::to_owned).to_vec(),
            disallowed_labels: DISALLOWED_LABELS.map(str::to_owned).to_vec(),
            custom_gpu_resource_types: Vec::new(),
            opentelemetry_collector: OpenTelemetryConfig::default(),
            autoscaler: AutoscalerConfig::default(),
            service_cluster_ip_none: false,
        }
    }
}

/// Full name of the Service that leads to our gateway from inside the cluster.
pub const LOCAL_GATEWAY_HOST: &str = "knative-local-gateway.knative-serving.svc.cluster.local";
/// Name of the class of the Ingresses that our gateway serves.
pub const INGRESS_CLASS: &str = "windtunnel";

impl KserveConfig {
    /// What an installation of ours begins with: hosts below `domain`, and HTTPRoutes, or without them Ingresses, which our
    /// gateway serves.
    #[must_use]
    pub fn installed(domain: &str) -> Self {
        let mut config = Self { ingress_domain: domain.to_owned(), ..Self::default() };
        config.ingress.enable_gateway_api = true;
        config.ingress.ingress_class_name = Some(INGRESS_CLASS.to_owned());
        config.ingress.local_gateway_service = LOCAL_GATEWAY_HOST.to_owned();
        config.ingress.knative_local_gateway_service = LOCAL_GATEWAY_HOST.to_owned();
        config
    }
}

/// A key of the ConfigMap that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ConfigMap {CONFIG_NAMESPACE}/{CONFIG_MAP}, key {key}: {message}")]
pub struct ConfigFault {
    /// Key of the ConfigMap's data.
    pub key: String,
    /// What is wrong with its value.
    pub message: String,
}

type Reader = fn(&mut KserveConfig, Option<&str>) -> Result<(), String>;

/// The keys with what reads them; without text a key takes its default.
const KEYS: [(&str, Reader); 17] = [
    ("deploy", read_deploy),
    ("ingress", read_ingress),
    ("storageInitializer", read_storage_initializer),
    ("credentials", |config, text| {
        config.credentials =
            or_default(text, |error| format!("unable to parse credential config json: {error}"))?;
        Ok(())
    }),
    ("logger", read_logger),
    ("batcher", read_batcher),
    ("agent", read_agent),
    ("router", |config, text| {
        config.router = or_default(text, |error| format!("unable to parse router config json: {error}"))?;
        let router = &config.router;
        sizes(
            "router",
            [&router.memory_request, &router.memory_limit, &router.cpu_request, &router.cpu_limit],
        )
    }),
    ("metricsAggregator", |config, text| {
        config.metrics_aggregator = or_default(text, unmarshall("metricsAggregator"))?;
        Ok(())
    }),
    ("localModel", |config, text| {
        config.local_model = or_default(text, |error| error)?;
        Ok(())
    }),
    ("explainers", |config, text| {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Explainers {
            art: ArtExplainer,
        }
        let explainers: Explainers = or_default(text, unmarshall("explainers"))?;
        config.art_explainer = explainers.art;
        Ok(())
    }),
    ("security", |config, text| {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Security {
            auto_mount_service_account_token: bool,
        }
        impl Default for Security {
            fn default() -> Self {
                Self { auto_mount_service_account_token: true }
            }
        }
        let security: Security = or_default(text, |error| error)?;
        config.auto_mount_service_account_token = security.auto_mount_service_account_token;
        Ok(())
    }),
    ("inferenceService", read_inference_service),
    ("multiNode", |config, text| {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct MultiNode {
            #[serde(rename = "customGPUResourceTypeList")]
            list: Option<Vec<String>>,
        }
        let multi_node: MultiNode = or_default(text, unmarshall("multiNode"))?;
        config.custom_gpu_resource_types = multi_node.list.unwrap_or_default();
        Ok(())
    }),
    ("opentelemetryCollector", |config, text| {
        config.opentelemetry_collector =
            or_default(text, |error| format!("unable to parse otel config json: {error}"))?;
        Ok(())
    }),
    ("autoscaler", |config, text| {
        config.autoscaler =
            or_default(text, |error| format!("unable to parse autoscaler config json: {error}"))?;
        Ok(())
    }),
    ("service", |config, text| {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Service {
            #[serde(rename = "serviceClusterIPNone")]
            none: bool,
        }
        let service: Service =
            or_default(text, |error| format!("unable to parse service config json: {error}"))?;
        config.service_cluster_ip_none = service.none;
        Ok(())
    }),
];

impl KserveConfig {
    /// Reads the ConfigMap's data. Unknown keys are fine: upstream has many that matter to other parts.
    ///
    /// # Errors
    /// The first key whose value cannot be used, in upstream's words where it has them.
    pub fn from_config_map(data: &BTreeMap<String, String>) -> Result<Self, ConfigFault> {
        let (config, faults) = Self::default().updated(data);
        faults.into_iter().next().map_or(Ok(config), Err)
    }

    /// The configuration that follows from new data: keys that cannot be used keep what they say in `self`,
    /// keys that are gone take their defaults. With the faults, a key at a time.
    #[must_use]
    pub fn updated(&self, data: &BTreeMap<String, String>) -> (Self, Vec<ConfigFault>) {
        let mut config = self.clone();
        let mut faults = Vec::new();
        for (key, read) in KEYS {
            let mut next = config.clone();
            match read(&mut next, data.get(key).map(String::as_str)) {
                Ok(()) => config = next,
                Err(message) => faults.push(ConfigFault { key: key.to_owned(), message }),
            }
        }
        (config, faults)
    }

    /// The data of a ConfigMap that says what this configuration says.
    #[must_use]
    pub fn to_config_map(&self) -> BTreeMap<String, String> {
        use serde_json::json;
        let mut deploy = json!({"defaultDeploymentMode": self.default_deployment_mode});
        if let Some(rollout) = &self.default_rollout {
            deploy["deploymentRolloutStrategy"] = json!({"defaultRollout": rollout});
        }
        let mut ingress = json!(self.ingress);
        ingress["ingressDomain"] = json!(self.ingress_domain);
        ingress["urlScheme"] = json!(self.url_scheme);
        let mut service = json!({});
        if let Some(resources) = &self.resources {
            service["resource"] = json!(resources);
        }
        let lists = [
            ("serviceAnnotationDisallowedList", &self.disallowed_annotations, DISALLOWED_ANNOTATIONS.len()),
            ("serviceLabelDisallowedList", &self.disallowed_labels, DISALLOWED_LABELS.len()),
        ];
        for (key, list, built_in) in lists {
            if let Some(own) = list.get(built_in..).filter(|own| !own.is_empty()) {
                service[key] = json!(own);
            }
        }
        let mut entries = vec![
            ("explainers", json!({"art": self.art_explainer})),
            ("storageInitializer", json!(self.storage_initializer)),
            ("credentials", json!(self.credentials)),
            ("ingress", ingress),
            ("logger", json!(self.logger)),
            ("batcher", json!(self.batcher)),
            ("agent", json!(self.agent)),
            ("router", json!(self.router)),
            ("deploy", deploy),
            ("metricsAggregator", json!(self.metrics_aggregator)),
            ("localModel", json!(self.local_model)),
            ("security", json!({"autoMountServiceAccountToken": self.auto_mount_service_account_token})),
            ("inferenceService", service),
            ("opentelemetryCollector", json!(self.opentelemetry_collector)),
            ("autoscaler", json!(self.autoscaler)),
        ];
        if !self.custom_gpu_resource_types.is_empty() {
            entries.push(("multiNode", json!({"customGPUResourceTypeList": self.custom_gpu_resource_types})));
        }
        if self.service_cluster_ip_none {
            entries.push(("service", json!({"serviceClusterIPNone": true})));
        }
        entries.into_iter().map(|(key, value)| (key.to_owned(), format!("{value:#}"))).collect()
    }

    /// Host of an InferenceService under the default domain template.
    #[must_use]
    pub fn host(&self, name: &str, namespace: &str) -> String {
        format!("{name}-{namespace}.{}", self.ingress_domain)
    }
}

/// The value of a key, or its default without text.
fn or_default<T, F>(text: Option<&str>, words: F) -> Result<T, String>
where
    T: DeserializeOwned + Default,
    F: FnOnce(String) -> String,
{
    text.map_or_else(
        || Ok(T::default()),
        |text| serde_json::from_str(text).map_err(|error| words(error.to_string())),
    )
}

/// Upstream's words for most keys.
fn unmarshall(key: &'static str) -> impl FnOnce(String) -> String {
    move |error| format!("unable to unmarshall {key} json string due to {error}")
}

fn read_deploy(config: &mut KserveConfig, text: Option<&str>) -> Result<(), String> {
    #[derive(Deserialize, Serialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Strategy {
        default_rollout: Option<Rollout>,
    }
    #[derive(Deserialize, Serialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Deploy {
        default_deployment_mode: String,
        deployment_rollout_strategy: Option<Strategy>,
    }
    let deploy: Deploy = or_default(text, |error| format!("unable to parse deploy config json: {error}"))?;
    if text.is_none() {
        KserveConfig::default().default_deployment_mode.clone_into(&mut config.default_deployment_mode);
        config.default_rollout = None;
        return Ok(());
    }
    if deploy.default_deployment_mode.is_empty() {
        return Err("invalid deploy config, defaultDeploymentMode is required".to_owned());
    }
    names::deployment_mode(&deploy.default_deployment_mode)
        .ok_or("invalid deployment mode. Supported modes are Knative, Standard and ModelMesh")?
        .clone_into(&mut config.default_deployment_mode);
    config.default_rollout = deploy.deployment_rollout_strategy.and_then(|strategy| strategy.default_rollout);
    Ok(())
}

fn read_ingress(config: &mut KserveConfig, text: Option<&str>) -> Result<(), String> {
    let (ingress, domain, scheme) = match text {
        Some(text) => ingress::read(text)?,
        None => (Ingress::default(), "example.com".to_owned(), "http".to_owned()),
    };
    (config.ingress, config.ingress_domain, config.url_scheme) = (ingress, domain, scheme);
    Ok(())
}

fn read_storage_initializer(config: &mut KserveConfig, text: Option<&str>) -> Result<(), String> {
    config.storage_initializer = or_default(text, unmarshall("storageInitializer"))?;
    let read = &config.storage_initializer;
    let optional = |text: &str| text.is_empty() || quantity::is_valid(text);
    for (field, text, ok) in [
        ("memoryRequest", &read.memory_request, quantity::is_valid(&read.memory_request)),
        ("memoryLimit", &read.memory_limit, quantity::is_valid(&read.memory_limit)),
        ("cpuRequest", &read.cpu_request, quantity::is_valid(&read.cpu_request)),
        ("cpuLimit", &read.cpu_limit, quantity::is_valid(&read.cpu_limit)),
        ("cpuModelcar", &read.cpu_modelcar, optional(&read.cpu_modelcar)),
        ("memoryModelcar", &read.memory_modelcar, optional(&read.memory_modelcar)),
    ] {
        if !ok {
            return Err(format!(
                "failed to parse resource configuration for \"storageInitializer\".{field:?}: {} (it is {text:?})",
                quantity::MALFORMED
            ));
        }
    }
    if !matches!(read.oci_model_mode.as_str(), "" | "modelcar" | "native" | "fetch") {
        return Err(format!(
            "invalid \"storageInitializer\".ociModelMode {:?}: must be one of \"modelcar\", \"native\", \"fetch\"",
            read.oci_model_mode
        ));
    }
    Ok(())
}

fn read_logger(config: &mut KserveConfig, text: Option<&str>) -> Result<(), String> {
    config.logger = or_default(text, unmarshall("logger"))?;
    let read = &config.logger;
    sizes("logger", [&read.memory_request, &read.memory_limit, &read.cpu_request, &read.cpu_limit])
}

fn read_batcher(config: &mut KserveConfig, text: Option<&str>) -> Result<(), String> {
    config.batcher = or_default(text, unmarshall("batcher"))?;
    let read = &config.batcher;
    sizes("batcher", [&read.memory_request, &read.memory_limit, &read.cpu_request, &read.cpu_limit])
}

fn read_agent(config: &mut KserveConfig, text: Option<&str>) -> Result<(), String> {
    config.agent = or_default(text, unmarshall("agent"))?;
    let read = &config.agent;
    sizes("agent", [&read.memory_request, &read.memory_limit, &read.cpu_request, &read.cpu_limit])
}

fn sizes(key: &str, quantities: [&String; 4]) -> Result<(), String> {
    match quantities.into_iter().find(|text| !quantity::is_valid(text)) {
        None => Ok(()),
        Some(text) => Err(format!(
            "failed to parse resource configuration for {key:?}: {} (it is {text:?})",
            quantity::MALFORMED
        )),
    }
}

fn read_inference_service(config: &mut KserveConfig, text: Option<&str>) -> Result<(), String> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Service {
        resource: Option<ResourceDefaults>,
        service_annotation_disallowed_list: Option<Vec<String>>,
        service_label_disallowed_list: Option<Vec<String>>,
    }
    let Some(text) = text else {
        let default = KserveConfig::default();
        config.resources = default.resources;
        config.disallowed_annotations = default.disallowed_annotations;
        config.disallowed_labels = default.disallowed_labels;
        return Ok(());
    };
    let service: Service =
        serde_json::from_str(text).map_err(|error| format!("unable to parse isvc config json: {error}"))?;
    for (field, quantity) in service.resource.iter().flat_map(|resource| {
        [
            ("cpuRequest", &resource.cpu_request),
            ("cpuLimit", &resource.cpu_limit),
            ("memoryRequest", &resource.memory_request),
            ("memoryLimit", &resource.memory_limit),
        ]
    }) {
        if !quantity.is_empty() && !quantity::is_valid(quantity) {
            return Err(format!(
                "failed to parse resource configuration for \"inferenceService\".{field:?}: {} (it is {quantity:?})",
                quantity::MALFORMED
            ));
        }
    }
    let list = |built_in: &[&str], own: Option<Vec<String>>| {
        let built_in = built_in.iter().map(|&text| text.to_owned());
        built_in.chain(own.unwrap_or_default()).collect::<Vec<_>>()
    };
    config.disallowed_annotations = list(&DISALLOWED_ANNOTATIONS, service.service_annotation_disallowed_list);
    config.disallowed_labels = list(&DISALLOWED_LABELS, service.service_label_disallowed_list);
    config.resources = service.resource;
    Ok(())
}
