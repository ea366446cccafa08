//! The reconciler's side: bounds, initial scale, and the sequence to zero.

use super::activity::{ConditionStatus, ServeMode};
use super::{Config, Reachability, SECOND_NS};

/// No opinion: no data yet, or not now.
pub const SCALE_UNKNOWN: i32 = -1;

/// An activation is given up this long after the progress deadline, so that the Deployment's own failure is seen
/// first.
pub const ACTIVATION_TIMEOUT_BUFFER_NS: u64 = 30 * SECOND_NS;

/// How soon to look again after marking a revision inactive whose requests already go through the activator.
pub const PROXY_REQUEUE_NS: u64 = 3 * SECOND_NS;

/// How soon to look again while the activator does not answer for the revision yet.
pub const PROBE_PERIOD_NS: u64 = SECOND_NS;

/// What the scaler reads of a revision's configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScalerConfig {
    /// Fewest pods, ignored while unreachable.
    pub min_scale: i32,
    /// Most pods; 0 = unlimited.
    pub max_scale: i32,
    /// Pods to reach once.
    pub initial_scale: i32,
    /// Whether zero is allowed.
    pub enable_scale_to_zero: bool,
    /// Burst capacity; with -1 the activator needs no probe.
    pub target_burst_capacity: f64,
    /// Stable window, nanoseconds.
    pub stable_window_ns: u64,
    /// Grace period, nanoseconds.
    pub grace_period_ns: u64,
    /// How long the last pod is kept, nanoseconds.
    pub pod_retention_ns: u64,
    /// Progress deadline, nanoseconds.
    pub progress_deadline_ns: u64,
    /// Whether routes lead to the revision.
    pub reachability: Reachability,
}

impl ScalerConfig {
    /// The part of a revision's configuration that the scaler reads.
    #[must_use]
    pub fn of(config: &Config, reachability: Reachability) -> Self {
        let count = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        Self {
            min_scale: count(config.min_scale),
            max_scale: count(config.max_scale),
            initial_scale: count(config.initial_scale),
            enable_scale_to_zero: config.enable_scale_to_zero,
            target_burst_capacity: config.target_burst_capacity,
            stable_window_ns: config.stable_window_ns,
            grace_period_ns: config.scale_to_zero_grace_period_ns,
            pod_retention_ns: config.scale_to_zero_pod_retention_period_ns,
            progress_deadline_ns: config.progress_deadline_ns,
            reachability,
        }
    }

    /// (min, max) as they apply now.
    #[must_use]
    pub fn bounds(&self) -> (i32, i32) {
        let min = if self.reachability == Reachability::Unreachable { 0 } else { self.min_scale };
        (min, self.max_scale)
    }
}

/// What the scaler knows about the revision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Situation {
    /// The `Active` condition.
    pub active: ConditionStatus,
    /// For how long it has been so, nanoseconds.
    pub active_for_ns: u64,
    /// Whether the revision has ever reached its initial scale.
    pub initialized: bool,
    /// Which path requests are asked to take.
    pub mode: ServeMode,
    /// For how long the activator has been in the path, nanoseconds; 0 when it is not.
    pub proxy_for_ns: u64,
    /// Whether a request to the revision is answered by the activator.
    pub activator_answers: bool,
}

/// What the scaler wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// Pods wanted; [`SCALE_UNKNOWN`] = no opinion.
    pub want: i32,
    /// Whether the Deployment is to be set to it.
    pub apply: bool,
    /// When to look again, at the latest.
    pub requeue_after_ns: Option<u64>,
    /// Whether the activator has to be probed until it answers.
    pub probe: bool,
    /// What the bounds made of the desired scale, when they changed it: (what, from, to).
    pub bound: Option<(&'static str, i32, i32)>,
    /// Why it is held, or lets go, on the way to zero.
    pub note: Option<&'static str>,
}

