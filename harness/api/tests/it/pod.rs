//! What the pod webhook does.

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use windtunnel_api::kserve::{KserveConfig, pod};

fn make(uri: &str, annotations: serde_json::Value) -> Pod {
    let mut annotations = annotations;
    annotations["internal.serving.kserve.io/storage-initializer-sourceuri"] = json!(uri);
    serde_json::from_value(json!({
        "metadata": {"name": "p", "labels": {"serving.kserve.io/inferenceservice": "digits"}, "annotations": annotations},
        "spec": {"containers": [
            {"name": "queue-proxy"},
            {"name": "kserve-container", "env": [{"name": "STORAGE_URI", "value": uri}]},
        ]},
    }))
    .unwrap()
}

/// The server would start before its model is there.
#[test]
fn the_storage_initializer_comes_first() {
    let mut pod = make("s3://models/digits/v1", json!({}));
    pod::mutate(&mut pod, &KserveConfig::default());
    let once = pod.clone();
    pod::mutate(&mut pod, &KserveConfig::default());
    assert_eq!(once, pod, "a second call must change nothing");
    insta::assert_yaml_snapshot!(pod.spec);
}

/// A claim is mounted, not downloaded; a writable model folder stays writable.
#[test]
fn claims_and_writable_folders() {
    let mut pod = make("pvc://shelf/digits/v1", json!({"storage.kserve.io/readonly": "false"}));
    pod::mutate(&mut pod, &KserveConfig::default());
    let spec = serde_json::to_value(&pod.spec).unwrap();
    assert!(spec["initContainers"].is_null());
    assert_eq!(spec["volumes"][0]["persistentVolumeClaim"]["claimName"], "shelf");
    let mount = &spec["containers"][1]["volumeMounts"][0];
    assert_eq!((mount["subPath"].as_str(), mount["readOnly"].as_bool()), (Some("digits/v1"), Some(false)));
}

/// Other people's pods must not be touched.
#[test]
fn pods_of_others() {
    let mut pod = make("s3://m", json!({}));
    pod.metadata.labels = None;
    let before = pod.clone();
    pod::mutate(&mut pod, &KserveConfig::default());
    assert_eq!(pod, before);
}
