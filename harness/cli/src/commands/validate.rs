//! `windtunnel validate`: scenario files, conformance cases and manifests, without starting anything.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use windtunnel_api::manifest::{self, Manifest};
use windtunnel_scenario::Scenario;

use crate::exit::{Exit, Failure, OrExit, Outcome};

/// Checks scenario files and manifests.
#[derive(Args)]
pub(crate) struct Validate {
    /// Scenario files or Kubernetes manifests (YAML).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Validate {
    pub(crate) fn execute(self) -> Outcome {
        let mut faults = 0;
        for file in &self.files {
            let found = check(file)?;
            if found.is_empty() {
                println!("{}: valid", file.display());
            }
            for fault in &found {
                eprintln!("{fault}");
            }
            faults += found.len();
        }
        if faults == 0 {
            return Ok(Exit::Passed);
        }
        eprintln!(
            "{faults} fault{}; see `windtunnel schema` for what a scenario may hold",
            if faults == 1 { "" } else { "s" }
        );
        Ok(Exit::Usage)
    }
}

/// The faults of one file, a message each.
fn check(file: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} can't be read", file.display()))
        .or_usage()?;
    if !text.contains("windtunnel.dev/") {
        return Ok(manifests_of(&text, file).err().unwrap_or_default());
    }
    if text.contains("kind: ConformanceCases") {
        let faults = windtunnel_conformance::case::read(&text, file).err();
        return Ok(faults.into_iter().flatten().map(|fault| fault.to_string()).collect());
    }
    match load(file) {
        Ok(_) => Ok(Vec::new()),
        Err(faults) => Ok(faults),
    }
}

/// A scenario with its manifests, or every fault of all of these files, a message each.
pub(crate) fn load(file: &Path) -> Result<(Scenario, Vec<Manifest>), Vec<String>> {
    let scenario =
        Scenario::read(file).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let (mut manifests, mut faults) = (Vec::new(), Vec::new());
    for path in &scenario.manifests {
        match std::fs::read_to_string(path) {
            Err(error) => faults.push(format!("{}: can't be read: {error}", path.display())),
            Ok(text) => match manifests_of(&text, path) {
                Ok(found) => manifests.extend(found),
                Err(found) => faults.extend(found),
            },
        }
    }
    if faults.is_empty() { Ok((scenario, manifests)) } else { Err(faults) }
}

/// The manifests of one file, or every fault of it.
fn manifests_of(text: &str, path: &Path) -> Result<Vec<Manifest>, Vec<String>> {
    let told = |faults: Vec<manifest::ManifestFault>| faults.iter().map(ToString::to_string).collect();
    manifest::read(text, &path.display().to_string()).map_err(told)
}
