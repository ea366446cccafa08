//! The shape of a scenario file for editors: JSON Schema with a sentence a key.
//!
//! These types mirror what `decode` reads; a test holds the two together key by key.
#![expect(dead_code, reason = "the fields are read by the schema's derive only")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::scenario::{Process, Protocol, TraceFormat};

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
    /// What arrives.
    load: LoadFile,
    /// The slice that is flown live.
    flight: Option<FlightFile>,
    /// What happens on the way.
    events: Option<Vec<EventFile>>,
    /// What must hold.
    objectives: Option<Vec<ObjectiveFile>>,
    /// What manifests cannot say.
    environment: Option<EnvironmentFile>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct LoadFile {
    /// Name of the InferenceService; may be left out when there is only one.
    target: Option<String>,
    /// Inference protocol; v1 unless given.
    protocol: Option<Protocol>,
    /// JSON Lines with the requests to send, relative to this file.
    requests: String,
    /// How long a client waits; 30s unless given.
    timeout: Option<DurationText>,
    /// When requests are sent: phases or a trace.
    arrivals: ArrivalsFile,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ArrivalsFile {
    /// How arrivals are spread around the rate of a phase; poisson unless given.
    process: Option<Process>,
    /// One after the other, from the start.
    #[schemars(length(min = 1))]
    phases: Option<Vec<PhaseFile>>,
    /// Recorded arrivals.
    trace: Option<TraceFile>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PhaseFile {
    /// How long it lasts.
    #[schemars(rename = "for")]
    length: DurationText,
    /// The rate, or where a ramp begins.
    rate: RateText,
    /// Where a linear ramp ends.
    to: Option<RateText>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct TraceFile {
    /// The trace, relative to this file.
    file: String,
    /// How it is written.
    format: TraceFormat,
    /// Where the slice begins in the trace; its start unless given.
    from: Option<DurationText>,
    /// Where the slice ends in the trace; its end unless given.
    to: Option<DurationText>,
    /// Skip the scenario instead of failing when the file is absent.
    optional: Option<bool>,
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
#[schemars(deny_unknown_fields)]
struct EventFile {
    /// When, from the start of the scenario.
    at: DurationText,
    /// What people call it.
    name: Option<String>,
    /// The object to change.
    patch: PatchFile,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PatchFile {
    /// Kind of an object in the manifests.
    kind: String,
    /// Its name.
    name: String,
    /// JSON merge patch.
    merge: serde_json::Map<String, serde_json::Value>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum ObjectiveFile {
    /// A rule over the whole run, such as p99<300ms.
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

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct EnvironmentFile {
    /// ConfigMaps of Knative Serving.
    knative: Option<KnativeFile>,
    /// Latency on the way.
    network: Option<NetworkFile>,
    /// How long the model computes.
    service_time: Option<ServiceTimeFile>,
    /// What a starting pod waits for.
    pod_start: Option<PodStartFile>,
    /// What a stopping pod waits for.
    pod_stop: Option<PodStopFile>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct KnativeFile {
    /// The ConfigMap config-autoscaler: stable-window, scale-to-zero-grace-period and so on.
    config_autoscaler: Option<BTreeMap<String, Scalar>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Scalar {
    Text(String),
    Number(f64),
    Bool(bool),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct NetworkFile {
    /// Added to every request.
    gateway: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ServiceTimeFile {
    /// Shape of the distribution.
    distribution: DistributionFile,
    /// Its mean.
    mean: DurationText,
    /// Standard deviation divided by mean; for lognormal.
    #[schemars(range(min = 0, max = 10))]
    cv: Option<f64>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum DistributionFile {
    Constant,
    Exponential,
    Lognormal,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct PodStartFile {
    /// Until a node is chosen and told.
    schedule: Option<DurationText>,
    /// Until the image is on the node.
    image_pull: Option<DurationText>,
    /// Until the model's files are there.
    download: Option<DurationText>,
    /// Until the server has loaded the model.
    load: Option<DurationText>,
    /// Until the readiness probe has noticed.
    probe: Option<DurationText>,
    /// Until the gateway knows the address.
    propagate: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PodStopFile {
    /// How long it stays up after it was told to stop.
    grace: Option<DurationText>,
}

/// `300ms`, `1m30s`.
struct DurationText;

impl JsonSchema for DurationText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A number and a unit, larger units first: 300ms, 75s, 1m30s.",
            "pattern": "^([0-9]*\\.?[0-9]+(ns|us|µs|ms|s|m|h|d))+$",
        })
    }
}

/// `20/s`, `90/min`.
struct RateText;

impl JsonSchema for RateText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Requests in a period: 20/s, 90/min.",
            "pattern": "^[0-9]*\\.?[0-9]+ */ *(s|sec|second|m|min|minute|h|hour|d|day)$",
        })
    }
}
