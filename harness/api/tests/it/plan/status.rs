//! Status of the Standard mode.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use windtunnel_api::kserve::plan::{Inputs, Plan, Profile, plan};
use windtunnel_api::kserve::{InferenceService, KserveConfig};

use super::{available, condition, first, next, runtimes, tensorflow, value};

/// rawkube_controller_test.go, `getExpectedIsvcStatus`: the whole status once the Deployment is available. Without
/// pods the model is pending, as the envtest has it.
#[test]
fn from_nothing_to_ready() {
    let service = tensorflow(&json!({}), &json!({}));
    let one = first(&service);
    assert_eq!(condition(&one, "PredictorReady"), ("False", ""));
    assert_eq!(condition(&one, "IngressReady"), ("False", "Predictor ingress not created"));
    assert_eq!(condition(&one, "Ready").0, "False");
    assert!(one.children.ingresses.is_empty());
    let two = next(&service, &one, Profile::Upstream, available);
    assert_eq!(
        value(&two.status),
        json!({
            "conditions": [
                {"type": "IngressReady", "status": "True"},
                {"type": "PredictorReady", "status": "True", "reason": "NewReplicaSetAvailable"},
                {"type": "Ready", "status": "True"},
                {"type": "Stopped", "status": "False", "severity": "Info"},
            ],
            "observedGeneration": 1,
            "url": "http://raw-foo-default.example.com",
            "address": {"url": "http://raw-foo-predictor.default.svc.cluster.local"},
            "components": {"predictor": {"url": "http://raw-foo-predictor-default.example.com"}},
            "modelStatus": {
                "transitionStatus": "InProgress",
                "states": {"activeModelState": "", "targetModelState": "Pending"},
                "copies": {"failedCopies": 0},
            },
            "deploymentMode": "Standard",
            "servingRuntimeName": "tf-serving-raw",
        })
    );
    let events: Vec<(&str, &str)> =
        two.events.iter().map(|event| (event.type_, event.message.as_str())).collect();
    assert_eq!(events, [("Normal", "InferenceService [raw-foo] is Ready")]);
    // A third time nothing changes any more.
    let three = next(&service, &two, Profile::Upstream, available);
    assert_eq!(
        (three.children, three.status, three.events.len()),
        (two.children.clone(), two.status.clone(), 0)
    );
    // A pod that is replaced takes neither URL nor Ingress away, and the event says what is wrong.
    let four = next(&service, &two, Profile::Upstream, |_| {});
    assert_eq!(four.children.ingresses.len(), 1);
    assert_eq!(four.status.url, two.status.url);
    assert_eq!(
        four.events[0].message,
        "InferenceService [raw-foo] is no longer Ready because of: IngressReady, PredictorReady"
    );
}

/// A service that runs in one mode must not become another when the configuration or its annotation changes.
#[test]
fn the_mode_is_remembered() {
    let mut service = tensorflow(&json!({}), &json!({"serving.kserve.io/deploymentMode": "Knative"}));
    service.status.get_or_insert_default().deployment_mode = Some("RawDeployment".to_owned());
    let plan = first(&service);
    assert_eq!(plan.status.deployment_mode.as_deref(), Some("Standard"));
    assert_eq!((plan.children.deployments.len(), plan.children.knative_services.len()), (1, 0));
}

/// The stop cases of the envtests: everything goes, the status is wiped, and resuming brings everything back.
#[test]
fn stop_and_resume() {
    let service = tensorflow(&json!({}), &json!({}));
    let ready = next(&service, &first(&service), Profile::Windtunnel, available);
    let stopped_service = tensorflow(&json!({}), &json!({"serving.kserve.io/stop": "TRUE"}));
    let stopped = next(&stopped_service, &ready, Profile::Windtunnel, available);
    assert!(stopped.prune);
    assert_eq!(stopped.children, super::Plan::default().children);
    assert_eq!(
        value(&stopped.status),
        json!({
            "conditions": [
                {"type": "IngressReady", "status": "False", "reason": "Stopped"},
                {"type": "PredictorReady", "status": "False", "reason": "Stopped"},
                {"type": "Ready", "status": "False", "reason": "Stopped"},
                {"type": "Stopped", "status": "True", "severity": "Info"},
            ],
            "deploymentMode": "Standard",
        })
    );
    let again = next(&stopped_service, &stopped, Profile::Windtunnel, available);
    assert_eq!((again.status, again.events.len()), (stopped.status.clone(), 0));
    let resumed = next(&service, &stopped, Profile::Windtunnel, |_| {});
    assert_eq!(resumed.children.deployments.len(), 1);
    assert_eq!(condition(&resumed, "Stopped"), ("False", ""));
}

