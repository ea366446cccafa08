//! Clients that others wrote, unmodified, against the local KServe.

use std::process::{Command, Stdio};

use windtunnel_testkit::{kserve_sdk, tools, workspace};

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

/// If this fails programs that know nothing of KServe's SDK do not work here: operators, notebooks, pipelines.
#[test]
fn kubernetes_own_python_client() {
    let tools = tools().expect("the Python packages are missing; run ci/setup");
    let local = Local::start();
    let output = Command::new("timeout")
        .args(["120", "python3", &file("ci/clients/kubernetes_client.py")])
        .arg(&local.kubeconfig)
        .env("PYTHONPATH", &tools)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(stderr(&output).contains("Ran 4 tests"), "{}", stderr(&output));
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

/// Samples that KServe v0.20 takes no more, and what is said about them: their version or their fields are gone, they need a
/// namespace of their own, or break a rule of its webhook.
const OUTDATED: &[(&str, &str)] = &[
    ("explanation__aif__germancredit__bias-v1alpha1", "serving.kserve.io/v1alpha2"),
    ("explanation__alibi__cifar10__cifar10", "unknown field \"spec.explainer.alibi\""),
    ("explanation__alibi__income__income", "unknown field \"spec.explainer.alibi\""),
    ("explanation__alibi__moviesentiment__moviesentiment", "unknown field \"spec.explainer.alibi\""),
    ("multimodelserving__sklearn__inferenceservice", "the 'name' field is not allowed in standard predictor"),
    ("outlier-detection__alibi-detect__cifar10__cifar10", "namespaces \"cifar10\" not found"),
    ("rollout-strategy__rollout-strategy-example", "unknown field \"spec.transformer.custom\""),
    ("storage__oci-fetch__inference_service", "namespaces \"kserve-test\" not found"),
    ("storage__pvc__mnist-pvc", "serving.kserve.io/v1alpha2"),
];

/// If this fails a page of KServe's documentation does not work here.
#[test]
fn kubectl_takes_kserves_samples() {
    let Some(upstream) = std::env::var_os(SAMPLES) else {
        println!("SKIPPED: {SAMPLES} names no folder with KServe's samples");
        return;
    };
    let local = Local::start();
    let mut samples: Vec<_> = std::fs::read_dir(std::path::Path::new(&upstream).join("samples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    samples.sort();
    let mut taken = 0;
    for sample in &samples {
        let name = sample.file_stem().unwrap().to_string_lossy().into_owned();
        let applied = local.kubectl(&["apply", "--dry-run=server", "-f", &sample.display().to_string()]);
        let said = stdout(&applied) + &stderr(&applied);
        match OUTDATED.iter().find(|(outdated, _)| *outdated == name) {
            None => {
                assert!(applied.status.success(), "{name}: {said}");
                assert!(
                    said.lines().all(|line| line.ends_with("created (server dry run)")),
                    "{name}: {said}"
                );
                taken += 1;
            }
            Some((_, why)) => assert!(!applied.status.success() && said.contains(why), "{name}: {said}"),
        }
    }
    println!("{taken} of {} samples are taken", samples.len());
    assert!(taken >= 50, "{taken}");
}
