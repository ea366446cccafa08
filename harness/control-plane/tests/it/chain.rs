//! The whole chain of reconcilers, from an InferenceService to pods and traffic, without a server.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;
use windtunnel_api::condition;
use windtunnel_api::knative::{Route, Service, names};
use windtunnel_api::kserve::{ClusterServingRuntime, InferenceService};
use windtunnel_control_plane::{Effect, Kind, ObjectKey, gateway_routes};

use crate::digits;
use crate::sandbox::Sandbox;

const FIRST: &str = "digits-predictor-00001";
const SECOND: &str = "digits-predictor-00002";
const THIRD: &str = "digits-predictor-00003";

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

/// A world in which the first version of `digits` is ready.
fn served() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.put(digits("v1", json!({})));
    sandbox.settle();
    sandbox.kubelet();
    sandbox.settle();
    sandbox
}

fn update(sandbox: &mut Sandbox, version: &str, percent: Option<i64>) {
    let patch = json!({"spec": {"predictor": {
        "canaryTrafficPercent": percent,
        "model": {"storageUri": format!("s3://models/digits/{version}")},
    }}});
    sandbox.patch::<InferenceService>(&key("digits"), &patch);
    sandbox.settle();
}

fn ready(service: &InferenceService) -> String {
    let conditions = &service.status.as_ref().unwrap().conditions;
    let ready = condition::find(conditions, "Ready").unwrap();
    format!("{} {}", ready.status, ready.reason())
}

/// Nothing would be served at all.
#[test]
fn from_an_inference_service_to_ready() {
    let mut sandbox = Sandbox::new();
    sandbox.put(digits("v1", json!({})));
    sandbox.settle();
    assert_eq!(sandbox.replicas(FIRST), 1, "the initial scale");
    assert_eq!(ready(sandbox.digits()), "Unknown ");
    let conditions = &sandbox.digits().status.as_ref().unwrap().conditions;
    let ingress = condition::find(conditions, "IngressReady").unwrap();
    assert_eq!(ingress.reason(), "Predictor ingress not created");
    assert_eq!(sandbox.shares(), []);
    sandbox.pods(FIRST, 1);
    sandbox.settle();
    let status = sandbox.digits().status.as_ref().unwrap();
    assert!(status.is_ready(), "{:#?}", status.conditions);
    assert_eq!(status.url.as_deref(), Some("http://digits-default.example.com"));
    assert_eq!(status.cluster_serving_runtime_name.as_deref(), Some("windtunnel-onnxserver"));
    assert_eq!(sandbox.shares(), [(FIRST.to_owned(), 100)]);
    let table = gateway_routes::table(&sandbox.world);
    insta::assert_yaml_snapshot!(table);
    let told = sandbox.writes.iter().any(|effect| {
        matches!(effect, Effect::Event { reason, message, .. }
            if reason == "InferenceServiceReady" && message == "InferenceService [digits] is Ready")
    });
    assert!(told, "no event");
}

/// Controllers that keep writing what is already so wear out the API server and never come to rest.
#[test]
fn at_rest_nothing_is_written() {
    let mut sandbox = served();
    for _ in 0..5 {
        sandbox.now_ns += 1_000_000;
        assert_eq!(sandbox.settle(), 0);
    }
}

/// A new version must get no more than its share, and none before it is ready.
#[test]
fn a_canary_gets_its_share_when_it_is_ready() {
    let mut sandbox = served();
    update(&mut sandbox, "v2", Some(10));
    assert_eq!(sandbox.shares(), [(FIRST.to_owned(), 100)], "while the canary starts");
    assert_eq!(sandbox.replicas(SECOND), 1);
    sandbox.kubelet();
    sandbox.settle();
    assert_eq!(
        sandbox.shares(),
        [(SECOND.to_owned(), 10), (FIRST.to_owned(), 90)],
        "in the order of the targets"
    );
    let predictor = sandbox.digits().status.as_ref().unwrap().predictor().unwrap().clone();
    assert_eq!(predictor.latest_rolledout_revision.as_deref(), Some(FIRST));
    assert_eq!(predictor.latest_ready_revision.as_deref(), Some(SECOND));

    update(&mut sandbox, "v2", None);
    assert_eq!(sandbox.shares(), [(SECOND.to_owned(), 100)], "promoted");
    let predictor = sandbox.digits().status.as_ref().unwrap().predictor().unwrap().clone();
    assert_eq!(predictor.latest_rolledout_revision.as_deref(), Some(SECOND));
    assert_eq!(predictor.previous_rolledout_revision.as_deref(), Some(FIRST));
    let state = |name: &str| {
        sandbox.world.revisions[&key(name)].metadata.labels.as_ref().unwrap()[names::ROUTING_STATE].clone()
    };
    assert_eq!((state(FIRST).as_str(), state(SECOND).as_str()), (names::RESERVE, names::ACTIVE));

    update(&mut sandbox, "v2", Some(0));
    assert_eq!(sandbox.shares(), [(FIRST.to_owned(), 100)], "rolled back after full rollout");
    assert_eq!(sandbox.settle(), 0);
}

