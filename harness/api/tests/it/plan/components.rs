//! Transformers, explainers, servers of many models, and containers side by side.

use serde_json::{Value, json};
use windtunnel_api::kserve::KserveConfig;
use windtunnel_api::kserve::plan::{Inputs, Plan, Profile, plan};

use super::{available, condition, first, names, next, runtimes, tensorflow, value, with_spec};

fn container(plan: &Plan, name: &str) -> Value {
    let deployments = plan.children.deployments.iter();
    let found = deployments.map(value).find(|deployment| deployment["metadata"]["name"] == *name);
    found.unwrap()["spec"]["template"]["spec"]["containers"][0].clone()
}

/// transformer_custom_test.go: the arguments that are appended, and those that a user gives himself.
#[test]
fn a_transformer_knows_its_predictor() {
    let spec = json!({"transformer": {
        "containerConcurrency": 3,
        "containers": [{"name": "mine", "image": "t", "args": ["--http_port", "9000"]}],
    }});
    let plan = first(&with_spec(&spec, &json!({})));
    assert_eq!(names(&plan.children.deployments), ["raw-foo-predictor", "raw-foo-transformer"]);
    assert_eq!(names(&plan.children.services), ["raw-foo-predictor", "raw-foo-transformer"]);
    assert_eq!(names(&plan.children.autoscalers), ["raw-foo-predictor", "raw-foo-transformer"]);
    let container = container(&plan, "raw-foo-transformer");
    assert_eq!(container["name"], "kserve-container");
    assert_eq!(
        container["args"],
        json!([
            "--http_port",
            "9000",
            "--model_name",
            "raw-foo",
            "--predictor_host",
            "raw-foo-predictor.default",
            "--workers",
            "3"
        ])
    );
    assert_eq!(container["env"], json!([{"name": "INFERENCE_SERVICE_NAME", "value": "raw-foo"}]));
    let labels = value(&plan.children.deployments[1])["spec"]["template"]["metadata"]["labels"].clone();
    assert_eq!(
        (&labels["component"], &labels["app"]),
        (&json!("transformer"), &json!("isvc.raw-foo-transformer"))
    );
}

/// explainer_custom_test.go and explainer_art_test.go.
#[test]
fn explainers() {
    let custom = json!({"explainer": {"containers": [{"name": "e", "image": "e"}]}});
    let plan = first(&with_spec(&custom, &json!({})));
    let own = container(&plan, "raw-foo-explainer");
    assert_eq!(
        own["args"],
        json!([
            "--model_name",
            "raw-foo",
            "--predictor_host",
            "raw-foo-predictor.default",
            "--http_port",
            "8080"
        ])
    );
    assert!(own["env"].is_null(), "upstream gives the explainer no INFERENCE_SERVICE_NAME");
    let art = json!({"explainer": {"art": {
        "type": "SquareAttack", "runtimeVersion": "0.1.0", "image": "seldonio/art:0.1.0",
        "storageUri": "gs://someUri", "config": {"nb_classes": "10", "alpha": "1"}}}});
    let plan = first(&with_spec(&art, &json!({})));
    let own = container(&plan, "raw-foo-explainer");
    assert_eq!(own["image"], "seldonio/art:0.1.0");
    assert_eq!(
        own["args"],
        json!([
            "--model_name",
            "raw-foo",
            "--http_port",
            "8080",
            "--predictor_host",
            "raw-foo-predictor.default",
            "--storage_uri",
            "/mnt/models",
            "--adversary_type",
            "SquareAttack",
            "--alpha",
            "1",
            "--nb_classes",
            "10"
        ])
    );
}

