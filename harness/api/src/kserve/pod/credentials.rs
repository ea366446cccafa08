//! Which secrets a container gets its credentials from: the annotated one, else those of the service account.

use k8s_openapi::api::core::v1::{Container, Volume};

use super::super::config::{Credentials, KserveConfig};
use super::super::local_model::LocalModelInfo;
use super::Surroundings;
use super::containers::add;
use super::{s3, secret_kinds, storage_spec};

/// Annotation of a ServiceAccount that stands for a role on AWS.
const AWS_ROLE: &str = "eks.amazonaws.com/role-arn";

/// Where credentials are looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// Namespace of the pod.
    pub(super) namespace: &'a str,
    /// Secret that the pod's annotations name.
    pub(super) annotated: Option<&'a str>,
    /// The pod's service account; empty for `default`.
    pub(super) service_account: &'a str,
}

/// Adds the credentials. A service account that is not there gives none; a secret that is not there is an
/// error.
///
/// # Errors
/// Upstream's words for a missing secret.
pub(super) fn add_to(
    container: &mut Container,
    volumes: &mut Vec<Volume>,
    place: Place<'_>,
    config: &Credentials,
    around: &Surroundings<'_>,
) -> Result<(), String> {
    let name = if place.service_account.is_empty() { "default" } else { place.service_account };
    let Some(account) = (around.service_account)(place.namespace, name) else { return Ok(()) };
    let annotations = account.metadata.annotations.as_ref();
    if annotations.is_some_and(|annotations| annotations.contains_key(AWS_ROLE)) {
        add(container, s3::variables(annotations, None, &config.s3));
    }
    let listed = account.secrets.iter().flatten().filter_map(|reference| reference.name.clone());
    let secrets: Vec<String> = match place.annotated {
        Some(name) => vec![name.to_owned()],
        None => listed.collect(),
    };
    for name in secrets {
        let secret = (around.secret)(place.namespace, &name).ok_or_else(|| missing(&name))?;
        secret_kinds::add_credentials(&secret, config, container, volumes);
    }
    Ok(())
}

/// Adds the credentials of a download to a node. Their secrets are in the namespace of the jobs. A key of the storage secret
/// goes before a service account; a cache that names neither gets none.
///
/// # Errors
/// Upstream's words for what the secrets lack. The container may have been changed in part.
pub(crate) fn add_download_credentials(
    container: &mut Container,
    volumes: &mut Vec<Volume>,
    model: &LocalModelInfo,
    config: &KserveConfig,
    around: &Surroundings<'_>,
) -> Result<(), String> {
    let namespace = config.local_model.job_namespace.as_str();
    let service_account = model.service_account_name.as_deref().unwrap_or_default();
    let storage = model.storage.as_ref();
    if let Some((key, storage)) = storage.and_then(|storage| Some((storage.key.as_ref()?, storage))) {
        let parameters = storage.parameters.clone().unwrap_or_default();
        let config = &config.credentials;
        return storage_spec::add_to(container, namespace, None, key, &parameters, config, around);
    }
    if service_account.is_empty() && storage.is_none() {
        return Ok(());
    }
    let place = Place { namespace, annotated: None, service_account };
    add_to(container, volumes, place, &config.credentials, around)
}

/// The API server's words for a missing secret.
pub(super) fn missing(name: &str) -> String {
    format!("secrets \"{name}\" not found")
}
