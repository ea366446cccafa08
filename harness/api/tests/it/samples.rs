//! KServe's own documented samples: each is admitted, or refused for a reason that upstream has too.

use windtunnel_api::kserve::plan::{Inputs, plan};
use windtunnel_api::kserve::{ClusterServingRuntime, KserveConfig, defaults, runtime, validate};
use windtunnel_api::manifest::parse;

use crate::upstream;

/// Samples that KServe's present webhooks and definitions refuse too.
fn refused_upstream_too(file: &str, message: &str) -> bool {
    // The v1alpha2 API is gone.
    message.contains("has no InferenceService")
        // Removed explainers and fields of removed APIs.
        || (file.starts_with("explanation__") && message.contains("unknown field"))
        || (file.starts_with("rollout-strategy__") && message.contains("unknown field \"custom\""))
        // Written before the webhook refused a container name.
        || (file.starts_with("multimodelserving__") && message == "the 'name' field is not allowed in standard predictor")
}

/// Users copy these files: whatever upstream accepts of them must be accepted, rendered and rolled out here.
#[test]
fn every_sample_is_admitted_or_refused_for_upstreams_reason() {
    let Some(folder) = upstream("samples") else { return };
    let config = KserveConfig::default();
    let (mut admitted, mut refused, mut wrong) = (0, 0, Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let manifests = match parse(&text, &file) {
            Ok(manifests) => manifests,
            Err(faults) => {
                for fault in faults {
                    if refused_upstream_too(&file, &fault.message) {
                        refused += 1;
                    } else {
                        wrong.push(fault.to_string());
                    }
                }
                continue;
            }
        };
        for manifest in manifests {
            let Some(service) = manifest.inference_service() else { continue };
            let mut service = service.clone();
            defaults::default(&mut service, &config);
            match validate::validate(&service, None) {
                Ok(()) => admitted += 1,
                Err(message) if refused_upstream_too(&file, &message) => refused += 1,
                Err(message) => wrong.push(format!("{file}: {message}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(admitted >= 55, "only {admitted} admitted, {refused} refused");
}

/// Teams bring their runtimes with them: all of upstream's must be read, and samples that name no image
/// must find one among them.
#[test]
fn upstreams_runtimes_serve_upstreams_samples() {
    let (Some(runtimes), Some(samples)) = (upstream("runtimes"), upstream("samples")) else { return };
    let mut candidates = Vec::new();
    for entry in std::fs::read_dir(runtimes).unwrap() {
        let path = entry.unwrap().path();
        // Lies beside the others but is not among those that upstream installs.
        if path.ends_with("kserve-openvino.yaml") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        let runtime: ClusterServingRuntime = serde_saphyr::from_str(&text).unwrap();
        candidates.push(runtime::Runtime::from(&runtime));
    }
    assert_eq!(candidates.len(), 14);
    let config = KserveConfig::default();
    for (file, expected) in [
        ("v1beta1__sklearn__v1__sklearn.yaml", "kserve-sklearnserver"),
        ("v1beta1__sklearn__v2__sklearn.yaml", "kserve-mlserver"),
        ("v1beta1__onnx__onnx.yaml", "kserve-tritonserver"),
        ("v1beta1__tensorflow__canary.yaml", "kserve-tensorflow-serving"),
        ("v1beta1__xgboost__xgboost.yaml", "kserve-mlserver"),
        ("v1beta1__pmml__pmml.yaml", "kserve-pmmlserver"),
        ("v1beta1__torchserve__v1__torchserve.yaml", "kserve-torchserve"),
    ] {
        let text = std::fs::read_to_string(samples.join(file)).unwrap();
        let manifests = parse(&text, file).unwrap();
        let mut service = manifests.iter().find_map(|m| m.inference_service()).unwrap().clone();
        defaults::default(&mut service, &config);
        let made = plan(&Inputs::new(&service, &config, &candidates));
        assert_eq!(made.status.cluster_serving_runtime_name.as_deref(), Some(expected), "{file}");
        let rendered = made.children.knative_services;
        assert_eq!(rendered.len(), 1, "{file}");
        assert!(!serde_json::to_string(&rendered).unwrap().contains("{{"), "{file} has placeholders left");
    }
}
