//! The Knative pod autoscaler (KPA), as Knative Serving of August 2026 decides.
//!
//! [`Autoscaler`] is one revision's whole autoscaling state: it takes stats with [`Autoscaler::record`] and
//! decides with [`Autoscaler::step`]. Its parts are public and each is tested with upstream's own numbers:
//!
//! | part | what it does |
//! | --- | --- |
//! | [`config`], [`annotations`] | the `config-autoscaler` ConfigMap and a revision's annotations, resolved |
//! | [`reporter`] | the activator's side: request counts become a [`Stat`] each second |
//! | [`window`], [`max_window`] | averaging windows of 1 s buckets; the scale-down delay |
//! | [`metrics`] | the collector: four windows, and how many pods a scrape samples |
//! | [`target`] | what one pod should carry, the panic window, the number of activators |
//! | [`decider`] | windows to wanted pods: rate limits, panic mode, excess burst capacity |
//! | [`scaler`] | bounds, initial scale and the sequence to zero |
//! | [`activity`] | the `Active` condition, status and whether the activator is in the path |
//! | [`explain`] | why a decision fell so |

pub mod activity;
pub mod annotations;
pub mod autoscaler;
pub mod config;
pub mod decider;
mod duration;
pub mod explain;
pub mod max_window;
pub mod metrics;
pub mod reporter;
pub mod scaler;
pub mod target;
pub mod window;

pub use activity::{Active, ConditionStatus, ScaleStatus, ServeMode};
pub use annotations::Config;
pub use autoscaler::{Autoscaler, Decision, Observation, Reachability, Trigger};
pub use config::{ConfigError, GlobalConfig};
pub use explain::{Explanation, Limit};
pub use metrics::{ScalingMetric, Stat};
pub use reporter::ConcurrencyReporter;
pub use window::Aggregation;

/// How often a decider evaluates its windows: 2 s.
pub const TICK_NS: u64 = 2 * SECOND_NS;

/// How often activators and pods report, and pods are scraped: 1 s. Also the size of a window's buckets.
pub const REPORT_PERIOD_NS: u64 = SECOND_NS;

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// What one pod must be able to carry at least; smaller targets are raised to it.
pub const TARGET_MINIMUM: f64 = 0.01;