/// Requests enter at the transformer, and the service is reachable only when it serves.
#[test]
fn the_ingress_waits_for_the_transformer() {
    let spec = json!({"transformer": {"containers": [{"name": "t", "image": "t"}]}});
    let service = with_spec(&spec, &json!({}));
    let one = first(&service);
    let predictor_only = next(&service, &one, Profile::Windtunnel, |deployment| {
        if deployment.metadata.name.as_deref() == Some("raw-foo-predictor") {
            available(deployment);
        }
    });
    assert_eq!(condition(&predictor_only, "IngressReady"), ("False", "Transformer ingress not created"));
    assert_eq!(condition(&predictor_only, "TransformerReady"), ("False", ""));
    let all = next(&service, &predictor_only, Profile::Windtunnel, available);
    assert_eq!(condition(&all, "Ready").0, "True");
    assert_eq!(
        all.status.address.unwrap().url.as_deref(),
        Some("http://raw-foo-transformer.default.svc.cluster.local")
    );
    assert_eq!(
        all.status.components["transformer"].url.as_deref(),
        Some("http://raw-foo-transformer-default.example.com")
    );
}

/// A transformer in the predictor's pod: both containers know the service's name and have a probe.
#[test]
fn a_transformer_beside_the_predictor() {
    let beside = json!({"containers": [
        {"name": "other", "image": "o"},
        {"name": "transformer-container", "image": "t", "ports": [{"containerPort": 8088}]},
    ]});
    let plan = first(&tensorflow(&beside, &json!({})));
    let pod = value(&plan.children.deployments[0])["spec"]["template"]["spec"].clone();
    let containers = pod["containers"].as_array().unwrap();
    let order: Vec<&str> = containers.iter().map(|container| container["name"].as_str().unwrap()).collect();
    assert_eq!(order, ["kserve-container", "transformer-container", "other"]);
    for container in containers {
        assert_eq!(container["env"][0]["name"], "INFERENCE_SERVICE_NAME");
    }
    assert_eq!(containers[1]["readinessProbe"]["tcpSocket"]["port"], 8088);
    assert!(containers[2]["readinessProbe"].is_null());
}

/// A server that gets its models one by one: the agent's annotations and the list of models.
#[test]
fn servers_of_many_models() {
    let service = tensorflow(&json!({"model": {"storageUri": null}}), &json!({}));
    let (config, runtimes) = (KserveConfig::default(), runtimes());
    let mut inputs = Inputs::new(&service, &config, &runtimes);
    let plan_one = plan(&inputs);
    let list = value(&plan_one.children.config_maps[0]);
    assert_eq!(list["metadata"]["name"], "modelconfig-raw-foo-0");
    assert_eq!(list["data"], json!({"models.json": "[]"}));
    let annotations =
        value(&plan_one.children.deployments[0])["spec"]["template"]["metadata"]["annotations"].clone();
    let internal = |key: &str| annotations[format!("internal.serving.kserve.io/{key}")].clone();
    assert_eq!(
        [internal("agent"), internal("configVolumeName"), internal("configMountPath"), internal("modelDir")],
        ["true", "modelconfig-raw-foo-0", "/mnt/configs", "/mnt/models"]
    );
    inputs.models_json = Some("[1]");
    assert_eq!(value(&plan(&inputs).children.config_maps[0])["data"]["models.json"], "[1]");
    assert!(first(&tensorflow(&json!({}), &json!({}))).children.config_maps.is_empty());
}

/// The pod webhook reads all that it needs from annotations.
#[test]
fn annotations_for_the_pod_webhook() {
    let annotations = |predictor: &Value| {
        let plan = first(&tensorflow(predictor, &json!({})));
        value(&plan.children.deployments[0])["spec"]["template"]["metadata"]["annotations"].clone()
    };
    let logger = annotations(&json!({
        "logger": {"mode": "request", "url": "http://sink", "metadataHeaders": ["a", "b"], "metadataAnnotations": ["c"]},
        "batcher": {"maxBatchSize": 32, "maxLatency": 500},
    }));
    let expected = [
        ("logger", "true"),
        ("logger-sink-url", "http://sink"),
        ("logger-mode", "request"),
        ("logger-metadata-headers", "a,b"),
        ("logger-metadata-annotations", "c"),
        ("batcher", "true"),
        ("batcher-max-batchsize", "32"),
        ("batcher-max-latency", "500"),
    ];
    for (key, value) in expected {
        assert_eq!(logger[format!("internal.serving.kserve.io/{key}")], value, "{key}");
    }
    let storage = annotations(&json!({"model": {
        "storageUri": null, "storage": {"path": "/models/a", "key": "minio", "parameters": {"bucket": "b"}}}}));
    let expected = [
        ("storage-initializer-sourceuri", "<scheme-placeholder>://models/a"),
        ("storage-spec", "true"),
        ("storage-spec-key", "minio"),
        ("storage-spec-param", "{\"bucket\":\"b\"}"),
    ];
    for (key, value) in expected {
        assert_eq!(storage[format!("internal.serving.kserve.io/{key}")], value, "{key}");
    }
    let both = first(&tensorflow(&json!({"model": {"storage": {"path": "p"}}}), &json!({})));
    assert_eq!(both.events[0].message, "must provide only one of storageUri and storage.path");
}

