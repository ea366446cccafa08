//! The plan of an InferenceService: children and status from what is observed. Expected values are those of upstream's
//! envtests (`rawkube_controller_test.go`, `canary_controller_test.go`, `controller_test.go`) and of its unit tests.

mod ca_bundle;
mod canary;
mod components;
mod graph;
mod image_volumes;
mod knative;
mod local_model_agent;
mod local_models;
mod multi_node;
mod on_demand;
mod rollout;
mod routes;
mod standard;
mod status;

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};
use windtunnel_api::kserve::plan::{Inputs, Plan, Profile, plan};
use windtunnel_api::kserve::runtime::Runtime;
use windtunnel_api::kserve::{InferenceService, KserveConfig, ServingRuntime, defaults};

/// The service that upstream's envtests begin with, with other fields of its predictor and other annotations.
fn tensorflow(predictor: &Value, annotations: &Value) -> InferenceService {
    let mut object = json!({
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "raw-foo",
            "namespace": "default",
            "uid": "isvc-uid",
            "generation": 1,
            "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
        },
        "spec": {"predictor": {
            "minReplicas": 1,
            "maxReplicas": 3,
            "model": {
                "modelFormat": {"name": "tensorflow"},
                "storageUri": "s3://test/mnist/export",
                "runtimeVersion": "1.14.0",
                "name": "kserve-container",
            },
        }},
    });
    merge(&mut object["spec"]["predictor"], predictor);
    merge(&mut object["metadata"]["annotations"], annotations);
    from(object)
}

/// A service with other parts beside that predictor: `spec` is merged into its specification.
fn with_spec(spec: &Value, annotations: &Value) -> InferenceService {
    let mut object = serde_json::to_value(tensorflow(&json!({}), annotations)).unwrap();
    merge(&mut object["spec"], spec);
    from(object)
}

fn from(object: Value) -> InferenceService {
    let mut service: InferenceService = serde_json::from_value(object).unwrap();
    defaults::default(&mut service, &KserveConfig::default());
    service
}

/// A JSON merge patch.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key.as_str()], value);
        }
    }
}

/// `getServingRuntime` of upstream's envtests.
fn runtimes() -> Vec<Runtime> {
    let runtime: ServingRuntime = serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": "tf-serving-raw", "namespace": "default"},
        "spec": {
            "supportedModelFormats": [{"name": "tensorflow", "version": "1", "autoSelect": true}],
            "containers": [{
                "name": "kserve-container",
                "image": "tensorflow/serving:1.14.0",
                "command": ["/usr/bin/tensorflow_model_server"],
                "args": [
                    "--port=9000",
                    "--rest_api_port=8080",
                    "--model_base_path=/mnt/models",
                    "--rest_api_timeout_in_ms=60000",
                ],
                "resources": {"limits": {"cpu": "1", "memory": "2Gi"}, "requests": {"cpu": "1", "memory": "2Gi"}},
            }],
            "disabled": false,
        },
    }))
    .unwrap();
    vec![Runtime::from(&runtime)]
}

/// A plan for the service on a cluster where nothing of it exists.
fn first(service: &InferenceService) -> Plan {
    let (config, runtimes) = (KserveConfig::default(), runtimes());
    plan(&Inputs::new(service, &config, &runtimes))
}

/// A plan with the planned Deployments as they would be observed, changed by `change`, and the status of `before`.
fn next(
    service: &InferenceService,
    before: &Plan,
    profile: Profile,
    change: impl Fn(&mut Deployment),
) -> Plan {
    next_with(service, before, profile, &KserveConfig::default(), change)
}

fn next_with(
    service: &InferenceService,
    before: &Plan,
    profile: Profile,
    config: &KserveConfig,
    change: impl Fn(&mut Deployment),
) -> Plan {
    let runtimes = runtimes();
    let service = InferenceService { status: Some(before.status.clone()), ..service.clone() };
    let mut deployments = before.children.deployments.clone();
    deployments.iter_mut().for_each(&change);
    let mut inputs = Inputs::new(&service, config, &runtimes);
    inputs.profile = profile;
    inputs.observed.deployments = deployments.iter().collect();
    inputs.observed.http_routes = before.children.http_routes.iter().collect();
    inputs.observed.ingresses = before.children.ingresses.iter().collect();
    plan(&inputs)
}

/// What the Deployment controller says of a Deployment whose pods serve.
fn available(deployment: &mut Deployment) {
    deployment.status = Some(
        serde_json::from_value(json!({
            "observedGeneration": 1, "replicas": 1, "availableReplicas": 1, "readyReplicas": 1,
            "conditions": [
                {"type": "Available", "status": "True"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            ],
        }))
        .unwrap(),
    );
}

/// Status and reason of a condition.
fn condition<'a>(plan: &'a Plan, type_: &str) -> (&'a str, &'a str) {
    let found = windtunnel_api::condition::find(&plan.status.conditions, type_);
    found.map_or(("", ""), |condition| (condition.status.as_str(), condition.reason()))
}

fn names<T: kube::Resource>(objects: &[T]) -> Vec<String> {
    objects.iter().map(|object| object.meta().name.clone().unwrap_or_default()).collect()
}

fn value<T: serde::Serialize>(object: &T) -> Value {
    serde_json::to_value(object).unwrap()
}
