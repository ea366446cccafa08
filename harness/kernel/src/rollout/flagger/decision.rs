//! What is seen at a tick, and what comes out.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::checks::Sample;
use super::hooks::{HookAnswer, HookCall};
use super::machine::Phase;
use super::spec::DeploymentStrategy;
use super::weights::Routes;
use super::workload::Workload;

/// What is seen at a tick.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observation {
    /// Now, nanoseconds since the Unix epoch. Must not run back.
    pub now_ns: u64,
    /// The target's pod template, or a hash of it; for a Knative service its latest created revision.
    pub template: String,
    /// The ConfigMaps and Secrets that the target uses, or a hash of them; `None` = it uses none.
    pub configuration: Option<String>,
    /// The primary workload; `None` = there is none yet.
    pub primary: Option<Workload>,
    /// The target itself, which runs the canary.
    pub canary: Workload,
    /// Least replicas of the target's autoscaler, if it has one and says so.
    pub autoscaler_min: Option<i32>,
    /// What is routed, where somebody else may have changed it; `None` = what was decided last.
    pub routes: Option<Routes>,
    /// Answers of webhooks, by name. One that is missing counts as no answer, and is named in
    /// [`Decision::unanswered`].
    pub hooks: BTreeMap<String, HookAnswer>,
    /// What the metrics say, by name: percent for `request-success-rate`, milliseconds for `request-duration`. One
    /// that is missing has no values, and is named in [`Decision::unanswered`].
    pub metrics: BTreeMap<String, Sample>,
}

/// What to do to the two workloads and to the traffic, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Copy the target to a primary.
    CreatePrimary {
        /// With this many replicas.
        replicas: i32,
    },
    /// Scale the target.
    ScaleCanary {
        /// To this many replicas.
        replicas: i32,
    },
    /// Copy the target's template and configuration to the primary.
    Promote {
        /// And this many replicas; `None` = an autoscaler has them.
        replicas: Option<i32>,
    },
    /// Route requests.
    Route(Routes),
    /// Stop the target's autoscaler.
    PauseAutoscaler,
    /// Let the target's autoscaler go on.
    ResumeAutoscaler,
    /// Copy the target's autoscaler to the primary's.
    SyncPrimaryAutoscaler,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// `Normal`.
    Info,
    /// `Warning`.
    Warning,
}

/// A Kubernetes event of the canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// How much it matters.
    pub severity: Severity,
    /// Its message.
    pub message: String,
}

/// How a release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Promoted, or rolled back.
    pub succeeded: bool,
    /// Whether the analysis was skipped.
    pub skipped: bool,
    /// How it was rolled out.
    pub strategy: DeploymentStrategy,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The phase after this tick.
    pub phase: Phase,
    /// Where requests go after this tick.
    pub routes: Routes,
    /// Failed checks of this analysis.
    pub failed_checks: i32,
    /// Iterations of this analysis.
    pub iterations: i32,
    /// What to do, in order.
    pub effects: Vec<Effect>,
    /// Events, in order. Webhooks of type `event` get each of them.
    pub events: Vec<Event>,
    /// Webhooks that were asked, in order.
    pub hooks: Vec<HookCall>,
    /// Webhooks and metrics that were asked and had no answer. A controller that can ask them steps a clone first,
    /// asks, and steps with the answers.
    pub unanswered: Vec<String>,
    /// How the release ended, if it did in this tick.
    pub outcome: Option<Outcome>,
    /// Tick again after this.
    pub requeue_after_ns: u64,
    /// Why.
    pub explanation: Explanation,
}

/// Inputs, rules and results of a tick. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Phase before.
    pub phase_before: Phase,
    /// Phase after.
    pub phase: Phase,
    /// Routes before.
    pub routes_before: Routes,
    /// Routes after.
    pub routes: Routes,
    /// How it is rolled out.
    pub strategy: DeploymentStrategy,
    /// Failed checks after.
    pub failed_checks: i32,
    /// Failed checks until a rollback.
    pub threshold: i32,
    /// Iterations after.
    pub iterations: i32,
    /// Iterations until promotion (blue/green and A/B tests).
    pub iterations_wanted: i32,
    /// Weight that the next step adds (canary).
    pub step: i32,
    /// Weight at which the walk ends (canary).
    pub max_weight: i32,
    /// The rule that decided.
    pub rule: String,
    /// What it decided upon; empty if the rule says it all.
    pub note: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.phase_before == self.phase {
            write!(f, "{}", self.phase)?;
        } else {
            write!(f, "{} -> {}", self.phase_before, self.phase)?;
        }
        if self.routes_before == self.routes {
            write!(f, ", {}", self.routes)?;
        } else {
            write!(f, ", {} -> {}", self.routes_before, self.routes)?;
        }
        match self.strategy {
            DeploymentStrategy::Canary => write!(f, ", step {} up to {}", self.step, self.max_weight)?,
            DeploymentStrategy::BlueGreen | DeploymentStrategy::AbTesting => {
                write!(f, ", iteration {}/{}", self.iterations, self.iterations_wanted)?;
            }
        }
        write!(f, ", failed checks {}/{}: {}", self.failed_checks, self.threshold, self.rule)?;
        if self.note.is_empty() { Ok(()) } else { write!(f, " ({})", self.note) }
    }
}
