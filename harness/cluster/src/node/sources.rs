//! Looks up the ConfigMaps and Secrets that a pod refers to, and asks for its tokens.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest as ApiRequest, TokenRequestSpec},
    core::v1::{ConfigMap, Pod, Secret, ServiceAccount},
};
use kube::{Api, Client, api::PostParams};

use super::environment::{Sources, TokenRequest};

/// 24 hours are four fifths of it, in seconds.
const LONGEST_LIFE_S: u64 = 30 * 3600;

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

/// Tokens that a pod has, with the time of their issue.
pub(crate) type Issued = BTreeMap<TokenRequest, (String, Instant)>;

/// Tokens of the pod's service account, bound to the pod: those that it has, as long as they are young, else new ones.
/// An API server that issues none gives none.
///
/// # Errors
/// If a token is refused.
pub(crate) async fn tokens(
    client: &Client,
    pod: &Pod,
    requests: &BTreeSet<TokenRequest>,
    issued: &tokio::sync::Mutex<Issued>,
) -> Result<BTreeMap<TokenRequest, String>, kube::Error> {
    let mut issued = issued.lock().await;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let api = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    for request in requests {
        // Kubelets ask for another one after four fifths of its life, and after a day at the latest.
        let life = u64::try_from(request.expiration_s).unwrap_or(0).min(LONGEST_LIFE_S) * 4 / 5;
        if issued.get(request).is_some_and(|(_, at)| at.elapsed().as_secs() < life) {
            continue;
        }
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
                    issued.insert(request.clone(), (token, Instant::now()));
                }
            }
            Err(kube::Error::Api(status))
                if status.code == 404 && status.message.contains("could not find the requested resource") => {
            }
            Err(error) => return Err(error),
        }
    }
    Ok(issued.iter().map(|(request, (token, _))| (request.clone(), token.clone())).collect())
}
