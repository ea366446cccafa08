//! The Knative Service of an InferenceService.

use windtunnel_api::kserve::runtime::{Runtime, select};
use windtunnel_api::kserve::{ComponentStatus, InferenceService, KserveConfig, defaults, render};
use windtunnel_api::{knative, runtimes};

use crate::predictor;

pub(crate) fn knative_service(service: &InferenceService) -> knative::Service {
    let config = KserveConfig::default();
    let mut service = service.clone();
    defaults::default(&mut service, &config);
    let candidates: Vec<Runtime> = runtimes::shipped().iter().map(Runtime::from).collect();
    render::knative_service(&service, &select(&service, &candidates).unwrap(), &config)
}

/// The simulator and the controllers read everything they know from this object.
#[test]
fn a_model_that_scales_to_zero() {
    let mut service = predictor(
        "
minReplicas: 0
maxReplicas: 4
scaleTarget: 5
scaleMetric: concurrency
containerConcurrency: 8
timeout: 30
labels: {team: a}
model: {modelFormat: {name: onnx}, storageUri: 's3://models/digits/v1'}
",
    );
    service.metadata.labels =
        Some([("networking.knative.dev/visibility".to_owned(), "cluster-local".to_owned())].into());
    service.metadata.annotations = Some(
        [
            ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
            ("autoscaling.knative.dev/window", "10s"),
            ("serving.knative.dev/rollout-duration", "5s"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
    );
    insta::assert_yaml_snapshot!(knative_service(&service));
}

/// The canary gets its share, and the rest stays with the revision that was last rolled out.
#[test]
fn a_canary_beside_what_was_rolled_out() {
    let mut service = predictor(
        "canaryTrafficPercent: 10\nmodel: {modelFormat: {name: onnx}, storageUri: 's3://models/digits/v2'}",
    );
    let component = ComponentStatus {
        latest_rolledout_revision: Some("digits-predictor-00001".to_owned()),
        ..ComponentStatus::default()
    };
    service.status.get_or_insert_default().components.insert("predictor".to_owned(), component);
    let traffic = knative_service(&service).spec.traffic;
    insta::assert_json_snapshot!(traffic, @r#"
    [
      {
        "latestRevision": true,
        "percent": 10
      },
      {
        "tag": "prev",
        "revisionName": "digits-predictor-00001",
        "latestRevision": false,
        "percent": 90
      }
    ]
    "#);
}

/// A model of several sources would start with some of them missing.
#[test]
fn several_storage_uris() {
    let service = predictor(
        "
model: {modelFormat: {name: onnx}}
storageUris: [{uri: 's3://m/base', mountPath: /mnt/models/base}, {uri: 's3://m/lora', mountPath: /mnt/models/lora}]
",
    );
    let rendered = knative_service(&service);
    let pod = &rendered.spec.template.spec.pod;
    assert_eq!(
        pod["initContainers"][0]["args"],
        serde_json::json!(["s3://m/base", "/mnt/models/base", "s3://m/lora", "/mnt/models/lora"])
    );
    assert_eq!(pod["containers"][0]["volumeMounts"][0]["mountPath"], "/mnt/models");
    assert_eq!(pod["volumes"][0]["name"], "mnt-models");
}