/// `serving.kserve.io/disable-auto-update` keeps a ready service as it is when its runtime changes.
#[test]
fn without_automatic_updates() {
    let annotations = json!({"serving.kserve.io/disable-auto-update": "true"});
    let service = tensorflow(&json!({}), &annotations);
    let one = first(&service);
    assert_eq!(one.children.deployments.len(), 1);
    let two = next(&service, &one, Profile::Windtunnel, available);
    let three = next(&service, &two, Profile::Windtunnel, available);
    assert!(!three.prune && three.children.deployments.is_empty());
    assert_eq!(three.status, two.status);
}

/// The failures of the model's specification, in upstream's words (STA-08, STA-09). What serves stays.
#[test]
fn specifications_that_cannot_be_served() {
    let cases = [
        (
            json!({"model": {"runtime": "nope"}}),
            "RuntimeNotRecognized",
            "Waiting for runtime to become available",
        ),
        (
            json!({"model": {"modelFormat": {"name": "unknown"}}}),
            "NoSupportingRuntime",
            "No runtime found to support specified framework/version",
        ),
        (
            json!({"model": {"runtime": "tf-serving-raw", "modelFormat": {"name": "onnx"}}}),
            "NoSupportingRuntime",
            "Specified runtime does not support specified framework/version",
        ),
    ];
    for (predictor, reason, message) in cases {
        let plan = first(&tensorflow(&predictor, &json!({})));
        let model = value(&plan.status.model_status);
        assert_eq!(model["transitionStatus"], "InvalidSpec", "{predictor}");
        assert_eq!(model["states"]["targetModelState"], "FailedToLoad");
        assert_eq!(model["lastFailureInfo"], json!({"reason": reason, "message": message}));
        assert_eq!(condition(&plan, "PredictorReady"), ("False", "ReconcileFailed"));
        assert!(!plan.prune, "what serves must stay");
        assert_eq!((plan.events.len(), plan.events[0].reason.as_str()), (1, "InternalError"));
    }
    let plan = first(&tensorflow(&json!({"model": {"storageUri": "ftp://x/y"}}), &json!({})));
    assert!(
        plan.events[0]
            .message
            .starts_with("StorageURI not supported: storageUri, must be one of: [gs://, s3://")
    );
    let once = first(&tensorflow(&json!({"model": {"runtime": "nope"}}), &json!({})));
    let service = tensorflow(&json!({"model": {"runtime": "nope"}}), &json!({}));
    let twice = next(&service, &once, Profile::Windtunnel, |_| {});
    assert_eq!((twice.events.len(), twice.status), (0, once.status.clone()));
    // With the runtime there, the model's failure is over.
    let healed = next(&tensorflow(&json!({}), &json!({})), &once, Profile::Windtunnel, available);
    assert_eq!(healed.status.model_status.unwrap().transition_status, "InProgress");
}

fn with_pods(service: &InferenceService, before: &Plan, pods: &[Value], profile: Profile) -> Plan {
    let pods: Vec<Pod> = pods
        .iter()
        .enumerate()
        .map(|(index, status)| {
            serde_json::from_value(json!({
                "metadata": {
                    "name": format!("raw-foo-predictor-{index}"),
                    "creationTimestamp": format!("2026-01-01T00:00:0{index}Z"),
                    "labels": {"app": "isvc.raw-foo-predictor"},
                },
                "status": status,
            }))
            .unwrap()
        })
        .collect();
    let (config, runtimes) = (KserveConfig::default(), runtimes());
    let service = InferenceService { status: Some(before.status.clone()), ..service.clone() };
    let mut inputs = Inputs { profile, ..Inputs::new(&service, &config, &runtimes) };
    inputs.observed.pods = pods.iter().collect();
    inputs.observed.deployments = before.children.deployments.iter().collect();
    plan(&inputs)
}

fn states(plan: &Plan) -> (String, String, String) {
    let model = plan.status.model_status.clone().unwrap_or_default();
    let states = model.states.unwrap_or_default();
    (model.transition_status, states.active_model_state, states.target_model_state)
}

fn three(a: &str, b: &str, c: &str) -> (String, String, String) {
    (a.to_owned(), b.to_owned(), c.to_owned())
}

