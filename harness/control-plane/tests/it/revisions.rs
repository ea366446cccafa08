//! Knative's care for revisions on a world in memory, in virtual time: gradual rollouts, garbage collection, and the way of
//! requests by burst capacity.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use windtunnel_api::condition;
use windtunnel_api::knative::{Revision, Route};
use windtunnel_api::kserve::InferenceService;
use windtunnel_control_plane::{Kind, ObjectKey, gateway_routes};
use windtunnel_gateway::RevisionBackend;

use crate::digits;
use crate::sandbox::Sandbox;

const FIRST: &str = "digits-predictor-00001";
const SECOND: &str = "digits-predictor-00002";
const THIRD: &str = "digits-predictor-00003";

fn configure(sandbox: &mut Sandbox, map: &str, data: &Value) {
    sandbox.patch::<ConfigMap>(&ObjectKey::new("knative-serving", map), &json!({"data": data}));
}

/// A service with one revision whose pods are ready.
fn served(annotations: Value, settings: Value) -> Sandbox {
    let mut sandbox = Sandbox::new();
    let mut service = digits("v1", settings);
    service.metadata.annotations = serde_json::from_value(annotations).unwrap();
    sandbox.put(service);
    settle(&mut sandbox);
    sandbox
}

fn settle(sandbox: &mut Sandbox) {
    sandbox.settle();
    sandbox.kubelet();
    sandbox.settle();
}

fn update(sandbox: &mut Sandbox, version: &str) {
    let patch =
        json!({"spec": {"predictor": {"model": {"storageUri": format!("s3://models/digits/{version}")}}}});
    sandbox.patch::<InferenceService>(&ObjectKey::new("default", "digits"), &patch);
    settle(sandbox);
}

fn shares(found: &[(&str, u32)]) -> Vec<(String, u32)> {
    found.iter().map(|(name, percent)| ((*name).to_owned(), *percent)).collect()
}

fn route(sandbox: &Sandbox) -> &Route {
    &sandbox.world.routes[&ObjectKey::new("default", "digits-predictor")]
}

fn route_ready(sandbox: &Sandbox) -> (String, String) {
    let status = route(sandbox).status.as_ref().unwrap();
    let ready = condition::find(&status.conditions, "Ready").unwrap();
    (ready.status.clone(), ready.reason().to_owned())
}

/// Who asked for a slow rollout would get everything on the new revision at once: 1 percent, then 11 each second.
#[test]
fn a_revision_gets_its_traffic_step_by_step() {
    let annotation = json!({"serving.knative.dev/rollout-duration": "10s"});
    let mut sandbox = served(annotation, json!({"minReplicas": 1}));
    assert_eq!(sandbox.shares(), shares(&[(FIRST, 100)]));
    update(&mut sandbox, "v2");
    assert_eq!(sandbox.shares(), shares(&[(FIRST, 99), (SECOND, 1)]));
    assert_eq!(route_ready(&sandbox), ("Unknown".to_owned(), "RolloutInProgress".to_owned()));
    let mut seen = Vec::new();
    for _ in 0..8 {
        sandbox.advance(1);
        seen.push(sandbox.shares().last().unwrap().1);
    }
    assert_eq!(seen, [12, 23, 34, 45, 56, 67, 78, 89]);
    assert_eq!(
        sandbox.world.revisions[&ObjectKey::new("default", FIRST)].metadata.labels.as_ref().unwrap()["serving.knative.dev/routingState"],
        "active",
        "it still serves"
    );
    sandbox.advance(1);
    assert_eq!(sandbox.shares(), shares(&[(SECOND, 100)]));
    assert_eq!(route_ready(&sandbox).0, "True");
    let rolled_out = sandbox.digits().status.as_ref().unwrap().predictor().unwrap().clone();
    assert_eq!(rolled_out.latest_rolledout_revision.as_deref(), Some(SECOND));
    // At rest.
    sandbox.writes.clear();
    sandbox.advance(5);
    assert_eq!(sandbox.written_kinds(), [].into());
}

/// A newer revision in the middle of a rollout would drop the one before, or start with everything.
#[test]
fn a_newer_revision_takes_over() {
    let mut sandbox = served(json!({}), json!({"minReplicas": 1}));
    configure(&mut sandbox, "config-network", &json!({"rollout-duration": "10"}));
    update(&mut sandbox, "v2");
    sandbox.advance(3);
    assert_eq!(sandbox.shares(), shares(&[(FIRST, 66), (SECOND, 34)]));
    update(&mut sandbox, "v3");
    assert_eq!(sandbox.shares(), shares(&[(FIRST, 66), (SECOND, 33), (THIRD, 1)]));
    // The newest of the old ones is drained first: 33 in three steps of 11.
    sandbox.advance(3);
    assert_eq!(sandbox.shares(), shares(&[(FIRST, 66), (THIRD, 34)]));
    sandbox.advance(6);
    assert_eq!(sandbox.shares(), shares(&[(THIRD, 100)]));
}