/// Two canaries in a row are both measured against what was rolled out last, not against each other.
#[test]
fn a_second_canary_replaces_the_first() {
    let mut sandbox = served();
    for version in ["v2", "v3"] {
        update(&mut sandbox, version, Some(20));
        sandbox.kubelet();
        sandbox.settle();
    }
    assert_eq!(sandbox.shares(), [(THIRD.to_owned(), 20), (FIRST.to_owned(), 80)]);
}

/// A version that never becomes ready must leave all traffic where it is, and say so.
#[test]
fn a_broken_canary_takes_no_traffic() {
    let mut sandbox = served();
    update(&mut sandbox, "v2", Some(50));
    let stuck = json!({"status": {"conditions": [{
        "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "stuck",
    }]}});
    sandbox.patch::<Deployment>(&key(&format!("{SECOND}-deployment")), &stuck);
    sandbox.settle();
    assert_eq!(sandbox.shares(), [(FIRST.to_owned(), 100)]);
    let conditions = &sandbox.digits().status.as_ref().unwrap().conditions;
    let latest = condition::find(conditions, "LatestDeploymentReady").unwrap();
    assert!(latest.is_false(), "{latest:?}");
    let configuration = condition::find(conditions, "PredictorConfigurationReady").unwrap();
    assert!(configuration.is_false() && configuration.message().contains("stuck"), "{configuration:?}");
    assert!(condition::find(conditions, "Ready").unwrap().is_false());
}

/// Manual changes of children are taken back; the autoscaler's replicas are not.
#[test]
fn children_are_repaired_but_replicas_are_left_alone() {
    let mut sandbox = served();
    sandbox.patch::<Deployment>(&key(&format!("{FIRST}-deployment")), &json!({"spec": {"replicas": 3}}));
    sandbox.patch::<Route>(&key("digits-predictor"), &json!({"spec": {"traffic": []}}));
    let image = |name: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "kserve-container", "image": name}]}}}});
    sandbox.patch::<Service>(&key("digits-predictor"), &image("other"));
    sandbox.writes.clear();
    sandbox.settle();
    assert_eq!(sandbox.shares().len(), 1);
    let service = &sandbox.world.services[&key("digits-predictor")];
    assert_eq!(service.spec.template.spec.pod["containers"][0]["image"], "windtunnel/predictor:latest");
    assert!(!sandbox.written_kinds().contains(&Kind::Deployment));
    assert_eq!(sandbox.replicas(FIRST), 3);
}

/// Stopping frees everything that runs; resuming brings it back.
#[test]
fn stop_and_resume() {
    let mut sandbox = served();
    let stop = json!({"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}});
    sandbox.patch::<InferenceService>(&key("digits"), &stop);
    sandbox.settle();
    assert!(sandbox.world.services.is_empty() && sandbox.world.deployments.is_empty());
    assert_eq!(ready(sandbox.digits()), "False Stopped");
    assert_eq!(sandbox.digits().status.as_ref().unwrap().url, None);
    let resume = json!({"metadata": {"annotations": {"serving.kserve.io/stop": null}}});
    sandbox.patch::<InferenceService>(&key("digits"), &resume);
    sandbox.settle();
    sandbox.kubelet();
    sandbox.settle();
    assert_eq!(ready(sandbox.digits()), "True ");
}

/// What cannot be served says why instead of waiting for ever, and recovers when the reason goes.
#[test]
fn reasons_for_not_being_served() {
    let mut sandbox = Sandbox::new();
    let ours = windtunnel_control_plane::ObjectKey::new("", windtunnel_api::runtimes::ONNX_SERVER);
    let runtime = sandbox.world.cluster_serving_runtimes[&ours].clone();
    sandbox.world.cluster_serving_runtimes.clear();
    sandbox.put(digits("v1", json!({})));
    sandbox.settle();
    let model = sandbox.digits().status.as_ref().unwrap().model_status.clone().unwrap();
    assert_eq!(model.transition_status, "InvalidSpec");
    assert_eq!(
        model.last_failure_info.unwrap().message.as_deref(),
        Some("No runtime found to support specified framework/version")
    );
    sandbox.put(ClusterServingRuntime::clone(&runtime));
    sandbox.settle();
    sandbox.kubelet();
    sandbox.settle();
    assert_eq!(ready(sandbox.digits()), "True ");

    let mut sandbox = Sandbox::new();
    sandbox.put(Service::new("digits-predictor", Default::default()));
    let mut foreign = Service::new("digits-predictor", Default::default());
    foreign.metadata.namespace = Some("default".into());
    sandbox.put(foreign);
    sandbox.put(digits("v1", json!({})));
    sandbox.settle();
    assert_eq!(ready(sandbox.digits()), "False NotOwned");
    assert!(sandbox.world.services[&key("digits-predictor")].spec.template.spec.pod.is_empty());
}

/// A broken ConfigMap must be told, not crash the controller as upstream does.
#[test]
fn a_broken_config_map() {
    let mut sandbox = served();
    let broken = json!({"data": {"storageInitializer": "{"}});
    sandbox.patch::<k8s_openapi::api::core::v1::ConfigMap>(
        &ObjectKey::new("kserve", "inferenceservice-config"),
        &broken,
    );
    sandbox.settle();
    assert_eq!(ready(sandbox.digits()), "False InvalidConfiguration");
    assert_eq!(sandbox.shares(), [(FIRST.to_owned(), 100)], "what runs goes on running");
}
