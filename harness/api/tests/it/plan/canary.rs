//! `spec.canary[]` in the Standard mode.

use serde_json::{Value, json};
use windtunnel_api::kserve::plan::{Inputs, Plan, Profile, plan};
use windtunnel_api::kserve::{InferenceService, KserveConfig};

use super::{available, condition, first, names, next, runtimes, value, with_spec};

const CLASS: &str = "serving.kserve.io/autoscalerClass";

fn canary(name: &str, percent: i32, uri: &str) -> Value {
    json!({"trafficPercent": percent, "predictor": {
        "name": name, "model": {"modelFormat": {"name": "tensorflow"}, "storageUri": uri}}})
}

fn service(class: &str, min: i32, canaries: &[Value]) -> InferenceService {
    let spec = json!({"predictor": {"minReplicas": min, "maxReplicas": 8}, "canary": canaries});
    with_spec(&spec, &json!({CLASS: class}))
}

fn replicas(plan: &Plan) -> Vec<(String, Option<i64>)> {
    let deployments = plan.children.deployments.iter();
    deployments
        .map(|deployment| {
            let deployment = value(deployment);
            let name = deployment["metadata"]["name"].as_str().unwrap().to_owned();
            (name, deployment["spec"]["replicas"].as_i64())
        })
        .collect()
}

fn pairs(expected: &[(&str, i64)]) -> Vec<(String, Option<i64>)> {
    expected.iter().map(|(name, replicas)| ((*name).to_owned(), Some(*replicas))).collect()
}

/// canary_controller_test.go: create at 25 %, bump to 50 %. The stable predictor gives its capacity away only when
/// the canary serves.
#[test]
fn replicas_follow_readiness() {
    let at = |percent| service("none", 4, &[canary("v2", percent, "s3://test/model-v2")]);
    let one = first(&at(25));
    assert_eq!(replicas(&one), pairs(&[("raw-foo-v2-predictor", 1), ("raw-foo-predictor", 4)]));
    assert_eq!(condition(&one, "CanaryPredictorReady"), ("False", "CanariesNotReady"));
    let two = next(&at(25), &one, Profile::Upstream, available);
    assert_eq!(replicas(&two), pairs(&[("raw-foo-v2-predictor", 1), ("raw-foo-predictor", 3)]));
    assert_eq!(condition(&two, "CanaryPredictorReady"), ("True", "AllCanariesReady"));
    assert_eq!(
        value(&two.status.canary_statuses),
        json!([{"name": "v2", "ready": true, "trafficPercent": 25}])
    );
    let three = next(&at(50), &two, Profile::Upstream, available);
    assert_eq!(replicas(&three), pairs(&[("raw-foo-v2-predictor", 2), ("raw-foo-predictor", 2)]));
    let source = |plan: &Plan, index: usize| {
        value(&plan.children.deployments[index])["spec"]["template"]["metadata"]["annotations"]
            ["internal.serving.kserve.io/storage-initializer-sourceuri"]
            .clone()
    };
    assert_eq!([source(&two, 0), source(&two, 1)], ["s3://test/model-v2", "s3://test/mnist/export"]);
}

/// canary_controller_test.go: the promoted canary keeps its Deployment and its pods' template to the letter, and
/// everything of the old predictor is gone from the plan, its autoscaler too.
#[test]
fn promotion_restarts_nothing() {
    let before = service("hpa", 4, &[canary("v2", 25, "s3://test/model-v2")]);
    let one = next(&before, &first(&before), Profile::Windtunnel, available);
    assert_eq!(names(&one.children.autoscalers), ["raw-foo-v2-predictor", "raw-foo-predictor"]);
    let promoted = with_spec(
        &json!({"predictor": {
            "minReplicas": 4, "maxReplicas": 8, "name": "v2", "model": {"storageUri": "s3://test/model-v2"}}}),
        &json!({CLASS: "hpa"}),
    );
    let two = next(&promoted, &one, Profile::Windtunnel, available);
    assert_eq!(two.children.deployments[0].spec, one.children.deployments[0].spec);
    assert!(two.prune);
    for names in
        [names(&two.children.deployments), names(&two.children.services), names(&two.children.autoscalers)]
    {
        assert_eq!(names, ["raw-foo-v2-predictor"]);
    }
    assert_eq!(condition(&two, "CanaryPredictorReady"), ("", ""));
    assert_eq!(two.status.canary_statuses, None);
    assert_eq!(
        two.status.address.unwrap().url.as_deref(),
        Some("http://raw-foo-v2-predictor.default.svc.cluster.local")
    );
}

