//! The definitions that the API server gets.

use kube::CustomResourceExt;
use serde_json::Value;
use windtunnel_api::kserve::InferenceService;

use crate::upstream;

fn schema(crd: &Value) -> &Value {
    &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// A cluster refuses a definition that is not structural, and nothing could be installed.
#[test]
fn definitions_are_structural_and_small() {
    for crd in windtunnel_api::crds() {
        let value = serde_json::to_value(&crd).unwrap();
        structural(schema(&value), &format!("{}", value["metadata"]["name"]));
        let size = value.to_string().len();
        assert!(size < 128 * 1024, "{} has {size} bytes", value["metadata"]["name"]);
    }
}

fn structural(schema: &Value, path: &str) {
    let opaque = schema["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true);
    let number_or_text = schema["x-kubernetes-int-or-string"] == Value::Bool(true);
    assert!(schema["type"].is_string() || opaque || number_or_text, "{path} has no type: {schema}");
    assert!(schema["$ref"].is_null(), "{path} has a reference");
    let both = schema["properties"].is_object() && !schema["additionalProperties"].is_null();
    assert!(!both, "{path} has properties and additionalProperties");
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        structural(inner, &format!("{path}.{name}"));
    }
    if schema["items"].is_object() {
        structural(&schema["items"], &format!("{path}[]"));
    }
}

/// A typo in `spec.predictor` must be an unknown field for `kubectl --validate=strict`.
#[test]
fn unknown_predictor_fields_are_not_preserved() {
    let value = serde_json::to_value(InferenceService::crd()).unwrap();
    let predictor = &schema(&value)["properties"]["spec"]["properties"]["predictor"];
    assert!(predictor["x-kubernetes-preserve-unknown-fields"].is_null());
    for field in
        ["minReplicas", "canaryTrafficPercent", "model", "containers", "nodeSelector", "serviceAccountName"]
    {
        assert!(predictor["properties"][field].is_object(), "{field} is missing");
    }
    assert!(predictor["properties"]["minReplica"].is_null());
}

/// What upstream's definition lets users write, ours must let them write.
#[test]
fn every_field_of_upstreams_inference_service_is_known() {
    let Some(folder) = upstream("crd") else { return };
    let text = std::fs::read_to_string(folder.join("serving.kserve.io_inferenceservices.yaml")).unwrap();
    let upstream: Value = serde_saphyr::from_str(&text).unwrap();
    let ours = serde_json::to_value(InferenceService::crd()).unwrap();
    let mut missing = Vec::new();
    compare(
        &schema(&upstream)["properties"]["spec"],
        &schema(&ours)["properties"]["spec"],
        "spec",
        &mut missing,
    );
    assert!(missing.is_empty(), "{missing:#?}");
}

fn compare(upstream: &Value, ours: &Value, path: &str, missing: &mut Vec<String>) {
    if ours["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true) {
        return;
    }
    for (name, inner) in upstream["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match ours["properties"].get(name) {
            Some(mine) => {
                if mine["type"] != inner["type"]
                    && mine["x-kubernetes-preserve-unknown-fields"] != Value::Bool(true)
                {
                    missing.push(format!("{path} is {} there and {} here", inner["type"], mine["type"]));
                }
                compare(inner, mine, &path, missing);
            }
            None => missing.push(path),
        }
    }
    if upstream["items"].is_object() {
        compare(&upstream["items"], &ours["items"], &format!("{path}[]"), missing);
    }
}
