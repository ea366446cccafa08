//! The ConfigMap `inferenceservice-config`: what an operator sets for all InferenceServices.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::names;

/// Name of the ConfigMap.
pub const CONFIG_MAP: &str = "inferenceservice-config";
/// Its namespace.
pub const CONFIG_NAMESPACE: &str = "kserve";

/// The settings that are used, with defaults for what the ConfigMap leaves out.
#[derive(Clone, Debug, PartialEq)]
pub struct KserveConfig {
    /// Mode of services that do not say: [`names::STANDARD`], [`names::KNATIVE`] or [`names::MODEL_MESH`].
    pub default_deployment_mode: String,
    /// End of every host name.
    pub ingress_domain: String,
    /// `http` or `https`.
    pub url_scheme: String,
    /// How the storage initializer runs.
    pub storage_initializer: StorageInitializer,
    /// Whether pods get a service account token.
    pub auto_mount_service_account_token: bool,
    /// Requests and limits (`cpu`, `memory`) that a custom container gets where it has none.
    pub resources: Option<ResourceDefaults>,
    /// Annotations that do not go from the service to its pods.
    pub disallowed_annotations: Vec<String>,
    /// Labels that do not go from the service to its pods.
    pub disallowed_labels: Vec<String>,
}

/// How the storage initializer runs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageInitializer {
    /// Image of the container.
    pub image: String,
    /// CPU request.
    pub cpu_request: String,
    /// CPU limit.
    pub cpu_limit: String,
    /// Memory request.
    pub memory_request: String,
    /// Memory limit.
    pub memory_limit: String,
}

impl Default for StorageInitializer {
    fn default() -> Self {
        Self {
            image: "windtunnel/storage-initializer:latest".to_owned(),
            cpu_request: "100m".to_owned(),
            cpu_limit: "1".to_owned(),
            memory_request: "100Mi".to_owned(),
            memory_limit: "1Gi".to_owned(),
        }
    }
}

/// Requests and limits that a custom container gets where it has none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceDefaults {
    /// CPU request.
    pub cpu_request: String,
    /// CPU limit.
    pub cpu_limit: String,
    /// Memory request.
    pub memory_request: String,
    /// Memory limit.
    pub memory_limit: String,
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
            ingress_domain: "example.com".to_owned(),
            url_scheme: "http".to_owned(),
            storage_initializer: StorageInitializer::default(),
            auto_mount_service_account_token: true,
            resources: Some(ResourceDefaults {
                cpu_request: "1".to_owned(),
                cpu_limit: "1".to_owned(),
                memory_request: "2Gi".to_owned(),
                memory_limit: "2Gi".to_owned(),
            }),
            disallowed_annotations: DISALLOWED_ANNOTATIONS.map(str::to_owned).to_vec(),
            disallowed_labels: DISALLOWED_LABELS.map(str::to_owned).to_vec(),
        }
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

impl KserveConfig {
    /// Reads the ConfigMap's data. Unknown keys are fine: upstream has many that matter to other parts.
    ///
    /// # Errors
    /// The first key whose value is not the JSON that it should be, in upstream's words where it has them.
    pub fn from_config_map(data: &BTreeMap<String, String>) -> Result<Self, ConfigFault> {
        let mut config = Self::default();
        if let Some(deploy) = json(data, "deploy")? {
            let fault = |message: &str| ConfigFault { key: "deploy".to_owned(), message: message.to_owned() };
            let mode = deploy["defaultDeploymentMode"].as_str().unwrap_or_default();
            if mode.is_empty() {
                return Err(fault("invalid deploy config, defaultDeploymentMode is required"));
            }
            let mode = names::deployment_mode(mode).ok_or_else(|| {
                fault("invalid deployment mode. Supported modes are Knative, Standard and ModelMesh")
            })?;
            config.default_deployment_mode = mode.to_owned();
        }
        if let Some(ingress) = json(data, "ingress")? {
            let set = |field: &mut String, key: &str| {
                if let Some(text) = ingress[key].as_str().filter(|text| !text.is_empty()) {
                    text.clone_into(field);
                }
            };
            set(&mut config.ingress_domain, "ingressDomain");
            set(&mut config.url_scheme, "urlScheme");
        }
        if let Some(initializer) = json(data, "storageInitializer")? {
            config.storage_initializer = serde_json::from_value(initializer).map_err(|error| {
                ConfigFault { key: "storageInitializer".to_owned(), message: error.to_string() }
            })?;
        }
        if let Some(security) = json(data, "security")? {
            config.auto_mount_service_account_token =
                security["autoMountServiceAccountToken"].as_bool().unwrap_or(true);
        }
        if let Some(service) = json(data, "inferenceService")? {
            if let Some(resource) = service.get("resource") {
                config.resources = serde_json::from_value(resource.clone()).ok();
            }
            let list = |key: &str| {
                let items = service.get(key).and_then(Value::as_array).into_iter().flatten();
                items.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
            };
            config.disallowed_annotations.extend(list("serviceAnnotationDisallowedList"));
            config.disallowed_labels.extend(list("serviceLabelDisallowedList"));
        }
        Ok(config)
    }

    /// The data of a ConfigMap that says what this configuration says.
    #[must_use]
    pub fn to_config_map(&self) -> BTreeMap<String, String> {
        let initializer = &self.storage_initializer;
        let entries = [
            ("deploy", serde_json::json!({"defaultDeploymentMode": self.default_deployment_mode})),
            (
                "ingress",
                serde_json::json!({
                    "ingressGateway": "knative-serving/knative-ingress-gateway",
                    "ingressDomain": self.ingress_domain,
                    "urlScheme": self.url_scheme,
                    "disableIstioVirtualHost": true,
                }),
            ),
            (
                "storageInitializer",
                serde_json::json!({
                    "image": initializer.image,
                    "cpuRequest": initializer.cpu_request,
                    "cpuLimit": initializer.cpu_limit,
                    "memoryRequest": initializer.memory_request,
                    "memoryLimit": initializer.memory_limit,
                }),
            ),
        ];
        entries.into_iter().map(|(key, value)| (key.to_owned(), format!("{value:#}"))).collect()
    }

    /// Host of an InferenceService under the default domain template.
    #[must_use]
    pub fn host(&self, name: &str, namespace: &str) -> String {
        format!("{name}-{namespace}.{}", self.ingress_domain)
    }
}

fn json(data: &BTreeMap<String, String>, key: &str) -> Result<Option<Value>, ConfigFault> {
    let Some(text) = data.get(key) else { return Ok(None) };
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| ConfigFault { key: key.to_owned(), message: format!("not JSON: {error}") })
}
