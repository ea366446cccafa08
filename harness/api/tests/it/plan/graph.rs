//! InferenceGraphs and TrainedModels.

use serde_json::{Value, json};
use windtunnel_api::kserve::graph::{self, Plan};
use windtunnel_api::kserve::plan::{Capabilities, Profile};
use windtunnel_api::kserve::trained_models::{self, models_json};
use windtunnel_api::kserve::{InferenceGraph, InferenceService, KserveConfig, TrainedModel};

use super::{runtimes, tensorflow, value};

fn a_graph(mode: &str, nodes: &Value) -> InferenceGraph {
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {
            "name": "graph", "namespace": "default", "uid": "u",
            "annotations": {"serving.kserve.io/deploymentMode": mode}},
        "spec": {"nodes": nodes},
    }))
    .unwrap()
}

fn root(step: &Value) -> Value {
    json!({"root": {"routerType": "Sequence", "steps": [step]}})
}

fn plan(
    graph: &InferenceGraph,
    services: &[InferenceService],
    available: Option<&str>,
    profile: Profile,
) -> Plan {
    let config = KserveConfig::from_config_map(
        &[(
            "router".to_owned(),
            json!({
            "image": "kserve/router:v0.10.0", "cpuRequest": "100m", "cpuLimit": "100m",
            "memoryRequest": "100Mi", "memoryLimit": "500Mi", "imagePullPolicy": "IfNotPresent",
            "headers": {"propagate": ["Authorization", "Intuit_tid"]}})
            .to_string(),
        )]
        .into(),
    )
    .unwrap();
    let runtimes = runtimes();
    let deployment = available.map(|status| {
        serde_json::from_value(json!({"metadata": {"name": "graph"}, "status": {
            "observedGeneration": 2, "conditions": [{"type": "Available", "status": status, "reason": "R"}]}}))
        .unwrap()
    });
    graph::plan(&graph::Inputs {
        graph,
        config: &config,
        services: services.iter().collect(),
        runtimes: &runtimes,
        cluster: Capabilities::ALL,
        profile,
        deployment: deployment.as_ref(),
        knative_service: None,
        allow_zero_initial_scale: false,
    })
}

/// raw_ig_test.go and controller_test.go: the router's container, in both modes.
#[test]
fn the_router() {
    let url = json!({"serviceUrl": "http://someservice.example.com"});
    let standard = plan(&a_graph("Standard", &root(&url)), &[], None, Profile::Upstream);
    let deployment = value(&standard.children.deployments[0]);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["name"], "graph");
    assert_eq!(
        container["args"],
        json!([
            "--graph-json",
            "{\"nodes\":{\"root\":{\"routerType\":\"Sequence\",\"steps\":[{\"serviceUrl\":\"http://someservice.example.com\"}]}},\"resources\":{}}"
        ])
    );
    assert_eq!(container["env"], json!([{"name": "PROPAGATE_HEADERS", "value": "Authorization,Intuit_tid"}]));
    assert_eq!(
        container["resources"],
        json!({"limits": {"cpu": "100m", "memory": "500Mi"}, "requests": {"cpu": "100m", "memory": "100Mi"}})
    );
    assert_eq!(
        container["readinessProbe"]["httpGet"],
        json!({"path": "/readyz", "port": 8080, "scheme": "HTTP"})
    );
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(deployment["spec"]["template"]["spec"]["automountServiceAccountToken"], false);
    assert_eq!(deployment["metadata"]["labels"]["serving.kserve.io/inferencegraph"], "graph");
    assert_eq!(
        value(&standard.children.services[0])["spec"]["ports"],
        json!([{"name": "graph", "port": 80, "protocol": "TCP", "targetPort": 8080}])
    );
    assert_eq!(standard.children.autoscalers.len(), 1);

    let knative = plan(&a_graph("Knative", &root(&url)), &[], None, Profile::Upstream);
    let service = value(&knative.children.knative_services[0]);
    let template = &service["spec"]["template"];
    assert_eq!(
        template["metadata"]["labels"],
        json!({
        "serving.kserve.io/inferencegraph": "graph", "serving.kserve.io/kind": "InferenceGraph"})
    );
    assert_eq!(template["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"], "1");
    assert_eq!(template["spec"]["containers"][0]["args"], container["args"]);
    assert!(template["spec"]["containers"][0]["name"].is_null());
}

/// A graph that cannot answer must not be called ready; upstream calls it so.
#[test]
fn ready_means_available() {
    let graph = a_graph("Standard", &root(&json!({"serviceUrl": "http://s"})));
    let ready = |available, profile| {
        let plan = plan(&graph, &[], available, profile);
        let found = windtunnel_api::condition::find(&plan.status.conditions, "Ready").cloned().unwrap();
        (found.status, plan.status.url.is_some(), plan.events.len())
    };
    let expected = |status: &str, url, events| (status.to_owned(), url, events);
    assert_eq!(ready(None, Profile::Windtunnel), expected("Unknown", false, 0));
    assert_eq!(ready(Some("True"), Profile::Windtunnel), expected("True", true, 1));
    assert_eq!(ready(Some("False"), Profile::Windtunnel), expected("False", false, 0));
    assert_eq!(ready(Some("False"), Profile::Upstream), expected("True", true, 1));
}

