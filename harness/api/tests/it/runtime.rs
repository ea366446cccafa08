//! Which runtime is chosen, and how its container and the service's are merged.

use serde_json::json;
use windtunnel_api::kserve::runtime::{Runtime, select};
use windtunnel_api::kserve::{ClusterServingRuntime, ServingRuntime};
use windtunnel_api::runtimes::shipped;

use crate::predictor;

fn cluster_runtime(name: &str, spec: serde_json::Value) -> Runtime {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "kserve-container", "image": "x:1"}]);
    }
    let object = json!({"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ClusterServingRuntime",
        "metadata": {"name": name}, "spec": spec});
    Runtime::from(&serde_json::from_value::<ClusterServingRuntime>(object).unwrap())
}

fn formats(priority: Option<i32>) -> serde_json::Value {
    json!([{"name": "onnx", "version": "1", "autoSelect": true, "priority": priority}])
}

fn chosen(spec: &str, runtimes: &[Runtime]) -> Result<String, String> {
    let selected =
        select(&predictor(spec), runtimes).map_err(|failure| format!("{}: {failure}", failure.reason))?;
    Ok(selected.cluster_serving_runtime.or(selected.serving_runtime).unwrap())
}

const MODEL: &str = "model: {modelFormat: {name: onnx}}";

/// The wrong server is started, or none, if the order of the candidates is another.
#[test]
fn the_order_of_candidates() {
    let low = cluster_runtime("low", json!({"supportedModelFormats": formats(Some(1))}));
    let high = cluster_runtime("high", json!({"supportedModelFormats": formats(Some(2))}));
    let none = cluster_runtime("none", json!({"supportedModelFormats": formats(None)}));
    let off = cluster_runtime("off", json!({"supportedModelFormats": formats(Some(9)), "disabled": true}));
    let v2 =
        cluster_runtime("v2", json!({"supportedModelFormats": formats(Some(8)), "protocolVersions": ["v2"]}));
    let manual = cluster_runtime("manual", json!({"supportedModelFormats": [{"name": "onnx"}]}));
    let all = [none.clone(), low, manual, high, off, v2];
    assert_eq!(chosen(MODEL, &all).unwrap(), "high");
    assert_eq!(chosen("model: {modelFormat: {name: onnx}, protocolVersion: v2}", &all).unwrap(), "v2");
    assert_eq!(chosen(MODEL, &[none]).unwrap(), "none");
    let namespaced = |namespace: &str| {
        let object = json!({"metadata": {"name": "own", "namespace": namespace},
            "spec": {"supportedModelFormats": formats(None), "containers": [{"name": "kserve-container"}]},
            "apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime"});
        Runtime::from(&serde_json::from_value::<ServingRuntime>(object).unwrap())
    };
    let with = |extra: Runtime| [all.to_vec(), vec![extra]].concat();
    assert_eq!(chosen(MODEL, &with(namespaced("default"))).unwrap(), "own");
    assert_eq!(chosen(MODEL, &with(namespaced("elsewhere"))).unwrap(), "high");
    assert_eq!(chosen("model: {modelFormat: {name: onnx, version: '1'}}", &all).unwrap(), "high");
}

/// The status must say why no runtime serves a model, in the words that users search for.
#[test]
fn reasons_for_none() {
    let some = [
        cluster_runtime("a", json!({"supportedModelFormats": formats(Some(1)), "protocolVersions": ["v1"]})),
        cluster_runtime("off", json!({"supportedModelFormats": formats(Some(1)), "disabled": true})),
    ];
    for (spec, expected) in [
        (
            "model: {modelFormat: {name: sklearn}}",
            "NoSupportingRuntime: No runtime found to support specified framework/version",
        ),
        (
            "model: {modelFormat: {name: onnx, version: '2'}}",
            "NoSupportingRuntime: No runtime found to support specified framework/version",
        ),
        (
            "model: {modelFormat: {name: onnx}, runtime: b}",
            "RuntimeNotRecognized: Waiting for runtime to become available",
        ),
        (
            "model: {modelFormat: {name: onnx}, runtime: off}",
            "RuntimeDisabled: Specified runtime is disabled",
        ),
        (
            "model: {modelFormat: {name: onnx}, runtime: a, protocolVersion: v2}",
            "NoSupportingRuntime: Specified runtime does not support specified protocol version",
        ),
        (
            "model: {modelFormat: {name: sklearn}, runtime: a}",
            "NoSupportingRuntime: Specified runtime does not support specified framework/version",
        ),
    ] {
        assert_eq!(chosen(spec, &some), Err(expected.to_owned()), "{spec}");
    }
    let odd = chosen("model: {modelFormat: {name: onnx}, storageUri: 'ftp://x'}", &some).unwrap_err();
    assert!(odd.contains("StorageUri [ftp://x] is not supported"), "{odd}");
}

/// A setting of the service that the merge loses is a setting that silently does nothing.
#[test]
fn merging() {
    let runtime = cluster_runtime(
        "r",
        json!({
            "supportedModelFormats": formats(Some(1)),
            "labels": {"a": "runtime"},
            "nodeSelector": {"disk": "ssd"},
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [
                {"name": "kserve-container", "image": "server:1", "args": ["--model_name={{.Name}}"],
                 "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}],
                 "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
                {"name": "side", "image": "side:1"}
            ]
        }),
    );
    let service = predictor(
        "
model:
  modelFormat: {name: onnx}
  runtimeVersion: '7'
  args: [--more]
  env: [{name: B, value: '2'}, {name: C, value: '3'}]
  resources: {limits: {cpu: 2}}
nodeSelector: {zone: a}
serviceAccountName: me
",
    );
    let selected = select(&service, &[runtime]).unwrap();
    insta::assert_json_snapshot!(selected.pod, @r#"
    {
      "containers": [
        {
          "name": "kserve-container",
          "image": "server:7",
          "args": [
            "--model_name=digits",
            "--more"
          ],
          "env": [
            {
              "name": "A",
              "value": "1"
            },
            {
              "name": "B",
              "value": "2"
            },
            {
              "name": "C",
              "value": "3"
            }
          ],
          "resources": {
            "limits": {
              "cpu": 2,
              "memory": "1Gi"
            }
          }
        },
        {
          "name": "side",
          "image": "side:1"
        }
      ],
      "nodeSelector": {
        "disk": "ssd",
        "zone": "a"
      },
      "serviceAccountName": "me",
      "volumes": [
        {
          "name": "v",
          "emptyDir": {}
        }
      ]
    }
    "#);
    assert_eq!(selected.protocol, "v1");
}

/// The quickstart's model would find no server.
#[test]
fn the_shipped_runtime_serves_onnx() {
    let runtimes: Vec<Runtime> = shipped().iter().map(Runtime::from).collect();
    for spec in [
        MODEL,
        "model: {modelFormat: {name: onnx, version: '1'}, protocolVersion: v2}",
        "model: {modelFormat: {name: onnx}, runtime: windtunnel-onnxserver}",
    ] {
        assert_eq!(chosen(spec, &runtimes).unwrap(), "windtunnel-onnxserver", "{spec}");
    }
    let pod = select(&predictor(MODEL), &runtimes).unwrap().pod;
    assert_eq!(pod["containers"][0]["args"][0], "--model_name=digits");
    assert_eq!(pod["containers"][0]["readinessProbe"]["httpGet"]["path"], "/v2/models/digits/ready");
}
