//! The shape of a scenario file for editors: JSON Schema with a sentence a key.
//!
//! These types mirror what `decode` reads; a test holds the two together key by key.
#![expect(dead_code, reason = "the fields are read by the schema's derive only")]

mod environment;
mod happening;
mod load;
mod nodes;
mod quantities;

use std::collections::BTreeMap;

use schemars::JsonSchema;

use environment::EnvironmentFile;
use happening::{DisturbanceFile, EventFile};
use load::LoadsFile;
use quantities::DurationText;

pub(crate) fn json_schema() -> serde_json::Value {
    schemars::generate::SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<ScenarioFile>()
        .into()
}

/// A Windtunnel scenario: what is served, what it must carry, and what must hold.
#[derive(JsonSchema)]
#[schemars(rename = "Scenario", rename_all = "camelCase", deny_unknown_fields)]
struct ScenarioFile {
    /// Version of this format.
    api_version: ApiVersion,
    /// Always Scenario.
    kind: Kind,
    /// What it is called.
    metadata: Metadata,
    /// What it does.
    spec: Spec,
}

#[derive(JsonSchema)]
enum ApiVersion {
    #[schemars(rename = "windtunnel.dev/v1alpha1")]
    V1Alpha1,
}

#[derive(JsonSchema)]
enum Kind {
    Scenario,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Metadata {
    /// Lower-case letters, digits and dashes; reports are filed under it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    name: String,
    /// One sentence.
    description: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Spec {
    /// How long the scenario lasts.
    duration: DurationText,
    /// Where every random number comes from; 42 unless given.
    seed: Option<u64>,
    /// Kubernetes manifests to apply, relative to this file.
    #[schemars(length(min = 1))]
    manifests: Vec<String>,
    /// Storage URI prefix to local folder, relative to this file.
    storage: Option<BTreeMap<String, String>>,
    /// What arrives: one load, or a list with one for each service.
    load: LoadsFile,
    /// The slice that is flown live.
    flight: Option<FlightFile>,
    /// What happens on the way.
    events: Option<Vec<EventFile>>,
    /// What breaks on the way.
    #[schemars(length(min = 1))]
    faults: Option<Vec<DisturbanceFile>>,
    /// What must hold.
    objectives: Option<Vec<ObjectiveFile>>,
    /// What manifests cannot say.
    environment: Option<EnvironmentFile>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct FlightFile {
    /// Where the slice begins; the start of the scenario unless given.
    from: Option<DurationText>,
    /// Where the slice ends; the end of the scenario unless given.
    to: Option<DurationText>,
    /// How many times as fast it is flown; 1 unless given.
    #[schemars(range(min = 1, max = 1000))]
    compress: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ObjectiveFile {
    /// A rule over the whole run, such as p99<300ms, or stable.
    Rule(String),
    /// A rule with a window.
    Windowed(WindowedObjective),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct WindowedObjective {
    /// Such as p99<300ms.
    rule: String,
    /// Start of the window in scenario time.
    from: Option<DurationText>,
    /// End of the window in scenario time.
    to: Option<DurationText>,
    /// Which runs it is judged on; both unless given.
    #[schemars(length(min = 1))]
    on: Option<Vec<Run>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Run {
    Simulated,
    Live,
}
