//! The Knative pod autoscaler (KPA), as Knative Serving of August 2026 decides.
//!
//! [`Autoscaler`] is one revision's whole autoscaling state: it takes stats with [`Autoscaler::record`] and
//! decides with [`Autoscaler::step`]. Its parts are public and each is tested with upstream's own numbers:
//!
//! | part | what it does |
//! | --- | --- |
//! | [`config`], [`annotations`] | the `config-autoscaler` ConfigMap and a revision's annotations, resolved |
//! | [`request_stats`] | requests that come and go, as averages over a period |
//! | [`reporter`] | the activator's side: request counts become a [`Stat`] each second |
//! | [`scrape`] | which pods are asked, and what a sample says about all |
//! | [`window`], [`max_window`] | averaging windows of 1 s buckets; the scale-down delay |
//! | [`metrics`] | the collector: four windows, and how many pods a scrape samples |
//! | [`target`] | what one pod should carry, the panic window, the number of activators |
//! | [`decider`] | windows to wanted pods: rate limits, panic mode, excess burst capacity |
//! | [`scaler`] | bounds, initial scale and the sequence to zero |
//! | [`activity`] | the `Active` condition, status and whether the activator is in the path |
//! | [`bugs`] | upstream's likely bugs, as options |
//! | [`explain`] | why a decision fell so, one at a time or over a time span |

pub mod activity;
pub mod annotations;
pub mod autoscaler;
pub mod bugs;
pub mod config;
pub mod decider;
pub mod explain;
pub mod max_window;
pub mod metrics;
pub mod reporter;
pub mod request_stats;
pub mod scaler;
pub mod scrape;
pub mod target;
pub mod window;

pub use activity::{Active, ConditionStatus, ScaleStatus, ServeMode};
pub use annotations::Config;
pub use autoscaler::{Autoscaler, Decision, Observation, Reachability, Trigger};
pub use bugs::Bugs;
pub use config::{ConfigError, GlobalConfig};
pub use explain::{Explanation, Limit};
pub use metrics::{ScalingMetric, Stat};
pub use reporter::ConcurrencyReporter;
pub use window::Aggregation;

/// How often a decider evaluates its windows: 2 s.
pub const TICK_NS: u64 = 2 * SECOND_NS;

/// How often activators and pods report, and pods are scraped: 1 s. Also the size of a window's buckets.
pub const REPORT_PERIOD_NS: u64 = SECOND_NS;

/// How long after an even second of the clock the deciders tick, so that the reports of that second are in.
pub const TICK_OFFSET_NS: u64 = 100_000_000;

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// The next tick of every decider after `now_ns`, in nanoseconds since the Unix epoch.
///
/// Upstream lets each decider tick from whenever it was created, and each activator report from whenever it was
/// started. Its windows are buckets of whole seconds of the clock, so the same load is decided upon differently from
/// one start to the next: the bucket of the present second holds a report or does not. Here both are tied to the
/// clock: reports come with the second, ticks shortly after it. That is one of upstream's many phases, and it is the
/// same one in every run, simulated or live.
///
/// ```
/// use windtunnel_kernel::autoscale::kpa::next_tick_ns;
///
/// assert_eq!(next_tick_ns(0), 100_000_000);
/// assert_eq!(next_tick_ns(100_000_000), 2_100_000_000);
/// ```
#[must_use]
pub fn next_tick_ns(now_ns: u64) -> u64 {
    next_on_grid(now_ns, TICK_OFFSET_NS, TICK_NS)
}

/// The next report of every activator after `now_ns`; see [`next_tick_ns`].
#[must_use]
pub fn next_report_ns(now_ns: u64) -> u64 {
    next_on_grid(now_ns, 0, REPORT_PERIOD_NS)
}

/// The first instant after `now_ns` among `phase_ns`, `phase_ns + period_ns`, …; a period of 0 is taken for 1 ns.
#[must_use]
pub fn next_on_grid(now_ns: u64, phase_ns: u64, period_ns: u64) -> u64 {
    let period_ns = period_ns.max(1);
    let (now_in_ns, phase_in_ns) = (now_ns % period_ns, phase_ns % period_ns);
    let past_ns = match now_in_ns.checked_sub(phase_in_ns) {
        Some(past_ns) => past_ns,
        None => period_ns - (phase_in_ns - now_in_ns),
    };
    now_ns.saturating_add(period_ns - past_ns)
}

/// What one pod must be able to carry at least; smaller targets are raised to it.
pub const TARGET_MINIMUM: f64 = 0.01;

#[cfg(test)]
mod tests {
    use super::next_on_grid;

    /// A report on the wrong side of a second lands in another bucket of the autoscaler.
    #[test]
    fn the_grid_keeps_its_phase() {
        assert_eq!(next_on_grid(1_000, 250, 100), 1_050);
        assert_eq!(next_on_grid(1_050, 250, 100), 1_150, "strictly after now");
        assert_eq!(next_on_grid(1_049, 1_350, 100), 1_050, "a phase in the future is a phase all the same");
    }
}
