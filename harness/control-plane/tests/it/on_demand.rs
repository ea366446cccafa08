//! Scaling by requests in the Standard mode (autoscaler class `kpa`) on a world in memory, in virtual time.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use windtunnel_api::gateway_api::{Gateway, GatewayClass};
use windtunnel_api::kserve::InferenceService;
use windtunnel_control_plane::{Kind, ObjectKey, Profile, gateway_routes};
use windtunnel_gateway::RevisionBackend;

use crate::sandbox::Sandbox;

const PREDICTOR: &str = "digits-predictor";
const TRANSFORMER: &str = "digits-transformer";

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn service(predictor: &Value, rest: &Value) -> InferenceService {
    let mut service = json!({
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": {"name": "digits", "namespace": "default", "annotations": {
            "serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "kpa"}},
        "spec": {"predictor": {"minReplicas": 0, "model": {
            "modelFormat": {"name": "onnx"}, "storageUri": "s3://models/digits/v1"}}},
    });
    json_patch::merge(&mut service["spec"]["predictor"], predictor);
    json_patch::merge(&mut service["spec"], rest);
    serde_json::from_value(service).unwrap()
}

/// A sandbox with our Gateway and short windows.
fn with_gateway() -> Sandbox {
    let mut sandbox = Sandbox::new();
    let class: GatewayClass = serde_json::from_value(json!({"metadata": {"name": "windtunnel"},
        "spec": {"controllerName": gateway_routes::CONTROLLER}}))
    .unwrap();
    let gateway: Gateway = serde_json::from_value(json!({
        "metadata": {"name": "kserve-ingress-gateway", "namespace": "kserve"},
        "spec": {"gatewayClassName": "windtunnel", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP",
            "allowedRoutes": {"namespaces": {"from": "All"}}}]}}))
    .unwrap();
    sandbox.put(class);
    sandbox.put(gateway);
    sandbox.patch::<ConfigMap>(
        &ObjectKey::new("knative-serving", "config-autoscaler"),
        &json!({"data": {"scale-to-zero-grace-period": "6s", "stable-window": "10s"}}),
    );
    sandbox
}

/// The same with the service, not yet with pods.
fn applied(service: InferenceService) -> Sandbox {
    let mut sandbox = with_gateway();
    sandbox.put(service);
    sandbox.settle();
    sandbox
}

/// The same, with its pods ready.
fn served(service: InferenceService) -> Sandbox {
    let mut sandbox = applied(service);
    sandbox.kubelet();
    sandbox.settle();
    assert!(is_ready(&sandbox), "{:#?}", sandbox.digits().status);
    sandbox
}

fn is_ready(sandbox: &Sandbox) -> bool {
    sandbox.digits().status.as_ref().unwrap().is_ready()
}

fn replicas(sandbox: &Sandbox, name: &str) -> i32 {
    sandbox.world.deployments[&key(name)].spec.as_ref().unwrap().replicas.unwrap_or(1)
}

fn backend(sandbox: &Sandbox, name: &str) -> RevisionBackend {
    let table = gateway_routes::table(&sandbox.world);
    let found = table.revisions.iter().find(|found| found.key.name == name);
    found.unwrap_or_else(|| panic!("{name} is not in the table: {table:#?}")).clone()
}

/// Weights of the service's route.
fn weights(sandbox: &Sandbox) -> Vec<(String, i32)> {
    let route = &sandbox.world.http_routes[&key("digits")];
    let parts = route.spec.rules.iter().flat_map(|rule| &rule.backend_refs);
    parts.map(|part| (part.name.clone(), part.weight.unwrap_or(100))).collect()
}

/// Idle models would hold their pods for ever, requests at zero would be refused, and `kubectl wait` would say that a
/// sleeping service is broken.
#[test]
fn to_zero_and_back() {
    let mut sandbox = served(service(&json!({}), &json!({})));
    assert_eq!(sandbox.world.keys(Kind::HorizontalPodAutoscaler), []);
    sandbox.advance(60);
    assert_eq!(replicas(&sandbox, PREDICTOR), 0);
    assert!(is_ready(&sandbox), "a service at zero is ready");
    let asleep = backend(&sandbox, PREDICTOR);
    assert!(asleep.activated && asleep.endpoints.is_empty(), "{asleep:?}");
    let last = sandbox.decisions.last().unwrap().clone();
    assert_eq!((last.from, last.to, last.revision.as_str()), (1, 0, PREDICTOR));

    sandbox.report(PREDICTOR, 1.0);
    assert_eq!(replicas(&sandbox, PREDICTOR), 1, "a request at zero is a poke");
    sandbox.component_pods(PREDICTOR, 0);
    sandbox.settle();
    assert!(is_ready(&sandbox), "a service that wakes is ready: its requests are answered");
    sandbox.kubelet();
    sandbox.settle();
    assert_eq!(backend(&sandbox, PREDICTOR).endpoints.len(), 1);
    assert!(is_ready(&sandbox));
}

