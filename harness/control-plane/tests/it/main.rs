//! Tests of the control plane: its pure reconcilers on a world in memory, and the running controllers on the
//! embedded API server, where the test plays kubelet.

mod admission;
mod autoscaling;
mod chain;
mod failover;
mod ingresses;
mod keda;
mod local_model_agent;
mod local_models;
mod on_demand;
mod permissions;
mod platform;
mod refused;
mod revisions;
mod robust;
mod sandbox;
mod server;
mod standard;
mod wait;
mod webhooks;

use windtunnel_api::kserve::InferenceService;

/// An InferenceService for an ONNX model, with more predictor settings as JSON.
fn digits(version: &str, settings: serde_json::Value) -> InferenceService {
    let mut predictor = serde_json::json!({
        "minReplicas": 0,
        "model": {"modelFormat": {"name": "onnx"}, "storageUri": format!("s3://models/digits/{version}")},
    });
    let serde_json::Value::Object(settings) = settings else { panic!("settings are an object") };
    for (key, value) in settings {
        predictor[key] = value;
    }
    serde_json::from_value(serde_json::json!({
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "digits", "namespace": "default"},
        "spec": {"predictor": predictor},
    }))
    .expect("a valid InferenceService")
}
