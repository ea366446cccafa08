//! Why a decision fell so, one at a time or over a time span.

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

impl Explanation {
    /// Whether another decision fell the same way: the same pods by the same rules, whatever the averages.
    #[must_use]
    pub fn falls_like(&self, other: &Self) -> bool {
        (self.want, self.current, self.panicking) == (other.want, other.current, other.panicking)
            && self.winner == other.winner
            && self.note == other.note
            && self.limits.iter().map(|limit| &limit.name).eq(other.limits.iter().map(|limit| &limit.name))
    }
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

/// The decisions of one revision over a time span. Decisions in a row that fell alike become one stretch, so that an
/// hour of ticks reads as the handful of things that happened. Displays as a table, a line a stretch.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use windtunnel_kernel::autoscale::kpa::{Autoscaler, Config, Observation, Reachability, Stat, Trigger};
/// use windtunnel_kernel::autoscale::kpa::explain::Span;
///
/// # let mut autoscaler = Autoscaler::new(Config::default(), 1, 0);
/// let mut span = Span::new(0);
/// for second in [2, 4, 6] {
///     # let seen = Observation { now_ns: second * 1_000_000_000, ready: 1, current_replicas: 1,
///     #     reachability: Reachability::Reachable, activator_answers: true };
///     # let at_ns = seen.now_ns;
///     # let _ = autoscaler.record(&Stat { at_ns, average_concurrency: 60.0, ..Stat::default() });
///     let decision = autoscaler.step(Trigger::Tick, &seen);
///     span.push(at_ns, &decision.explanation);
/// }
/// assert_eq!(span.stretches().len(), 1, "{span}");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    zero_ns: u64,
    stretches: Vec<Stretch>,
    omitted: u64,
}

/// Decisions in a row that fell alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// The first of them, nanoseconds.
    pub from_ns: u64,
    /// The last of them, nanoseconds.
    pub to_ns: u64,
    /// How many.
    pub count: u64,
    /// Why the first of them fell so. The others differ in their averages only.
    pub explanation: Explanation,
}

impl Span {
    /// Stretches that are kept; later ones are counted only.
    pub const LIMIT: usize = 10_000;

    /// No decisions yet. Times are shown as seconds since `zero_ns`.
    #[must_use]
    pub fn new(zero_ns: u64) -> Self {
        Self { zero_ns, stretches: Vec::new(), omitted: 0 }
    }

    /// Adds a decision; times must not run back.
    pub fn push(&mut self, at_ns: u64, explanation: &Explanation) {
        let is_full = self.stretches.len() >= Self::LIMIT;
        match self.stretches.last_mut() {
            Some(stretch) if stretch.explanation.falls_like(explanation) => {
                stretch.to_ns = at_ns;
                stretch.count += 1;
            }
            _ if is_full => self.omitted += 1,
            _ => self.stretches.push(Stretch {
                from_ns: at_ns,
                to_ns: at_ns,
                count: 1,
                explanation: explanation.clone(),
            }),
        }
    }

    /// The stretches, in order.
    #[must_use]
    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// Decisions that were not kept because there were too many stretches.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    fn seconds(&self, at_ns: u64) -> f64 {
        at_ns.saturating_sub(self.zero_ns) as f64 / SECOND_NS as f64
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stretches.is_empty() {
            return f.write_str("no decision in this time span");
        }
        writeln!(f, "{:>19}  {:>9}  {:<22} why", "seconds", "pods", "decided by")?;
        for (number, stretch) in self.stretches.iter().enumerate() {
            let (from, to) = (self.seconds(stretch.from_ns), self.seconds(stretch.to_ns));
            let when =
                if stretch.count == 1 { format!("{from:.1}") } else { format!("{from:.1} to {to:.1}") };
            let explanation = &stretch.explanation;
            let pods = match explanation.want {
                -1 => format!("{} -> ?", explanation.current),
                want if i64::from(want) == i64::from(explanation.current) => want.to_string(),
                want => format!("{} -> {want}", explanation.current),
            };
            let times =
                if stretch.count == 1 { String::new() } else { format!(" ({} times)", stretch.count) };
            let end = if number + 1 < self.stretches.len() || self.omitted > 0 { "\n" } else { "" };
            write!(f, "{when:>19}  {pods:>9}  {:<22} {explanation}{times}{end}", explanation.winner)?;
        }
        if self.omitted > 0 {
            write!(f, "{} more decisions are left out", self.omitted)?;
        }
        Ok(())
    }
}
