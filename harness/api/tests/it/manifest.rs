//! Reading manifests with the place of every fault.

use windtunnel_api::manifest::parse;

fn faults(text: &str) -> Vec<String> {
    parse(text, "m.yaml").expect_err("faults").iter().map(ToString::to_string).collect()
}

/// A user with three typos would need three runs to find them, or would not find the place at all.
#[test]
fn all_faults_at_once_with_their_places() {
    let text = "\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: digits
spec:
  predictor:
    minReplica: 0
    maxReplicas: three
    scaleMetric: concurency
    model:
      modelFormat:
        name: onnx
      storageURI: s3://m
      resources:
        limit: {cpu: 1}
    containers:
      - name: x
        imag: y
  transfomer: {}
";
    insta::assert_snapshot!(faults(text).join("\n"), @r#"
    m.yaml:7:5: unknown field "minReplica" in spec.predictor (did you mean "minReplicas"?)
    m.yaml:8:18: spec.predictor.maxReplicas is a string where an integer is wanted
    m.yaml:9:18: spec.predictor.scaleMetric is "concurency", which is none of cpu, memory, concurrency, rps (did you mean "concurrency"?)
    m.yaml:13:7: unknown field "storageURI" in spec.predictor.model (did you mean "storageUri"?)
    m.yaml:15:9: unknown field "limit" in spec.predictor.model.resources (did you mean "limits"?)
    m.yaml:18:9: unknown field "imag" in spec.predictor.containers[0] (did you mean "image"?)
    m.yaml:19:3: unknown field "transfomer" in spec (did you mean "transformer"?)
    "#);
}

/// Text that is no YAML, or no object, must be named as that.
#[test]
fn not_a_manifest() {
    assert!(faults("a: [").first().unwrap().starts_with("m.yaml:"));
    assert_eq!(
        faults("- 1"),
        ["m.yaml:1:1: a manifest must be a mapping (a manifest starts with apiVersion and kind)"]
    );
    let missing = faults("kind: ConfigMap\nmetadata: {}\n");
    assert_eq!(missing.len(), 2, "{missing:?}");
    let old =
        "apiVersion: serving.kserve.io/v1alpha2\nkind: InferenceService\nmetadata: {name: x}\nspec: {}\n";
    assert!(faults(old)[0].contains("use serving.kserve.io/v1beta1"), "{:?}", faults(old));
}

/// A file with several documents would lose all but the first.
#[test]
fn several_documents_of_any_kind() {
    let text = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: n}
data: {x: \"1\"}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: b}
spec: {predictor: {minReplicas: 0, model: {modelFormat: {name: onnx}}}}
---
";
    let manifests = parse(text, "m.yaml").unwrap();
    let seen: Vec<_> = manifests
        .iter()
        .map(|m| (m.kind.as_str(), m.name.as_str(), m.namespace.as_deref(), m.line))
        .collect();
    assert_eq!(seen, [("ConfigMap", "a", Some("n"), 1), ("InferenceService", "b", None, 6)]);
    assert_eq!(manifests[0].value["data"]["x"], "1");
    assert!(manifests[0].inference_service().is_none());
    assert_eq!(manifests[1].inference_service().unwrap().spec.predictor.extension.min_replicas, Some(0));
}

/// Fields that are newer than we are must survive reading and writing a live object.
#[test]
fn unknown_fields_of_live_objects_survive() {
    let live = serde_json::json!({
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "x"},
        "spec": {
            "future": {"a": 1},
            "predictor": {
                "futureReplicas": 3,
                "minReplicas": 1,
                "containers": [{"name": "c", "futureProbe": true}],
                "model": {"modelFormat": {"name": "onnx", "flavour": "x"}, "futureFlag": true},
                "logger": {"mode": "all", "future": 1}
            }
        },
        "status": {"future": "y", "components": {"predictor": {"future": 1}}}
    });
    let typed: windtunnel_api::kserve::InferenceService = serde_json::from_value(live.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), live);
}
