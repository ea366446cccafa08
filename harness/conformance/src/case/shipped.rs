//! The cases that come with the binary, so that it needs no checkout to run them.

use std::path::Path;

use windtunnel_scenario::Faults;

use super::{Case, read};

/// Path in the repository and text of every shipped file; a test compares the list with the folder.
pub const SHIPPED: [(&str, &str); 18] = [
    (
        "scenarios/conformance/admission/canary.yaml",
        include_str!("../../../../scenarios/conformance/admission/canary.yaml"),
    ),
    (
        "scenarios/conformance/admission/graph.yaml",
        include_str!("../../../../scenarios/conformance/admission/graph.yaml"),
    ),
    (
        "scenarios/conformance/admission/inferenceservice.yaml",
        include_str!("../../../../scenarios/conformance/admission/inferenceservice.yaml"),
    ),
    (
        "scenarios/conformance/admission/runtime.yaml",
        include_str!("../../../../scenarios/conformance/admission/runtime.yaml"),
    ),
    (
        "scenarios/conformance/admission/trained-model.yaml",
        include_str!("../../../../scenarios/conformance/admission/trained-model.yaml"),
    ),
    (
        "scenarios/conformance/autoscaling/autoscaling.yaml",
        include_str!("../../../../scenarios/conformance/autoscaling/autoscaling.yaml"),
    ),
    (
        "scenarios/conformance/canary/knative.yaml",
        include_str!("../../../../scenarios/conformance/canary/knative.yaml"),
    ),
    (
        "scenarios/conformance/canary/standard.yaml",
        include_str!("../../../../scenarios/conformance/canary/standard.yaml"),
    ),
    (
        "scenarios/conformance/defaulting/inferenceservice.yaml",
        include_str!("../../../../scenarios/conformance/defaulting/inferenceservice.yaml"),
    ),
    (
        "scenarios/conformance/graph/controller.yaml",
        include_str!("../../../../scenarios/conformance/graph/controller.yaml"),
    ),
    (
        "scenarios/conformance/pods/mutation.yaml",
        include_str!("../../../../scenarios/conformance/pods/mutation.yaml"),
    ),
    (
        "scenarios/conformance/runtime/selection.yaml",
        include_str!("../../../../scenarios/conformance/runtime/selection.yaml"),
    ),
    (
        "scenarios/conformance/standard/children.yaml",
        include_str!("../../../../scenarios/conformance/standard/children.yaml"),
    ),
    (
        "scenarios/conformance/standard/ingress.yaml",
        include_str!("../../../../scenarios/conformance/standard/ingress.yaml"),
    ),
    (
        "scenarios/conformance/standard/stop.yaml",
        include_str!("../../../../scenarios/conformance/standard/stop.yaml"),
    ),
    (
        "scenarios/conformance/status/inferenceservice.yaml",
        include_str!("../../../../scenarios/conformance/status/inferenceservice.yaml"),
    ),
    (
        "scenarios/conformance/storage/ca-bundle.yaml",
        include_str!("../../../../scenarios/conformance/storage/ca-bundle.yaml"),
    ),
    (
        "scenarios/conformance/storage/local-models.yaml",
        include_str!("../../../../scenarios/conformance/storage/local-models.yaml"),
    ),
];

/// The shipped cases, in the order of their files.
///
/// # Errors
/// What is wrong with a shipped file, a defect.
pub fn shipped() -> Result<Vec<Case>, Faults> {
    let mut cases = Vec::new();
    for (path, text) in SHIPPED {
        cases.extend(read(text, Path::new(path))?);
    }
    Ok(cases)
}
