//! What is kept between reconciles.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::analysis::Phase as AnalysisPhase;
use super::spec::Step;

/// Why a rollout is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PauseReason {
    /// An analysis could not say.
    InconclusiveAnalysisRun,
    /// An experiment could not say.
    InconclusiveExperiment,
    /// A step says so.
    CanaryPauseStep,
    /// Before the new version becomes active.
    BlueGreenPause,
}

/// A reason, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseCondition {
    /// Why.
    pub reason: PauseReason,
    /// Since when, nanoseconds since the Unix epoch: whole seconds, as Kubernetes keeps them.
    pub start_ns: u64,
}

/// How a rollout does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RolloutPhase {
    /// Nothing is left to do.
    Healthy,
    /// Aborted, or stuck.
    Degraded,
    /// On its way.
    #[default]
    Progressing,
    /// Waits for somebody or something.
    Paused,
}

impl fmt::Display for RolloutPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where a share of the requests goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Its share.
    pub weight: i32,
    /// Hash of the version.
    pub pod_template_hash: String,
    /// Service; empty where it makes no difference.
    pub service_name: String,
}

/// Where requests go. All weights add up to the weight of all of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficWeights {
    /// The canary.
    pub canary: Destination,
    /// The stable version.
    pub stable: Destination,
    /// Versions of an experiment.
    pub additional: Vec<Destination>,
    /// Whether the router says that it is so; `None` = it was not asked.
    pub verified: Option<bool>,
}

/// An analysis that a rollout has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRef {
    /// Its number: runs are counted from 1.
    pub id: u64,
    /// Index of the step that it belongs to; `None` = it belongs to none.
    pub step: Option<i32>,
    /// How it stands, as far as is known.
    pub phase: AnalysisPhase,
    /// What it says.
    pub message: String,
    /// Whether it was told to end.
    pub terminating: bool,
}

/// An experiment that a rollout has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExperimentRef {
    /// Its number: experiments and analyses are counted together, from 1.
    pub id: u64,
    /// Index of its step.
    pub step: i32,
}

/// The analyses that count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runs {
    /// Beside the steps.
    pub background: Option<RunRef>,
    /// The step's.
    pub step: Option<RunRef>,
    /// Before a blue/green version becomes active.
    pub pre_promotion: Option<RunRef>,
    /// After it became active.
    pub post_promotion: Option<RunRef>,
}

/// Since when nothing moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The latest progress, nanoseconds since the Unix epoch; `None` = nobody has looked yet.
    pub at_ns: Option<u64>,
    /// Whether the deadline has passed since.
    pub timed_out: bool,
    /// Whether it was paused or aborted when it was looked at last, so that the time since does not count.
    pub suspended: bool,
}

/// A rollout's `status`, and what upstream keeps as annotations of ReplicaSets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Whether it is aborted.
    pub abort: bool,
    /// Since when, nanoseconds since the Unix epoch. Kept for one reconcile after a retry.
    pub aborted_at_ns: Option<u64>,
    /// Why.
    pub abort_message: String,
    /// Whether the new version is to be promoted without further steps.
    pub promote_full: bool,
    /// Whether the controller has paused it. Without a condition: somebody has resumed it since.
    pub controller_pause: bool,
    /// Why it is paused.
    pub pause_conditions: Vec<PauseCondition>,
    /// The version that was wanted last.
    pub current_pod_hash: String,
    /// The steps that were in force last; `None` = none were looked at yet.
    pub current_steps: Option<Vec<Step>>,
    /// Index of the step; the number of steps = all are done; `None` = there are none.
    pub current_step_index: Option<i32>,
    /// The version that was promoted last; empty = none.
    pub stable_hash: String,
    /// Where requests go; `None` = no router has been told.
    pub weights: Option<TrafficWeights>,
    /// Routes that steps have added.
    pub managed_routes: BTreeSet<String>,
    /// The version that users get (blue/green).
    pub active_selector: String,
    /// The version that testers get (blue/green).
    pub preview_selector: String,
    /// Whether the preview has passed, so that it grows to its full size (blue/green).
    pub scale_up_preview_check_point: bool,
    /// The analyses that count.
    pub runs: Runs,
    /// How many analyses and experiments were asked for.
    pub run_count: u64,
    /// The experiment that runs.
    pub experiment: Option<ExperimentRef>,
    /// Until when versions are kept, by hash, nanoseconds since the Unix epoch.
    pub scale_down_deadlines: BTreeMap<String, u64>,
    /// The rollout's replicas when a version was scaled last, by hash.
    pub desired_replicas: BTreeMap<String, i32>,
    /// Pods.
    pub replicas: i32,
    /// Pods of the new version.
    pub updated_replicas: i32,
    /// Pods that are ready.
    pub ready_replicas: i32,
    /// Pods that serve.
    pub available_replicas: i32,
    /// Since when nothing moves.
    pub progress: Progress,
    /// How it does.
    pub phase: RolloutPhase,
    /// Why.
    pub message: String,
}

impl Status {
    /// Since when it is paused for `reason`.
    #[must_use]
    pub fn pause(&self, reason: PauseReason) -> Option<PauseCondition> {
        self.pause_conditions.iter().copied().find(|condition| condition.reason == reason)
    }

    /// Whether the new version is the stable one.
    #[must_use]
    pub fn is_fully_promoted(&self) -> bool {
        self.stable_hash == self.current_pod_hash
    }
}
