//! Clients that others wrote, unmodified, against the local KServe.

use std::process::{Command, Stdio};

use windtunnel_testkit::{kserve_sdk, workspace};

use super::up::{Local, gateway, post};
use super::{file, stderr, stdout};

/// If this fails programs written with KServe's SDK do not work here: its client, its models, and its model server as
/// transformer and explainer.
#[test]
fn kserves_own_sdk() {
    let sdk = kserve_sdk().expect("KServe's SDK is missing; run ci/setup");
    let folder = tempfile::tempdir().unwrap();
    let images = format!(
        "images: [{{image: example.com/digits-steps, command: [python3, {:?}], env: {{PYTHONPATH: {sdk:?}}}}}]",
        workspace("ci/clients/digits_steps.py")
    );
    std::fs::write(folder.path().join("images.yaml"), images).unwrap();
    let storage = format!("s3://models/={}", workspace("fixtures/models").display());
    let local = Local::start_in(folder, &["--images", "images.yaml", "--storage", &storage]);
    let output = Command::new("timeout")
        .args(["240", "python3", &file("ci/clients/kserve_sdk.py")])
        .arg(&local.kubeconfig)
        .args([gateway(local.folder.path()), file("fixtures/models/digits/requests.jsonl")])
        .env("PYTHONPATH", &sdk)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
}

/// Where KServe's samples lie beside the checkout; they are read there.
const SAMPLES: &str = "WINDTUNNEL_KSERVE_UPSTREAM";

/// If this fails KServe's first sample does not do what its page says.
#[test]
fn kubectl_runs_kserves_sample() {
    let Some(upstream) = std::env::var_os(SAMPLES) else {
        println!("SKIPPED: {SAMPLES} names no folder with KServe's samples");
        return;
    };
    let sample = std::path::Path::new(&upstream).join("samples/v1beta1__sklearn__v1__sklearn.yaml");
    let sample = sample.display().to_string();
    let folder = tempfile::tempdir().unwrap();
    // The sample's server and model are scikit-learn's; ours has the same model as ONNX.
    let images = format!(
        "images: [{{image: kserve/sklearnserver, command: [{:?}, serve, predictor]}}]",
        env!("CARGO_BIN_EXE_windtunnel")
    );
    std::fs::write(folder.path().join("images.yaml"), images).unwrap();
    let storage = format!(
        "gs://kfserving-examples/models/sklearn/1.0/model={}",
        workspace("fixtures/models/iris").display()
    );
    let local = Local::start_in(folder, &["--images", "images.yaml", "--storage", &storage]);
    let created = stdout(&local.kubectl(&["apply", "-f", &sample]));
    assert_eq!(created, "inferenceservice.serving.kserve.io/sklearn-iris created\n");
    let waited =
        local.kubectl(&["wait", "--for=condition=Ready", "inferenceservice/sklearn-iris", "--timeout=60s"]);
    let described = stdout(&local.kubectl(&["describe", "isvc", "sklearn-iris"]));
    assert!(waited.status.success(), "{described}");
    assert!(described.contains("InferenceService [sklearn-iris] is Ready"), "{described}");
    let url = stdout(&local.kubectl(&["get", "isvc", "sklearn-iris", "-o", "jsonpath={.status.url}"]));
    let host = url.strip_prefix("http://").unwrap();
    let body = r#"{"instances": [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]}"#;
    let answer = post(&gateway(local.folder.path()), host, "/v1/models/sklearn-iris:predict", body);
    let (_, answer) = answer.split_once("\r\n\r\n").unwrap();
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
    assert_eq!(answer, serde_json::json!({"predictions": [1, 1]}));
    let explained = stdout(&local.kubectl(&["explain", "isvc.spec.predictor"]));
    assert!(explained.contains("minReplicas") && explained.contains("canaryTrafficPercent"), "{explained}");
    let gone = local.kubectl(&["delete", "-f", &sample, "--timeout=60s"]);
    assert!(gone.status.success(), "{}", stderr(&gone));
}
