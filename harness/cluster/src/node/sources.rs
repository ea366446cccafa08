//! Looks up the ConfigMaps and Secrets that a pod refers to.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use super::environment::Sources;

/// Gets ConfigMaps and Secrets by name.
///
/// # Errors
/// If the API server can't be asked; objects that do not exist are no error.
pub(crate) async fn fetch(
    client: &Client,
    namespace: &str,
    (config_maps, secrets): &(BTreeSet<String>, BTreeSet<String>),
) -> Result<Sources, kube::Error> {
    let mut sources = Sources { config_maps: BTreeMap::new(), secrets: BTreeMap::new() };
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