/// inference_service_status_test.go, `PropagateModelStatus`: loading, failing, crashing, loaded; the newest pod
/// decides.
#[test]
fn the_model_by_its_pods() {
    let service = tensorflow(&json!({}), &json!({}));
    let before = first(&service);
    let initializer = |state: &Value, last: &Value| {
        json!({"phase": "Pending", "initContainerStatuses": [{
            "name": "storage-initializer", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": state, "lastState": last}]})
    };
    let serving = |state: &Value, last: &Value| {
        json!({"phase": "Running", "containerStatuses": [{
            "name": "kserve-container", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": state, "lastState": last}]})
    };
    let none = json!({});
    let running = json!({"running": {}});
    let error = json!({"terminated": {"reason": "Error", "exitCode": 1, "message": "no such key"}});
    let crash = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let of = |pods: &[Value]| with_pods(&service, &before, pods, Profile::Windtunnel);

    assert_eq!(states(&of(&[initializer(&running, &none)])), three("InProgress", "", "Loading"));
    let undecided = of(&[initializer(&running, &error)]);
    assert_eq!((states(&undecided), undecided.requeue_ms), (states(&before), Some(1000)));
    for pod in [
        initializer(&error, &none),
        initializer(&crash, &error),
        serving(&error, &none),
        serving(&crash, &error),
    ] {
        let failed = of(std::slice::from_ref(&pod));
        assert_eq!(states(&failed), three("BlockedByFailedLoad", "", "FailedToLoad"), "{pod}");
        let info = value(&failed.status.model_status.clone().unwrap().last_failure_info);
        assert_eq!(
            (info["reason"].as_str(), info["message"].as_str(), info["exitCode"].as_i64()),
            (Some("ModelLoadFailed"), Some("no such key"), Some(1))
        );
        assert_eq!(failed.status.model_status.unwrap().copies.unwrap().failed_copies, 1);
    }
    // The older pod failed, the newer one loads.
    assert_eq!(
        states(&of(&[serving(&error, &none), initializer(&running, &none)])),
        three("InProgress", "", "Loading")
    );
    assert_eq!(states(&of(&[serving(&running, &none)])), three("InProgress", "", "Pending"));

    let ready = next(&service, &before, Profile::Windtunnel, available);
    let mut serves = ready;
    serves.children.deployments.iter_mut().for_each(available);
    let pod = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    let loaded = with_pods(&service, &serves, &[pod.clone(), pod], Profile::Windtunnel);
    assert_eq!(states(&loaded), three("UpToDate", "Loaded", "Loaded"));
    assert_eq!(loaded.status.model_status.clone().unwrap().copies.unwrap().total_copies, Some(2));
    // Scaled to zero: upstream says that nothing is loaded and never stops waiting.
    let zero = Plan { status: loaded.status, ..serves };
    let at_zero = |profile| states(&with_pods(&service, &zero, &[], profile));
    assert_eq!(at_zero(Profile::Windtunnel), three("UpToDate", "Standby", "Standby"));
    assert_eq!(at_zero(Profile::Upstream), three("InProgress", "Loaded", "Pending"));
}

/// A secret that is missing is told within seconds, where the Deployment's own deadline is ten minutes.
#[test]
fn pods_that_cannot_start() {
    let service = tensorflow(&json!({}), &json!({}));
    let before = first(&service);
    let pod = json!({"phase": "Pending", "containerStatuses": [{
        "name": "kserve-container", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"s3\" not found"}}}]});
    let plan = with_pods(&service, &before, std::slice::from_ref(&pod), Profile::Windtunnel);
    assert_eq!(condition(&plan, "PredictorReady"), ("False", "CreateContainerConfigError"));
    let ready = windtunnel_api::condition::find(&plan.status.conditions, "Ready").unwrap();
    assert_eq!(
        ready.message(),
        "pod raw-foo-predictor-0, container kserve-container: secret \"s3\" not found"
    );
    let info = value(&plan.status.model_status.clone().unwrap().last_failure_info);
    assert_eq!(info["reason"], "RuntimeUnhealthy");
    let upstream = with_pods(&service, &before, &[pod], Profile::Upstream);
    assert_eq!(condition(&upstream, "PredictorReady"), ("False", ""));
}

/// ReplicaFailure comes through to the service (STA-06), and a server that ran out of memory is no pending one.
#[test]
fn quota_and_memory() {
    let service = tensorflow(&json!({}), &json!({}));
    let before = first(&service);
    let plan = next(&service, &before, Profile::Upstream, |deployment| {
        deployment.status = Some(
            serde_json::from_value(json!({"conditions": [
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
                {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"},
            ]}))
            .unwrap(),
        );
    });
    assert_eq!(condition(&plan, "PredictorReady"), ("False", "FailedCreate"));
    let killed = json!({"phase": "Running", "containerStatuses": [{
        "name": "kserve-container", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]});
    let of = |profile| with_pods(&service, &before, std::slice::from_ref(&killed), profile);
    assert_eq!(states(&of(Profile::Upstream)).2, "Pending");
    let plan = of(Profile::Windtunnel);
    let info = value(&plan.status.model_status.unwrap().last_failure_info);
    assert_eq!((info["message"].as_str(), info["exitCode"].as_i64()), (Some("OOMKilled"), Some(137)));
}