/// An autoscaler of a canary holds its replicas; a dark launch of 0 % runs one.
#[test]
fn autoscalers_hold_the_replicas() {
    let service = service("hpa", 4, &[canary("v2", 50, "s3://m/2"), canary("v3", 0, "s3://m/3")]);
    let plan = first(&service);
    let bounds: Vec<_> = plan
        .children
        .autoscalers
        .iter()
        .map(|hpa| (hpa.metadata.name.clone().unwrap(), hpa.spec.min_replicas, hpa.spec.max_replicas))
        .collect();
    assert_eq!(
        bounds,
        [
            ("raw-foo-v2-predictor".to_owned(), Some(2), 2),
            ("raw-foo-v3-predictor".to_owned(), Some(1), 1),
            ("raw-foo-predictor".to_owned(), Some(4), 8),
        ]
    );
}

/// KEDA refuses a ScaledObject without triggers, which is what upstream makes for a canary.
#[test]
fn a_scaled_object_of_a_canary_has_triggers() {
    let metrics = json!([{"type": "External", "external": {
        "metric": {"backend": "prometheus", "serverAddress": "http://p", "query": "q"},
        "target": {"type": "Value", "value": "5"}}}]);
    let spec = json!({
        "predictor": {"minReplicas": 4, "autoScaling": {"metrics": metrics}},
        "canary": [canary("v2", 25, "s3://m/2")],
    });
    let service = with_spec(&spec, &json!({CLASS: "keda"}));
    let (config, runtimes) = (KserveConfig::default(), runtimes());
    let of = |profile| {
        let plan = plan(&Inputs { profile, ..Inputs::new(&service, &config, &runtimes) });
        let spec = value(&plan.children.scaled_objects[0].spec);
        (
            spec["minReplicaCount"].clone(),
            spec["maxReplicaCount"].clone(),
            spec["triggers"].as_array().unwrap().len(),
        )
    };
    assert_eq!(of(Profile::Windtunnel), (json!(1), json!(1), 1));
    assert_eq!(of(Profile::Upstream), (json!(1), json!(1), 0));
}

/// A canary inherits what it does not say, and its Service leads to the agent as the stable one's does.
#[test]
fn a_canary_is_the_stable_predictor_with_something_else() {
    let spec = json!({
        "predictor": {
            "logger": {"mode": "all", "url": "http://sink"},
            "nodeSelector": {"disk": "ssd"},
            "model": {"env": [{"name": "A", "value": "1"}], "resources": {"limits": {"cpu": "2"}}},
        },
        "canary": [canary("v2", 10, "s3://m/2")],
    });
    let service = with_spec(&spec, &json!({}));
    let plan = first(&service);
    let template = value(&plan.children.deployments[0])["spec"]["template"].clone();
    assert_eq!(template["spec"]["nodeSelector"], json!({"disk": "ssd"}));
    assert_eq!(template["spec"]["containers"][0]["resources"]["limits"]["cpu"], "2");
    assert_eq!(template["spec"]["containers"][0]["env"][0], json!({"name": "A", "value": "1"}));
    assert_eq!(
        template["metadata"]["annotations"]["internal.serving.kserve.io/logger-sink-url"],
        "http://sink"
    );
    assert_eq!(value(&plan.children.services[0])["spec"]["ports"][0]["targetPort"], 9081);
}

/// In the Windtunnel profile the state of a canary's model is told (upstream declares the field and leaves it empty).
#[test]
fn the_model_of_a_canary() {
    let service = service("hpa", 4, &[canary("v2", 25, "s3://m/2")]);
    let plan = next(&service, &first(&service), Profile::Windtunnel, |_| {});
    assert_eq!(
        value(&plan.status.canary_statuses),
        json!([{"name": "v2", "ready": false, "trafficPercent": 25, "modelStatus": {
            "transitionStatus": "InProgress",
            "states": {"activeModelState": "", "targetModelState": "Pending"},
            "copies": {"failedCopies": 0}}}])
    );
}

/// A canary whose settings are wrong must not take the stable predictor down.
#[test]
fn a_wrong_canary_leaves_the_stable_predictor_alone() {
    let broken = json!({"trafficPercent": 10, "predictor": {
        "name": "v2", "model": {"modelFormat": {"name": "nope"}, "storageUri": "s3://m/2"}}});
    let plan = first(&service("hpa", 4, &[broken]));
    assert_eq!(names(&plan.children.deployments), ["raw-foo-predictor"]);
    assert!(!plan.prune);
    assert!(plan.events[0].message.starts_with("fails to build resources for canary v2: No runtime found"));
}

/// Stopped canaries say so.
#[test]
fn a_stopped_service_with_canaries() {
    let mut service = service("hpa", 4, &[canary("v2", 25, "s3://m/2")]);
    service
        .metadata
        .annotations
        .get_or_insert_default()
        .insert("serving.kserve.io/stop".to_owned(), "true".to_owned());
    let plan = first(&service);
    assert_eq!(condition(&plan, "CanaryPredictorReady"), ("False", "Stopped"));
    assert!(plan.children.deployments.is_empty() && plan.prune);
}