/// A control plane that starts again finds sleeping services: the first request of each would wait for the next tick.
#[test]
fn a_new_control_plane_wakes_it_at_once() {
    let mut sandbox = served(service(&json!({}), &json!({})));
    sandbox.advance(60);
    assert_eq!(replicas(&sandbox, PREDICTOR), 0);
    sandbox.loops = windtunnel_control_plane::autoscaler::Loops::default();
    sandbox.settle();
    sandbox.advance(7);
    assert_eq!(replicas(&sandbox, PREDICTOR), 0);
    assert!(is_ready(&sandbox));
    sandbox.report(PREDICTOR, 1.0);
    assert_eq!(replicas(&sandbox, PREDICTOR), 1);
}

/// Load would pile up on one pod, or the plan would undo what the autoscaler has decided.
#[test]
fn up_with_the_load_within_bounds_and_nobody_fights() {
    let mut sandbox = served(service(&json!({"scaleTarget": 10, "maxReplicas": 3}), &json!({})));
    for _ in 0..12 {
        sandbox.report(PREDICTOR, 60.0);
        sandbox.advance(1);
    }
    assert_eq!(replicas(&sandbox, PREDICTOR), 3);
    assert!(is_ready(&sandbox), "a service with more pods to come is ready");
    sandbox.writes.clear();
    sandbox.settle();
    assert!(sandbox.writes.is_empty(), "{:#?}", sandbox.writes);
}

/// A service that asks for requests a second would be scaled by requests in flight: ceil(100 / (20 * 0.7)) = 8 of them.
#[test]
fn requests_a_second() {
    let mut sandbox = served(service(&json!({"scaleTarget": 20, "scaleMetric": "rps"}), &json!({})));
    for _ in 0..12 {
        sandbox.report(PREDICTOR, 100.0);
        sandbox.advance(1);
    }
    assert_eq!(replicas(&sandbox, PREDICTOR), 8);
}

/// A pod would get more requests at a time than its server can take.
#[test]
fn the_container_concurrency_reaches_the_gateway() {
    let mut sandbox = served(service(&json!({"containerConcurrency": 4}), &json!({})));
    assert_eq!(backend(&sandbox, PREDICTOR).container_concurrency, 4);
    // ceil(12 / (4 * 0.7)) = 5.
    for _ in 0..12 {
        sandbox.report(PREDICTOR, 12.0);
        sandbox.advance(1);
    }
    assert_eq!(replicas(&sandbox, PREDICTOR), 5);
}

/// A minimum must be there at once and stay.
#[test]
fn the_minimum_is_kept() {
    let mut sandbox = served(service(&json!({"minReplicas": 2}), &json!({})));
    sandbox.advance(60);
    assert_eq!(replicas(&sandbox, PREDICTOR), 2);
}

/// A service that may begin with nothing would start a pod that nobody has asked for.
#[test]
fn an_initial_scale_of_zero() {
    let mut service = service(&json!({}), &json!({}));
    let annotations = service.metadata.annotations.as_mut().unwrap();
    annotations.insert("autoscaling.knative.dev/initial-scale".to_owned(), "0".to_owned());
    let settings = json!({"data": {"allow-zero-initial-scale": "true"}});
    let mut sandbox = with_gateway();
    sandbox.patch::<ConfigMap>(&ObjectKey::new("knative-serving", "config-autoscaler"), &settings);
    sandbox.put(service);
    sandbox.settle();
    assert_eq!(replicas(&sandbox, PREDICTOR), 0);
}

/// A model that never loads must not be called ready because its Deployment was given up: no pod is missing of none.
#[test]
fn what_was_never_ready_is_not_ready_at_zero() {
    let mut sandbox = applied(service(&json!({}), &json!({})));
    for _ in 0..700 {
        sandbox.now_ns += 1_000_000_000;
        sandbox.component_pods(PREDICTOR, 0);
        sandbox.tick();
    }
    sandbox.settle();
    sandbox.component_pods(PREDICTOR, 0);
    sandbox.settle();
    assert_eq!(replicas(&sandbox, PREDICTOR), 0, "given up after 630 s");
    assert!(!is_ready(&sandbox), "{:#?}", sandbox.digits().status);
}

