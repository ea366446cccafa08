//! Models whose place is a key of the storage secret (`model.storage`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Container;

use super::super::config::Credentials;
use super::Surroundings;
use super::containers::{add, secret_variable, variable};
use super::credentials::missing;
use super::s3;

/// Stands in a URI until the secret says which kind of storage it is.
const PLACEHOLDER: &str = "<scheme-placeholder>://";
const TYPES: [&str; 3] = ["s3", "hdfs", "webhdfs"];

/// Adds the secret's entry and the parameters to the container, and completes the URIs in its arguments.
///
/// # Errors
/// Upstream's words for what the secret lacks.
pub(super) fn add_to(
    container: &mut Container,
    namespace: &str,
    annotated: Option<&str>,
    key: &str,
    parameters: &BTreeMap<String, String>,
    config: &Credentials,
    around: &Surroundings<'_>,
) -> Result<(), String> {
    let given = |name: &str| parameters.get(name).cloned().unwrap_or_default();
    let (mut kind, mut bucket) = (given("type"), given("bucket"));
    let configured = config.storage_spec_secret_name.as_str();
    let secret_name = annotated.unwrap_or(if configured.is_empty() { "storage-config" } else { configured });
    let secret = (around.secret)(namespace, secret_name);
    let data = secret.as_ref().and_then(|secret| secret.data.as_ref());
    let mut entry_key = key.to_owned();
    let entry = if key.is_empty() {
        entry_key = if kind.is_empty() { "default".to_owned() } else { format!("default_{kind}") };
        data.and_then(|data| data.get(&entry_key))
    } else if secret.is_none() {
        return Err(format!("can't read storage secret {secret_name}: {}", missing(secret_name)));
    } else {
        let found = data.and_then(|data| data.get(key));
        Some(found.ok_or_else(|| {
            format!("specified storage key {key} not found in storage secret {secret_name}")
        })?)
    };
    if let Some(entry) = entry {
        if kind.is_empty() {
            let entry: BTreeMap<String, String> = serde_json::from_slice(&entry.0).map_err(|error| {
                format!(
                    "invalid json encountered in key {entry_key} of storage secret {secret_name}: {error}"
                )
            })?;
            if let Some(named) = entry.get("type") {
                if !TYPES.contains(&named.as_str()) {
                    return Err(format!(
                        "storage type must be one of [{}]. storage type [{named}] is not supported",
                        TYPES.join(", ")
                    ));
                }
                kind.clone_from(named);
            }
            if bucket.is_empty() {
                bucket = entry.get("bucket").cloned().unwrap_or_default();
            }
            if let Some(bundle) = entry.get("cabundle_configmap") {
                add(container, [variable(s3::CA_BUNDLE_CONFIG_MAP, bundle.clone())]);
            }
        }
        add(container, [secret_variable("STORAGE_CONFIG", secret_name, &entry_key)]);
    }
    if kind.is_empty() {
        return Err("unable to determine storage type".to_owned());
    }
    for uri in container.args.iter_mut().flatten().step_by(2) {
        let Some(path) = uri.strip_prefix(PLACEHOLDER) else { continue };
        *uri = if kind == "s3" {
            if bucket.is_empty() {
                return Err(format!(
                    "format [{kind}] requires a bucket but one wasn't found in storage data or parameters"
                ));
            }
            format!("{kind}://{bucket}/{path}")
        } else {
            format!("{kind}://{path}")
        };
    }
    if !parameters.is_empty() {
        let json = serde_json::to_string(parameters).unwrap_or_default();
        add(container, [variable("STORAGE_OVERRIDE_CONFIG", json)]);
    }
    Ok(())
}
