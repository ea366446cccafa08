//! What happens on bad usage and bad input: exit 2, every fault with its place, nothing started.

use std::fs;

use windtunnel_testkit::workspace;

use super::{file, stderr, stdout, windtunnel};

/// A script that mistypes a verb must not go on as if a gate had passed.
#[test]
fn an_unknown_verb_is_bad_usage() {
    let folder = tempfile::tempdir().unwrap();
    let output = windtunnel(folder.path()).arg("fly").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn help_and_version_are_no_failures() {
    let folder = tempfile::tempdir().unwrap();
    for argument in ["--help", "--version"] {
        let output = windtunnel(folder.path()).arg(argument).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{argument}: {}", stderr(&output));
    }
}

/// One run shows every fault, so that nobody fixes a file one message at a time.
#[test]
fn all_faults_of_a_scenario_are_told_at_once_and_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(workspace("fixtures/scenarios/smoke.yaml")).unwrap();
    let broken = text
        .replace("  duration: 12s", "  duratoin: 12s")
        .replace("rate: 60/s", "rate: fast")
        .replace("p50<5s", "p50<")
        .replace("smoke/inferenceservice.yaml", "gone.yaml");
    let path = folder.path().join("broken.yaml");
    fs::write(&path, broken).unwrap();
    let output = windtunnel(folder.path()).arg("run").arg(&path).output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    for expected in ["duration", "rate", "p50<", "gone.yaml", "broken.yaml:"] {
        assert!(told.contains(expected), "`{expected}` is missing in:\n{told}");
    }
    assert!(!folder.path().join("reports").exists(), "a faulty scenario must not leave reports behind");
}

#[test]
fn a_manifest_with_an_unknown_field_names_line_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(workspace("scenarios/quickstart/inferenceservice.yaml")).unwrap();
    let path = folder.path().join("isvc.yaml");
    fs::write(&path, text.replace("minReplicas: 0", "minReplica: 0")).unwrap();
    let output = windtunnel(folder.path()).arg("validate").arg(&path).output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("isvc.yaml:11:") && told.contains("minReplicas"), "{told}");
}

/// A value that KServe's webhook would refuse is told at once, with its place, not after a cluster has been started.
#[test]
fn a_manifest_with_an_impossible_value_names_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(workspace("scenarios/quickstart/inferenceservice.yaml")).unwrap();
    let path = folder.path().join("isvc.yaml");
    fs::write(&path, text.replace("minReplicas: 0", "minReplicas: 5")).unwrap();
    let output = windtunnel(folder.path()).arg("validate").arg(&path).output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("isvc.yaml:11:5: 'MinReplicas' cannot be greater than MaxReplicas"), "{told}");
}

#[test]
fn the_scenarios_of_the_repository_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let output = windtunnel(folder.path())
        .args(["validate", &file("scenarios/quickstart.yaml"), &file("scenarios/azure-code.yaml")])
        .args([&file("fixtures/scenarios/smoke.yaml"), &file("scenarios/quickstart/inferenceservice.yaml")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_schema_is_json() {
    let folder = tempfile::tempdir().unwrap();
    let output = windtunnel(folder.path()).arg("schema").output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema.to_string().contains("canary-share") || schema.to_string().contains("objectives"));
}

/// The decisions are upstream's; this is the command with which a user checks that.
#[test]
fn upstream_vectors_pass_and_an_unknown_kernel_is_no_pass() {
    let folder = tempfile::tempdir().unwrap();
    let output = windtunnel(folder.path())
        .args(["vectors", &file("fixtures/vectors/decision-vectors.yaml")])
        .args(["--only", "knative.kpa.*", "--only", "knative.aggregation.*", "--only", "knative.max_*"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("knative.kpa.scale"), "{}", stdout(&output));

    let path = folder.path().join("unknown.yaml");
    fs::write(&path, "schema: 1\ncount: 1\nvectors:\n- {id: a, kernel: no.such, inputs: {}, expect: {}}\n")
        .unwrap();
    let output = windtunnel(folder.path()).arg("vectors").arg(&path).output().unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{}", stdout(&output));
}

#[test]
fn down_and_status_without_a_stack_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = windtunnel(folder.path()).args(["status", "--output", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["running"], false);
    let output = windtunnel(folder.path()).arg("down").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}
