//! Limits: how far a recommendation may go at once.
//!
//! Source: `convertDesiredReplicasWithRules`, `convertDesiredReplicasWithBehaviorRate` and the limits that they use in
//! `pkg/controller/podautoscaler/horizontal.go`.

use serde::{Deserialize, Serialize};

use super::history::{ScaleEvent, ScaleEvents, change_within};
use super::spec::{PolicyKind, ScalingRules, SelectPolicy};

/// Why a count is what it is: the reasons of the `ScalingLimited` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitReason {
    /// No limit applied.
    DesiredWithinRange,
    /// More than `maxReplicas`.
    TooManyReplicas,
    /// Fewer than `minReplicas`.
    TooFewReplicas,
    /// Upwards faster than allowed.
    ScaleUpLimit,
    /// Downwards faster than allowed.
    ScaleDownLimit,
}

impl LimitReason {
    /// The reason in the condition.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DesiredWithinRange => "DesiredWithinRange",
            Self::TooManyReplicas => "TooManyReplicas",
            Self::TooFewReplicas => "TooFewReplicas",
            Self::ScaleUpLimit => "ScaleUpLimit",
            Self::ScaleDownLimit => "ScaleDownLimit",
        }
    }

    /// The message in the condition.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::DesiredWithinRange => "the desired count is within the acceptable range",
            Self::TooManyReplicas => "the desired replica count is more than the maximum replica count",
            Self::TooFewReplicas => "the desired replica count is less than the minimum replica count",
            Self::ScaleUpLimit => {
                "the desired replica count is increasing faster than the maximum scale rate"
            }
            Self::ScaleDownLimit => {
                "the desired replica count is decreasing faster than the maximum scale rate"
            }
        }
    }
}

/// A count after limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// Replicas.
    pub replicas: i32,
    /// Why.
    pub reason: LimitReason,
    /// How far the rate would let it go; `None` where no rate was looked at.
    pub rate_limit: Option<i32>,
}

/// The rules of a count with `behavior`.
#[derive(Clone, Copy, Debug)]
pub struct Rate<'a> {
    /// Upwards, defaulted.
    pub up: &'a ScalingRules,
    /// Downwards, defaulted.
    pub down: &'a ScalingRules,
    /// What changed lately.
    pub events: &'a ScaleEvents,
    /// Whether events of the other direction count too: since Kubernetes 1.27.
    pub both_directions: bool,
    /// Now, nanoseconds since the Unix epoch.
    pub now_ns: u64,
}

/// Replicas between `minReplicas` and `maxReplicas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// `minReplicas`.
    pub minimum: i32,
    /// `maxReplicas`.
    pub maximum: i32,
}

/// Without `behavior`: at most twice the present count, or 4 where that is more.
#[must_use]
pub fn limit_to_double(current: i32, desired: i32, bounds: Bounds) -> Limited {
    let rate_limit = current.saturating_mul(2).max(4);
    let (maximum, reason) = if bounds.maximum > rate_limit {
        (rate_limit, LimitReason::ScaleUpLimit)
    } else {
        (bounds.maximum, LimitReason::TooManyReplicas)
    };
    let (replicas, reason) = if desired < bounds.minimum {
        (bounds.minimum, LimitReason::TooFewReplicas)
    } else if desired > maximum {
        (maximum, reason)
    } else {
        (desired, LimitReason::DesiredWithinRange)
    };
    Limited { replicas, reason, rate_limit: Some(rate_limit) }
}

/// With `behavior`: what its policies and the bounds allow.
#[must_use]
pub fn limit_rate(current: i32, desired: i32, bounds: Bounds, rate: Rate<'_>) -> Limited {
    if desired > current {
        let rate_limit = rate.up_limit(current).max(current);
        let (maximum, reason) = if bounds.maximum > rate_limit {
            (rate_limit, LimitReason::ScaleUpLimit)
        } else {
            (bounds.maximum, LimitReason::TooManyReplicas)
        };
        if desired > maximum {
            return Limited { replicas: maximum, reason, rate_limit: Some(rate_limit) };
        }
        return Limited {
            replicas: desired,
            reason: LimitReason::DesiredWithinRange,
            rate_limit: Some(rate_limit),
        };
    }
    if desired < current {
        let rate_limit = rate.down_limit(current).min(current);
        let (minimum, reason) = if bounds.minimum < rate_limit {
            (rate_limit, LimitReason::ScaleDownLimit)
        } else {
            (bounds.minimum, LimitReason::TooFewReplicas)
        };
        if desired < minimum {
            return Limited { replicas: minimum, reason, rate_limit: Some(rate_limit) };
        }
        return Limited {
            replicas: desired,
            reason: LimitReason::DesiredWithinRange,
            rate_limit: Some(rate_limit),
        };
    }
    Limited { replicas: desired, reason: LimitReason::DesiredWithinRange, rate_limit: None }
}

impl Rate<'_> {
    /// The most replicas that the policies upwards allow now. It can be below the present count after a policy was
    /// tightened.
    #[must_use]
    pub fn up_limit(self, current: i32) -> i32 {
        let propose = |kind, value: i32, start: i64| match kind {
            PolicyKind::Pods => clamp(start.saturating_add(i64::from(value))),
            // Rounded up, or a small change would never happen.
            PolicyKind::Percent => (start as f64 * (1.0 + f64::from(value) / 100.0)).ceil() as i32,
        };
        match self.up.select_policy {
            Some(SelectPolicy::Disabled) => current,
            Some(SelectPolicy::Min) => {
                self.proposals(self.up, current, true, propose).min().unwrap_or(i32::MAX)
            }
            Some(SelectPolicy::Max) | None => {
                self.proposals(self.up, current, true, propose).max().unwrap_or(i32::MIN)
            }
        }
    }

    /// The fewest replicas that the policies downwards allow now. It can be below zero.
    #[must_use]
    pub fn down_limit(self, current: i32) -> i32 {
        let propose = |kind, value: i32, start: i64| match kind {
            PolicyKind::Pods => clamp(start.saturating_sub(i64::from(value))),
            PolicyKind::Percent => (start as f64 * (1.0 - f64::from(value) / 100.0)) as i32,
        };
        match self.down.select_policy {
            Some(SelectPolicy::Disabled) => current,
            Some(SelectPolicy::Min) => {
                self.proposals(self.down, current, false, propose).max().unwrap_or(i32::MIN)
            }
            Some(SelectPolicy::Max) | None => {
                self.proposals(self.down, current, false, propose).min().unwrap_or(i32::MAX)
            }
        }
    }

    fn proposals<'b>(
        self,
        rules: &'b ScalingRules,
        current: i32,
        goes_up: bool,
        propose: impl Fn(PolicyKind, i32, i64) -> i32 + 'b,
    ) -> impl Iterator<Item = i32> + 'b
    where
        Self: 'b,
    {
        rules.policies.as_deref().unwrap_or_default().iter().map(move |policy| {
            let changed = |log: &[ScaleEvent], counts| {
                if counts { change_within(log, policy.period_seconds, self.now_ns) } else { 0 }
            };
            let added = changed(&self.events.up, goes_up || self.both_directions);
            let removed = changed(&self.events.down, !goes_up || self.both_directions);
            propose(policy.kind, policy.value, i64::from(current) - added + removed)
        })
    }
}

fn clamp(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}
