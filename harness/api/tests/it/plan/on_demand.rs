//! Scaling by requests in the Standard mode: what the plan says to the autoscaler, and when it calls a service ready.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};
use windtunnel_api::kserve::plan::on_demand::{config, container_concurrency, is_on_demand};
use windtunnel_api::kserve::plan::{Inputs, Observed, Plan, plan};
use windtunnel_api::kserve::{InferenceService, KserveConfig};
use windtunnel_kernel::autoscale::kpa::{GlobalConfig, ScalingMetric};

use super::{condition, runtimes, tensorflow, value};

/// HTTPRoutes lead through the gateway, which counts the requests.
fn config_with_routes() -> KserveConfig {
    let mut config = KserveConfig::default();
    config.ingress.enable_gateway_api = true;
    config
}

fn first(service: &InferenceService) -> Plan {
    let (config, runtimes) = (config_with_routes(), runtimes());
    plan(&Inputs::new(service, &config, &runtimes))
}

fn service(predictor: &Value, annotations: &Value) -> InferenceService {
    let mut all = json!({"serving.kserve.io/autoscalerClass": "kpa"});
    super::merge(&mut all, annotations);
    tensorflow(predictor, &all)
}

/// The plan for a service whose predictor's Deployment has this specification and status, and whose predictor was called
/// ready before, or not.
fn observed(service: &InferenceService, was: &str, spec: &Value, status: &Value) -> Plan {
    let mut deployment = value(&first(service).children.deployments[0]);
    super::merge(&mut deployment, &json!({"metadata": {"uid": "d"}, "spec": spec, "status": status}));
    let deployment: Deployment = serde_json::from_value(deployment).unwrap();
    let mut service = service.clone();
    service.status = serde_json::from_value(json!({"deploymentMode": "Standard",
        "conditions": [{"type": "PredictorReady", "status": was, "reason": "Before"}]}))
    .unwrap();
    let (config, runtimes) = (config_with_routes(), runtimes());
    let observed = Observed { deployments: vec![&deployment], ..Observed::default() };
    plan(&Inputs { observed, ..Inputs::new(&service, &config, &runtimes) })
}

fn conditions(available: &str, progressing: (&str, &str, &str)) -> Value {
    json!([{"type": "Available", "status": available, "reason": "Minimum"},
        {"type": "Progressing", "status": progressing.0, "reason": progressing.1, "message": progressing.2}])
}

/// The autoscaler would work with other settings than the service asks for.
#[test]
fn the_settings_stand_on_the_deployment() {
    let predictor = json!({"minReplicas": 0, "maxReplicas": 9, "scaleTarget": 20, "scaleMetric": "rps", "containerConcurrency": 5});
    let annotations = json!({"autoscaling.knative.dev/window": "40s",
        "autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev"});
    let plan = first(&service(&predictor, &annotations));
    let deployment = &plan.children.deployments[0];
    assert!(is_on_demand(deployment));
    assert_eq!(container_concurrency(deployment), 5);
    let config = config(deployment, &GlobalConfig::default()).unwrap();
    assert_eq!((config.min_scale, config.max_scale, config.container_concurrency), (0, 9, 5));
    assert_eq!((config.metric, config.total_value), (ScalingMetric::Rps, 20.0));
    assert_eq!((config.stable_window_ns, config.progress_deadline_ns), (40_000_000_000, 600_000_000_000));
    assert_eq!(deployment.spec.as_ref().unwrap().replicas, None);
    // A Service is no Deployment.
    assert_eq!(
        value(&plan.children.services[0])["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"],
        Value::Null
    );
}