/// A transformer that is gone must not be read as one that serves.
#[test]
fn a_transformer_that_was_removed() {
    let with = with_spec(&json!({"transformer": {"containers": [{"name": "t", "image": "t"}]}}), &json!({}));
    let before = next(&with, &first(&with), Profile::Windtunnel, available);
    let after = next(&tensorflow(&json!({}), &json!({})), &before, Profile::Windtunnel, available);
    assert_eq!(condition(&after, "TransformerReady"), ("", ""));
    assert!(!after.status.components.contains_key("transformer"));
    assert_eq!(names(&after.children.deployments), ["raw-foo-predictor"]);
    assert!(after.prune);
}

/// Somebody else's object of the same name is left alone.
#[test]
fn objects_of_others() {
    let service = tensorflow(&json!({}), &json!({}));
    let (config, runtimes) = (KserveConfig::default(), runtimes());
    let mut foreign = first(&service).children.deployments.remove(0);
    foreign.metadata.owner_references.as_mut().unwrap()[0].uid = "somebody".to_owned();
    let mut inputs = Inputs::new(&service, &config, &runtimes);
    inputs.observed.deployments = vec![&foreign];
    let plan = plan(&inputs);
    assert_eq!(condition(&plan, "PredictorReady"), ("False", "NotOwned"));
    assert!(plan.children.deployments.is_empty() && !plan.prune);
}

/// Containers of the runtime: a transformer of both is merged, others are added, and hostIPC is the runtime's in our
/// profile only.
#[test]
fn what_comes_from_the_runtime() {
    let mut runtimes = runtimes();
    let spec = &mut runtimes[0].spec;
    spec.pod.insert("hostIPC".to_owned(), json!(true));
    spec.pod.insert("nodeSelector".to_owned(), json!({"disk": "ssd", "zone": "a"}));
    let more = json!([
        {"name": "transformer-container", "image": "t:1", "args": ["--a"], "env": [{"name": "N", "value": "{{.Name}}"}]},
        {"name": "side", "image": "s"},
    ]);
    spec.pod.get_mut("containers").unwrap().as_array_mut().unwrap().extend(more.as_array().unwrap().clone());
    let service = tensorflow(
        &json!({
            "nodeSelector": {"zone": "b"},
            "containers": [{"name": "transformer-container", "image": "t:2", "args": ["--b"]}]}),
        &json!({}),
    );
    let config = KserveConfig::default();
    let pod = |profile| {
        let plan = plan(&Inputs { profile, ..Inputs::new(&service, &config, &runtimes) });
        value(&plan.children.deployments[0])["spec"]["template"]["spec"].clone()
    };
    let ours = pod(Profile::Windtunnel);
    let containers = ours["containers"].as_array().unwrap();
    let order: Vec<&str> = containers.iter().map(|container| container["name"].as_str().unwrap()).collect();
    assert_eq!(order, ["kserve-container", "transformer-container", "side"]);
    assert_eq!((&containers[1]["image"], &containers[1]["args"]), (&json!("t:2"), &json!(["--a", "--b"])));
    assert_eq!(containers[1]["env"][0], json!({"name": "N", "value": "raw-foo"}));
    assert_eq!(ours["nodeSelector"], json!({"disk": "ssd", "zone": "b"}));
    assert_eq!((&ours["hostIPC"], &pod(Profile::Upstream)["hostIPC"]), (&json!(true), &json!(null)));
}
