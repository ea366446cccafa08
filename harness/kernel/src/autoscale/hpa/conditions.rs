//! Conditions of a HorizontalPodAutoscaler, with upstream's reasons and messages.

use serde::{Deserialize, Serialize};

/// The conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// Whether the scale can be read and written, and whether stabilisation holds it back. Reasons: `SucceededGetScale`,
    /// `FailedGetScale`, `ReadyForNewScale`, `ScaleUpStabilized`, `ScaleDownStabilized`, `SucceededRescale`,
    /// `FailedUpdateScale`.
    pub able_to_scale: Option<Condition>,
    /// Whether metrics lead to a count. Reasons: `ValidMetricFound`, `ScalingDisabled`, `InvalidSelector`,
    /// `AmbiguousSelector`, `FailedGetResourceMetric` and its kin.
    pub scaling_active: Option<Condition>,
    /// Whether bounds or rates hold the count back. Reasons: see [`LimitReason`](super::LimitReason).
    pub scaling_limited: Option<Condition>,
    /// Whether the autoscaler itself took the target to zero; since Kubernetes 1.37. Reasons: `ScaledToZero`,
    /// `NotScaledToZero`.
    pub scaled_to_zero: Option<Condition>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// `True` or `False`.
    pub status: bool,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// When the status changed last, nanoseconds since the Unix epoch.
    pub since_ns: u64,
}

/// Sets a condition; the time changes only with the status.
pub(crate) fn set(
    condition: &mut Option<Condition>,
    status: bool,
    reason: &str,
    message: impl Into<String>,
    now_ns: u64,
) {
    let since_ns = match condition {
        Some(before) if before.status == status => before.since_ns,
        _ => now_ns,
    };
    *condition = Some(Condition { status, reason: reason.to_string(), message: message.into(), since_ns });
}

impl Condition {
    /// Status and reason, as a test of upstream writes them.
    #[must_use]
    pub fn short(&self) -> (bool, &str) {
        (self.status, &self.reason)
    }
}