/// A request at zero would wait for the next probe in ten seconds.
#[test]
fn pods_are_probed_soon() {
    let probe = |plan: &Plan| {
        let pod = value(&plan.children.deployments[0])["spec"]["template"].clone();
        let period = pod["spec"]["containers"][0]["readinessProbe"]["periodSeconds"].clone();
        (period, pod["metadata"]["annotations"]["cluster.windtunnel.dev/aggressive-probe-ms"].clone())
    };
    assert_eq!(probe(&first(&service(&json!({}), &json!({})))), (json!(1), json!("25")));
    let own =
        json!({"model": {"readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 7}}});
    assert_eq!(probe(&first(&service(&own, &json!({})))).0, json!(7), "the user's stays");
    assert_eq!(probe(&first(&tensorflow(&json!({}), &json!({})))), (json!(10), Value::Null));
}

/// A sleeping service would be called broken, or a broken one asleep.
#[test]
fn readiness_at_zero_and_on_the_way() {
    let may_sleep = service(&json!({"minReplicas": 0}), &json!({}));
    let must_not = service(&json!({"minReplicas": 1}), &json!({}));
    let done = ("True", "NewReplicaSetAvailable", "done");
    let asleep = json!({"conditions": conditions("True", done)});
    let waking = json!({"replicas": 1, "unavailableReplicas": 1, "conditions": conditions("False", done)});
    let growing = json!({"replicas": 4, "availableReplicas": 1, "conditions": conditions("False", done)});
    let late = ("False", "ProgressDeadlineExceeded", "too late");
    let stuck = json!({"replicas": 1, "conditions": conditions("False", late)});
    for (service, was, replicas, status, expected) in [
        (&may_sleep, "True", 0, &asleep, "True"),
        (&may_sleep, "False", 0, &asleep, "False"),
        (&may_sleep, "Unknown", 0, &asleep, "Unknown"),
        (&may_sleep, "True", 1, &waking, "True"),
        (&may_sleep, "False", 1, &waking, "False"),
        (&may_sleep, "False", 4, &growing, "True"),
        (&may_sleep, "True", 1, &stuck, "False"),
        (&must_not, "True", 1, &waking, "False"),
        (&must_not, "True", 4, &growing, "True"),
    ] {
        let plan = observed(service, was, &json!({"replicas": replicas}), status);
        assert_eq!(condition(&plan, "PredictorReady").0, expected, "{was}, {replicas} replicas, {status}");
    }
}

/// A Deployment that was left at zero would stay there.
#[test]
fn leaving_the_class_at_zero() {
    let asleep = service(&json!({"minReplicas": 0}), &json!({}));
    let deployment = value(&first(&asleep).children.deployments[0]);
    let replicas = |class: &str, spec: i32| {
        let mut found = deployment.clone();
        super::merge(&mut found, &json!({"metadata": {"ownerReferences": null}, "spec": {"replicas": spec}}));
        found["metadata"]["ownerReferences"] = deployment["metadata"]["ownerReferences"].clone();
        let found: Deployment = serde_json::from_value(found).unwrap();
        let other =
            tensorflow(&json!({"minReplicas": 0}), &json!({"serving.kserve.io/autoscalerClass": class}));
        let (config, runtimes) = (config_with_routes(), runtimes());
        let observed = Observed { deployments: vec![&found], ..Observed::default() };
        let plan = plan(&Inputs { observed, ..Inputs::new(&other, &config, &runtimes) });
        plan.children.deployments[0].spec.as_ref().unwrap().replicas
    };
    assert_eq!([replicas("hpa", 0), replicas("external", 0)], [Some(1), Some(1)]);
    assert_eq!([replicas("kpa", 0), replicas("keda", 0), replicas("hpa", 2)], [None, None, None]);
}

/// Without a way through the gateway nobody counts requests, and the service would sleep for ever.
#[test]
fn no_route_no_scaling_by_requests() {
    let service = service(&json!({}), &json!({}));
    let runtimes = runtimes();
    let refused = |config: &KserveConfig| {
        let plan = plan(&Inputs::new(&service, config, &runtimes));
        assert_eq!(plan.children.deployments, []);
        condition(&plan, "PredictorReady").1.to_owned()
    };
    let mut internal = config_with_routes();
    internal.ingress.disable_ingress_creation = true;
    assert_eq!(refused(&internal), "RequestsNotCounted");
    assert_eq!(refused(&KserveConfig::default()), "RequestsNotCounted");
}
