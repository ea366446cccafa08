//! The decider: window averages to wanted pods.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::Bugs;
use super::explain::Limit;
use super::max_window::TimeWindow;
use super::metrics::Averages;
use super::{Config, TICK_NS};

/// What a decider decides by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeciderSpec {
    /// What one pod should carry.
    pub target_value: f64,
    /// What one pod can carry.
    pub total_value: f64,
    /// Burst that must fit, requests; 0 or -1 switch the computation off.
    pub target_burst_capacity: f64,
    /// Ratio of wanted to ready pods that starts a panic.
    pub panic_threshold: f64,
    /// Most pods wanted, as a factor of ready ones.
    pub max_scale_up_rate: f64,
    /// Fewest pods wanted: ready ones divided by this.
    pub max_scale_down_rate: f64,
    /// How long a panic outlasts the last time over the threshold, nanoseconds.
    pub stable_window_ns: u64,
    /// Fewest pods when not idle; 0 or 1 = no such rule.
    pub activation_scale: i32,
    /// Whether any route leads here (or may).
    pub reachable: bool,
    /// See [`Bugs::forgetful_delay`].
    pub forgetful_delay: bool,
}

impl DeciderSpec {
    /// The part of a revision's configuration that the decider reads.
    #[must_use]
    pub fn of(config: &Config, reachable: bool) -> Self {
        Self {
            target_value: config.target_value,
            total_value: config.total_value,
            target_burst_capacity: config.target_burst_capacity,
            panic_threshold: config.panic_threshold,
            max_scale_up_rate: config.max_scale_up_rate,
            max_scale_down_rate: config.max_scale_down_rate,
            stable_window_ns: config.stable_window_ns,
            activation_scale: i32::try_from(config.activation_scale).unwrap_or(i32::MAX),
            reachable,
            forgetful_delay: config.bugs.forgetful_delay,
        }
    }
}

/// What a decider remembers: whether it panics, since when, and the scale-down delay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decider {
    /// When the load was last over the panic threshold; `None` = not panicking.
    pub panic_since_ns: Option<u64>,
    /// The most pods wanted in this panic.
    pub max_panic_pods: i32,
    /// The scale-down delay; `None` = no delay, which is not the same as a delay of one bucket.
    pub delay: Option<TimeWindow>,
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Pods wanted.
    pub desired: i32,
    /// How many more requests fit before burst capacity is used up; negative = the activator belongs in the path.
    pub excess_burst_capacity: i32,
    /// Pods for the stable average, before any limit.
    pub stable_raw: f64,
    /// Pods for the panic average, before any limit.
    pub panic_raw: f64,
    /// Whether it panics after this evaluation.
    pub panicking: bool,
    /// What changed the numbers on the way, in order.
    pub limits: Vec<Limit>,
}

impl Decider {
    /// A decider for a revision that has `ready` pods. With more than one it starts in a panic, so that a
    /// restarted autoscaler, which has lost its windows, keeps at least the scale it finds.
    #[must_use]
    pub fn new(ready: u32, scale_down_delay_ns: u64, now_ns: u64) -> Self {
        Self {
            panic_since_ns: (ready > 1).then_some(now_ns),
            max_panic_pods: i32::try_from(ready).unwrap_or(i32::MAX),
            delay: (scale_down_delay_ns > 0).then(|| TimeWindow::new(scale_down_delay_ns, TICK_NS)),
        }
    }

