//! The definitions that the API server gets.

use kube::CustomResourceExt;
use serde_json::Value;
use windtunnel_api::kserve::{InferenceGraph, InferenceService, LocalModelCache, LocalModelNamespaceCache};

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

/// What upstream's definitions let users write, ours must let them write, and must refuse what they refuse.
#[test]
fn every_field_of_upstreams_definitions_is_known() {
    let Some(folder) = upstream("crd") else { return };
    let mut missing = Vec::new();
    let mut compared = 0;
    for crd in windtunnel_api::crds() {
        let ours = serde_json::to_value(crd).unwrap();
        let name = ours["spec"]["names"]["plural"].as_str().unwrap();
        let file = folder.join(format!("serving.kserve.io_{name}.yaml"));
        if ours["spec"]["group"] != "serving.kserve.io" {
            continue;
        }
        compared += 1;
        let text = std::fs::read_to_string(file).unwrap();
        let upstream: Value = serde_saphyr::from_str(&text).unwrap();
        let (theirs, mine) = (&schema(&upstream)["properties"], &schema(&ours)["properties"]);
        compare(&theirs["spec"], &mine["spec"], &format!("{name}.spec"), &mut missing);
        let (theirs, mine) = (&upstream["spec"], &ours["spec"]);
        assert_eq!(theirs["scope"], mine["scope"], "{name}");
        let short = |spec: &Value| spec["names"]["shortNames"].as_array().cloned().unwrap_or_default();
        assert_eq!(short(theirs), short(mine), "{name}");
        let (theirs, mine) = (&theirs["versions"][0], &mine["versions"][0]);
        assert_eq!(theirs["name"], mine["name"], "{name}");
        let status = |version: &Value| version["subresources"]["status"].is_object();
        assert_eq!(status(theirs), status(mine), "{name}");
        let columns = |version: &Value| -> Vec<Value> {
            let all = version["additionalPrinterColumns"].as_array().cloned().unwrap_or_default();
            all.iter()
                .map(|column| serde_json::json!([column["name"], column["jsonPath"], column["type"]]))
                .collect()
        };
        assert_eq!(columns(theirs), columns(mine), "{name}");
    }
    assert_eq!(compared, 10);
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Rules that no webhook checks.
#[test]
fn the_place_of_a_cached_model_cannot_change() {
    for crd in
        [serde_json::to_value(LocalModelCache::crd()), serde_json::to_value(LocalModelNamespaceCache::crd())]
    {
        let value = crd.unwrap();
        let spec = &schema(&value)["properties"]["spec"]["properties"];
        assert_eq!(
            spec["sourceModelUri"]["x-kubernetes-validations"],
            serde_json::json!([{"rule": "self == oldSelf", "message": "StorageUri is immutable"}])
        );
        assert_eq!(spec["nodeGroups"]["minItems"], 1);
    }
    let value = serde_json::to_value(InferenceGraph::crd()).unwrap();
    let node =
        &schema(&value)["properties"]["spec"]["properties"]["nodes"]["additionalProperties"]["properties"];
    assert_eq!(node["routerType"]["enum"], serde_json::json!(["Sequence", "Splitter", "Ensemble", "Switch"]));
}

fn compare(upstream: &Value, ours: &Value, path: &str, missing: &mut Vec<String>) {
    if ours["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true) {
        return;
    }
    for (name, inner) in upstream["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match ours["properties"].get(name) {
            Some(mine) => {
                let requires = |schema: &Value| -> Vec<String> {
                    let mut all: Vec<String> = schema["required"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|field| field.as_str().map(str::to_owned))
                        .collect();
                    all.sort();
                    all
                };
                let sealed = mine["properties"].is_object();
                // Upstream's generator takes a canary's model for a whole container, which has a name; its own samples
                // don't give one.
                let canary =
                    path.contains(".canary[].predictor.") && requires(inner).contains(&"name".to_owned());
                if sealed && inner["properties"].is_object() && requires(mine) != requires(inner) && !canary {
                    missing.push(format!(
                        "{path} requires {:?} there and {:?} here",
                        requires(inner),
                        requires(mine)
                    ));
                }
                if sealed && mine["enum"] != inner["enum"] {
                    missing
                        .push(format!("{path} is one of {} there and {} here", inner["enum"], mine["enum"]));
                }
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
