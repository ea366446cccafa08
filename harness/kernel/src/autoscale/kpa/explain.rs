//! Why a decision fell so.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{SECOND_NS, ScalingMetric};

/// A rule that changed the number of pods on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The setting that it comes from, such as `max-scale`; `panic` for "never down in a panic".
    pub name: String,
    /// Pods before it.
    pub from: i32,
    /// Pods after it.
    pub to: i32,
}

impl Limit {
    pub(crate) fn new(name: &str, from: i32, to: i32) -> Self {
        Self { name: name.to_string(), from, to }
    }
}

/// Inputs, intermediate values and rules of a decision. Displays as one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What is scaled on.
    pub metric: ScalingMetric,
    /// What one pod should carry.
    pub target: f64,
    /// Ready pods.
    pub ready: u32,
    /// Replicas of the Deployment before.
    pub current: u32,
    /// Average over the stable window; `None` = no data.
    pub stable: Option<f64>,
    /// Average over the panic window; `None` = no data.
    pub panic: Option<f64>,
    /// Stable window, nanoseconds.
    pub stable_window_ns: u64,
    /// Panic window, nanoseconds.
    pub panic_window_ns: u64,
    /// Pods for the stable average, before limits.
    pub stable_pods: Option<f64>,
    /// Pods for the panic average, before limits.
    pub panic_pods: Option<f64>,
    /// Whether the decider panics.
    pub panicking: bool,
    /// Pods the decider wants (-1 = no data yet).
    pub desired: i32,
    /// Pods wanted after bounds and the sequence to zero (-1 = no opinion).
    pub want: i32,
    /// Every rule that changed a number, in order.
    pub limits: Vec<Limit>,
    /// What won: `stable`, `panic`, or the name of the last rule.
    pub winner: String,
    /// Why it waits or lets go on the way to zero; empty otherwise.
    pub note: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.stable, self.panic, self.stable_pods, self.panic_pods) {
            (Some(stable), Some(panic), Some(stable_pods), Some(panic_pods)) => {
                write!(
                    f,
                    "{} {}/target {} over {} s -> {}; panic ({} s) {} -> {}",
                    self.metric.name(),
                    Number(stable),
                    Number(self.target),
                    self.stable_window_ns / SECOND_NS,
                    stable_pods,
                    self.panic_window_ns / SECOND_NS,
                    Number(panic),
                    panic_pods,
                )?;
                if self.panicking {
                    f.write_str(", panicking")?;
                }
            }
            _ => write!(f, "{}: no data yet", self.metric.name())?,
        }
        for limit in &self.limits {
            match limit.name.as_str() {
                "panic" => write!(f, "; held at {} while panicking", limit.to)?,
                name if limit.to < limit.from => write!(f, "; limited to {} by {name}", limit.to)?,
                name => write!(f, "; raised to {} by {name}", limit.to)?,
            }
        }
        if !self.note.is_empty() && (self.stable.is_some() || self.note != "no data yet") {
            write!(f, "; {}", self.note)?;
        }
        Ok(())
    }
}

/// At most three decimals, no trailing zeros.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.3}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}