/// Without a duration nothing is gradual, and a state that somebody has edited is not followed.
#[test]
fn rollouts_that_are_not() {
    let mut sandbox = served(json!({}), json!({"minReplicas": 1}));
    update(&mut sandbox, "v2");
    assert_eq!(sandbox.shares(), shares(&[(SECOND, 100)]));
    assert_eq!(route(&sandbox).metadata.annotations, None);
    configure(&mut sandbox, "config-network", &json!({"rollout-duration": "60"}));
    let broken = json!({"metadata": {"annotations": {"networking.internal.knative.dev/rollout":
        "{\"configurations\":[{\"configurationName\":\"digits-predictor\",\"percent\":700}]}"}}});
    sandbox.patch::<Route>(&ObjectKey::new("default", "digits-predictor"), &broken);
    settle(&mut sandbox);
    assert_eq!(sandbox.shares(), shares(&[(SECOND, 100)]));
    update(&mut sandbox, "v3");
    assert_eq!(sandbox.shares(), shares(&[(SECOND, 99), (THIRD, 1)]));
    // Switched off, it ends at once.
    configure(&mut sandbox, "config-network", &json!({"rollout-duration": "0"}));
    settle(&mut sandbox);
    assert_eq!(sandbox.shares(), shares(&[(THIRD, 100)]));
}

/// Requests for a revision that somebody has deleted would wait until they time out.
#[test]
fn a_revision_that_goes_gives_its_share_to_the_newest() {
    let mut sandbox = served(json!({}), json!({"minReplicas": 1}));
    configure(&mut sandbox, "config-network", &json!({"rollout-duration": "10"}));
    update(&mut sandbox, "v2");
    sandbox.advance(3);
    sandbox.delete::<Revision>(&ObjectKey::new("default", FIRST));
    settle(&mut sandbox);
    assert_eq!(sandbox.shares(), shares(&[(SECOND, 100)]));
    assert_eq!(route_ready(&sandbox).0, "True");
}

/// A duration that is none would be taken for "at once", and nobody would know why.
#[test]
fn a_wrong_duration_is_told() {
    for wrong in ["10", "1500ms", "-3s"] {
        let sandbox =
            served(json!({"serving.knative.dev/rollout-duration": wrong}), json!({"minReplicas": 1}));
        let status = sandbox.digits().status.as_ref().unwrap();
        let ready = condition::find(&status.conditions, "PredictorReady").unwrap();
        assert_eq!((ready.status.as_str(), ready.reason()), ("False", "InvalidRolloutDuration"), "{wrong}");
        assert!(ready.message().contains(wrong), "{}", ready.message());
    }
}

/// A canary's ten percent come gradually too, and the rest stays where it is.
#[test]
fn a_canary_within_its_percentage() {
    let annotation = json!({"serving.knative.dev/rollout-duration": "10s"});
    let mut sandbox = served(annotation, json!({"minReplicas": 1}));
    let canary = json!({"spec": {"predictor": {"canaryTrafficPercent": 10,
        "model": {"storageUri": "s3://models/digits/v2"}}}});
    sandbox.patch::<InferenceService>(&ObjectKey::new("default", "digits"), &canary);
    settle(&mut sandbox);
    assert_eq!(sandbox.shares(), shares(&[(FIRST, 99), (SECOND, 1)]));
    // Nine percents in nine steps of a second.
    sandbox.advance(4);
    assert_eq!(sandbox.shares(), shares(&[(FIRST, 95), (SECOND, 5)]));
    sandbox.advance(5);
    let sorted = |mut shares: Vec<_>| {
        shares.sort();
        shares
    };
    assert_eq!(sorted(sandbox.shares()), shares(&[(FIRST, 90), (SECOND, 10)]));
}

fn revisions(sandbox: &Sandbox) -> Vec<String> {
    sandbox.world.keys(Kind::Revision).into_iter().map(|key| key.name).collect()
}

