//! KEDA: scaling to and from zero by triggers, and the HorizontalPodAutoscaler that it makes for the rest.
//!
//! Two clocks decide about one workload. Every `pollingInterval` (30 s) [`Executor::step`] asks all triggers whether they
//! are active, and takes the target from zero (or idle) to its minimum and back; the way back from any size is one step,
//! after `cooldownPeriod`. Between minimum and maximum the [`hpa`](super::hpa) autoscaler decides every 15 s with the
//! [`spec`](hpa::render) that KEDA makes; the values that it asks KEDA for come from [`Executor::answer`], which counts
//! failures and falls back.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`spec`], [`annotations`] | a ScaledObject's `spec` and annotations |
//! | [`triggers`] | RabbitMQ, Kafka, Prometheus, cron, cpu and memory, external scalers: value, activity, target |
//! | [`executor`] | polling, cool-down, idle, pauses, errors |
//! | [`fallback`] | values in place of failing triggers |
//! | [`formula`] | one value out of those of named triggers (`scalingModifiers`) |
//! | [`hpa`] | the HorizontalPodAutoscaler that KEDA makes |
//! | [`scaled_job`] | how many jobs a ScaledJob starts |
//!
//! Source: kedacore/keda 8b4f083c (August 2026).
//!
//! ```
//! use std::collections::BTreeMap;
//! use windtunnel_kernel::autoscale::keda::{Executor, Measured, Observation, Reading, ScaledObjectSpec};
//!
//! let spec: ScaledObjectSpec = serde_json::from_str(r#"{
//!     "scaleTargetRef": {"name": "worker"},
//!     "triggers": [{"type": "rabbitmq", "metadata":
//!         {"queueName": "jobs", "mode": "QueueLength", "value": "20", "host": "http://rabbit"}}]
//! }"#)?;
//! let mut executor = Executor::new(spec, &BTreeMap::new(), 0)?;
//! let decision = executor.step(&Observation {
//!     now_ns: 30_000_000_000,
//!     current_replicas: 0,
//!     ready_replicas: 0,
//!     readings: vec![Reading::Measured(Measured { value: 3.0, active: true })],
//!     composite: None,
//! });
//! assert_eq!(decision.replicas, Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod annotations;
pub mod executor;
pub mod fallback;
pub mod formula;
pub mod hpa;
pub mod scaled_job;
pub mod spec;
pub mod triggers;

pub use annotations::Annotations;
pub use executor::{ActiveState, Decision, Executor, Explanation, Observation, ReadyState};
pub use fallback::{Answer, Health, Reading};
pub use formula::Formula;
pub use spec::{Fallback, FallbackBehavior, ScaleTrigger, ScaledObjectSpec};
pub use triggers::{Measured, Trigger};

/// What KEDA would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {found} is not allowed, expected {expected}")]
pub struct KedaError {
    /// The field, such as `triggers[0].metadata.mode`.
    pub place: String,
    /// What it is.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

impl KedaError {
    pub(crate) fn new(
        place: impl Into<String>,
        found: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        Self { place: place.into(), found: found.to_string(), expected: expected.into() }
    }
}

pub(crate) const SECOND_NS: u64 = 1_000_000_000;
