//! The status of an InferenceService.

use serde_json::json;
use windtunnel_api::condition;
use windtunnel_api::knative::Service;
use windtunnel_api::kserve::runtime::ModelStatusFailure;
use windtunnel_api::kserve::{InferenceService, model_status, status};

use crate::predictor;

fn isvc() -> InferenceService {
    predictor("model: {modelFormat: {name: onnx}, storageUri: 's3://m/v1'}")
}

fn child(ready: &str, generation: i64, observed: i64, traffic: &serde_json::Value) -> Service {
    serde_json::from_value(json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": "digits-predictor", "generation": generation},
        "spec": {},
        "status": {
            "observedGeneration": observed,
            "url": "http://digits-predictor-default.example.com",
            "latestCreatedRevisionName": "v2", "latestReadyRevisionName": "v2",
            "conditions": [
                {"type": "ConfigurationsReady", "status": ready},
                {"type": "Ready", "status": ready},
                {"type": "RoutesReady", "status": ready},
            ],
            "traffic": traffic,
        }
    }))
    .unwrap()
}

/// What `kubectl get isvc` shows, from the first look to ready.
#[test]
fn from_nothing_to_ready() {
    let mut service = isvc();
    let first = status::propagate(&service, None);
    assert!(!first.is_ready());
    assert_eq!(
        condition::find(&first.conditions, "IngressReady").unwrap().reason(),
        "Predictor ingress not created"
    );
    service.status = Some(first);
    let all = json!([{"latestRevision": true, "revisionName": "v2", "percent": 100}]);
    let mut ready = status::propagate(&service, Some(&child("True", 1, 1, &all)));
    assert!(ready.is_ready());
    ready.model_status = Some(model_status(&ready, &[]));
    insta::assert_yaml_snapshot!(ready);
}

/// A status that is older than the specification must not promote or roll back anything.
#[test]
fn stale_children_move_no_pointer() {
    let service = isvc();
    let all = json!([{"latestRevision": true, "revisionName": "v2", "percent": 100}]);
    let rolled_out = |child: &Service| {
        let status = status::propagate(&service, Some(child));
        status.predictor().unwrap().latest_rolledout_revision.clone()
    };
    assert_eq!(rolled_out(&child("True", 2, 1, &all)), None);
    assert_eq!(rolled_out(&child("True", 2, 2, &all)), Some("v2".into()));
}

/// While a canary starts, the service keeps its URL.
#[test]
fn the_url_survives_a_change() {
    let mut service = isvc();
    let all = json!([{"latestRevision": true, "revisionName": "v2", "percent": 100}]);
    service.status = Some(status::propagate(&service, Some(&child("True", 1, 1, &all))));
    let busy = status::propagate(&service, Some(&child("Unknown", 2, 1, &all)));
    assert_eq!(condition::find(&busy.conditions, "Ready").unwrap().status, "Unknown");
    assert_eq!(busy.url.as_deref(), Some("http://digits-default.example.com"));
}

/// A service that cannot be served says why, in the place that upstream's users look at.
#[test]
fn failures() {
    let service = isvc();
    let failure = ModelStatusFailure {
        reason: "NoSupportingRuntime".into(),
        message: "No runtime found to support specified framework/version".into(),
    };
    let status = status::invalid(&service, &failure);
    let model = status.model_status.as_ref().unwrap();
    assert_eq!(model.transition_status, "InvalidSpec");
    assert_eq!(model.last_failure_info.as_ref().unwrap().reason.as_deref(), Some("NoSupportingRuntime"));
    assert!(condition::find(&status.conditions, "Ready").unwrap().is_false());

    let pod = serde_json::from_value(json!({
        "metadata": {"name": "p"},
        "status": {"initContainerStatuses": [{"name": "storage-initializer", "ready": false, "restartCount": 1,
            "image": "x", "imageID": "x",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "no such bucket"}}}]}
    }))
    .unwrap();
    let status = status::propagate(&service, None);
    let model = model_status(&status, &[&pod]);
    let info = model.last_failure_info.unwrap();
    assert_eq!((info.message.as_deref(), info.exit_code), (Some("no such bucket"), Some(1)));
    assert_eq!(model.states.unwrap().target_model_state, "FailedToLoad");
}

/// Stopping keeps the object and says so.
#[test]
fn stopped() {
    let stopped = status::stopped(&isvc());
    assert!(condition::is_true(&stopped.conditions, "Stopped"));
    assert_eq!(condition::find(&stopped.conditions, "Ready").unwrap().reason(), "Stopped");
}
