//! The Kubernetes HorizontalPodAutoscaler (`autoscaling/v2`), as the controller manager decides.
//!
//! [`Autoscaler`] is one autoscaler's whole state: [`Autoscaler::step`] takes what is seen at a sync, every
//! [`Options::sync_period_ns`], and returns replicas, conditions and why. [`dry_run`](dry_run()) answers what it would do
//! with a manifest and metrics that were written down, and what would change the answer.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`spec`], [`quantity`] | the manifest's `spec` with defaults and checks of the API server; quantities |
//! | [`options`] | flags of the controller manager, and what changed between releases |
//! | [`observation`] | what is seen: scale, pods, a reading a metric |
//! | [`calculator`] | readings to a count: unready, missing and ignored pods, tolerance, truncation |
//! | [`history`] | recommendations and scale events: stabilisation |
//! | [`behavior`] | rate limits and bounds |
//! | [`conditions`] | `AbleToScale`, `ScalingActive`, `ScalingLimited`, `ScaledToZero` |
//! | [`explain`], [`dry_run`](mod@dry_run), [`metrics_file`] | why a decision fell so; a decision on paper |
//!
//! ```
//! use windtunnel_kernel::autoscale::hpa::{Autoscaler, HpaSpec, Observation, Options, Pod, Reading, Sample, Scale};
//! # use windtunnel_kernel::autoscale::hpa::{Readiness, ReadyStatus};
//!
//! let spec: HpaSpec = serde_json::from_str(r#"{
//!     "scaleTargetRef": {"kind": "Deployment", "name": "web"},
//!     "maxReplicas": 10,
//!     "metrics": [{"type": "Resource", "resource": {
//!         "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]
//! }"#)?;
//! let hour_ns = 3_600_000_000_000;
//! let ready = Readiness { status: ReadyStatus::True, since_ns: hour_ns };
//! let pod = Pod { ready: Some(ready), started_ns: Some(hour_ns), ..Pod::default() };
//! let sample = Sample { value_milli: 450, at_ns: 2 * hour_ns, window_ns: 30_000_000_000 };
//! let mut autoscaler = Autoscaler::new(spec, Options::default())?;
//! let decision = autoscaler.step(&Observation {
//!     now_ns: 2 * hour_ns,
//!     scale: Some(Scale { spec_replicas: 2, status_replicas: 2 }),
//!     pods: vec![pod; 2],
//!     readings: vec![Reading::Pods {
//!         samples: vec![Some(sample); 2],
//!         requests_milli: vec![Some(500); 2],
//!         others_milli: Vec::new(),
//!     }],
//!     ..Observation::default()
//! });
//! // 90 % of the request at a target of 50 %: ceil(1.8 x 2).
//! assert_eq!(decision.replicas, Some(4));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod autoscaler;
pub mod behavior;
pub mod calculator;
pub mod conditions;
pub mod dry_run;
pub mod explain;
pub mod history;
pub mod metrics_file;
pub mod observation;
pub mod options;
pub mod quantity;
pub mod spec;

pub use autoscaler::{Autoscaler, Decision, History};
pub use behavior::{Bounds, LimitReason};
pub use calculator::{Class, MetricFault, PodCounts, Rule};
pub use conditions::{Condition, Conditions};
pub use dry_run::{DryRun, DryRunError, Flip, dry_run};
pub use explain::{Explanation, Limit, MetricExplanation, Outcome};
pub use history::{Recommendation, ScaleEvent, ScaleEvents};
pub use metrics_file::{HpaStatus, MetricsFile};
pub use observation::{Observation, Phase, Pod, Readiness, Reading, ReadyStatus, Sample, Scale, Selector};
pub use options::{Options, Version};
pub use quantity::{Quantity, QuantityError, milli_of};
pub use spec::{Behavior, HpaSpec, MetricSpec, ScalingRules, SpecError, Target};
