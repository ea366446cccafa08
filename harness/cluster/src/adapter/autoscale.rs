//! Looks at the targets of autoscalers once a period and carries out what is decided.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::LabelSelector, jiff::Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use windtunnel_kernel::autoscale::hpa::{Autoscaler, Options};

use super::{Executor, Store, external_metrics};
use crate::{
    controllers::{
        autoscaler::{self, ResourceMetrics, Sight, TargetScale},
        selector,
    },
    world::Key,
};

/// Kinds whose plural needs no look-up.
const KNOWN: [(&str, &str, &str); 4] = [
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "ReplicaSet", "replicasets"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("v1", "ReplicationController", "replicationcontrollers"),
];

/// Runs every autoscaler once a `period`, until `stop`.
pub(crate) async fn autoscale(
    period: Duration,
    store: Arc<Store>,
    executor: Executor,
    metrics: Arc<dyn ResourceMetrics>,
    stop: CancellationToken,
) {
    let sync_period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    let options = Options { sync_period_ns, ..Options::default() };
    let mut states: HashMap<Key, (String, Autoscaler)> = HashMap::new();
    // What each autoscaler's target selects; the second of two that share pods is told so.
    let mut selectors: HashMap<Key, LabelSelector> = HashMap::new();
    let queue = store.autoscalers.clone();
    loop {
        let key = tokio::select! {
            () = stop.cancelled() => return,
            key = queue.next() => key,
        };
        let object = store.read(|world| world.horizontal_pod_autoscalers.get(&key).cloned());
        let Some(object) = object.filter(|object| object.metadata.deletion_timestamp.is_none()) else {
            states.remove(&key);
            selectors.remove(&key);
            continue;
        };
        queue.add_after(&key, period);
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let before = states.remove(&key).filter(|(known, _)| *known == uid).map(|(_, state)| state);
        let mut state = match autoscaler::state(before, &object, &options) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(autoscaler = %key, error, "an autoscaler's spec can't be read");
                continue;
            }
        };
        let target = &object.spec.scale_target_ref;
        let (mut sight, path) = look(&key, target, &store, &executor, &*metrics).await;
        sight.external = external_metrics::ask(&key.namespace, state.spec(), &executor).await;
        selectors.remove(&key);
        let wanted = sight.scale.as_ref().ok().and_then(|scale| scale.selector.as_deref());
        if let Some(wanted) = wanted.and_then(selector::parse_text) {
            sight.is_ambiguous = selectors.iter().any(|(other, theirs)| {
                other.namespace == key.namespace
                    && sight.pods.iter().any(|pod| selector::matches(theirs, pod.metadata.labels.as_ref()))
            });
            selectors.insert(key.clone(), wanted);
        }
        let now = Timestamp::now();
        let sync = autoscaler::sync(&mut state, &sight, now);
        let mut failure = None;
        if let (Some(replicas), Some(path)) = (sync.replicas, &path) {
            let patch = json!({"spec": {"replicas": replicas}});
            let answer = executor
                .call("PATCH", &format!("{path}/scale"), "application/merge-patch+json", &patch)
                .await;
            failure = answer.err().map(|error| message_of(&error));
        }
        let outcome = autoscaler::conclude(&object, &mut state, &sight, &sync, failure.as_deref(), now);
        states.insert(key.clone(), (uid, state));
        if let Err(error) = executor.carry_out(outcome.effects).await {
            tracing::debug!(autoscaler = %key, %error, "an autoscaler's status was not written; the next sync will");
        }
    }
}

fn message_of(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Looks at the target; the path is that of the target, if its kind is served.
async fn look(
    key: &Key,
    target: &k8s_openapi::api::autoscaling::v2::CrossVersionObjectReference,
    store: &Store,
    executor: &Executor,
    metrics: &dyn ResourceMetrics,
) -> (Sight, Option<String>) {
    let mut sight = Sight {
        scale: Err(String::new()),
        pods: Vec::new(),
        usage: std::collections::BTreeMap::new(),
        external: std::collections::BTreeMap::new(),
        is_ambiguous: false,
    };
    let api_version = target.api_version.as_deref().unwrap_or("v1");
    let Some(plural) = plural_of(api_version, &target.kind, executor).await else {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        sight.scale = Err(format!("no matches for kind \"{}\" in group \"{group}\"", target.kind));
        return (sight, None);
    };
    let root = if api_version.contains('/') { "apis" } else { "api" };
    let path = format!("/{root}/{api_version}/namespaces/{}/{plural}/{}", key.namespace, target.name);
    sight.scale = match executor.call("GET", &format!("{path}/scale"), "application/json", &Value::Null).await
    {
        Ok(scale) => Ok(scale_of(&scale)),
        Err(error) => Err(message_of(&error)),
    };
    let wanted =
        sight.scale.as_ref().ok().and_then(|scale| scale.selector.as_deref()).and_then(selector::parse_text);
    if let Some(wanted) = wanted {
        sight.pods = store.read(|world| {
            let pods = world.pods.in_namespace(&key.namespace);
            let matching = pods.filter(|(_, pod)| selector::matches(&wanted, pod.metadata.labels.as_ref()));
            matching.map(|(_, pod)| pod.clone()).collect()
        });
    } else if let Ok(scale) = &mut sight.scale {
        scale.selector = None;
    }
    for pod in &sight.pods {
        let pod = Key::of(&pod.metadata);
        if let Some(usage) = metrics.pod_usage(&pod) {
            sight.usage.insert(pod.name, usage);
        }
    }
    (sight, Some(path))
}

fn scale_of(scale: &Value) -> TargetScale {
    let count = |part: &str| {
        scale[part]["replicas"].as_i64().and_then(|count| i32::try_from(count).ok()).unwrap_or(0)
    };
    let selector = scale["status"]["selector"].as_str().filter(|text| !text.is_empty());
    TargetScale {
        replicas: count("spec"),
        status_replicas: count("status"),
        selector: selector.map(ToOwned::to_owned),
    }
}

/// The plural name of a kind that the server has.
async fn plural_of(api_version: &str, kind: &str, executor: &Executor) -> Option<String> {
    if let Some((_, _, plural)) =
        KNOWN.iter().find(|(version, name, _)| *version == api_version && *name == kind)
    {
        return Some((*plural).to_owned());
    }
    let root = if api_version.contains('/') { "apis" } else { "api" };
    let list = executor
        .call("GET", &format!("/{root}/{api_version}"), "application/json", &Value::Null)
        .await
        .ok()?;
    let resources = list["resources"].as_array()?;
    let found = resources.iter().find(|resource| {
        resource["kind"] == kind && resource["name"].as_str().is_some_and(|name| !name.contains('/'))
    });
    found?["name"].as_str().map(ToOwned::to_owned)
}