/// controller_test.go: a service's address and path stand in the graph; without them the router stays as it is.
#[test]
fn services_of_steps() {
    let graph = a_graph("Standard", &root(&json!({"serviceName": "raw-foo"})));
    let missing = plan(&graph, &[], None, Profile::Windtunnel);
    assert_eq!(missing.events[0].message, "Failed to find graph service raw-foo");
    assert!(!missing.prune && missing.children.deployments.is_empty());
    let mut service = tensorflow(&json!({}), &json!({}));
    let waiting = plan(&graph, std::slice::from_ref(&service), None, Profile::Windtunnel);
    assert_eq!(waiting.events[0].message, "service raw-foo is not ready");
    service.status = Some(
        serde_json::from_value(json!({"address": {"url": "http://raw-foo-predictor.default"}})).unwrap(),
    );
    let url = |service: &InferenceService| {
        let plan = plan(&graph, std::slice::from_ref(service), None, Profile::Windtunnel);
        let args =
            value(&plan.children.deployments[0])["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        let spec: Value = serde_json::from_str(args[1].as_str().unwrap()).unwrap();
        spec["nodes"]["root"]["steps"][0]["serviceUrl"].as_str().unwrap().to_owned()
    };
    assert_eq!(url(&service), "http://raw-foo-predictor.default/v1/models/raw-foo:predict");
    let model = service.spec.predictor.model.as_mut().unwrap();
    model.extension.protocol_version = Some("v2".to_owned());
    model.extension.container.insert("args".to_owned(), json!(["--model_name=other"]));
    assert_eq!(url(&service), "http://raw-foo-predictor.default/v2/models/other/infer");
}

/// Nodes in a circle take a request round and round until the router's stack is full.
#[test]
fn circles_and_missing_nodes() {
    let circle = json!({
        "root": {"routerType": "Sequence", "steps": [{"nodeName": "a"}]},
        "a": {"routerType": "Sequence", "steps": [{"nodeName": "root"}]}});
    let message = |nodes: &Value| {
        plan(&a_graph("Standard", nodes), &[], None, Profile::Windtunnel).events[0].message.clone()
    };
    assert_eq!(message(&circle), "nodes lead back to themselves: a -> root -> a");
    assert!(message(&root(&json!({"nodeName": "b"}))).contains("leads to node \"b\""));
}

fn trained(name: &str, memory: &str, allocated: bool) -> TrainedModel {
    let labels =
        if allocated { json!({"serving.kserve.io/trainedmodel-allocated": "raw-foo"}) } else { json!({}) };
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "TrainedModel",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"inferenceService": "raw-foo", "model": {
            "storageUri": format!("s3://m/{name}"), "framework": "tensorflow", "memory": memory}},
    }))
    .unwrap()
}

/// trainedmodel/controller_test.go: what fits into the server's memory, what does not, and where a model is asked.
#[test]
fn memory_of_trained_models() {
    let mut service = tensorflow(
        &json!({"model": {
        "storageUri": null, "resources": {"limits": {"memory": "2Gi"}}}}),
        &json!({}),
    );
    service.status = Some(
        serde_json::from_value(json!({
        "url": "http://raw-foo.example.com",
        "conditions": [{"type": "Ready", "status": "True"}]}))
        .unwrap(),
    );
    let first = trained("one", "1Gi", true);
    let plan = |memory: &str, service: Option<&InferenceService>| {
        let model = trained("two", memory, false);
        trained_models::plan(&model, service, &[&first, &model], &runtimes(), Profile::Upstream)
    };
    let good = plan("1Gi", Some(&service));
    assert!(good.is_allocated && windtunnel_api::condition::is_true(&good.status.conditions, "Ready"));
    assert_eq!(good.status.url.as_deref(), Some("http://raw-foo.example.com/v1/models/two:predict"));
    let big = plan("1025Mi", Some(&service));
    assert!(!big.is_allocated);
    let reason = windtunnel_api::condition::find(&big.status.conditions, "Ready").unwrap();
    assert_eq!((reason.status.as_str(), reason.reason()), ("False", "MemoryResourceNotAvailable"));
    assert!(plan("1Gi", None).delete);
    let list = [&trained("b", "1Gi", true), &first, &trained("c", "1Gi", false)];
    assert_eq!(
        models_json(&service, &list),
        r#"[{"modelName":"b","modelSpec":{"storageUri":"s3://m/b","framework":"tensorflow","memory":"1Gi"}},{"modelName":"one","modelSpec":{"storageUri":"s3://m/one","framework":"tensorflow","memory":"1Gi"}}]"#
    );
}

/// A limit that comes from the runtime is a limit.
#[test]
fn memory_of_the_runtime() {
    let service = tensorflow(&json!({"model": {"storageUri": null}}), &json!({}));
    let model = trained("one", "2Gi", false);
    let fits =
        |profile| trained_models::plan(&model, Some(&service), &[&model], &runtimes(), profile).is_allocated;
    assert_eq!((fits(Profile::Windtunnel), fits(Profile::Upstream)), (true, false));
}
