//! `windtunnel schema`: the JSON Schemas of the files that Windtunnel reads.

use clap::{Args, ValueEnum};
use windtunnel_conformance::case;
use windtunnel_scenario::Scenario;

use crate::exit::{Exit, OrExit, Outcome};

/// Prints a JSON Schema for editors.
#[derive(Args)]
pub(crate) struct Schema {
    /// Of which files.
    #[arg(value_enum, default_value = "scenario")]
    of: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Scenarios.
    Scenario,
    /// Conformance cases.
    Conformance,
}

impl Schema {
    pub(crate) fn execute(self) -> Outcome {
        let schema = match self.of {
            Format::Scenario => Scenario::json_schema(),
            Format::Conformance => case::json_schema(),
        };
        println!("{}", serde_json::to_string_pretty(&schema).or_environment()?);
        Ok(Exit::Passed)
    }
}