    /// Evaluates the averages at `now_ns` for `ready` pods (ready and not terminating).
    pub fn decide(&mut self, spec: &DeciderSpec, ready: u32, averages: Averages, now_ns: u64) -> Evaluation {
        let mut limits = Vec::new();
        let ready_or_one = f64::from(ready.max(1));
        let rate = RateLimit {
            // Rounded up, so that a single pod can always be added.
            up: (spec.max_scale_up_rate * ready_or_one).ceil(),
            down: if spec.reachable { (ready_or_one / spec.max_scale_down_rate).floor() } else { 0.0 },
        };
        let stable_raw = pods(averages.stable, spec.target_value);
        let panic_raw = pods(averages.panic, spec.target_value);
        let panicking = self.panic(spec, panic_raw / ready_or_one, now_ns);

        let mut stable_limits = Vec::new();
        let stable =
            activation(spec, stable_raw, rate.apply(stable_raw, &mut stable_limits), &mut stable_limits);
        let mut panic_limits = Vec::new();
        let panic = activation(spec, panic_raw, rate.apply(panic_raw, &mut panic_limits), &mut panic_limits);

        let mut desired = stable;
        if panicking {
            desired = stable.max(panic);
            limits.extend(if panic > stable { panic_limits } else { stable_limits });
            if desired < self.max_panic_pods {
                limits.push(Limit::new("panic", desired, self.max_panic_pods));
            }
            self.max_panic_pods = self.max_panic_pods.max(desired);
            desired = self.max_panic_pods;
        } else {
            limits.extend(stable_limits);
        }
        if let Some(delay) = &mut self.delay {
            if spec.reachable || !spec.forgetful_delay {
                delay.record(now_ns, desired);
            }
            if spec.reachable {
                let delayed = delay.current();
                if delayed != desired {
                    limits.push(Limit::new("scale-down-delay", desired, delayed));
                }
                desired = delayed;
            }
        }
        Evaluation {
            desired,
            excess_burst_capacity: excess_burst_capacity(spec, ready, averages.panic),
            stable_raw,
            panic_raw,
            panicking,
            limits,
        }
    }

    /// Enters, extends or leaves the panic; says whether it panics.
    fn panic(&mut self, spec: &DeciderSpec, ratio: f64, now_ns: u64) -> bool {
        if ratio >= spec.panic_threshold {
            self.panic_since_ns = Some(now_ns);
        } else if let Some(since_ns) = self.panic_since_ns
            && since_ns.saturating_add(spec.stable_window_ns) < now_ns
        {
            self.panic_since_ns = None;
            self.max_panic_pods = 0;
        }
        self.panic_since_ns.is_some()
    }
}

/// The excess burst capacity that a decider starts with, before its first evaluation.
#[must_use]
pub fn initial_excess_burst_capacity(
    target_burst_capacity: f64,
    initial_scale: u32,
    total_value: f64,
) -> i32 {
    if target_burst_capacity == -1.0 || target_burst_capacity == 0.0 {
        target_burst_capacity as i32
    } else {
        (f64::from(initial_scale) * total_value - target_burst_capacity) as i32
    }
}

struct RateLimit {
    up: f64,
    down: f64,
}

impl RateLimit {
    fn apply(&self, raw: f64, limits: &mut Vec<Limit>) -> i32 {
        let limited = raw.max(self.down).min(self.up);
        if limited > raw {
            limits.push(Limit::new("max-scale-down-rate", raw as i32, limited as i32));
        } else if limited < raw {
            limits.push(Limit::new("max-scale-up-rate", raw as i32, limited as i32));
        }
        limited as i32
    }
}

fn pods(average: f64, target_value: f64) -> f64 {
    let pods = (average / target_value).ceil();
    // 0 / 0 is no load for a target of nothing; adding zero turns -0 into 0. More pods than can be counted are as many
    // as can be, so that the number can be stored.
    if pods.is_nan() { 0.0 } else { pods.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) + 0.0 }
}

/// Comes after the rate limits, so it may exceed them. An idle revision is left alone.
fn activation(spec: &DeciderSpec, raw: f64, limited: i32, limits: &mut Vec<Limit>) -> i32 {
    if spec.activation_scale > 1 && raw > 0.0 && spec.activation_scale > limited {
        limits.push(Limit::new("activation-scale", limited, spec.activation_scale));
        return spec.activation_scale;
    }
    limited
}

/// Room in the pods that are really ready (none counts as none here), less the load and the burst to hold.
fn excess_burst_capacity(spec: &DeciderSpec, ready: u32, panic_average: f64) -> i32 {
    if spec.target_burst_capacity == 0.0 {
        0
    } else if spec.target_burst_capacity < 0.0 {
        -1
    } else {
        (f64::from(ready) * spec.total_value - spec.target_burst_capacity - panic_average).floor() as i32
    }
}
