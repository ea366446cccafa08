//! `windtunnel setup`: ONNX Runtime, where none is found.

use std::path::PathBuf;

use clap::Args;
use windtunnel_predictor::runtime;

use crate::exit::{Exit, Failure, OrExit, Outcome};

/// Gets ONNX Runtime where none is found.
#[derive(Args)]
pub(crate) struct Setup {}

impl Setup {
    #[expect(clippy::unused_self, reason = "every verb has the same shape")]
    pub(crate) fn execute(self) -> Outcome {
        let library = ensure_runtime(|text| eprintln!("{text}"))?;
        println!("ONNX Runtime: {}", library.display());
        println!("next: windtunnel run scenarios/quickstart.yaml");
        Ok(Exit::Passed)
    }
}

/// The runtime's library; fetched first where this machine has none.
pub(crate) fn ensure_runtime(mut say: impl FnMut(&str)) -> Result<PathBuf, Failure> {
    runtime::locate_or_install(&mut say).or_environment()
}
