//! A trigger's parameters: its metadata, the environment of the target's pods, and what a TriggerAuthentication names.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec, Secret, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::Value;
use windtunnel_api::keda::{ClusterTriggerAuthentication, TriggerAuthentication, TriggerAuthenticationSpec};

use super::super::{KEDA_NAMESPACE, Question};

/// How long a service account's token is good, seconds: upstream's default. Every poll has a new one.
const TOKEN_S: i64 = 3600;

/// What a scaler can ask for. Values of a TriggerAuthentication win where a parameter may come from it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    metadata: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    authentication: BTreeMap<String, String>,
}

impl Parameters {
    /// Reads everything that the trigger with this index refers to.
    ///
    /// # Errors
    /// The first reference that leads nowhere, with its remedy.
    pub(super) async fn resolve(
        client: &Client,
        question: &Question,
        index: usize,
        pod_spec: &Value,
    ) -> Result<Self, String> {
        let trigger = &question.spec.triggers[index];
        let namespace = &question.key.namespace;
        let pods: PodSpec = serde_json::from_value(pod_spec.clone()).unwrap_or_default();
        let container = question.spec.scale_target_ref.env_source_container_name.as_deref();
        let mut resolved = Self { metadata: trigger.metadata.clone(), ..Self::default() };
        if trigger.metadata.keys().any(|key| key.ends_with("FromEnv")) {
            resolved.environment = environment(client, namespace, &pods, container).await?;
        }
        let Some(reference) = &trigger.authentication_ref else { return Ok(resolved) };
        let name = &reference.name;
        let gone = |kind: &str, error: &kube::Error| match error {
            kube::Error::Api(status) if status.code == 404 => {
                format!("{kind} {name:?} does not exist; triggers[{index}].authenticationRef names it")
            }
            other => format!("{kind} {name:?} could not be read: {other}"),
        };
        let (spec, from) = match reference.kind.as_deref().unwrap_or("TriggerAuthentication") {
            "" | "TriggerAuthentication" => {
                let api = Api::<TriggerAuthentication>::namespaced(client.clone(), namespace);
                let found = api.get(name).await.map_err(|error| gone("TriggerAuthentication", &error))?;
                (found.spec, namespace.as_str())
            }
            "ClusterTriggerAuthentication" => {
                let api = Api::<ClusterTriggerAuthentication>::all(client.clone());
                let found =
                    api.get(name).await.map_err(|error| gone("ClusterTriggerAuthentication", &error))?;
                (found.spec.inner, KEDA_NAMESPACE)
            }
            other => {
                return Err(format!(
                    "triggers[{index}].authenticationRef.kind {other:?} is not known, expected \
                     TriggerAuthentication or ClusterTriggerAuthentication"
                ));
            }
        };
        refuse_clouds(&spec, name)?;
        resolved.authentication = parameters(client, &spec, from).await?;
        for source in &spec.env {
            let wanted = source.container_name.as_deref().filter(|name| !name.is_empty()).or(container);
            let found = environment(client, namespace, &pods, wanted).await?;
            let value = found.get(&source.name).cloned().unwrap_or_default();
            resolved.authentication.insert(source.parameter.clone(), value);
        }
        Ok(resolved)
    }

