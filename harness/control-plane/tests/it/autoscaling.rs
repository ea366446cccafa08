//! The autoscaler loop on a world in memory, in virtual time.

use serde_json::json;
use windtunnel_api::condition;
use windtunnel_control_plane::{Kind, ObjectKey};

use crate::digits;
use crate::sandbox::Sandbox;

const FIRST: &str = "digits-predictor-00001";

fn served(settings: serde_json::Value) -> Sandbox {
    let mut sandbox = Sandbox::new();
    let config = json!({"data": {"scale-to-zero-grace-period": "6s", "stable-window": "10s"}});
    sandbox.patch::<k8s_openapi::api::core::v1::ConfigMap>(
        &ObjectKey::new("knative-serving", "config-autoscaler"),
        &config,
    );
    sandbox.put(digits("v1", settings));
    sandbox.settle();
    sandbox.kubelet();
    sandbox.settle();
    sandbox
}

fn revision_status(sandbox: &Sandbox) -> windtunnel_api::knative::RevisionStatus {
    sandbox.world.revisions[&ObjectKey::new("default", FIRST)].status.clone().unwrap()
}

/// Idle models would hold their pods for ever, or requests at zero would wait for ever.
#[test]
fn to_zero_and_back() {
    let mut sandbox = served(json!({}));
    sandbox.advance(60);
    assert_eq!(sandbox.replicas(FIRST), 0);
    let status = revision_status(&sandbox);
    assert_eq!((status.desired_replicas, status.actual_replicas), (Some(0), Some(0)));
    let active = condition::find(&status.conditions, "Active").unwrap();
    assert_eq!((active.status.as_str(), active.reason()), ("False", "NoTraffic"));
    assert!(condition::is_true(&status.conditions, "Ready"), "a revision at zero is ready");
    assert!(sandbox.digits().status.as_ref().unwrap().is_ready());
    let last = sandbox.decisions.last().unwrap().clone();
    assert_eq!((last.from, last.to, last.revision.as_str()), (1, 0, FIRST));

    sandbox.report(FIRST, 1.0);
    assert_eq!(sandbox.replicas(FIRST), 1, "a request at zero is a poke");
    assert!(!sandbox.decisions.last().unwrap().text.is_empty());
    sandbox.kubelet();
    sandbox.settle();
    let status = revision_status(&sandbox);
    assert_eq!(condition::find(&status.conditions, "Active").unwrap().status, "True");
}

/// Load would pile up on one pod.
#[test]
fn up_with_the_load_and_within_bounds() {
    let mut sandbox = served(json!({"scaleTarget": 10, "maxReplicas": 3}));
    for _ in 0..12 {
        sandbox.report(FIRST, 60.0);
        sandbox.advance(1);
    }
    assert_eq!(sandbox.replicas(FIRST), 3);
    assert!(sandbox.decisions.iter().all(|decision| decision.to <= 3));
}

/// A service with a minimum must have it at once and keep it.
#[test]
fn the_minimum_is_kept() {
    let mut sandbox = served(json!({"minReplicas": 2}));
    sandbox.kubelet();
    sandbox.settle();
    sandbox.advance(60);
    assert_eq!(sandbox.replicas(FIRST), 2);
    assert!(sandbox.digits().status.as_ref().unwrap().is_ready());
}

/// The first pod of a revision, idle or not, must not be taken before the service was ever ready, and a
/// quiet service must not be written to.
#[test]
fn ticks_without_news_write_nothing() {
    let mut sandbox = served(json!({"minReplicas": 1}));
    sandbox.advance(30);
    sandbox.writes.clear();
    sandbox.advance(30);
    assert_eq!(sandbox.written_kinds(), std::collections::BTreeSet::<Kind>::new());
}

/// A wrong annotation must be named in the revision's status instead of stopping the loop silently.
#[test]
fn a_wrong_annotation() {
    let mut sandbox = Sandbox::new();
    let mut service = digits("v1", json!({}));
    service.metadata.annotations = Some([("autoscaling.knative.dev/window".into(), "soon".into())].into());
    sandbox.put(service);
    sandbox.settle();
    let status = revision_status(&sandbox);
    let ready = condition::find(&status.conditions, "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason()), ("False", "InvalidAutoscaling"));
    assert!(ready.message().contains("window"), "{}", ready.message());
}
