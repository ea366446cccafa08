//! Tests of the api crate through its public functions.
//!
//! Tests over KServe's own samples, definitions and runtimes read the folder that the environment variable
//! `WINDTUNNEL_KSERVE_UPSTREAM` names (`samples/`, `crd/`, `runtimes/`) and say that they skip without it.

mod config;
mod crds;
mod kinds_validation;
mod knative;
mod manifest;
mod plan;
mod pod;
mod runtime;
mod runtimes_shipped;
mod samples;
mod validation;

use std::path::PathBuf;

use windtunnel_api::kserve::InferenceService;
use windtunnel_api::manifest::parse;

/// The InferenceService in a YAML text.
fn service(text: &str) -> InferenceService {
    let manifests = parse(text, "test.yaml").unwrap_or_else(|faults| panic!("{faults:?}"));
    manifests[0].inference_service().expect("an InferenceService").clone()
}

/// The InferenceService with the given predictor, in YAML flow or block style.
fn predictor(spec: &str) -> InferenceService {
    let indented: String = spec.trim_matches('\n').lines().map(|line| format!("    {line}\n")).collect();
    service(&format!(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata:\n  name: digits\n  namespace: default\n  uid: isvc-uid\nspec:\n  predictor:\n{indented}"
    ))
}

/// KServe's own files, if they are here.
fn upstream(folder: &str) -> Option<PathBuf> {
    let found = std::env::var_os("WINDTUNNEL_KSERVE_UPSTREAM").map(|root| PathBuf::from(root).join(folder));
    let found = found.filter(|folder| folder.is_dir());
    if found.is_none() {
        eprintln!("skipped: WINDTUNNEL_KSERVE_UPSTREAM names no folder with {folder}/");
    }
    found
}
