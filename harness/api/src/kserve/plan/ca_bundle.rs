//! The operator's certificate authorities, copied to the namespaces of services: pods can mount only what is in theirs
//! (`reconcilers/cabundleconfigmap`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::config::StorageInitializer;

/// Name of the copy.
pub const GLOBAL_CA_BUNDLE: &str = "global-ca-bundle";
/// The file that is copied; others of the operator's ConfigMap are not.
const FILE: &str = "cabundle.crt";

/// The copy that a namespace with services must have; `None` where the configuration names no ConfigMap. It belongs to no
/// service, because all of the namespace share it. `source` is the ConfigMap of that name in KServe's namespace.
///
/// # Errors
/// Upstream's words for a ConfigMap that is not there or has no authorities: no service can be made then.
pub fn copy(
    config: &StorageInitializer,
    source: Option<&ConfigMap>,
    namespace: &str,
) -> Result<Option<ConfigMap>, String> {
    let name = config.ca_bundle_config_map_name.as_str();
    if name.is_empty() {
        return Ok(None);
    }
    let failed =
        |why: String| format!("fails to get cabundle configmap for creating to user namespace: {why}");
    let source = source.ok_or_else(|| {
        failed(format!("failed to get configmap {name} from the cluster: configmaps \"{name}\" not found"))
    })?;
    let bundle = source.data.as_ref().and_then(|data| data.get(FILE)).filter(|bundle| !bundle.is_empty());
    let bundle = bundle.ok_or_else(|| {
        failed(format!("specified cabundle file {FILE} not found in cabundle configmap {name}"))
    })?;
    Ok(Some(ConfigMap {
        metadata: ObjectMeta {
            name: Some(GLOBAL_CA_BUNDLE.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(FILE.to_owned(), bundle.clone())])),
        ..ConfigMap::default()
    }))
}
