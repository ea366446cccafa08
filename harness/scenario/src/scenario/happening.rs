//! What happens while the load runs: changes that somebody makes, and things that break.

use serde::{Deserialize, Serialize};

use super::FlightPlan;
use crate::quantity::Duration;

/// Something that somebody does while the load runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, from the start of the scenario (or of the flight, see [`crate::Scenario::events_in`]).
    pub at: Duration,
    /// What people call it.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Where the file says so.
    pub line: u32,
}

/// What an event does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Changes an object.
    Patch(Patch),
    /// Tells the controller of a canary what to do.
    Command(Command),
}

impl Action {
    /// Whether things stay as it has put them.
    pub(crate) fn leaves_state(&self) -> bool {
        match self {
            Self::Patch(_) => true,
            Self::Command(command) => {
                !matches!(command.verb, Verb::Promote | Verb::PromoteFull | Verb::Abort | Verb::Retry)
            }
        }
    }
}

/// What somebody tells the controller of a canary, as `kubectl argo rollouts` or Flagger's load tester do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Kind of the object: `Rollout` or `Canary`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What is to be done.
    pub verb: Verb,
}

/// What the controller of a canary can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Rollout: a paused one goes on, one that is not paused leaves out its step.
    Promote,
    /// Rollout: the new version is promoted without further steps, pauses and analyses (`promote --full`).
    PromoteFull,
    /// Rollout: back to the stable version.
    Abort,
    /// Rollout: an aborted one begins again.
    Retry,
    /// Rollout: `spec.paused: true`. Canary: `spec.suspend: true`.
    Pause,
    /// Rollout: `spec.paused: false`. Canary: `spec.suspend: false`.
    Resume,
    /// Canary: webhooks that ask `/gate/check` get a yes from now on. They get a no before.
    OpenGate,
    /// Canary: webhooks that ask `/gate/check` get a no from now on.
    CloseGate,
    /// Canary: webhooks that ask `/rollback/check` get a yes from now on, and the canary is rolled back. They get a
    /// no before.
    OpenRollback,
    /// Canary: webhooks that ask `/rollback/check` get a no from now on.
    CloseRollback,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 10] = [
        Self::Promote,
        Self::PromoteFull,
        Self::Abort,
        Self::Retry,
        Self::Pause,
        Self::Resume,
        Self::OpenGate,
        Self::CloseGate,
        Self::OpenRollback,
        Self::CloseRollback,
    ];

    /// What the file calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote-full",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::OpenGate => "open-gate",
            Self::CloseGate => "close-gate",
            Self::OpenRollback => "open-rollback",
            Self::CloseRollback => "close-rollback",
        }
    }

    /// Whether an object of this kind can be told so.
    pub fn goes_with(self, kind: &str) -> bool {
        match self {
            Self::Promote | Self::PromoteFull | Self::Abort | Self::Retry => kind == "Rollout",
            Self::Pause | Self::Resume => matches!(kind, "Rollout" | "Canary"),
            Self::OpenGate | Self::CloseGate | Self::OpenRollback | Self::CloseRollback => kind == "Canary",
        }
    }
}

/// A JSON merge patch (RFC 7386) of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Kind of the object, such as `InferenceService`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The patch, an object.
    pub merge: serde_json::Value,
}

/// Something that breaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disturbance {
    /// When.
    pub when: When,
    /// What.
    pub kind: DisturbanceKind,
    /// Where the file says so.
    pub line: u32,
}

/// When something breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Once, from the start of the scenario (or of the flight, see [`crate::Scenario::faults_in`]).
    At(Duration),
    /// Again and again: the mean gap of a Poisson process.
    Every(Duration),
}