/// A service whose pod fails while it wakes would be called ready for ever.
#[test]
fn a_pod_that_fails_is_told() {
    let mut sandbox = served(service(&json!({}), &json!({})));
    sandbox.advance(60);
    sandbox.report(PREDICTOR, 1.0);
    sandbox.component_pods(PREDICTOR, 0);
    let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "default", "labels":
            {"serving.kserve.io/inferenceservice": "digits", "app": "isvc.digits-predictor"}},
        "status": {"phase": "Running", "containerStatuses": [{"name": "kserve-container", "ready": false,
            "restartCount": 3, "image": "x", "imageID": "x",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "no such model"}}}]}}))
    .unwrap();
    sandbox.put(pod);
    sandbox.settle();
    assert!(!is_ready(&sandbox), "{:#?}", sandbox.digits().status);
}

/// A transformer calls its predictor past the gateway: the predictor would fall asleep under load, or requests would meet
/// nobody behind a transformer that is awake.
#[test]
fn a_predictor_behind_a_transformer_wakes_and_sleeps_with_it() {
    let transformer = json!({"transformer": {"minReplicas": 0, "containers": [{"name": "t", "image": "t"}]}});
    let mut sandbox = served(service(&json!({}), &transformer));
    for _ in 0..40 {
        sandbox.report(TRANSFORMER, 1.0);
        sandbox.advance(1);
    }
    assert_eq!((replicas(&sandbox, PREDICTOR), replicas(&sandbox, TRANSFORMER)), (1, 1), "both are in use");
    sandbox.advance(60);
    assert_eq!((replicas(&sandbox, PREDICTOR), replicas(&sandbox, TRANSFORMER)), (0, 0));
    assert!(is_ready(&sandbox));
    sandbox.report(TRANSFORMER, 1.0);
    assert_eq!((replicas(&sandbox, PREDICTOR), replicas(&sandbox, TRANSFORMER)), (1, 1), "both wake at once");
    sandbox.component_pods(TRANSFORMER, 1);
    let held = backend(&sandbox, TRANSFORMER);
    assert!(held.activated && held.endpoints.is_empty(), "nobody is behind the transformer yet: {held:?}");
    sandbox.component_pods(PREDICTOR, 1);
    assert_eq!(backend(&sandbox, TRANSFORMER).endpoints.len(), 1);
}

/// A canary that falls asleep would lose its share of the requests, and with it every chance to wake.
#[test]
fn a_canary_keeps_its_share_at_zero() {
    let canary = json!({"canary": [{"trafficPercent": 20, "predictor": {"name": "v2", "model": {
        "modelFormat": {"name": "onnx"}, "storageUri": "s3://models/digits/v2"}}}]});
    let mut sandbox = served(service(&json!({}), &canary));
    let shares = vec![(PREDICTOR.to_owned(), 80), ("digits-v2-predictor".to_owned(), 20)];
    assert_eq!(weights(&sandbox), shares);
    sandbox.advance(60);
    assert_eq!((replicas(&sandbox, PREDICTOR), replicas(&sandbox, "digits-v2-predictor")), (0, 0));
    assert_eq!(weights(&sandbox), shares);
    sandbox.report("digits-v2-predictor", 1.0);
    assert_eq!((replicas(&sandbox, PREDICTOR), replicas(&sandbox, "digits-v2-predictor")), (0, 1));
}

/// The same for `canaryTrafficPercent`.
#[test]
fn a_newer_revision_keeps_its_share_at_zero() {
    let mut sandbox = served(service(&json!({}), &json!({})));
    let update = json!({"spec": {"predictor": {"canaryTrafficPercent": 30,
        "model": {"storageUri": "s3://models/digits/v2"}}}});
    sandbox.patch::<InferenceService>(&key("digits"), &update);
    sandbox.settle();
    sandbox.kubelet();
    sandbox.settle();
    let split = weights(&sandbox);
    assert_eq!(split.iter().map(|(_, weight)| *weight).collect::<Vec<_>>(), [70, 30]);
    sandbox.advance(60);
    assert_eq!((replicas(&sandbox, PREDICTOR), replicas(&sandbox, &split[1].0)), (0, 0));
    assert_eq!(weights(&sandbox), split);
}

