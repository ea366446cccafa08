//! The shape of a file of cases for editors: JSON Schema with a sentence a key.
//!
//! These types mirror what `decode` reads; a test holds the two together key by key.
#![expect(dead_code, reason = "the fields are read by the schema's derive only")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

/// The JSON Schema of files of conformance cases.
#[must_use]
pub fn json_schema() -> Value {
    schemars::generate::SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<FileShape>()
        .into()
}

/// Conformance cases: what a serving platform promises, step by step.
#[derive(JsonSchema)]
#[schemars(rename = "ConformanceCases", rename_all = "camelCase", deny_unknown_fields)]
struct FileShape {
    /// Version of this format.
    api_version: ApiVersion,
    /// Always ConformanceCases.
    kind: Kind,
    /// What all cases of the file have, unless they say otherwise.
    defaults: Option<Characteristics>,
    /// Objects on which those of steps can rest, by name.
    bases: Option<BTreeMap<String, Object>>,
    /// The cases.
    cases: Vec<CaseShape>,
}

type Object = BTreeMap<String, Value>;

#[derive(JsonSchema)]
enum ApiVersion {
    #[schemars(rename = "windtunnel.dev/v1alpha1")]
    V1Alpha1,
}

#[derive(JsonSchema)]
enum Kind {
    ConformanceCases,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Characteristics {
    /// What they must run on: T0 the API, T1 pods, T2 Gateway API, T3 Knative, T4 KEDA, T5 data plane, T6 over time.
    tier: Option<TierShape>,
    /// What kind of promise they are.
    #[schemars(length(min = 1))]
    tags: Option<Vec<TagShape>>,
    /// What they need of the cluster.
    #[schemars(length(min = 1))]
    needs: Option<Vec<NeedShape>>,
    /// The only profile in which they hold; every profile unless given.
    profile: Option<ProfileShape>,
    /// Whether pods that ask for the scheduler windtunnel-conform become ready by themselves.
    pods: Option<PodsShape>,
    /// Deadline of every wait; 10s unless given.
    within: Option<Duration>,
}

/// A number with a unit, such as 300ms, 75s or 1m30s.
#[derive(JsonSchema)]
struct Duration(
    #[schemars(regex(pattern = r"^[0-9.]+(ns|us|µs|ms|s|m|h|d)([0-9.]+(ns|us|µs|ms|s|m|h|d))*$"))] String,
);

#[derive(JsonSchema)]
enum TierShape {
    T0,
    T1,
    T2,
    T3,
    T4,
    T5,
    T6,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum TagShape {
    Must,
    UpstreamQuirk,
    Windtunnel,
}

#[derive(JsonSchema)]
enum ProfileShape {
    #[schemars(rename = "windtunnel")]
    Windtunnel,
    #[schemars(rename = "upstream-0.20")]
    Upstream,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum PodsShape {
    Ready,
    Pending,
}

#[derive(JsonSchema)]
struct NeedShape(
    #[schemars(regex(
        pattern = r"^(gateway-api|knative|keda|opentelemetry|istio|inference-graph|trained-model|local-model|storage-container|gateway|local-pods|runtime:.+)$"
    ))]
    String,
);

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct CaseShape {
    /// Group and number, such as ADM-05.
    #[schemars(regex(pattern = r"^[A-Z0-9]+-[A-Z0-9-]+$"), length(max = 20))]
    id: String,
    /// What is promised, in one sentence.
    title: String,
    /// What it must run on.
    tier: Option<TierShape>,
    /// What kind of promise it is.
    #[schemars(length(min = 1))]
    tags: Option<Vec<TagShape>>,
    /// What it needs of the cluster.
    #[schemars(length(min = 1))]
    needs: Option<Vec<NeedShape>>,
    /// The only profile in which it holds.
    profile: Option<ProfileShape>,
    /// Whether pods that ask for the scheduler windtunnel-conform become ready by themselves.
    pods: Option<PodsShape>,
    /// Deadline of every wait.
    within: Option<Duration>,
    /// Where the promise comes from: a test, a document or an issue.
    source: Option<String>,
    /// Settings in force while it runs: ConfigMap to key to value; keys of inferenceservice-config are merged as JSON.
    settings: Option<BTreeMap<String, Object>>,
    /// Rows: the case is run once for each, with ${name} replaced; `row` names it.
    #[schemars(length(min = 1))]
    each: Option<Vec<Row>>,
    /// What it does, in turn.
    #[schemars(length(min = 1))]
    steps: Vec<StepShape>,
}

