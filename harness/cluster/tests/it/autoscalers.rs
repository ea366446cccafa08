//! The HorizontalPodAutoscaler controller: what it sees, and what it writes, against recorded facts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod},
    jiff::{Timestamp, ToSpan},
};
use serde_json::{Value, json};
use windtunnel_cluster::{
    controllers::autoscaler::{self, PodUsage, Sight, TargetScale, Usage},
    effect::Effect,
};
use windtunnel_kernel::autoscale::hpa::Options;

fn object(min: i32) -> HorizontalPodAutoscaler {
    serde_json::from_value(
        json!({"metadata": {"name": "h", "namespace": "ns", "uid": "u", "generation": 1}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        "minReplicas": min, "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
    )
    .expect("an autoscaler")
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

fn pods(count: usize) -> Vec<Arc<Pod>> {
    let since = now().checked_sub(1.hour()).expect("a time").to_string();
    let pod = |index: usize| {
        serde_json::from_value(json!({"metadata": {"name": format!("p{index}"), "namespace": "ns"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]},
            "status": {"phase": "Running", "startTime": since,
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]}}))
        .expect("a pod")
    };
    (0..count).map(|index| Arc::new(pod(index))).collect()
}

fn sight(replicas: i32, cpu_nano: Option<u64>) -> Sight {
    let pods = pods(usize::try_from(replicas).expect("a count"));
    let usage = |cpu_nano: u64| PodUsage {
        at: now(),
        window: Duration::from_secs(15),
        containers: [("c".to_owned(), Usage { cpu_nano, memory_bytes: 0 })].into(),
    };
    let names = pods.iter().filter_map(|pod| pod.metadata.name.clone());
    let usage: BTreeMap<String, PodUsage> =
        cpu_nano.map(|cpu| names.map(|name| (name, usage(cpu))).collect()).unwrap_or_default();
    let scale = TargetScale { replicas, status_replicas: replicas, selector: Some("app=d".to_owned()) };
    Sight { scale: Ok(scale), pods, usage, external: BTreeMap::new(), is_ambiguous: false }
}

/// One sync: the target's new size, the status, and reasons with messages of the events.
fn sync(
    object: &HorizontalPodAutoscaler,
    sight: &Sight,
    failure: Option<&str>,
) -> (Option<i32>, Value, Vec<(String, String)>) {
    let mut state = autoscaler::state(None, object, &Options::default()).expect("a spec");
    let decided = autoscaler::sync(&mut state, sight, now());
    let outcome = autoscaler::conclude(object, &mut state, sight, &decided, failure, now());
    let mut status = Value::Null;
    let mut events = Vec::new();
    for effect in outcome.effects {
        match effect {
            Effect::Patch { patch, status: true, .. } => status = patch["status"].clone(),
            Effect::Report(note) => events.push((note.reason, note.message)),
            other => panic!("unexpected {other:?}"),
        }
    }
    (decided.replicas, status, events)
}

fn condition(status: &Value, kind: &str) -> (String, String, String) {
    let conditions = status["conditions"].as_array().expect("conditions");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.map_or_else(Default::default, |found| {
        (text(&found["status"]), text(&found["reason"]), text(&found["message"]))
    })
}

/// If this fails nobody learns why nothing is scaled.
#[test]
fn a_missing_target_is_said_in_upstreams_words() {
    let mut sight = sight(1, None);
    sight.scale = Err("deployments.apps \"d\" not found".to_owned());
    let (replicas, status, events) = sync(&object(1), &sight, None);
    assert_eq!((replicas, &status["desiredReplicas"]), (None, &json!(0)));
    assert_eq!(status.get("currentReplicas"), None);
    let message =
        "the HPA controller was unable to get the target's current scale: deployments.apps \"d\" not found";
    assert_eq!(
        condition(&status, "AbleToScale"),
        ("False".to_owned(), "FailedGetScale".to_owned(), message.to_owned())
    );
    assert_eq!(condition(&status, "ScalingActive"), Default::default());
    assert_eq!(events, [("FailedGetScale".to_owned(), "deployments.apps \"d\" not found".to_owned())]);
}

/// If this fails a service that was scaled to zero by hand comes back.
#[test]
fn a_target_of_zero_is_left_alone() {
    let (replicas, status, _) = sync(&object(1), &sight(0, None), None);
    assert_eq!(replicas, None);
    let (value, reason, message) = condition(&status, "ScalingActive");
    assert_eq!((value.as_str(), reason.as_str()), ("False", "ScalingDisabled"));
    assert_eq!(message, "scaling is disabled since the replica count of the target is zero");
    assert_eq!(condition(&status, "AbleToScale").1, "SucceededGetScale");
    assert_eq!(status.get("currentReplicas"), None);
}

/// If this fails load leads to no more pods, or a refused change is taken for done.
#[test]
fn usage_above_the_target_scales_up_and_says_so() {
    // 450m of 500m is 90 %: ceil(2 x 90 / 50) = 4.
    let (replicas, status, events) = sync(&object(1), &sight(2, Some(450_000_000)), None);
    assert_eq!(
        (replicas, &status["desiredReplicas"], &status["currentReplicas"]),
        (Some(4), &json!(4), &json!(2))
    );
    assert_eq!(
        status["currentMetrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu",
            "current": {"averageUtilization": 90, "averageValue": "450m"}}}])
    );
    let message = "New size: 4; reason: cpu resource utilization (percentage of request) above target";
    assert_eq!(events, [("SuccessfulRescale".to_owned(), message.to_owned())]);
    assert_eq!(condition(&status, "AbleToScale").1, "SucceededRescale");
    assert_eq!(condition(&status, "ScalingActive").1, "ValidMetricFound");
    assert!(status["lastScaleTime"].is_string());
    let (_, status, events) = sync(&object(1), &sight(2, Some(450_000_000)), Some("no"));
    assert_eq!(status["desiredReplicas"], 2);
    assert_eq!(condition(&status, "AbleToScale").1, "FailedUpdateScale");
    assert_eq!(events, [("FailedRescale".to_owned(), format!("{message}; error: no"))]);
}

/// If this fails an autoscaler without metrics scales blindly, or fails silently.
#[test]
fn without_metrics_nothing_is_scaled_and_the_reason_is_told() {
    let (replicas, status, events) = sync(&object(1), &sight(2, None), None);
    assert_eq!(replicas, None);
    let (value, reason, message) = condition(&status, "ScalingActive");
    assert_eq!((value.as_str(), reason.as_str()), ("False", "FailedGetResourceMetric"));
    assert!(message.contains("no metrics returned from resource metrics API"), "{message}");
    let reasons: Vec<&str> = events.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["FailedGetResourceMetric", "FailedComputeMetricsReplicas"]);
}
