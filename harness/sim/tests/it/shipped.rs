//! The scenarios that come with the repository, as plans.

use std::path::{Path, PathBuf};

use windtunnel_api::manifest;
use windtunnel_scenario::load::Flight;
use windtunnel_scenario::{Arrivals, Scenario};
use windtunnel_sim::Plan;

/// Name (path below `scenarios/` without ending) and plan of each, in order of name. One whose trace is optional and not
/// on this machine is left out.
pub(crate) fn plans() -> Vec<(String, Plan)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut files = Vec::new();
    find(&root, &mut files);
    files.sort();
    assert!(!files.is_empty(), "no scenarios in {}", root.display());
    files.iter().filter_map(|file| Some((name_of(&root, file), plan_of(file)?))).collect()
}

/// Scenarios in a folder and the folders in it: every `.yaml` file with `kind: Scenario`.
fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            let text = std::fs::read_to_string(&path).expect("a text");
            if text.lines().any(|line| line.trim_end() == "kind: Scenario") {
                files.push(path);
            }
        }
    }
}

fn name_of(root: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(root).expect("below the root").with_extension("");
    inside.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn plan_of(file: &Path) -> Option<Plan> {
    let scenario = Scenario::read(file).unwrap_or_else(|faults| panic!("{}: {faults}", file.display()));
    if scenario.loads.iter().any(|load| lacks_its_trace(&load.arrivals)) {
        println!("{} is left out: its trace is not on this machine", scenario.name);
        return None;
    }
    let mut manifests = Vec::new();
    for path in &scenario.manifests {
        let text = std::fs::read_to_string(path).expect("a manifest");
        let place = path.display().to_string();
        manifests
            .extend(manifest::parse(&text, &place).unwrap_or_else(|faults| panic!("{place}: {faults:?}")));
    }
    let plan = Plan::new(&scenario, &manifests, Flight::Whole);
    Some(plan.unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

fn lacks_its_trace(arrivals: &Arrivals) -> bool {
    match arrivals {
        Arrivals::Trace(traces) => traces.iter().any(|trace| trace.optional && !trace.file.exists()),
        Arrivals::Phases { .. } | Arrivals::Users { .. } => false,
    }
}
