//! The rules of ARCHITECTURE.md that can be read off the files: floors, sizes, opening words, left-overs and stray paths.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Which floor each room is on; a room imports only from floors below.
const FLOORS: &[(&str, u8)] = &[
    ("kernel", 0),
    ("api", 0),
    ("scenario", 1),
    ("record", 1),
    ("sim", 2),
    ("apiserver", 2),
    ("predictor", 2),
    ("gateway", 2),
    ("agent", 2),
    ("cluster", 3),
    ("control-plane", 3),
    ("replay", 4),
    ("load", 4),
    ("conformance", 4),
    ("report", 5),
    ("cli", 6),
];

/// The two arrows that stay on one floor: resource types carry the kernel's plain types, and a recording is judged by the
/// objectives that a scenario states.
const NEIGHBOURS: &[(&str, &str)] = &[("api", "kernel"), ("record", "scenario")];

/// A file longer than this holds a second concept that wants its own room.
const LONGEST_FILE_LINES: usize = 800;

/// One broken rule, with its place and its remedy.
pub(crate) struct Fault {
    place: String,
    message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Every fault of the repository at `root`, in the order of paths.
pub(crate) fn check(root: &Path) -> Vec<Fault> {
    let mut faults = Vec::new();
    for crate_folder in folders(&root.join("harness")) {
        let name = crate_folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let manifest = fs::read_to_string(crate_folder.join("Cargo.toml")).unwrap_or_default();
        faults.extend(floors(&name, &manifest));
    }
    for path in files(root) {
        let place = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        faults.extend(machine_paths(&place, &text));
        if path.extension().is_some_and(|extension| extension == "rs") {
            faults.extend(source(&place, &text));
        }
    }
    faults
}

/// Imports that climb: a dependency on a room of the same floor or above.
fn floors(name: &str, manifest: &str) -> Vec<Fault> {
    let floor_of: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let place = format!("harness/{name}/Cargo.toml");
    let Some(&floor) = floor_of.get(name) else {
        if ["testkit", "xtask"].contains(&name) {
            return Vec::new();
        }
        return vec![Fault {
            place,
            message: "this room has no floor; add it to FLOORS in xtask and to ARCHITECTURE.md".into(),
        }];
    };
    let mut faults = Vec::new();
    for line in manifest.lines().take_while(|line| line.trim() != "[dev-dependencies]") {
        let Some(rest) = line.trim().strip_prefix("windtunnel-") else { continue };
        let other = rest.split(['.', ' ', '=']).next().unwrap_or_default();
        let Some(&below) = floor_of.get(other) else { continue };
        if below >= floor && !NEIGHBOURS.contains(&(name, other)) {
            faults.push(Fault {
                place: place.clone(),
                message: format!("`{name}` (floor {floor}) imports `{other}` (floor {below}); a room imports only from floors below"),
            });
        }
    }
    faults
}

/// Source files: they open with what they are for, stay small, and keep no stubs.
fn source(place: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |message: String| faults.push(Fault { place: place.to_owned(), message });
    if !text.starts_with("//!") && !place.contains("/benches/") && !place.contains("/examples/") {
        fault("opens without `//!`; say in a sentence what lives here".into());
    }
    let lines = text.lines().count();
    if lines > LONGEST_FILE_LINES {
        fault(format!("{lines} lines; over {LONGEST_FILE_LINES} a second concept wants a file of its own"));
    }
    for (number, line) in text.lines().enumerate() {
        for stub in [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")] {
            if line.contains(stub) {
                fault(format!("line {}: `{stub}…)` is a left-over", number + 1));
            }
        }
    }
    faults
}

/// Absolute paths of somebody's machine.
fn machine_paths(place: &str, text: &str) -> Vec<Fault> {
    let strays = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(stray) = strays.iter().find(|stray| line.contains(**stray)) {
            faults.push(Fault {
                place: format!("{place}:{}", number + 1),
                message: format!(
                    "`{stray}` is a path of one machine; make it relative or ask the environment"
                ),
            });
        }
    }
    faults
}

fn folders(at: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(at)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

/// Text files of the repository that people write, in the order of their paths.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "reports", ".windtunnel", "node_modules", "__pycache__"]
                    .contains(&name.as_str())
                {
                    open.push(path);
                }
            } else if ["rs", "toml", "md", "yaml", "yml", "py", "sh", ""]
                .contains(&path.extension().and_then(|e| e.to_str()).unwrap_or(""))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this the map in ARCHITECTURE.md and the code drift apart unseen.
    #[test]
    fn the_repository_is_tidy() {
        let faults = check(&crate::root());
        assert!(
            faults.is_empty(),
            "{}",
            faults.iter().map(|fault| format!("\n  {fault}")).collect::<String>()
        );
    }

    #[test]
    fn an_import_that_climbs_is_found() {
        let faults = floors("kernel", "[dependencies]\nwindtunnel-sim.workspace = true\n");
        assert_eq!(faults.len(), 1);
        assert!(floors("sim", "[dependencies]\nwindtunnel-kernel.workspace = true\n").is_empty());
        assert!(
            floors("kernel", "[dependencies]\n[dev-dependencies]\nwindtunnel-sim.workspace = true\n")
                .is_empty()
        );
    }

    #[test]
    fn a_stub_a_long_file_and_a_stray_path_are_found() {
        assert_eq!(source("a.rs", concat!("//! A.\nfn f() { todo", "!() }\n")).len(), 1);
        assert_eq!(source("a.rs", &format!("//! A.\n{}", "\n".repeat(LONGEST_FILE_LINES))).len(), 1);
        assert_eq!(source("a.rs", "fn f() {}\n").len(), 1);
        assert_eq!(machine_paths("a.md", concat!("see /ro", "ot/x\n")).len(), 1);
    }
}
