//! `windtunnel vectors`: decision vectors against the kernels, one line a kernel.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use windtunnel_conformance::vectors;

use crate::exit::{Exit, OrExit, Outcome};

/// Runs decision vectors against the kernels.
#[derive(Args)]
pub(crate) struct Vectors {
    /// Files of decision vectors (YAML).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Only kernels whose name matches, for example 'knative.kpa.*'; repeatable.
    #[arg(long, value_name = "GLOB")]
    only: Vec<String>,
}

impl Vectors {
    pub(crate) fn execute(self) -> Outcome {
        let mut worst = Exit::Passed;
        for file in &self.files {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("{} can't be read", file.display()))
                .or_usage()?;
            let options = vectors::Options { only: self.only.clone() };
            let report = vectors::run_selected(&text, &file.display().to_string(), &options).or_usage()?;
            println!("{report}");
            worst = worst.max(if report.failed() > 0 {
                Exit::Failed
            } else if report.passed() == 0 {
                Exit::Inconclusive // nothing that ran is never a pass
            } else {
                Exit::Passed
            });
        }
        Ok(worst)
    }
}