/// Old revisions would fill the cluster for ever, or one that somebody goes back to would be gone.
#[test]
fn old_revisions_are_deleted() {
    let mut sandbox = served(json!({}), json!({"minReplicas": 1}));
    let settings = json!({"min-non-active-revisions": "1", "retain-since-create-time": "5s",
        "retain-since-last-active-time": "20s"});
    configure(&mut sandbox, "config-gc", &settings);
    for version in ["v2", "v3", "v4", "v5"] {
        let made = (sandbox.now_ns / 1_000_000_000).cast_signed();
        let newest = revisions(&sandbox).last().unwrap().clone();
        let made = k8s_openapi::jiff::Timestamp::from_second(made).unwrap().to_string();
        let patch = json!({"metadata": {"creationTimestamp": made}});
        sandbox.patch::<Revision>(&ObjectKey::new("default", newest), &patch);
        sandbox.advance(10);
        update(&mut sandbox, version);
    }
    let all = |numbers: &[u32]| -> Vec<String> {
        numbers.iter().map(|number| format!("digits-predictor-{number:05}")).collect()
    };
    // The first was routed to until 30 s ago, the second until 20 s ago.
    assert_eq!(revisions(&sandbox), all(&[3, 4, 5]));
    let preserved = json!({"metadata": {"annotations": {"serving.knative.dev/no-gc": "True"}}});
    sandbox.patch::<Revision>(&ObjectKey::new("default", THIRD), &preserved);
    sandbox.advance(60);
    // The third is preserved, the fourth is the one that stays, the fifth serves.
    assert_eq!(revisions(&sandbox), all(&[3, 4, 5]));
    configure(&mut sandbox, "config-gc", &json!({"min-non-active-revisions": "0"}));
    settle(&mut sandbox);
    assert_eq!(revisions(&sandbox), all(&[3, 5]));
    assert!(
        !sandbox
            .world
            .deployments
            .contains_key(&ObjectKey::new("default", "digits-predictor-00004-deployment"))
    );
}

/// Settings that cannot be used must not delete anything.
#[test]
fn wrong_settings_delete_nothing() {
    let mut sandbox = served(json!({}), json!({"minReplicas": 1}));
    update(&mut sandbox, "v2");
    let wrong = json!({"min-non-active-revisions": "0", "max-non-active-revisions": "none"});
    configure(&mut sandbox, "config-gc", &wrong);
    sandbox.advance(10);
    assert_eq!(revisions(&sandbox), [FIRST, SECOND]);
    configure(&mut sandbox, "config-gc", &json!({"max-non-active-revisions": "0"}));
    settle(&mut sandbox);
    assert_eq!(revisions(&sandbox), [SECOND]);
}

fn backend(sandbox: &Sandbox) -> RevisionBackend {
    let table = gateway_routes::table(&sandbox.world);
    table.revisions.into_iter().find(|found| found.key.name == FIRST).unwrap()
}

/// Whether the activator is in the path with one busy pod of ten requests, for a burst capacity. Excess: 1 * 10 - capacity -
/// load.
fn activated(capacity: &str, load: f64) -> bool {
    let annotation = json!({"autoscaling.knative.dev/target-burst-capacity": capacity});
    let settings = json!({"minReplicas": 1, "maxReplicas": 1, "containerConcurrency": 10});
    let mut sandbox = served(annotation, settings);
    for _ in 0..8 {
        sandbox.report(FIRST, load);
        sandbox.advance(1);
    }
    backend(&sandbox).activated
}

/// Requests would queue in the wrong place: at the pods although a burst does not fit, or in the activator although it does.
#[test]
fn burst_capacity_decides_about_the_activator() {
    // Only at zero; always; while fewer than seven more requests fit.
    for (capacity, load, expected) in
        [("0", 5.0, false), ("-1", 5.0, true), ("7", 3.0, false), ("7", 4.0, true), ("200", 1.0, true)]
    {
        assert_eq!(activated(capacity, load), expected, "capacity {capacity}, load {load}");
    }
}

/// With no capacity to spare for bursts the activator is there only while no pod is.
#[test]
fn at_zero_the_activator_is_always_in_the_path() {
    let annotation = json!({"autoscaling.knative.dev/target-burst-capacity": "0"});
    let mut sandbox = served(annotation, json!({}));
    sandbox.report(FIRST, 1.0);
    sandbox.advance(3);
    assert!(!backend(&sandbox).activated);
    sandbox.advance(120);
    assert_eq!(sandbox.replicas(FIRST), 0);
    assert!(backend(&sandbox).activated);
    // A pod that vanishes takes its way with it.
    sandbox.report(FIRST, 1.0);
    sandbox.kubelet();
    sandbox.advance(3);
    assert!(!backend(&sandbox).activated);
    sandbox.pods(FIRST, 0);
    assert!(backend(&sandbox).activated);
}