#[derive(JsonSchema)]
struct Row {
    /// Name of the row: small letters, digits and dashes.
    #[schemars(regex(pattern = r"^[a-z0-9-]+$"))]
    row: String,
    /// Values by name.
    #[schemars(flatten)]
    values: Object,
}

/// One verb, and what belongs to it.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct StepShape {
    /// Creates an object.
    create: Option<Object>,
    /// Applies an object, server-side.
    apply: Option<Object>,
    /// Merges into an object; null removes.
    patch: Option<Object>,
    /// Merges into an object's status, as its owner would.
    status: Option<Object>,
    /// Deletes an object.
    delete: Option<Object>,
    /// For writes: whether the server only says what would come of it.
    dry_run: Option<bool>,
    /// For writes: what the refusal must say.
    refused: Option<RefusalShape>,
    /// For writes: an assertion tree for what comes back.
    gives: Option<Value>,
    /// Waits until an object matches this assertion tree.
    expect: Option<Object>,
    /// For expect: what to remember of the object, name to CEL expression over self.
    save: Option<BTreeMap<String, String>>,
    /// Waits until no object matches.
    absent: Option<Object>,
    /// No object may match for a time.
    never: Option<Object>,
    /// These objects may not be written for a time.
    #[schemars(length(min = 1))]
    unchanged: Option<Vec<Object>>,
    /// For never and unchanged: how long.
    r#for: Option<Duration>,
    /// Waits for a condition.
    wait: Option<WaitShape>,
    /// Plays the kubelet of pods that no node takes.
    pods: Option<KubeletShape>,
    /// Sends a request until the answer matches.
    request: Option<RequestShape>,
    /// For request: an assertion tree for {status, headers, body}.
    answer: Option<Value>,
    /// Sends many requests and judges how they are split.
    split: Option<SplitShape>,
    /// Deadline of this wait.
    within: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum RefusalShape {
    /// The message holds this text.
    Contains(String),
    /// The message matches.
    Matches(MatchesShape),
    /// Any refusal will do.
    Any(bool),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct MatchesShape {
    /// A regular expression.
    matches: String,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct WaitShape {
    /// Kind of the object.
    kind: String,
    /// Its API version, where the kind is not enough.
    api_version: Option<String>,
    /// Its name.
    name: String,
    /// Type of the condition.
    condition: String,
    /// True unless given.
    status: Option<StatusShape>,
    /// Its reason.
    reason: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum StatusShape {
    /// True or False.
    Truth(bool),
    /// True, False or Unknown.
    Text(String),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct KubeletShape {
    /// Labels of the pods.
    labels: BTreeMap<String, String>,
    /// How many must be there first; 1 unless given.
    #[schemars(range(min = 1, max = 100))]
    count: Option<u32>,
    /// What becomes of them.
    state: PodStateShape,
    /// What a failed container says at its end.
    message: Option<String>,
    /// The exit code of a failed container; 1 unless given.
    #[schemars(range(min = 1, max = 255))]
    exit_code: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum PodStateShape {
    Ready,
    Running,
    Initializing,
    InitFailed,
    CrashLoop,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RequestShape {
    /// The name that the client asks for.
    host: String,
    /// Path and query; / unless given.
    path: Option<String>,
    /// GET unless given.
    method: Option<String>,
    /// Header fields.
    headers: Option<BTreeMap<String, String>>,
    /// What is sent; anything but a text is sent as JSON.
    body: Option<Value>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SplitShape {
    /// The name that the client asks for.
    host: String,
    /// Path and query; / unless given.
    path: Option<String>,
    /// GET unless given.
    method: Option<String>,
    /// Header fields.
    headers: Option<BTreeMap<String, String>>,
    /// What is sent; anything but a text is sent as JSON.
    body: Option<Value>,
    /// How many requests are sent; 2000 unless given.
    #[schemars(range(min = 1000, max = 1_000_000))]
    requests: Option<u32>,
    /// A CEL expression over status, headers and body that names who answered.
    by: String,
    /// Who must answer how many percent.
    shares: BTreeMap<String, f64>,
    /// Probability with which a correct split may be refused; 0.001 unless given.
    alpha: Option<f64>,
}
