//! What a cluster offers of what cases may need.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::json;

use super::objects::{Kinds, ObjectError};
use crate::case::Need;

/// Detects them.
pub(crate) async fn detect(
    kinds: &Kinds,
    has_gateway: bool,
    has_local_pods: bool,
) -> Result<BTreeSet<Need>, ObjectError> {
    let served = [
        (Need::GatewayApi, "gateway.networking.k8s.io", "HTTPRoute"),
        (Need::Knative, "serving.knative.dev", "Service"),
        (Need::Keda, "keda.sh", "ScaledObject"),
        (Need::OpenTelemetry, "opentelemetry.io", "OpenTelemetryCollector"),
        (Need::Istio, "networking.istio.io", "VirtualService"),
        (Need::InferenceGraph, "serving.kserve.io", "InferenceGraph"),
        (Need::TrainedModel, "serving.kserve.io", "TrainedModel"),
        (Need::LocalModel, "serving.kserve.io", "LocalModelCache"),
        (Need::StorageContainer, "serving.kserve.io", "ClusterStorageContainer"),
    ];
    let mut found: BTreeSet<Need> = served
        .into_iter()
        .filter(|(_, group, kind)| kinds.serves(group, kind))
        .map(|(need, _, _)| need)
        .collect();
    if found.contains(&Need::Knative) && !takes_scheduler(kinds).await? {
        found.remove(&Need::Knative);
    }
    if has_gateway {
        found.insert(Need::Gateway);
    }
    if has_local_pods {
        found.insert(Need::LocalPods);
    }
    let runtime = json!({"kind": "ClusterServingRuntime"});
    if let Ok(reach) = kinds.reach(&runtime, "") {
        let api: Api<DynamicObject> = reach.api;
        let names =
            api.list(&ListParams::default()).await?.items.into_iter().filter_map(|item| item.metadata.name);
        found.extend(names.map(Need::Runtime));
    }
    Ok(found)
}

/// Upstream Knative refuses a pod's scheduler unless a feature is on; without it the runner cannot play the kubelet.
async fn takes_scheduler(kinds: &Kinds) -> Result<bool, ObjectError> {
    let api = Api::<ConfigMap>::namespaced(kinds.client.clone(), "knative-serving");
    let features = api.get_opt("config-features").await?.and_then(|map| map.data);
    let feature = features.and_then(|data| data.get("kubernetes.podspec-schedulername").cloned());
    // Only upstream ships this ConfigMap with its example; without any the kinds are those of our reference.
    Ok(match feature {
        Some(value) => value.eq_ignore_ascii_case("enabled"),
        None => api
            .get_opt("config-features")
            .await?
            .is_none_or(|map| map.data.is_none_or(|data| data.is_empty())),
    })
}

/// What a user can do about a missing need.
pub(crate) fn remedy(need: &Need) -> String {
    match need {
        Need::Gateway => "no gateway: give its address with --gateway".to_owned(),
        Need::LocalPods => "the cluster does not run on this machine".to_owned(),
        Need::Runtime(name) => format!("no ClusterServingRuntime {name}"),
        Need::Knative => {
            "no Knative Serving, or its ConfigMap config-features lacks kubernetes.podspec-schedulername: enabled".to_owned()
        }
        other => format!("the cluster does not serve {other}"),
    }
}