/// A service at zero whose class is changed would stay at zero: an HPA is switched off there.
#[test]
fn another_class_wakes_it() {
    let mut sandbox = served(service(&json!({}), &json!({})));
    sandbox.advance(60);
    assert_eq!(replicas(&sandbox, PREDICTOR), 0);
    let class = json!({"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}}});
    sandbox.patch::<InferenceService>(&key("digits"), &class);
    sandbox.settle();
    assert_eq!(replicas(&sandbox, PREDICTOR), 1);
    assert!(sandbox.world.object(Kind::HorizontalPodAutoscaler, &key(PREDICTOR)).is_some());
}

/// A wrong setting must be told instead of leaving the service unscaled.
#[test]
fn a_wrong_annotation() {
    let mut service = service(&json!({}), &json!({}));
    let annotations = service.metadata.annotations.as_mut().unwrap();
    annotations.insert("autoscaling.knative.dev/window".to_owned(), "soon".to_owned());
    let sandbox = applied(service);
    let status = sandbox.digits().status.as_ref().unwrap();
    let ready = windtunnel_api::condition::find(&status.conditions, "PredictorReady").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason()), ("False", "InvalidAutoscaling"));
    assert!(ready.message().contains("autoscaling.knative.dev/window"), "{}", ready.message());
}

/// Upstream knows no such class.
#[test]
fn upstream_refuses_the_class() {
    let mut sandbox = Sandbox::new();
    sandbox.world.profile = Profile::Upstream;
    sandbox.put(service(&json!({}), &json!({})));
    sandbox.settle();
    let status = sandbox.digits().status.as_ref().unwrap();
    let ready = windtunnel_api::condition::find(&status.conditions, "PredictorReady").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason()), ("False", "ReconcileFailed"));
    assert_eq!(ready.message(), "unknown autoscaler class type: kpa");
    assert!(sandbox.world.object(Kind::Deployment, &key(PREDICTOR)).is_none());
}

/// Other bounds must not restart pods.
#[test]
fn bounds_are_not_the_pods() {
    let mut sandbox = served(service(&json!({}), &json!({})));
    let template = |sandbox: &Sandbox| {
        let deployment: &Deployment = &sandbox.world.deployments[&key(PREDICTOR)];
        deployment.spec.as_ref().unwrap().template.clone()
    };
    let before = template(&sandbox);
    let bounds =
        json!({"spec": {"predictor": {"maxReplicas": 9, "scaleTarget": 3, "containerConcurrency": 2}}});
    sandbox.patch::<InferenceService>(&key("digits"), &bounds);
    sandbox.settle();
    assert_eq!(template(&sandbox), before);
    assert_eq!(backend(&sandbox, PREDICTOR).container_concurrency, 2);
    sandbox.kubelet();
    for _ in 0..12 {
        sandbox.report(PREDICTOR, 12.0);
        sandbox.advance(1);
    }
    // ceil(12 / (2 * 0.7)) = 9 by the container concurrency, which is less than the target.
    assert_eq!(replicas(&sandbox, PREDICTOR), 9);
}

/// Behind a Gateway of somebody else nobody counts requests: the service would fall asleep under load and never wake.
#[test]
fn behind_a_foreign_gateway_nothing_sleeps() {
    let mut sandbox = with_gateway();
    let class = json!({"spec": {"controllerName": "istio.io/gateway-controller"}});
    sandbox.patch::<GatewayClass>(&ObjectKey::new("", "windtunnel"), &class);
    sandbox.put(service(&json!({}), &json!({})));
    sandbox.settle();
    sandbox.kubelet();
    sandbox.advance(120);
    assert_eq!(replicas(&sandbox, PREDICTOR), 1);
}

/// The same for a service that has no route at all, which is told.
#[test]
fn what_no_request_reaches_is_not_scaled_by_requests() {
    let mut service = service(&json!({}), &json!({}));
    let label = ("networking.kserve.io/visibility".to_owned(), "cluster-local".to_owned());
    service.metadata.labels = Some([label].into());
    let sandbox = applied(service);
    let status = sandbox.digits().status.as_ref().unwrap();
    let ready = windtunnel_api::condition::find(&status.conditions, "PredictorReady").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason()), ("False", "RequestsNotCounted"));
    assert!(ready.message().contains("visibility"), "{}", ready.message());
}
