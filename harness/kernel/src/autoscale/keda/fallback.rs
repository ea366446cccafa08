//! Values in place of failing triggers.
//!
//! Source: `pkg/fallback/fallback.go`.

use serde::{Deserialize, Serialize};

use super::spec::{Fallback, FallbackBehavior};
use super::triggers::{Measured, thousandths};

/// What asking a trigger gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reading {
    /// A value.
    Measured(Measured),
    /// An error.
    Failed {
        /// What it said.
        message: String,
    },
    /// Nothing is asked: cpu and memory, which the HorizontalPodAutoscaler looks at itself.
    Resource,
}

/// Failures of one trigger in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How many.
    pub failures: i32,
}

/// What a trigger counts as after fallback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Its value, thousandths.
    Measured {
        /// The value, thousandths.
        value_milli: i64,
        /// Whether the trigger is active.
        active: bool,
    },
    /// A value in place of the trigger's, thousandths.
    Fallback {
        /// The value, thousandths.
        value_milli: i64,
    },
    /// Left to the formula, in which the trigger is `nil`.
    Nil,
    /// An error.
    Failed {
        /// What it said.
        message: String,
    },
}

/// What a fallback's value is a multiple of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FallbackTarget {
    /// The target of the metric (or of the modifiers).
    pub target: f64,
    /// Whether it is for all pods together, not for one.
    pub is_total: bool,
}

/// Counts a reading and falls back after more than `failureThreshold` failures in a row.
///
/// A trigger without fallback (`None`) keeps its count as it is.
pub fn answer(
    health: &mut Health,
    reading: &Reading,
    fallback: Option<&Fallback>,
    target: FallbackTarget,
    current_replicas: i32,
    ready_replicas: i32,
) -> Answer {
    let message = match reading {
        Reading::Resource => return Answer::Nil,
        Reading::Measured(measured) => {
            if fallback.is_some() {
                health.failures = 0;
            }
            return Answer::Measured { value_milli: thousandths(measured.value), active: measured.active };
        }
        Reading::Failed { message } => message.clone(),
    };
    let Some(fallback) =
        fallback.filter(|fallback| fallback.failure_threshold >= 0 && fallback.replicas >= 0)
    else {
        return Answer::Failed { message };
    };
    health.failures = health.failures.saturating_add(1);
    if health.failures <= fallback.failure_threshold {
        return Answer::Failed { message };
    }
    let replicas = match fallback.behavior {
        FallbackBehavior::Static => fallback.replicas,
        FallbackBehavior::CurrentReplicas => current_replicas,
        FallbackBehavior::CurrentReplicasIfHigher => current_replicas.max(fallback.replicas),
        FallbackBehavior::CurrentReplicasIfLower => current_replicas.min(fallback.replicas),
        FallbackBehavior::ScalingModifiers => return Answer::Nil,
    };
    let mut share = f64::from(replicas);
    if target.is_total {
        if ready_replicas == 0 {
            return Answer::Failed { message: "error performing fallback: no replica is ready".to_string() };
        }
        share /= f64::from(ready_replicas);
    }
    // Cut at thousandths, not rounded; the cast saturates.
    Answer::Fallback { value_milli: (target.target * 1000.0 * share) as i64 }
}
