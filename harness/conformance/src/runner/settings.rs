//! Settings of the platform that cases need, set for a while and put back.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::objects::ObjectError;
use crate::case::Settings;
use crate::case::substitute::merge;

/// Where KServe's configuration is.
const KSERVE: (&str, &str) = ("kserve", "inferenceservice-config");
/// Where Knative's configuration is.
const KNATIVE_NAMESPACE: &str = "knative-serving";

/// Values by key; `None` for a key that was not there.
type Values = BTreeMap<String, Option<String>>;

/// What was there before, by ConfigMap.
pub(crate) struct Before(Vec<(Api<ConfigMap>, String, Values)>);

fn api(client: &Client, map: &str) -> Api<ConfigMap> {
    let namespace = if map == KSERVE.1 { KSERVE.0 } else { KNATIVE_NAMESPACE };
    Api::namespaced(client.clone(), namespace)
}

/// Sets them.
pub(crate) async fn set(client: &Client, settings: &Settings) -> Result<Before, ObjectError> {
    let mut before = Before(Vec::new());
    for (map, keys) in settings {
        let api = api(client, map);
        let now = api.get(map).await?.data.unwrap_or_default();
        let mut changed = BTreeMap::new();
        let mut kept = BTreeMap::new();
        for (key, value) in keys {
            let old = now.get(key).cloned();
            changed.insert(key.clone(), text(map, old.as_deref(), value));
            kept.insert(key.clone(), old);
        }
        api.patch(map, &PatchParams::default(), &Patch::Merge(json!({"data": changed}))).await?;
        before.0.push((api, map.clone(), kept));
    }
    Ok(before)
}

/// Puts back what was there.
pub(crate) async fn restore(before: Before) -> Result<(), ObjectError> {
    for (api, map, keys) in before.0.into_iter().rev() {
        api.patch(&map, &PatchParams::default(), &Patch::Merge(json!({"data": keys}))).await?;
    }
    Ok(())
}

/// The new text of a key. Those of KServe's ConfigMap hold JSON: a mapping is merged into what is there.
fn text(map: &str, old: Option<&str>, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) if map == KSERVE.1 => {
            let mut merged = old.and_then(|old| serde_json::from_str(old).ok()).unwrap_or_else(|| json!({}));
            merge(&mut merged, value);
            merged.to_string()
        }
        other => other.to_string(),
    }
}

/// End of host names, as the platform is configured.
pub(crate) async fn domain(client: &Client) -> String {
    let map = api(client, KSERVE.1).get_opt(KSERVE.1).await.ok().flatten();
    let ingress = map.and_then(|map| map.data?.get("ingress").cloned());
    let ingress: Option<Value> = ingress.and_then(|text| serde_json::from_str(&text).ok());
    let domain = ingress.and_then(|ingress| ingress["ingressDomain"].as_str().map(str::to_owned));
    domain.unwrap_or_else(|| "example.com".to_owned())
}
