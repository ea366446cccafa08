//! The main job: simulate, fly, compare, judge, report; and its orderly end when somebody presses Ctrl-C.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use windtunnel_testkit::{Background, until};

use super::{file, processes_under, stderr, stdout, windtunnel};

fn result(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(folder.join("reports/smoke/result.json")).unwrap()).unwrap()
}

/// The promise of the whole product in one test: a real model, a real cluster, a sleeping service, a canary, no lost request.
#[test]
fn a_scenario_is_simulated_flown_compared_and_judged() {
    let folder = tempfile::tempdir().unwrap();
    // As users do, with a path from where they are: what it leads to must be found from everywhere else too.
    std::os::unix::fs::symlink(windtunnel_testkit::workspace("fixtures"), folder.path().join("fixtures"))
        .unwrap();
    let output = windtunnel(folder.path()).args(["run", "fixtures/scenarios/smoke.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}\n{}", stdout(&output), stderr(&output));
    let reports = folder.path().join("reports/smoke");
    for name in ["report.html", "result.json", "junit.xml", "simulated.jsonl", "live.jsonl"] {
        assert!(reports.join(name).is_file(), "{name} is missing");
    }
    assert!(
        stdout(&output).contains("report.html"),
        "the report's path is not printed:\n{}",
        stdout(&output)
    );
    let result = result(folder.path());
    assert_eq!(result["verdict"], "pass");

    let live = fs::File::open(reports.join("live.jsonl")).unwrap();
    let live = windtunnel_record::Recording::read_jsonl(std::io::BufReader::new(live)).unwrap();
    assert!(live.requests.len() > 500, "{} requests", live.requests.len());
    assert!(live.requests.iter().all(|request| request.status == 200), "a request was lost");
    assert!(live.requests.iter().any(|request| request.held_ns > 0), "no request found the service asleep");
    assert_eq!(live.revisions.len(), 2, "the canary's revision is missing");
    let checked = |index| {
        let of = |request: &&windtunnel_record::Request| request.revision == Some(index);
        live.requests
            .iter()
            .filter(of)
            .filter(|request| request.prediction == windtunnel_record::Prediction::Equal)
            .count()
    };
    assert!(checked(0) > 0 && checked(1) > 0, "answers of {} and {} were checked", checked(0), checked(1));

    assert_eq!(processes_under(folder.path()), Vec::<String>::new());
    assert!(!reports.join(".flight").exists(), "the cluster's folder was left behind");
}

/// CI gates on simulations: the same seed must give the same bytes.
#[test]
fn simulations_are_byte_identical() {
    let simulate = |seed: &str| {
        let folder = tempfile::tempdir().unwrap();
        let output = windtunnel(folder.path())
            .args(["run", "--mode", "sim", "--seed", seed, &file("scenarios/quickstart.yaml")])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}\n{}", stdout(&output), stderr(&output));
        fs::read(folder.path().join("reports/quickstart/simulated.jsonl")).unwrap()
    };
    assert_eq!(simulate("1"), simulate("1"));
    assert_ne!(simulate("1"), simulate("2"));
}

/// An objective that can't hold must stop the pipeline with the code for it.
#[test]
fn a_failed_objective_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let scenario =
        fs::read_to_string(windtunnel_testkit::workspace("fixtures/scenarios/smoke.yaml")).unwrap();
    let fixtures = windtunnel_testkit::workspace("fixtures/");
    let scenario = scenario
        .replace("p50<5s", "p50<1us")
        .replace("../models/", &fixtures.join("models/").display().to_string())
        .replace(
            "smoke/inferenceservice.yaml",
            &fixtures.join("scenarios/smoke/inferenceservice.yaml").display().to_string(),
        );
    let path = folder.path().join("strict.yaml");
    fs::write(&path, scenario).unwrap();
    let output = windtunnel(folder.path()).args(["run", "--mode", "sim"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}\n{}", stdout(&output), stderr(&output));
    assert_eq!(result(folder.path())["verdict"], "fail");
    assert_eq!(result(folder.path())["exitCode"], 1);
}

/// Whoever presses Ctrl-C gets their machine back, the partial report, and can run again at once.
#[test]
fn an_interrupted_flight_leaves_nothing_behind_and_reports() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = windtunnel(folder.path());
    command.args(["run", &file("fixtures/scenarios/smoke.yaml")]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut run = Background::start(&mut command).unwrap();
    until(
        "the model server of the flight",
        Duration::from_secs(60),
        || processes_under(folder.path()),
        |found| found.iter().any(|process| process.contains("serve predictor")),
    );
    let pid = Pid::from_raw(i32::try_from(run.child().id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = until(
        "the end of the run",
        Duration::from_secs(30),
        || run.child().try_wait().unwrap(),
        Option::is_some,
    );
    assert_eq!(status.and_then(|status| status.code()), Some(130));
    until(
        "the end of every process",
        Duration::from_secs(10),
        || processes_under(folder.path()),
        Vec::is_empty,
    );
    assert_eq!(result(folder.path())["exitCode"], 130, "the partial report says that it is partial");
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["reports"], "files outside the output folder");
    assert!(!folder.path().join("reports/smoke/.flight").exists());

    let again = windtunnel(folder.path())
        .args(["run", "--mode", "sim", &file("fixtures/scenarios/smoke.yaml")])
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
}

/// The trace is not ours to ship; where it is absent the scenario is skipped by name, and a skip is not a pass.
#[test]
fn a_scenario_without_its_trace_is_skipped_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = fs::read_to_string(windtunnel_testkit::workspace("scenarios/azure-code.yaml")).unwrap();
    let root = windtunnel_testkit::workspace("");
    let scenario = scenario
        .replace("../../shared/data/azure-llm-2023-code.csv", "no-such-trace.csv")
        .replace("../fixtures/", &root.join("fixtures/").display().to_string())
        .replace(
            "azure-code/inferenceservice.yaml",
            &root.join("scenarios/azure-code/inferenceservice.yaml").display().to_string(),
        );
    let path = folder.path().join("azure-code.yaml");
    fs::write(&path, scenario).unwrap();
    let output = windtunnel(folder.path()).args(["run", "--mode", "sim"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("skipped azure-code") && stderr(&output).contains("no-such-trace.csv"),
        "{}",
        stderr(&output)
    );
}
