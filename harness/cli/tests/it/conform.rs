//! `windtunnel conform`: what is refused before anything starts, what is listed, and a run with its reports.

use crate::{file, stderr, stdout, windtunnel};

/// A mistyped selection that runs nothing must not look like a pass.
#[test]
fn what_cannot_be_run_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = file("scenarios/conformance");
    for (arguments, said) in [
        (vec!["conform", &cases, "--include", "ADM-99"], "\"ADM-99\" matches no case"),
        (vec!["conform", &cases, "--target", "http://localhost:8080"], "--cluster context:NAME"),
        (vec!["conform", &cases, "--cluster", "kind"], "expected embedded, current or context:NAME"),
        (vec!["conform", &cases, "--report", "x.txt"], ".xml (JUnit)"),
        (vec!["conform", "nowhere"], "it cannot be read"),
    ] {
        let output = windtunnel(folder.path()).args(&arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
}

/// Users choose cases by what the list shows.
#[test]
fn the_list_shows_what_a_selection_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = file("scenarios/conformance");
    let output = windtunnel(folder.path())
        .args(["conform", &cases, "--list", "--include", "ADM-0?", "--exclude", "ADM-08"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let listed = stdout(&output);
    let ids: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(ids.contains(&"ADM-05") && ids.contains(&"ADM-01/dot"), "{listed}");
    assert!(ids.iter().all(|id| id.starts_with("ADM-0") && *id != "ADM-08"), "{listed}");
}

/// CI systems read the exit code and the reports.
#[test]
fn a_run_writes_every_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = windtunnel(folder.path());
    command.args(["conform", &file("scenarios/conformance"), "--include", "ADM-05"]);
    for report in ["r.xml", "r.md", "r.json", "out/r.yaml"] {
        command.args(["--report", report]);
    }
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("--- PASS: ADM-05"), "{}", stdout(&output));
    for (report, said) in [
        ("r.xml", "<testcase name=\"ADM-05 A minimum above the maximum is refused"),
        ("r.md", "### PASS: conformance to windtunnel"),
        ("r.json", "\"verdict\": \"passed\""),
        ("out/r.yaml", "kind: ConformanceReport"),
    ] {
        let text = std::fs::read_to_string(folder.path().join(report)).expect(report);
        assert!(text.contains(said), "{report}: {text}");
    }
}
