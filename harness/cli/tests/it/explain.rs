//! Why a decision fell so: an autoscaler's dry run, and the decisions of a recording.

use std::fs;

use serde_json::Value;

use super::{file, stderr, stdout, windtunnel};

/// Kubernetes has no dry run of an autoscaler; here it is one command, and its numbers are those of a calculation by hand:
/// 400m of 500m are 80 %, 80/50 x 4 pods = 6.4, rounded up 7.
#[test]
fn an_autoscaler_is_asked_on_paper() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |more: &[&str]| {
        windtunnel(folder.path())
            .args(["explain", "hpa", "--manifest", &file("fixtures/hpa/hpa.yaml"), "--metrics"])
            .arg(file("fixtures/hpa/metrics.yaml"))
            .args(more)
            .output()
            .unwrap()
    };
    let output = ask(&[]);
    let told = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for expected in ["Deployment web: 4 -> 7 replicas", "ceil(1.6 x 4 ready) = 7", "8 replicas:", "at 88 %"] {
        assert!(told.contains(expected), "`{expected}` is missing in:\n{told}");
    }
    let value: Value = serde_json::from_slice(&ask(&["--output", "json"]).stdout).unwrap();
    assert_eq!((&value["current"], &value["replicas"]), (&4.into(), &7.into()), "{value}");
}

/// A mistyped metrics file must not be read as "no pods".
#[test]
fn what_cannot_be_asked_is_bad_usage_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let old = write(
        "old.yaml",
        "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\n",
    );
    let typo = write("typo.yaml", "replica: 4\n");
    let (hpa, metrics) = (file("fixtures/hpa/hpa.yaml"), file("fixtures/hpa/metrics.yaml"));
    for (arguments, expected) in [
        (vec!["explain", "hpa", "--manifest", &hpa], "--metrics"),
        (vec!["explain", "hpa", "--manifest", &hpa, "--metrics", &typo], "replica"),
        (vec!["explain", "hpa", "--manifest", &old, "--metrics", &metrics], "autoscaling/v2"),
        (vec!["explain", "hpa", "--manifest", &metrics, "--metrics", &metrics], "metrics.yaml"),
        (vec!["explain", "gone.jsonl"], "gone.jsonl"),
        (vec!["explain", "gone.jsonl", "--manifest", &hpa], "explain hpa"),
    ] {
        let output = windtunnel(folder.path()).args(&arguments).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?} without `{expected}`: {told}");
    }
}

/// Whoever asks why there were four pods at 30 s must find the decision, and only those of the span.
#[test]
fn the_decisions_of_a_recording_are_told_for_a_span() {
    let folder = tempfile::tempdir().unwrap();
    let run = windtunnel(folder.path())
        .args(["run", "--mode", "sim", &file("scenarios/quickstart.yaml")])
        .output()
        .unwrap();
    assert!(folder.path().join("reports/quickstart/simulated.jsonl").exists(), "{}", stderr(&run));
    let ask = |more: &[&str]| {
        let output = windtunnel(folder.path())
            .args(["explain", "reports/quickstart/simulated.jsonl", "--output", "json"])
            .args(more)
            .output()
            .unwrap();
        let decisions: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), decisions)
    };
    let (code, all) = ask(&[]);
    assert_eq!(code, Some(0));
    let (_, burst) = ask(&["--from", "26s", "--to", "40s", "--actor", "kpa"]);
    assert!(!burst.is_empty() && burst.len() < all.len(), "{} of {}", burst.len(), all.len());
    for decision in &burst {
        let at_s = decision["t_ns"].as_u64().unwrap() / 1_000_000_000;
        assert!((26..40).contains(&at_s), "{decision}");
        assert!(decision["explanation"]["winner"].is_string(), "{decision}");
    }
    // Nothing found is never a success.
    assert_eq!(ask(&["--actor", "nobody"]), (Some(3), Vec::new()));
}
