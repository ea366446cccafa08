//! One `Canary` from its first tick to its last.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::decision::{Decision, Observation};
use super::options::Options;
use super::spec::CanarySpec;
use super::tick::Tick;
use super::weights::Routes;

/// Where a canary is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// The primary is being made.
    #[default]
    Initializing,
    /// The primary is there, nothing was released yet.
    Initialized,
    /// A new revision waits for approval.
    Waiting,
    /// A new revision is analysed.
    Progressing,
    /// The analysis has passed, the promotion waits for approval.
    WaitingPromotion,
    /// The primary got the new revision; traffic moves back to it.
    Promoting,
    /// All traffic is on the primary again.
    Finalising,
    /// Promoted, and the canary is at zero.
    Succeeded,
    /// Rolled back, or stuck while it was promoted.
    Failed,
}

impl Phase {
    /// The number that upstream's metric `flagger_canary_status` shows.
    #[must_use]
    pub fn gauge(self) -> u8 {
        match self {
            Self::Progressing => 0,
            Self::Failed => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A canary's `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Where it is.
    pub phase: Phase,
    /// Failed checks of this analysis. Nothing but a new revision, a rollback or a new analysis takes one away.
    pub failed_checks: i32,
    /// The canary's weight as it is shown. Some phases show 0 although the routes say something else.
    pub canary_weight: i32,
    /// Iterations of this analysis.
    pub iterations: i32,
    /// The configuration that is analysed, or was last.
    pub tracked_configs: Option<String>,
    /// The pod template that is analysed, or was last.
    pub last_applied_spec: String,
    /// The pod template that was promoted last.
    pub last_promoted_spec: String,
    /// When the status last changed, nanoseconds since the Unix epoch.
    pub last_transition_ns: u64,
}

/// One `Canary` object. It can be stored after any tick and goes on with the same decisions.
///
/// Call [`step`](Self::step) once at its start and then every
/// [`requeue_after_ns`](Decision::requeue_after_ns), and do what the decision says.
///
/// ```
/// use windtunnel_kernel::rollout::flagger::{Canary, CanarySpec, Observation, Options, Phase, Workload};
///
/// let spec: CanarySpec = serde_json::from_str(
///     r#"{"targetRef": {"kind": "Deployment", "name": "digits"}, "analysis": {"interval": "1m", "stepWeight": 20}}"#,
/// )?;
/// let mut canary = Canary::new("digits", "models", spec, Options::default());
/// let mut seen = Observation {
///     template: "v1".to_string(),
///     primary: Some(Workload::ready(2)),
///     canary: Workload::ready(2),
///     ..Observation::default()
/// };
/// assert_eq!(canary.step(&seen).phase, Phase::Initialized);
/// seen.template = "v2".to_string();
/// assert_eq!(canary.step(&seen).phase, Phase::Progressing);
/// let decision = canary.step(&seen);
/// assert_eq!((decision.routes.primary, decision.routes.canary), (80, 20));
/// assert_eq!(
///     decision.explanation.to_string(),
///     "Progressing, 100/0 -> 80/20, step 20 up to 100, failed checks 0/1: advance"
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) spec: CanarySpec,
    pub(super) options: Options,
    pub(super) status: Status,
    pub(super) routes: Routes,
}

impl Canary {
    /// A canary that nobody has looked at yet.
    #[must_use]
    pub fn new(name: &str, namespace: &str, spec: CanarySpec, options: Options) -> Self {
        Self {
            name: name.to_string(),
            namespace: namespace.to_string(),
            spec,
            options,
            status: Status::default(),
            routes: Routes::PRIMARY,
        }
    }

    /// The same canary, as if it had come to `status` with requests routed like `routes`. Weights that do not add up
    /// are taken from the canary's.
    #[must_use]
    pub fn resumed(mut self, status: Status, routes: Routes) -> Self {
        self.status = status;
        self.routes = routes.checked();
        self
    }

    /// Takes a changed `spec`. An analysis that runs goes on with it.
    pub fn reconfigure(&mut self, spec: CanarySpec) {
        self.spec = spec;
    }

    /// Goes on as another version of the controller.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// The `spec` in force.
    #[must_use]
    pub fn spec(&self) -> &CanarySpec {
        &self.spec
    }

    /// The `status` as of the latest tick.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Where requests go as of the latest tick.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.routes
    }

    /// Decides.
    pub fn step(&mut self, observation: &Observation) -> Decision {
        if let Some(routes) = observation.routes {
            self.routes = routes.checked();
        }
        Tick::new(self, observation).decide()
    }
}