    /// A parameter of the metadata only.
    pub(super) fn plain(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A parameter from the TriggerAuthentication, the metadata, or the environment variable that `KEYFromEnv` names.
    pub(super) fn any(&self, key: &str) -> Option<&str> {
        self.secret(key).or_else(|| self.written(key))
    }

    /// A parameter of the metadata, or of the environment variable that `KEYFromEnv` names.
    pub(super) fn written(&self, key: &str) -> Option<&str> {
        let from_environment = || {
            let variable = self.metadata.get(&format!("{key}FromEnv"))?;
            self.environment.get(variable).map(String::as_str)
        };
        self.plain(key).or_else(from_environment).filter(|text| !text.is_empty())
    }

    /// Whether the metadata say that something is so, as Go reads truth.
    pub(super) fn is_true(&self, key: &str) -> bool {
        matches!(self.plain(key), Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    }

    /// The metadata with the values of environment variables under the names of the parameters that they are for.
    pub(super) fn settings(&self) -> BTreeMap<String, String> {
        let mut settings = self.metadata.clone();
        for key in self.metadata.keys().filter_map(|key| key.strip_suffix("FromEnv")) {
            if let Some(value) = self.written(key) {
                settings.insert(key.to_owned(), value.to_owned());
            }
        }
        settings
    }

    /// The metadata as an external scaler gets them: `KEYFromEnv` has the variable's value, and is left out without one.
    pub(super) fn for_external(&self) -> BTreeMap<String, String> {
        let value = |(key, text): (&String, &String)| {
            let text = if key.ends_with("FromEnv") {
                self.environment.get(text).filter(|value| !value.is_empty())?
            } else {
                text
            };
            Some((key.clone(), text.clone()))
        };
        self.metadata.iter().filter_map(value).collect()
    }

    /// A parameter of the TriggerAuthentication only.
    pub(super) fn secret(&self, key: &str) -> Option<&str> {
        self.authentication.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Parameters as they are, for tests.
    #[cfg(test)]
    pub(super) fn of(metadata: &[(&str, &str)], authentication: &[(&str, &str)]) -> Self {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        Self { metadata: map(metadata), environment: BTreeMap::new(), authentication: map(authentication) }
    }
}

/// Identities and vaults of clouds are not there: better said than asked without a password.
fn refuse_clouds(spec: &TriggerAuthenticationSpec, name: &str) -> Result<(), String> {
    if let Some(identity) = &spec.pod_identity
        && !matches!(identity.provider.as_str(), "" | "none")
    {
        return Err(format!(
            "TriggerAuthentication {name:?}: podIdentity.provider {:?} is not supported, expected none",
            identity.provider
        ));
    }
    match spec.other.keys().next() {
        None => Ok(()),
        Some(field) => Err(format!(
            "TriggerAuthentication {name:?}: {field} is not supported, expected secretTargetRef, configMapTargetRef, \
             env or boundServiceAccountToken"
        )),
    }
}

async fn parameters(
    client: &Client,
    spec: &TriggerAuthenticationSpec,
    namespace: &str,
) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    for source in &spec.config_map_target_ref {
        let value = config_map_key(client, namespace, &source.name, &source.key).await?;
        found.insert(source.parameter.clone(), value);
    }
    for source in &spec.secret_target_ref {
        let value = secret_key(client, namespace, &source.name, &source.key).await?;
        found.insert(source.parameter.clone(), value);
    }
    for source in &spec.bound_service_account_token {
        let token = token(client, namespace, &source.service_account_name).await?;
        found.insert(source.parameter.clone(), token);
    }
    Ok(found)
}

/// A fresh token of a service account.
async fn token(client: &Client, namespace: &str, account: &str) -> Result<String, String> {
    let place = format!("boundServiceAccountToken: ServiceAccount {namespace}/{account}");
    let request = TokenRequest {
        spec: Some(TokenRequestSpec { expiration_seconds: Some(TOKEN_S), ..TokenRequestSpec::default() }),
        ..TokenRequest::default()
    };
    let api = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let made = api.create_token_request(account, &PostParams::default(), &request).await;
    let made = made.map_err(|error| format!("{place}: {error}"))?;
    made.status.and_then(|status| status.token).ok_or_else(|| format!("{place} has got no token"))
}

async fn secret_key(client: &Client, namespace: &str, name: &str, key: &str) -> Result<String, String> {
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    let secret = api.get(name).await.map_err(|error| format!("Secret {namespace}/{name}: {error}"))?;
    let bytes = secret.data.unwrap_or_default().remove(key);
    let bytes = bytes.ok_or_else(|| format!("Secret {namespace}/{name} has no key {key:?}"))?;
    String::from_utf8(bytes.0).map_err(|_| format!("Secret {namespace}/{name}: {key:?} is no text"))
}

async fn config_map_key(client: &Client, namespace: &str, name: &str, key: &str) -> Result<String, String> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let map = api.get(name).await.map_err(|error| format!("ConfigMap {namespace}/{name}: {error}"))?;
    let value = map.data.unwrap_or_default().remove(key);
    value.ok_or_else(|| format!("ConfigMap {namespace}/{name} has no key {key:?}"))
}

/// The environment of a container (the first, if none is named), as far as it is known before a pod runs.
async fn environment(
    client: &Client,
    namespace: &str,
    pods: &PodSpec,
    container: Option<&str>,
) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    let container = match container {
        None => pods.containers.first(),
        Some(name) => Some(
            pods.containers
                .iter()
                .find(|container| container.name == name)
                .ok_or_else(|| format!("the target has no container {name:?} to read the environment of"))?,
        ),
    };
    let Some(container) = container else { return Ok(found) };
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.clone().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
            if let Ok(map) = api.get(&reference.name).await {
                let data = map.data.unwrap_or_default();
                found.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
            }
        }
        if let Some(reference) = &source.secret_ref {
            let api = Api::<Secret>::namespaced(client.clone(), namespace);
            if let Ok(secret) = api.get(&reference.name).await {
                let data = secret.data.unwrap_or_default().into_iter();
                found.extend(data.filter_map(|(key, value)| {
                    Some((format!("{prefix}{key}"), String::from_utf8(value.0).ok()?))
                }));
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let source = variable.value_from.as_ref();
        let value = if let Some(key) = source.and_then(|source| source.secret_key_ref.as_ref()) {
            secret_key(client, namespace, &key.name, &key.key).await?
        } else if let Some(key) = source.and_then(|source| source.config_map_key_ref.as_ref()) {
            config_map_key(client, namespace, &key.name, &key.key).await?
        } else {
            variable.value.clone().unwrap_or_default()
        };
        found.insert(variable.name.clone(), value);
    }
    Ok(found)
}
