//! The schema of `spec.events` and `spec.faults`.

use schemars::JsonSchema;

use super::quantities::{DurationText, StoragePrefix};
use crate::scenario::Verb;

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct EventFile {
    /// When, from the start of the scenario.
    at: DurationText,
    /// What people call it.
    name: Option<String>,
    /// The object to change. An event has this or a command.
    patch: Option<PatchFile>,
    /// What the controller of a canary is told; only simulated.
    command: Option<CommandFile>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct CommandFile {
    /// Rollout (of Argo Rollouts) or Canary (of Flagger).
    kind: CommandedKind,
    /// Its name.
    name: String,
    /// What is to be done.
    verb: Verb,
}

#[derive(JsonSchema)]
enum CommandedKind {
    /// Takes promote, promote-full, abort, retry, pause and resume.
    Rollout,
    /// Takes pause, resume, open-gate, close-gate, open-rollback and close-rollback.
    Canary,
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
#[schemars(deny_unknown_fields)]
pub(super) struct DisturbanceFile {
    /// When, once, from the start of the scenario.
    at: Option<DurationText>,
    /// Again and again: the mean gap of a Poisson process.
    every: Option<DurationText>,
    /// What breaks.
    fault: DisturbanceKindFile,
    /// The InferenceService whose pods break; may be left out when there is only one.
    target: Option<String>,
    /// How many pods or nodes break; 1 unless given.
    #[schemars(range(min = 1, max = 10_000))]
    count: Option<u32>,
    /// How long it lasts; a lost node stays away for good unless given.
    #[schemars(rename = "for")]
    length: Option<DurationText>,
    /// The pool whose nodes are lost; may be left out when there is only one.
    pool: Option<String>,
    /// The storage that is slow or fails.
    prefix: Option<StoragePrefix>,
    /// What the bandwidth of slow storage is divided by.
    factor: Option<f64>,
    /// By how much all control loops come later.
    shift: Option<DurationText>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum DisturbanceKindFile {
    /// Pods end at once.
    PodCrash,
    /// Pods end soon after they start.
    CrashLoop,
    /// Nodes answer no more; see environment.nodes for when that is noticed. After their time they are back, empty.
    NodeLoss,
    /// Downloads take longer.
    SlowStorage,
    /// Downloads fail.
    StorageFailure,
    /// No autoscaler and no canary analysis gets a metric: who asks for one gets an error. To Flagger that is a failed
    /// check; to Argo a measurement that is an error, tried again after 10s.
    MetricsGap,
    /// Nothing can be changed.
    ApiOutage,
    /// All control loops come later.
    ClockPhase,
}
