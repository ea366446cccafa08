//! `windtunnel schema`: the JSON Schema of scenario files.

use clap::Args;
use windtunnel_scenario::Scenario;

use crate::exit::{Exit, OrExit, Outcome};

/// Prints the JSON Schema of scenario files.
#[derive(Args)]
pub(crate) struct Schema {}

impl Schema {
    #[expect(clippy::unused_self, reason = "every verb has the same shape")]
    pub(crate) fn execute(self) -> Outcome {
        println!("{}", serde_json::to_string_pretty(&Scenario::json_schema()).or_environment()?);
        Ok(Exit::Passed)
    }
}
