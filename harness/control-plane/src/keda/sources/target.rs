//! Finds what a ScaledObject scales: anything with a `scale` subresource.

use kube::Client;
use serde_json::Value;

use super::super::{Question, Target};

/// Kinds whose plural needs no look-up.
const KNOWN: [(&str, &str, &str); 3] = [
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("apps/v1", "ReplicaSet", "replicasets"),
];

/// The target and the specification of its pods.
///
/// # Errors
/// Why it cannot be scaled.
pub(super) async fn find(client: &Client, question: &Question) -> Result<(Target, Value), String> {
    let reference = &question.spec.scale_target_ref;
    if reference.name.is_empty() {
        return Err("ScaledObject.spec.scaleTargetRef.name is missing".to_owned());
    }
    let api_version = reference.api_version.as_deref().filter(|text| !text.is_empty()).unwrap_or("apps/v1");
    let kind = reference.kind.as_deref().filter(|text| !text.is_empty()).unwrap_or("Deployment");
    let resource = plural(client, api_version, kind).await?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let path = path(api_version, &question.key.namespace, &resource, &reference.name);
    let object = get(client, &path).await?;
    let scale = get(client, &format!("{path}/scale"))
        .await
        .map_err(|why| format!("Target resource doesn't expose /scale subresource: {why}"))?;
    let count = |value: &Value| value.as_i64().and_then(|count| i32::try_from(count).ok()).unwrap_or(0);
    let target = Target {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        resource,
        replicas: count(&scale["spec"]["replicas"]),
        ready_replicas: count(&object["status"]["readyReplicas"]),
    };
    Ok((target, object["spec"]["template"]["spec"].clone()))
}

/// Path of an object.
pub(in crate::keda) fn path(api_version: &str, namespace: &str, resource: &str, name: &str) -> String {
    let root = if api_version.contains('/') { "apis" } else { "api" };
    format!("/{root}/{api_version}/namespaces/{namespace}/{resource}/{name}")
}

async fn plural(client: &Client, api_version: &str, kind: &str) -> Result<String, String> {
    if let Some(known) = KNOWN.iter().find(|known| known.0 == api_version && known.1 == kind) {
        return Ok(known.2.to_owned());
    }
    let nothing = || format!("no matches for kind {kind:?} in version {api_version:?}");
    let root = if api_version.contains('/') { "apis" } else { "api" };
    let list = get(client, &format!("/{root}/{api_version}")).await.map_err(|_| nothing())?;
    let resources = list["resources"].as_array().map_or(&[][..], Vec::as_slice);
    let found = resources.iter().find(|resource| {
        resource["kind"] == kind && resource["name"].as_str().is_some_and(|name| !name.contains('/'))
    });
    found.and_then(|found| found["name"].as_str()).map(ToOwned::to_owned).ok_or_else(nothing)
}

async fn get(client: &Client, path: &str) -> Result<Value, String> {
    let request = ::http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    client.request::<Value>(request).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    })
}
