//! The webhooks, called as the API server calls them.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use serde_json::{Value, json};
use windtunnel_api::kserve::ServingRuntime;
use windtunnel_apiserver::{Attributes, Operation};
use windtunnel_control_plane::admission::LiveKind;
use windtunnel_control_plane::{ControlPlane, LiveConfig};

use crate::digits;

fn attributes(group: &str, resource: &str, operation: Operation) -> Attributes {
    Attributes {
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        subresource: String::new(),
        kind: String::new(),
        namespace: "default".to_owned(),
        name: "digits".to_owned(),
        operation,
        dry_run: false,
    }
}

/// Sends an object through every reviewer that wants to see it.
fn review(config: &LiveConfig, attributes: &Attributes, object: &mut Value) -> Result<(), String> {
    for reviewer in ControlPlane::admission_with(config) {
        if reviewer.matches(attributes) {
            reviewer
                .review(attributes, object, None)
                .map_err(|denial| format!("{}: {}", reviewer.name(), denial.message))?;
        }
    }
    Ok(())
}

/// Invalid services would be stored and fail later, in the dark.
#[test]
fn services_are_defaulted_and_then_validated() {
    let config = LiveConfig::default();
    let create = attributes("serving.kserve.io", "inferenceservices", Operation::Create);
    let mut good =
        serde_json::to_value(digits("v1", json!({"model": null, "onnx": {"storageUri": "s3://m"}}))).unwrap();
    assert_eq!(review(&config, &create, &mut good), Ok(()));
    assert_eq!(good["spec"]["predictor"]["model"]["modelFormat"]["name"], "onnx");
    let mut bad = serde_json::to_value(digits("v1", json!({"minReplicas": 3, "maxReplicas": 1}))).unwrap();
    assert_eq!(
        review(&config, &create, &mut bad),
        Err("inferenceservice.kserve-webhook-server.validator: 'MinReplicas' cannot be greater than MaxReplicas".into())
    );
    let delete = attributes("serving.kserve.io", "inferenceservices", Operation::Delete);
    assert_eq!(review(&config, &delete, &mut bad), Ok(()), "what is invalid can be deleted");
}

/// The model would not be there when its server starts; other pods must stay as they are.
#[test]
fn pods_get_the_storage_initializer_of_the_live_configuration() {
    let config = LiveConfig::default();
    let mut kserve = (*config.get()).clone();
    kserve.storage_initializer.image = "mine:1".to_owned();
    config.set(kserve);
    let create = attributes("", "pods", Operation::Create);
    let mut pod = json!({
        "metadata": {"labels": {"serving.kserve.io/inferenceservice": "digits"},
            "annotations": {"internal.serving.kserve.io/storage-initializer-sourceuri": "s3://m/v1"}},
        "spec": {"containers": [{"name": "kserve-container"}]},
    });
    assert_eq!(review(&config, &create, &mut pod), Ok(()));
    assert_eq!(pod["spec"]["initContainers"][0]["image"], "mine:1");
    let mut other = json!({"metadata": {}, "spec": {"containers": [{"name": "x"}], "fieldOfTheFuture": 1}});
    let before = other.clone();
    assert_eq!(review(&config, &create, &mut other), Ok(()));
    assert_eq!(other, before);
}

/// What the webhooks know must follow the cluster: a runtime that collides, a secret that is missing, a logger.
#[test]
fn reviewers_follow_the_objects_around() {
    let live = LiveConfig::default();
    let runtime = |name: &str, priority: i32| -> ServingRuntime {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
            "supportedModelFormats": [{"name": "onnx", "autoSelect": true, "priority": priority}],
            "protocolVersions": ["v2"], "containers": [{"name": "kserve-container"}]}}))
        .unwrap()
    };
    live.apply(runtime("old", 1));
    let create = attributes("serving.kserve.io", "servingruntimes", Operation::Create);
    let mut new = serde_json::to_value(runtime("new", 1)).unwrap();
    let collision = "servingruntime.kserve-webhook-server.validator: same priority assigned for the model format onnx \
                     in the servingruntimes old and new in namespace default";
    assert_eq!(review(&live, &create, &mut new), Err(collision.to_owned()));
    live.remove(LiveKind::ServingRuntime, "default", "old");
    assert_eq!(review(&live, &create, &mut new), Ok(()));

    let account: ServiceAccount = serde_json::from_value(json!({
        "metadata": {"name": "default", "namespace": "default"}, "secrets": [{"name": "keys"}]}))
    .unwrap();
    live.apply(account);
    let create = attributes("", "pods", Operation::Create);
    let pod = json!({
        "metadata": {"labels": {"serving.kserve.io/inferenceservice": "digits"},
            "annotations": {"internal.serving.kserve.io/storage-initializer-sourceuri": "hf://org/model"}},
        "spec": {"containers": [{"name": "kserve-container"}]},
    });
    let missing = review(&live, &create, &mut pod.clone());
    let words = "inferenceservice.kserve-webhook-server.pod-mutator: secrets \"keys\" not found";
    assert_eq!(missing, Err(words.to_owned()));
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "keys", "namespace": "default"}, "data": {"HF_TOKEN": "dG9rZW4="}}))
    .unwrap();
    live.apply(secret);
    let mut admitted = pod;
    assert_eq!(review(&live, &create, &mut admitted), Ok(()));
    assert_eq!(
        admitted["spec"]["initContainers"][0]["env"][0]["valueFrom"]["secretKeyRef"],
        json!({"name": "keys", "key": "HF_TOKEN"})
    );
    assert!(admitted["metadata"].get("namespace").is_none(), "the API server fills it in itself");
}

/// A slip in the ConfigMap must reach an operator, and must not change what worked.
#[test]
fn faults_of_the_configuration_are_told() {
    let live = LiveConfig::default();
    let data = |text: &str| [("agent".to_owned(), text.to_owned())].into();
    assert_eq!(live.configure(&data(r#"{"image": "mine:1"}"#)), []);
    let faults = live.configure(&data("{"));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].to_string().starts_with("ConfigMap kserve/inferenceservice-config, key agent: "));
    assert_eq!(live.get().agent.image, "mine:1");
}

/// Clients of the embedded API server see warnings as those of a real one do.
#[test]
fn validators_warn() {
    let mut service = serde_json::to_value(digits(
        "v1",
        json!({"model": {"modelFormat": {"name": "onnx"},
        "storageUri": "pvc://m", "confidential": {"enabled": true}}}),
    ))
    .unwrap();
    let create = attributes("serving.kserve.io", "inferenceservices", Operation::Create);
    let mut warnings = Vec::new();
    for reviewer in ControlPlane::admission() {
        if reviewer.matches(&create) {
            reviewer.review_with_warnings(&create, &mut service, None, &mut warnings).unwrap();
        }
    }
    let words =
        "confidential has no effect with PVC URIs; the storage-initializer is not injected for PVC volumes";
    assert_eq!(warnings, [words]);
}
