//! The library of scenarios: each holds what should happen, and shows the complaint with the command in its head.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use super::{file, stderr, windtunnel};

/// Scenarios that are run at the same time.
const THREADS: usize = 2;

/// What a scenario's head begins its command with.
const COMMAND: &str = "#     windtunnel run --mode sim ";

/// What stands before the objectives that fail with it.
const FAILS: &str = "# Fails then: ";

/// A scenario of the library, with what its head promises.
struct Complaint {
    name: String,
    path: PathBuf,
    /// The arguments of its command after the file.
    settings: Vec<String>,
    /// Rules of the objectives that fail with them.
    fails: Vec<String>,
}

/// A scenario that cannot pass is no expectation, and one that cannot fail protects nobody.
#[test]
fn every_scenario_passes_and_shows_its_complaint() {
    let complaints = complaints();
    assert!(complaints.len() >= 15, "only {} scenarios", complaints.len());
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(complaint) = complaints.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(fault) = complaint.check() {
                        faults.lock().unwrap().push(format!("{}: {fault}", complaint.name));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What to buy is asked of any scenario, not only of those that were written for it.
#[test]
fn the_other_scenarios_can_be_planned_with() {
    let paths = scenarios("scenarios");
    assert!(paths.len() >= 2, "only {paths:?}");
    for path in paths {
        check_plan(&path, tempfile::tempdir().unwrap().path()).unwrap();
    }
}

/// All of `scenarios/library`.
fn complaints() -> Vec<Complaint> {
    scenarios("scenarios/library").iter().map(|path| Complaint::read(path)).collect()
}

/// The files of a folder of scenarios, in order of name.
fn scenarios(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(file(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).collect();
    paths.sort();
    paths
}

/// A plan over a setting that every scenario has tries what it was told to.
fn check_plan(scenario: &Path, folder: &Path) -> Result<(), String> {
    let output = windtunnel(folder)
        .arg("plan")
        .arg(scenario)
        .args(["--vary", "spec.environment.network.gateway=0ms,1ms"])
        .args(["--replications", "1", "--most", "1", "--output", "json"])
        .output()
        .unwrap();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let options = plan["options"].as_array().cloned().unwrap_or_default();
    let measured = options.iter().filter(|option| option["verdict"].is_string()).count();
    // As it is, and with both values. A trace that is not on this machine is one to be skipped, not an error.
    let is_skipped = output.status.code() == Some(3) && output.stdout.is_empty();
    if !is_skipped && (!matches!(output.status.code(), Some(0 | 1)) || measured != 3) {
        return Err(format!("plan: exit {:?}, {plan}: {}", output.status.code(), stderr(&output)));
    }
    Ok(())
}

impl Complaint {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap();
        let told = |start: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(start));
            found.unwrap_or_else(|| panic!("{name} has no line that begins with {start:?}"))
        };
        assert!(text.contains(&format!("\n  name: {name}\n")), "{name} has another name inside");
        let mut words = words(told(COMMAND)).into_iter();
        assert_eq!(
            words.next(),
            Some(format!("scenarios/library/{name}.yaml")),
            "the file in {name}'s command"
        );
        let fails = told(FAILS).split(", ").map(str::to_owned).collect();
        Self { name, path: path.to_owned(), settings: words.collect(), fails }
    }

    fn check(&self) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let checked = windtunnel(folder.path()).arg("validate").arg(&self.path).output().unwrap();
        if checked.status.code() != Some(0) {
            return Err(format!("not valid: {}", stderr(&checked)));
        }
        let (output, gates) = self.run(folder.path(), &[]);
        // A trace that is not on this machine.
        if stderr(&output).contains("no scenario ran") {
            return Ok(());
        }
        if output.status.code() != Some(0) {
            return Err(format!("exit {:?}: {}{}", output.status.code(), told(&gates), stderr(&output)));
        }
        let (output, gates) = self.run(folder.path(), &self.settings);
        let failed = |rule: &String| {
            gates.iter().any(|gate| {
                gate["verdict"] == "fail"
                    && gate["objective"].as_str().is_some_and(|text| text.starts_with(rule))
            })
        };
        if output.status.code() != Some(1) || !self.fails.iter().all(failed) {
            return Err(format!(
                "with {:?} exit {:?} instead of a failure of {}: {}{}",
                self.settings,
                output.status.code(),
                self.fails.join(", "),
                told(&gates),
                stderr(&output)
            ));
        }
        check_plan(&self.path, folder.path())
    }

    /// The run and its gates.
    fn run(&self, folder: &Path, settings: &[String]) -> (Output, Vec<Value>) {
        let result = folder.join("result.json");
        let output = windtunnel(folder)
            .args(["run", "--mode", "sim"])
            .arg(&self.path)
            .arg(format!("--reporter=json={}", result.display()))
            .args(settings)
            .output()
            .unwrap();
        let text = fs::read_to_string(&result).unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        (output, value["gates"].as_array().cloned().unwrap_or_default())
    }
}

/// One line a gate that did not pass.
fn told(gates: &[Value]) -> String {
    let not_passed = gates.iter().filter(|gate| gate["verdict"] != "pass");
    let lines: Vec<String> = not_passed
        .map(|gate| format!("{}: {} {}\n", gate["objective"], gate["verdict"], gate["reason"]))
        .collect();
    lines.concat()
}

/// The words of a command line, as a shell splits them; single quotes keep words together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (position, part) in line.split('\'').enumerate() {
        let mut pieces = if position % 2 == 1 {
            vec![part].into_iter()
        } else {
            part.split(' ').collect::<Vec<_>>().into_iter()
        };
        if let (Some(first), Some(last)) = (pieces.next(), words.last_mut()) {
            last.push_str(first);
        }
        words.extend(pieces.map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A command that is split in another way than a shell does it would check something else than what people type.
#[test]
fn commands_are_split_as_a_shell_splits_them() {
    let line = "a.yaml --set 'A/b:c\\.d=1 2' --set e.f[1].g='\"false\"'";
    assert_eq!(words(line), ["a.yaml", "--set", "A/b:c\\.d=1 2", "--set", "e.f[1].g=\"false\""]);
}
