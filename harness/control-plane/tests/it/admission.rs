//! The webhooks, called as the API server calls them.

use serde_json::{Value, json};
use windtunnel_apiserver::{Attributes, Operation};
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