/// What breaks. Targets are names of InferenceServices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DisturbanceKind {
    /// Pods end at once, with the requests that they hold.
    PodCrash {
        /// Whose pods.
        target: String,
        /// How many.
        count: u32,
    },
    /// Pods end soon after they start.
    CrashLoop {
        /// Whose pods.
        target: String,
        /// For how long.
        length: Duration,
    },
    /// Nodes answer no more, with all their pods.
    NodeLoss {
        /// Of which pool.
        pool: String,
        /// How many.
        count: u32,
        /// For how long; `None` is for good.
        length: Option<Duration>,
    },
    /// Downloads take longer.
    SlowStorage {
        /// Of models whose storage URI begins so.
        prefix: String,
        /// What their bandwidth is divided by; above 1.
        factor: f64,
        /// For how long.
        length: Duration,
    },
    /// Downloads fail.
    StorageFailure {
        /// Of models whose storage URI begins so.
        prefix: String,
        /// For how long.
        length: Duration,
    },
    /// No autoscaler and no canary analysis gets a metric: who asks for one gets an error.
    MetricsGap {
        /// For how long.
        length: Duration,
    },
    /// The API server does not answer: nothing can be changed.
    ApiOutage {
        /// For how long.
        length: Duration,
    },
    /// All control loops come later than they would have.
    ClockPhase {
        /// By how much.
        shift: Duration,
    },
}

impl DisturbanceKind {
    /// What the file calls it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PodCrash { .. } => "pod-crash",
            Self::CrashLoop { .. } => "crash-loop",
            Self::NodeLoss { .. } => "node-loss",
            Self::SlowStorage { .. } => "slow-storage",
            Self::StorageFailure { .. } => "storage-failure",
            Self::MetricsGap { .. } => "metrics-gap",
            Self::ApiOutage { .. } => "api-outage",
            Self::ClockPhase { .. } => "clock-phase",
        }
    }

    /// For how long, for what has a length.
    pub fn length(&self) -> Option<Duration> {
        match self {
            Self::CrashLoop { length, .. }
            | Self::SlowStorage { length, .. }
            | Self::StorageFailure { length, .. }
            | Self::MetricsGap { length }
            | Self::ApiOutage { length } => Some(*length),
            Self::NodeLoss { length, .. } => *length,
            Self::PodCrash { .. } | Self::ClockPhase { .. } => None,
        }
    }

    /// The same with another length, for what has one.
    #[must_use]
    fn lasting(mut self, new: Duration) -> Self {
        match &mut self {
            Self::CrashLoop { length, .. }
            | Self::SlowStorage { length, .. }
            | Self::StorageFailure { length, .. }
            | Self::MetricsGap { length }
            | Self::ApiOutage { length }
            | Self::NodeLoss { length: Some(length), .. } => *length = new,
            Self::NodeLoss { length: None, .. } | Self::PodCrash { .. } | Self::ClockPhase { .. } => {}
        }
        self
    }
}

impl Disturbance {
    /// The same at flight time; `None` when nothing of it lies in the slice.
    pub(crate) fn sliced(&self, plan: FlightPlan) -> Option<Self> {
        let mut length = self.kind.length();
        let when = match self.when {
            When::Every(gap) => When::Every(gap.compressed(plan.compress)),
            When::At(at) if at >= plan.to => return None,
            When::At(at) if at >= plan.from => When::At(plan.flight_time(at)),
            When::At(at) => {
                // What is left of it at the start of the slice; what came to stay is there as well.
                let over_ns = plan.from.as_ns() - at.as_ns();
                match (&self.kind, length) {
                    (_, Some(lasts)) if lasts.as_ns() > over_ns => {
                        length = Some(Duration::from_ns(lasts.as_ns() - over_ns));
                    }
                    (DisturbanceKind::NodeLoss { .. } | DisturbanceKind::ClockPhase { .. }, None) => {}
                    _ => return None,
                }
                When::At(Duration::ZERO)
            }
        };
        let kind = match length {
            Some(length) => self.kind.clone().lasting(length.compressed(plan.compress)),
            None => self.kind.clone(),
        };
        Some(Self { when, kind, line: self.line })
    }
}
