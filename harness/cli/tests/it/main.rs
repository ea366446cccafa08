//! The command line as users and scripts see it: real processes, real files, real kubectl and a real browser.

mod clients;
mod conform;
mod controller;
mod explain;
mod graph_router;
mod library;
mod local_models;
mod page;
mod plan;
mod run;
mod up;
mod usage;

use std::path::Path;
use std::process::{Command, Output};

use windtunnel_testkit::workspace;

/// The binary under test, in a working directory of its own.
fn windtunnel(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windtunnel"));
    command.current_dir(folder).env("CI", "1").env_remove("GITHUB_STEP_SUMMARY");
    command
}

/// A file of the repository as an argument.
fn file(path: &str) -> String {
    workspace(path).display().to_string()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Processes of this machine that were started under `folder` and have not ended.
fn processes_under(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(directory) = std::fs::read_link(entry.path().join("cwd")) else { continue };
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if !command.is_empty()
            && (directory.starts_with(folder) || command.contains(&folder.display().to_string()))
        {
            found.push(format!("{} {command}", entry.file_name().to_string_lossy()));
        }
    }
    found
}
