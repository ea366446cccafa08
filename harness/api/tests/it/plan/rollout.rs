//! `canaryTrafficPercent` in the Standard mode (profile Windtunnel).

use serde_json::{Value, json};
use windtunnel_api::kserve::plan::{Inputs, Plan, Profile, plan};
use windtunnel_api::kserve::{InferenceService, KserveConfig};

use super::{available, condition, names, next_with, runtimes, tensorflow, value};

fn config() -> KserveConfig {
    let ingress = json!({"ingressGateway": "a/b", "enableGatewayApi": true, "kserveIngressGateway": "k/g"});
    KserveConfig::from_config_map(&[("ingress".to_owned(), ingress.to_string())].into()).unwrap()
}

fn service(version: u32, percent: Option<i64>) -> InferenceService {
    let predictor = json!({
        "minReplicas": 4, "canaryTrafficPercent": percent,
        "model": {"storageUri": format!("s3://test/v{version}")}});
    tensorflow(&predictor, &json!({}))
}

fn step(service: &InferenceService, before: &Plan, ready: impl Fn(&str) -> bool) -> Plan {
    next_with(service, before, Profile::Windtunnel, &config(), |deployment| {
        deployment.metadata.generation = Some(1);
        if ready(deployment.metadata.name.as_deref().unwrap()) {
            available(deployment);
            deployment.status.as_mut().unwrap().updated_replicas = Some(1);
        }
    })
}

fn source(plan: &Plan, index: usize) -> Value {
    value(&plan.children.deployments[index])["spec"]["template"]["metadata"]["annotations"]
        ["internal.serving.kserve.io/storage-initializer-sourceuri"]
        .clone()
}

fn weights(plan: &Plan) -> Vec<Option<i32>> {
    let route =
        plan.children.http_routes.iter().find(|r| r.metadata.name.as_deref() == Some("raw-foo")).unwrap();
    route.spec.rules[0].backend_refs.iter().map(|backend| backend.weight).collect()
}

/// The life of a canary: the first revision gets everything; the second gets its part when it serves; promotion moves
/// the known name to it, and its own Deployment goes only when that is done.
#[test]
fn a_canary_its_promotion_and_its_end() {
    let runtimes = runtimes();
    let config = config();
    let first_service = service(1, Some(20));
    let one = plan(&Inputs::new(&first_service, &config, &runtimes));
    assert_eq!(names(&one.children.deployments), ["raw-foo-predictor"]);
    let one = step(&first_service, &one, |_| true);
    assert_eq!(weights(&one), [None]);

    let second = service(2, Some(20));
    let two = step(&second, &one, |name| name == "raw-foo-predictor");
    let deployments = names(&two.children.deployments);
    assert_eq!(deployments.len(), 2);
    let canary = deployments[1].clone();
    assert!(
        canary.starts_with("raw-foo-predictor-") && canary.len() == "raw-foo-predictor-".len() + 8,
        "{canary}"
    );
    assert_eq!([source(&two, 0), source(&two, 1)], ["s3://test/v1", "s3://test/v2"]);
    assert_eq!(
        two.children.deployments[0].spec, one.children.deployments[0].spec,
        "the base must not restart"
    );
    assert_eq!(weights(&two), [Some(100), Some(0)], "a canary that does not serve gets nothing");
    assert_eq!(condition(&two, "CanaryPredictorReady"), ("False", "CanariesNotReady"));
    assert_eq!(two.children.autoscalers[1].spec.min_replicas, Some(1));

    let three = step(&second, &two, |_| true);
    assert_eq!(weights(&three), [Some(80), Some(20)]);
    assert_eq!(condition(&three, "CanaryPredictorReady"), ("True", "AllCanariesReady"));
    let traffic = value(&three.status.components["predictor"].traffic);
    assert_eq!((&traffic[0]["percent"], &traffic[0]["latestRevision"]), (&json!(20), &json!(true)));
    assert_eq!((&traffic[1]["percent"], &traffic[1]["tag"]), (&json!(80), &json!("prev")));
    let again = step(&second, &three, |_| true);
    assert_eq!(
        (again.children, again.status),
        (three.children.clone(), three.status.clone()),
        "no second write"
    );

    // A third version replaces the canary and keeps the base.
    let other = step(&service(3, Some(20)), &three, |_| true);
    assert_eq!([source(&other, 0), source(&other, 1)], ["s3://test/v1", "s3://test/v3"]);
    // Back to the first version: nothing restarts, the canary is gone.
    let back = step(&service(1, Some(20)), &three, |_| true);
    assert_eq!(names(&back.children.deployments), ["raw-foo-predictor"]);
    assert_eq!(back.children.deployments[0].spec, one.children.deployments[0].spec);

    let promoted = service(2, None);
    let four = step(&promoted, &three, |name| name != "raw-foo-predictor");
    assert_eq!(names(&four.children.deployments), ["raw-foo-predictor".to_owned(), canary.clone()]);
    assert_eq!([source(&four, 0), source(&four, 1)], ["s3://test/v2", "s3://test/v2"]);
    assert_eq!(weights(&four), [Some(80), Some(20)], "the canary keeps its part while the base rolls");
    let five = step(&promoted, &four, |name| name == canary);
    assert_eq!(five.children.deployments.len(), 2, "the base is not there yet");
    let six = step(&promoted, &five, |_| true);
    assert_eq!(names(&six.children.deployments), ["raw-foo-predictor"]);
    assert_eq!(weights(&six), [None]);
    assert_eq!(condition(&six, "CanaryPredictorReady"), ("", ""));
}

/// Upstream ignores the percentage in this mode without a word; where nothing can split requests, we say so.
#[test]
fn where_nothing_splits() {
    let runtimes = runtimes();
    let config = KserveConfig::default();
    let (one, two) = (service(1, Some(20)), service(2, Some(20)));
    let before = plan(&Inputs::new(&one, &config, &runtimes));
    let after = |profile| next_with(&two, &before, profile, &config, available);
    let ours = after(Profile::Windtunnel);
    assert_eq!(names(&ours.children.deployments), ["raw-foo-predictor"]);
    assert_eq!(condition(&ours, "CanaryPredictorReady"), ("False", "NoTrafficSplit"));
    let upstream = after(Profile::Upstream);
    assert_eq!(condition(&upstream, "CanaryPredictorReady"), ("", ""));
    assert_eq!(source(&upstream, 0), "s3://test/v2");
}