impl Scaling {
    fn new(want: i32, apply: bool) -> Self {
        Self { want, apply, requeue_after_ns: None, probe: false, bound: None, note: None }
    }

    fn after(self, requeue_after_ns: u64) -> Self {
        Self { requeue_after_ns: Some(requeue_after_ns), ..self }
    }

    fn because(self, note: &'static str) -> Self {
        Self { note: Some(note), ..self }
    }
}

/// What to make of the decider's `desired` (-1 = no data yet).
#[must_use]
pub fn scale(config: &ScalerConfig, situation: &Situation, desired: i32) -> Scaling {
    if desired < 0 && situation.active != ConditionStatus::Unknown {
        return Scaling::new(desired, false).because("no data yet");
    }
    let (mut min, max) = config.bounds();
    let mut min_name = "min-scale";
    let holds_initial_scale = config.initial_scale > 1
        && !situation.initialized
        && config.reachability != Reachability::Unreachable;
    if holds_initial_scale && config.initial_scale > min {
        (min, min_name) = (config.initial_scale, "initial-scale");
    }
    let (bounded, bound_name) = if desired < min {
        (min, min_name)
    } else if max != 0 && desired > max {
        (max, "max-scale")
    } else {
        (desired, "")
    };
    let bound = (bounded != desired && desired >= 0).then_some((bound_name, desired, bounded));
    Scaling { bound, ..toward_zero(config, situation, bounded) }
}

/// Lets a revision go to zero only step by step: a stable window active, then inactive with the activator in
/// its path for the grace period.
fn toward_zero(config: &ScalerConfig, situation: &Situation, desired: i32) -> Scaling {
    if desired != 0 {
        return Scaling::new(desired, true);
    }
    if !config.enable_scale_to_zero {
        return Scaling::new(1, true).because("scale to zero is disabled");
    }
    let since_ns = situation.active_for_ns;
    match situation.active {
        ConditionStatus::Unknown => {
            let timeout_ns = config.progress_deadline_ns.saturating_add(ACTIVATION_TIMEOUT_BUFFER_NS);
            if since_ns > timeout_ns {
                Scaling::new(0, true).because("activation timed out")
            } else {
                Scaling::new(SCALE_UNKNOWN, false).after(timeout_ns).because("activating")
            }
        }
        ConditionStatus::True => {
            if since_ns < config.stable_window_ns {
                return Scaling::new(1, true)
                    .after(config.stable_window_ns - since_ns)
                    .because("active for less than the stable window");
            }
            // Not applied: the revision becomes inactive first, which brings the activator in.
            let idle = Scaling::new(0, false).because("becomes inactive");
            if situation.mode == ServeMode::Proxy { idle.after(PROXY_REQUEUE_NS) } else { idle }
        }
        ConditionStatus::False => inactive(config, situation, since_ns),
    }
}

fn inactive(config: &ScalerConfig, situation: &Situation, inactive_for_ns: u64) -> Scaling {
    let answers = config.target_burst_capacity == -1.0 || situation.activator_answers;
    if !answers {
        let waiting = Scaling::new(0, false).because("the activator does not answer for it yet");
        return Scaling { probe: true, ..waiting };
    }
    let retention_ns =
        if config.reachability == Reachability::Unreachable { 0 } else { config.pod_retention_ns };
    if inactive_for_ns >= config.grace_period_ns.max(retention_ns) {
        return Scaling::new(0, true).because("inactive for the grace period");
    }
    if inactive_for_ns < retention_ns {
        return Scaling::new(0, false).after(retention_ns - inactive_for_ns).because("last pod is retained");
    }
    match config.grace_period_ns.checked_sub(situation.proxy_for_ns) {
        None | Some(0) => Scaling::new(0, true).because("activator in the path for the grace period"),
        Some(rest_ns) => Scaling::new(0, false)
            .after(rest_ns)
            .because("activator in the path for less than the grace period"),
    }
}
