//! Looks up the ConfigMaps and Secrets that a pod refers to, and asks for its tokens.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest as ApiRequest, TokenRequestSpec},
    core::v1::{ConfigMap, Pod, Secret, ServiceAccount},
};
use kube::{Api, Client, api::PostParams};

use super::environment::{Sources, TokenRequest};

/// Gets ConfigMaps and Secrets by name.
///
/// # Errors
/// If the API server can't be asked; objects that do not exist are no error.
pub(crate) async fn fetch(
    client: &Client,
    namespace: &str,
    (config_maps, secrets): &(BTreeSet<String>, BTreeSet<String>),
) -> Result<Sources, kube::Error> {
    let mut sources = Sources::default();
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    for name in config_maps {
        sources.config_maps.insert(name.clone(), api.get_opt(name).await?);
    }
    let api = Api::<Secret>::namespaced(client.clone(), namespace);
    for name in secrets {
        sources.secrets.insert(name.clone(), api.get_opt(name).await?);
    }
    Ok(sources)
}

/// Asks for tokens of the pod's service account, bound to the pod. An API server that issues none gives none.
///
/// # Errors
/// If a token is refused.
pub(crate) async fn tokens(
    client: &Client,
    pod: &Pod,
    requests: &BTreeSet<TokenRequest>,
) -> Result<BTreeMap<TokenRequest, String>, kube::Error> {
    let mut tokens = BTreeMap::new();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    for request in requests {
        let spec = TokenRequestSpec {
            audiences: Some(vec![request.audience.clone()]).filter(|_| !request.audience.is_empty()),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
            expiration_seconds: Some(request.expiration_s),
        };
        let body = ApiRequest { spec: Some(spec), ..ApiRequest::default() };
        match api.create_token_request(&request.account, &PostParams::default(), &body).await {
            Ok(answer) => {
                if let Some(token) = answer.status.and_then(|status| status.token) {
                    tokens.insert(request.clone(), token);
                }
            }
            Err(kube::Error::Api(status))
                if status.code == 404 && status.message.contains("could not find the requested resource") => {
            }
            Err(error) => return Err(error),
        }
    }
    Ok(tokens)
}
