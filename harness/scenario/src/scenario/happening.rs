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
    /// Nodes are gone with all their pods.
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
    /// No autoscaler gets a metric.
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
