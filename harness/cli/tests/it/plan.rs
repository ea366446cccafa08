//! What-ifs: plans, forks, replications.

use serde_json::Value;

use super::{file, stderr, stdout, windtunnel};

const CONCURRENCY: &str = "InferenceService/digits:spec.predictor.containerConcurrency";

/// The answer must come first, be the cheapest that passes, and come with a patch that kubectl takes.
#[test]
fn a_plan_names_the_cheapest_configuration_that_passes() {
    let folder = tempfile::tempdir().unwrap();
    let output = windtunnel(folder.path())
        .args([
            "plan",
            &file("fixtures/scenarios/smoke.yaml"),
            "--slo",
            "error-rate<50%",
            "--replications",
            "2",
        ])
        .args(["--vary", "InferenceService/digits:spec.predictor.minReplicas=3,2", "--output", "json"])
        .args(["--set", "InferenceService/digits:spec.predictor.maxReplicas=4", "--most", "2"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let options = plan["options"].as_array().unwrap();
    let settings: Vec<&Value> = options.iter().map(|option| &option["settings"]).collect();
    assert_eq!(settings.len(), 3, "as it is, and both values: {plan}");
    let cheapest = &options[plan["cheapest"].as_u64().unwrap() as usize];
    let cost = |option: &Value| option["costPerHour"]["mean"].as_f64().unwrap();
    assert!(options.iter().all(|option| cost(option) >= cost(cheapest)), "{plan}");
    for name in ["plan.html", "plan.json", "plan.svg"] {
        let path = folder.path().join("reports").join(plan["scenario"].as_str().unwrap()).join(name);
        assert!(path.exists(), "{} is missing", path.display());
    }
    let picture = std::fs::read_to_string(
        folder.path().join("reports").join(plan["scenario"].as_str().unwrap()).join("plan.svg"),
    )
    .unwrap();
    assert!(picture.contains("cheapest"), "the picture must mark the answer");
}

/// The result of a study must not depend on how many cores the machine has.
#[test]
fn a_plan_is_the_same_on_one_thread_and_on_two() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |threads: &str| {
        let output = windtunnel(folder.path())
            .args([
                "plan",
                &file("fixtures/scenarios/smoke.yaml"),
                "--slo",
                "error-rate<50%",
                "--threads",
                threads,
            ])
            .args([
                "--vary",
                &format!("{CONCURRENCY}=1,4"),
                "--replications",
                "3",
                "--most",
                "3",
                "--output",
                "json",
            ])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    assert_eq!(plan("1"), plan("2"));
}

/// A mistyped path must not become a plan of something else.
#[test]
fn a_faulty_question_is_bad_usage() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (vec!["--vary", "spec.enviroment.network.gateway=1ms"], "environment"),
        (vec!["--vary", "InferenceService/digit:spec.predictor.maxReplicas=2"], "InferenceService/digits"),
        (vec!["--vary", "InferenceService/digits:spec.predictor.maxReplica=2"], "maxReplicas"),
        (vec!["--vary", "spec.duration"], "PATH=V1,V2"),
        (vec!["--vary", "spec.seed=1,2", "--slo", "p98765<3"], "--slo"),
        (vec!["--vary", "spec.seed=1..3", "--vary", "spec.duration=1..3"], "search one"),
    ] {
        let output = windtunnel(folder.path())
            .args(["plan", &file("fixtures/scenarios/smoke.yaml")])
            .args(&arguments)
            .output()
            .unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?} without `{expected}`: {told}");
    }
}

/// Both futures must share their past and differ by nothing but the change.
#[test]
fn a_fork_lays_both_futures_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let output = windtunnel(folder.path())
        .args(["run", "--mode", "sim", &file("scenarios/quickstart.yaml"), "--fork-at", "27s"])
        .args(["--set", "InferenceService/digits:spec.predictor.maxReplicas=1", "--replications", "3"])
        .output()
        .unwrap();
    let told = format!("{}{}", stdout(&output), stderr(&output));
    let report = folder.path().join("reports/quickstart");
    let result: Value =
        serde_json::from_slice(&std::fs::read(report.join("result.json")).expect(&told)).unwrap();
    let futures = &result["futures"];
    assert_eq!(futures["forkNs"], 27_000_000_000_u64, "{told}");
    assert!(
        futures["divergence"]["t_ns"].as_u64().or(futures["divergence"]["tNs"].as_u64())
            >= Some(27_000_000_000)
    );
    let lines = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(report.join(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    assert_ne!(lines("simulated.jsonl"), lines("simulated-fork.jsonl"));
    assert!(result["intervals"]["latency.p99"]["replications"] == 3, "{told}");
    assert!(std::fs::read_to_string(report.join("report.html")).unwrap().contains("27"), "{told}");
}

/// A fork of a flight cannot be: the flight has one past and one future.
#[test]
fn a_fork_needs_a_simulation_and_a_change() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [vec!["--fork-at", "5s"], vec!["--fork-at", "5s", "--set", "spec.seed=1"]] {
        let output = windtunnel(folder.path())
            .args(["run", &file("scenarios/quickstart.yaml")])
            .args(&arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
}
