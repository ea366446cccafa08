//! What is seen at a reconcile, and what comes out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::analysis::Phase as AnalysisPhase;
use super::replicas::{ReplicaSet, Sizing};
use super::spec::{HeaderRoute, MirrorRoute};
use super::status::{Destination, RolloutPhase, TrafficWeights};

/// How an analysis that was asked for stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// Its number.
    pub id: u64,
    /// How it stands.
    pub phase: AnalysisPhase,
    /// What it says.
    pub message: String,
}

/// How the experiment that was asked for stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExperimentReport {
    /// Its number.
    pub id: u64,
    /// How it stands.
    pub phase: AnalysisPhase,
    /// What it says.
    pub message: String,
    /// Its versions, by the name of their templates.
    pub templates: Vec<(String, Destination)>,
}

/// What is seen at a reconcile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observation {
    /// Now, nanoseconds since the Unix epoch. Must not run back.
    pub now_ns: u64,
    /// Hash of the rollout's pod template: the version that is wanted.
    pub template_hash: String,
    /// Every ReplicaSet of the rollout.
    pub replica_sets: Vec<ReplicaSet>,
    /// How the analyses stand that were asked for. Those that are missing stand as before.
    pub runs: Vec<RunReport>,
    /// How the experiment stands.
    pub experiment: Option<ExperimentReport>,
    /// Whether the router says that the weights are as they were set; `None` = it cannot say.
    pub weight_verified: Option<bool>,
    /// Whether the plugin of the current step is done.
    pub plugin_completed: bool,
}

/// What an analysis is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RunKind {
    /// Beside the steps.
    Background,
    /// A step, by its index.
    Step(i32),
    /// Before a blue/green version becomes active.
    PrePromotion,
    /// After it became active.
    PostPromotion,
}

/// A service of a blue/green rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// The users'.
    Active,
    /// The testers'.
    Preview,
}

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Make the version that is wanted, with no replicas.
    CreateReplicaSet {
        /// Its hash.
        hash: String,
    },
    /// Scale a version.
    Scale {
        /// Its hash.
        hash: String,
        /// From this many replicas.
        from: i32,
        /// To this many.
        to: i32,
    },
    /// Route requests.
    SetWeights(TrafficWeights),
    /// Route requests with certain headers to the canary.
    SetHeaderRoute(HeaderRoute),
    /// Copy certain requests to the canary.
    SetMirrorRoute(MirrorRoute),
    /// Remove the routes that steps have added.
    RemoveManagedRoutes,
    /// Point a service at a version.
    SwitchService {
        /// Which service.
        service: Service,
        /// Hash of the version.
        hash: String,
    },
    /// Begin an analysis.
    StartAnalysis {
        /// Its number.
        id: u64,
        /// What it is for.
        kind: RunKind,
    },
    /// End an analysis; what is not decided counts as good.
    TerminateAnalysis {
        /// Its number.
        id: u64,
    },
    /// Begin the experiment of a step.
    StartExperiment {
        /// Its number.
        id: u64,
        /// Index of the step.
        step: i32,
    },
    /// End the experiment of a step.
    TerminateExperiment {
        /// Its number.
        id: u64,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// How the rollout does.
    pub phase: RolloutPhase,
    /// Why.
    pub message: String,
    /// Index of the step; `None` = there are none.
    pub step: Option<i32>,
    /// Where requests go; `None` = the numbers of pods say.
    pub weights: Option<TrafficWeights>,
    /// The version that was promoted last.
    pub stable_hash: String,
    /// Whether it is aborted.
    pub aborted: bool,
    /// What to do, in order.
    pub effects: Vec<Effect>,
    /// What happened, as the events say it.
    pub events: Vec<String>,
    /// Reconcile again after this, unless something changes before. 0 = at once, now that something has.
    pub requeue_after_ns: Option<u64>,
    /// Why.
    pub explanation: Explanation,
}

/// Inputs, rules and results of a reconcile. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Index of the step before.
    pub step_before: Option<i32>,
    /// Index of the step after.
    pub step: Option<i32>,
    /// Number of steps.
    pub steps: i32,
    /// The step, in a word or two; empty where there is none.
    pub step_name: String,
    /// The canary's weight after; `None` = no router.
    pub weight: Option<i32>,
    /// Sizes of the two versions; `None` = blue/green, or the version is not there yet.
    pub sizing: Option<Sizing>,
    /// How the rollout does.
    pub phase: RolloutPhase,
    /// Rules that decided, in order.
    pub rules: Vec<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.phase)?;
        if let Some(step) = self.step {
            match self.step_before {
                Some(before) if before != step => write!(f, ", step {before} -> {step}/{}", self.steps)?,
                _ => write!(f, ", step {step}/{}", self.steps)?,
            }
            if !self.step_name.is_empty() {
                write!(f, " ({})", self.step_name)?;
            }
        }
        if let Some(weight) = self.weight {
            write!(f, ", canary gets {weight}")?;
        }
        if let Some(sizing) = self.sizing {
            write!(f, ", {sizing}")?;
        }
        for (index, rule) in self.rules.iter().enumerate() {
            write!(f, "{}{rule}", if index == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}
