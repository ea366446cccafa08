//! A revision's `Active` condition, its scale status, and whether the activator is in the path.

use serde::{Deserialize, Serialize};

use super::scaler::{SCALE_UNKNOWN, ScalerConfig};

/// Status of a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// On the way.
    #[default]
    Unknown,
}

impl ConditionStatus {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Which path requests are asked to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServeMode {
    /// Straight to the pods.
    Serve,
    /// Through the activator.
    #[default]
    Proxy,
}

/// The `Active` condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// True: serving. Unknown: activating. False: not receiving traffic, or timed out.
    pub status: ConditionStatus,
    /// `NoTraffic`, `TimedOut`, `Queued`, or empty.
    pub reason: String,
    /// When status or reason last changed, nanoseconds; a whole second, as the API stores it.
    pub since_ns: u64,
}

impl Active {
    /// The condition of a revision that has not been looked at yet.
    #[must_use]
    pub fn unknown(now_ns: u64) -> Self {
        Self { status: ConditionStatus::Unknown, reason: String::new(), since_ns: whole_second(now_ns) }
    }

    /// How long it has been so, nanoseconds.
    #[must_use]
    pub fn for_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.since_ns)
    }

    fn set(&mut self, status: ConditionStatus, reason: &str, now_ns: u64) {
        if self.status != status || self.reason != reason {
            *self = Self { status, reason: reason.to_string(), since_ns: whole_second(now_ns) };
        }
    }
}

/// Times in the Kubernetes API have a resolution of one second.
pub(crate) fn whole_second(now_ns: u64) -> u64 {
    now_ns - now_ns % super::SECOND_NS
}

/// The scale as status shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleStatus {
    /// Ready pods.
    pub actual: Option<i32>,
    /// Pods wanted.
    pub desired: Option<i32>,
}

/// The new status: ready pods, and what is wanted. "No opinion" does not replace an opinion.
#[must_use]
pub fn compute_status(previous: ScaleStatus, ready: u32, want: i32) -> ScaleStatus {
    let keeps = want == SCALE_UNKNOWN && previous.desired.is_some_and(|desired| desired >= 0);
    ScaleStatus {
        actual: Some(i32::try_from(ready).unwrap_or(i32::MAX)),
        desired: if keeps { previous.desired } else { Some(want) },
    }
}

/// How many ready pods make the revision active: the initial scale until it was reached once, then the minimum.
#[must_use]
pub fn active_threshold(config: &ScalerConfig, initialized: bool) -> i32 {
    let (min, _) = config.bounds();
    min.max(if initialized { 1 } else { config.initial_scale })
}

/// Moves the condition on.
pub fn update_active(active: &mut Active, want: i32, ready: u32, threshold: i32, now_ns: u64) {
    let ready = i32::try_from(ready).unwrap_or(i32::MAX);
    let is_inactive = active.status == ConditionStatus::False;
    if want == 0 || threshold == 0 {
        // Zero while activating is only reached when the activation took too long.
        let timed_out = active.status == ConditionStatus::Unknown && threshold > 0;
        active.set(ConditionStatus::False, if timed_out { "TimedOut" } else { "NoTraffic" }, now_ns);
    } else if ready < threshold {
        if want > 0 || !is_inactive {
            active.set(ConditionStatus::Unknown, "Queued", now_ns);
        } else {
            active.set(ConditionStatus::False, "NoTraffic", now_ns);
        }
    } else if want > 0 || !is_inactive {
        active.set(ConditionStatus::True, "", now_ns);
    }
}

/// Which path requests should take: straight to the pods only when some are wanted and the burst fits.
#[must_use]
pub fn serve_mode(want: i32, excess_burst_capacity: i32) -> ServeMode {
    if want > 0 && excess_burst_capacity >= 0 { ServeMode::Serve } else { ServeMode::Proxy }
}
