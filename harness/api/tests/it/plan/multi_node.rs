//! A model that spans several nodes.

use serde_json::json;
use windtunnel_api::kserve::plan::{Inputs, Profile, plan};
use windtunnel_api::kserve::runtime::Runtime;
use windtunnel_api::kserve::{InferenceService, KserveConfig, ServingRuntime};

use super::{available, condition, names, value};

fn runtime(worker: bool) -> Vec<Runtime> {
    let mut object = json!({
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": "huggingface-server-multinode", "namespace": "default"},
        "spec": {
            "supportedModelFormats": [{"name": "huggingface", "version": "1", "autoSelect": true}],
            "protocolVersions": ["v2", "v1"],
            "containers": [{"name": "kserve-container", "image": "kserve/huggingfaceserver:latest"}],
            "workerSpec": {
                "pipelineParallelSize": 2,
                "tensorParallelSize": 1,
                "containers": [{"name": "worker-container", "image": "kserve/huggingfaceserver:latest"}],
            },
        },
    });
    if !worker {
        object["spec"].as_object_mut().unwrap().remove("workerSpec");
    }
    vec![Runtime::from(&serde_json::from_value::<ServingRuntime>(object).unwrap())]
}

fn service() -> InferenceService {
    serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "raw-huggingface-multinode", "namespace": "default", "uid": "u", "generation": 3,
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "none"},
        },
        "spec": {"predictor": {
            "minReplicas": 1,
            "model": {
                "modelFormat": {"name": "huggingface"},
                "runtime": "huggingface-server-multinode",
                "storageUri": "pvc://llama-3-8b-pvc/hf/8b_instruction_tuned",
            },
            "workerSpec": {"pipelineParallelSize": 3, "tensorParallelSize": 1},
        }},
    }))
    .unwrap()
}

/// rawkube_controller_test.go, "Should deploy a head and workers": two Deployments, three Services, and what they
/// know of each other. No plan ever leaves the workers out (issue 6113).
#[test]
fn head_and_workers() {
    let (service, config, runtimes) = (service(), KserveConfig::default(), runtime(true));
    let one = plan(&Inputs::new(&service, &config, &runtimes));
    let name = "raw-huggingface-multinode";
    assert_eq!(
        names(&one.children.deployments),
        [format!("{name}-predictor"), format!("{name}-predictor-worker")]
    );
    assert_eq!(
        names(&one.children.services),
        [format!("{name}-predictor"), format!("{name}-head-3"), format!("{name}-workers-3")]
    );
    assert!(one.children.autoscalers.is_empty() && one.prune);
    let head = value(&one.children.deployments[0])["spec"].clone();
    let worker = value(&one.children.deployments[1])["spec"].clone();
    assert_eq!((&head["replicas"], &worker["replicas"]), (&json!(1), &json!(2)));
    assert_eq!(worker["strategy"]["rollingUpdate"], json!({"maxUnavailable": "0%", "maxSurge": "100%"}));
    let env = |spec: &serde_json::Value| -> std::collections::BTreeMap<String, String> {
        let list = spec["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        list.iter().map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
    };
    let expect = |pairs: &[(&str, &str)]| -> std::collections::BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(
        env(&head),
        expect(&[
            ("INFERENCE_SERVICE_NAME", name),
            ("PIPELINE_PARALLEL_SIZE", "3"),
            ("TENSOR_PARALLEL_SIZE", "1"),
            ("RAY_NODE_COUNT", "3"),
            ("REQUEST_GPU_COUNT", "1"),
            ("MODEL_NAME", name),
            ("MODEL_DIR", "/mnt/models"),
        ])
    );
    assert_eq!(
        env(&worker),
        expect(&[
            ("PIPELINE_PARALLEL_SIZE", "3"),
            ("TENSOR_PARALLEL_SIZE", "1"),
            ("RAY_NODE_COUNT", "3"),
            ("REQUEST_GPU_COUNT", "1"),
            ("ISVC_NAME", name),
            ("HEAD_SVC", "raw-huggingface-multinode-head-3"),
            ("WORKER_SVC", "raw-huggingface-multinode-workers-3"),
        ])
    );
    for spec in [&head, &worker] {
        let resources = &spec["template"]["spec"]["containers"][0]["resources"];
        assert_eq!(resources["limits"]["nvidia.com/gpu"], "1");
        assert_eq!(resources["requests"]["nvidia.com/gpu"], "1");
        assert_eq!(spec["template"]["metadata"]["labels"]["isvc.generation"], "3");
    }
    let headless = value(&one.children.services[2]);
    assert_eq!(
        headless["spec"],
        json!({
            "clusterIP": "None", "publishNotReadyAddresses": true,
            "selector": {"app": "isvc.raw-huggingface-multinode-predictor-worker", "isvc.generation": "3"}})
    );
    assert_eq!(headless["metadata"]["labels"]["multinode/role"], "worker");

    let mut deployments = one.children.deployments;
    available(&mut deployments[0]);
    let mut inputs = Inputs { profile: Profile::Upstream, ..Inputs::new(&service, &config, &runtimes) };
    inputs.observed.deployments = deployments.iter().collect();
    assert_eq!(condition(&plan(&inputs), "PredictorReady"), ("False", ""));
    available(&mut deployments[1]);
    let mut inputs = Inputs::new(&service, &config, &runtimes);
    inputs.observed.deployments = deployments.iter().collect();
    assert_eq!(condition(&plan(&inputs), "PredictorReady"), ("True", "NewReplicaSetAvailable"));
}

/// Pods of the generation before find each other until the last of them is gone.
#[test]
fn services_of_old_pods_stay() {
    let (service, config, runtimes) = (service(), KserveConfig::default(), runtime(true));
    let pod = serde_json::from_value(json!({"metadata": {"name": "p", "labels": {
        "app": "isvc.raw-huggingface-multinode-predictor-worker", "isvc.generation": "2"}}}))
    .unwrap();
    let mut inputs = Inputs::new(&service, &config, &runtimes);
    inputs.observed.pods = vec![&pod];
    let services = names(&plan(&inputs).children.services);
    assert_eq!(services.len(), 5);
    assert!(services.contains(&"raw-huggingface-multinode-head-2".to_owned()), "{services:?}");
}

/// A runtime without workers is a reason of its own.
#[test]
fn a_runtime_without_workers() {
    let (service, config, runtimes) = (service(), KserveConfig::default(), runtime(false));
    let plan = plan(&Inputs::new(&service, &config, &runtimes));
    assert_eq!(condition(&plan, "PredictorReady"), ("False", "InvalidWorkerSpecNotSet"));
    assert!(!plan.prune);
}
