//! The runtimes that are installed with the control plane.

use serde_json::Value;
use windtunnel_api::kserve::validate::{self, RuntimeScope};
use windtunnel_api::kserve::{KserveConfig, ServingRuntimeSpec, defaults, runtime};
use windtunnel_api::runtimes;

use crate::{predictor, upstream};

/// A cluster would refuse its own runtimes, in the order in which they are installed.
#[test]
fn shipped_runtimes_pass_their_own_webhook() {
    let all = runtimes::shipped();
    let mut installed: Vec<(&str, &ServingRuntimeSpec)> = Vec::new();
    for one in &all {
        let name = one.metadata.name.as_deref().unwrap();
        let verdict =
            validate::serving_runtime(RuntimeScope::Cluster, name, &one.spec.runtime, &installed, &[]);
        assert_eq!(verdict, Ok(()), "{name}");
        installed.push((name, &one.spec.runtime));
    }
    assert_eq!(installed.len(), 15);
}

/// A service gets the server that upstream would choose; what we serve ourselves goes first.
#[test]
fn formats_and_protocols_choose_runtimes() {
    let candidates: Vec<_> = runtimes::shipped().iter().map(runtime::Runtime::from).collect();
    for (model, expected) in [
        ("{modelFormat: {name: sklearn}}", "kserve-sklearnserver"),
        ("{modelFormat: {name: sklearn}, protocolVersion: v2}", "kserve-mlserver"),
        ("{modelFormat: {name: sklearn, version: '0'}, protocolVersion: v2}", "kserve-mlserver"),
        ("{modelFormat: {name: xgboost}}", "kserve-xgbserver"),
        ("{modelFormat: {name: lightgbm}, protocolVersion: v2}", "kserve-mlserver"),
        ("{modelFormat: {name: mlflow}, protocolVersion: v2}", "kserve-mlserver"),
        ("{modelFormat: {name: tensorflow}}", "kserve-tensorflow-serving"),
        ("{modelFormat: {name: tensorflow}, protocolVersion: v2}", "kserve-tritonserver"),
        ("{modelFormat: {name: pytorch}}", "kserve-torchserve"),
        ("{modelFormat: {name: triton}}", "kserve-tritonserver"),
        ("{modelFormat: {name: pmml}}", "kserve-pmmlserver"),
        ("{modelFormat: {name: paddle}}", "kserve-paddleserver"),
        ("{modelFormat: {name: huggingface}}", "kserve-huggingfaceserver"),
        ("{modelFormat: {name: vLLM}}", "kserve-vllmserver"),
        ("{modelFormat: {name: autogluon}}", "kserve-autogluonserver"),
        ("{modelFormat: {name: onnx}}", "windtunnel-onnxserver"),
        ("{modelFormat: {name: onnx}, protocolVersion: grpc-v2}", "kserve-tritonserver"),
        ("{modelFormat: {name: lightgbm}, runtime: kserve-predictiveserver}", "kserve-predictiveserver"),
    ] {
        let mut service = predictor(&format!("model: {model}"));
        defaults::default(&mut service, &KserveConfig::default());
        let selected = runtime::select(&service, &candidates);
        let name = selected.as_ref().ok().and_then(|selected| selected.cluster_serving_runtime.clone());
        assert_eq!(name.as_deref(), Some(expected), "{model}: {selected:?}");
    }
}

/// What stands for each image in upstream's files, and the image that its `config/runtimes/kustomization.yaml` puts there
/// (kserve/kserve, August 2026).
const IMAGES: [(&str, &str); 14] = [
    ("tensorflow-serving", "tensorflow/serving:2.6.2"),
    ("kserve-sklearnserver", "kserve/sklearnserver:latest"),
    ("mlserver", "docker.io/seldonio/mlserver:1.7.1"),
    ("kserve-xgbserver", "kserve/xgbserver:latest"),
    ("kserve-tritonserver", "nvcr.io/nvidia/tritonserver:23.05-py3"),
    ("kserve-pmmlserver", "kserve/pmmlserver:latest"),
    ("kserve-paddleserver", "kserve/paddleserver:latest"),
    ("kserve-lgbserver", "kserve/lgbserver:latest"),
    ("kserve-predictiveserver", "kserve/predictiveserver:latest"),
    ("kserve-autogluonserver", "kserve/autogluonserver:latest"),
    ("kserve-torchserve", "pytorch/torchserve-kfs:0.9.0"),
    ("huggingfaceserver", "kserve/huggingfaceserver:latest"),
    ("huggingfaceserver-gpu", "kserve/huggingfaceserver:latest-gpu"),
    ("vllmserver", "vllm/vllm-openai:latest"),
];

/// Every fact of upstream's own files, but for the commands of the runtime that spans nodes, which are our own words.
#[test]
fn the_table_says_what_upstreams_files_say() {
    let Some(folder) = upstream("runtimes") else { return };
    for ours in runtimes::upstream() {
        let name = ours.metadata.name.clone().unwrap();
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        let mut theirs: Value = serde_saphyr::from_str(&text).unwrap();
        let mut ours = serde_json::to_value(ours).unwrap();
        for path in ["/spec/containers/0", "/spec/workerSpec/containers/0"] {
            let Some(container) = theirs.pointer_mut(path) else { continue };
            let stand_in = container["image"].as_str().unwrap().trim_end_matches(":replace").to_owned();
            let (_, image) = IMAGES.iter().find(|(name, _)| *name == stand_in).unwrap();
            container["image"] = Value::from(*image);
        }
        // `false` is what is meant when nothing is said.
        theirs["spec"].as_object_mut().unwrap().remove("hostIPC");
        for object in [&mut ours, &mut theirs] {
            without_commands(object, name.ends_with("multinode"));
        }
        assert_eq!(ours["spec"], theirs["spec"], "{name}");
        assert_eq!(ours["metadata"]["annotations"], theirs["metadata"]["annotations"], "{name}");
    }
}

fn without_commands(value: &mut Value, too: bool) {
    match value {
        Value::Object(object) => {
            if too {
                object.remove("command");
            }
            object.values_mut().for_each(|inner| without_commands(inner, too));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| without_commands(inner, too)),
        _ => {}
    }
}
