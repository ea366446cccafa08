//! The `spec` of a Flagger `Canary` (`flagger.app/v1beta1`), with upstream's defaults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::value::Value;
use crate::duration::parse_ns;

const SECOND_NS: u64 = 1_000_000_000;

/// How often an analysis ticks where the manifest does not say: 60 s.
pub const ANALYSIS_INTERVAL_NS: u64 = 60 * SECOND_NS;

/// An analysis ticks at most this often: every 10 s.
pub const MINIMUM_INTERVAL_NS: u64 = 10 * SECOND_NS;

/// All of the traffic, in the unit of weights.
pub const TOTAL_WEIGHT: i32 = 100;

/// A `Canary`'s `spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CanarySpec {
    /// Mesh or ingress; empty = the controller's. `kubernetes` cannot split traffic.
    pub provider: String,
    /// The workload that is watched.
    pub target_ref: Reference,
    /// The autoscaler of the target, if it has one.
    pub autoscaler_ref: Option<Reference>,
    /// How a release is validated.
    pub analysis: Option<Analysis>,
    /// Old name of `analysis`; it counts where `analysis` is not there.
    pub canary_analysis: Option<Analysis>,
    /// Seconds that a workload may stay unavailable before it is given up; 600 if absent.
    pub progress_deadline_seconds: Option<i32>,
    /// Promote without an analysis.
    pub skip_analysis: bool,
    /// Do nothing at all.
    pub suspend: bool,
}

/// A reference to an object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reference {
    /// Version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace, where it can be another one.
    pub namespace: String,
}

/// `spec.analysis`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Analysis {
    /// Time between ticks, as Go writes it.
    pub interval: String,
    /// Ticks of a blue/green or A/B test; 0 = neither.
    pub iterations: i32,
    /// Whether traffic is mirrored to the canary before (or instead of, for blue/green) it is routed there.
    pub mirror: bool,
    /// Percentage of the traffic that is mirrored; 0 = all.
    pub mirror_weight: i32,
    /// Weight at which the walk ends; 0 = 100.
    pub max_weight: i32,
    /// Weight added each tick.
    pub step_weight: i32,
    /// Weights one after the other; only where `step_weight` is 0.
    pub step_weights: Vec<i32>,
    /// Weight moved back to the primary each tick of the promotion; 0 = all at once.
    pub step_weight_promotion: i32,
    /// Failed checks until a rollback; 1 if 0.
    pub threshold: i32,
    /// Percentage of the primary's pods that must be available; 100 if absent.
    pub primary_ready_threshold: Option<i32>,
    /// Percentage of the canary's pods that must be available; 100 if absent.
    pub canary_ready_threshold: Option<i32>,
    /// Metric checks.
    pub metrics: Vec<Metric>,
    /// Webhooks.
    pub webhooks: Vec<Webhook>,
    /// Conditions on requests of an A/B test. Only whether there are any is decided upon here.
    #[serde(rename = "match")]
    pub matches: Vec<Value>,
    /// Cookies that keep a client at one version. Read, not decided upon.
    pub session_affinity: Option<Value>,
}

/// A metric check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metric {
    /// Its name; `request-success-rate` (percent) and `request-duration` (milliseconds) are built in.
    pub name: String,
    /// Window that it looks at; `1m` if empty.
    pub interval: String,
    /// Deprecated: a minimum for the success rate, a maximum for everything else.
    pub threshold: f64,
    /// The range that is good, both ends included. Takes the place of `threshold`.
    pub threshold_range: Option<ThresholdRange>,
    /// Deprecated: a query in the manifest.
    pub query: String,
    /// A metric template.
    pub template_ref: Option<Reference>,
    /// What the template's query is filled with.
    pub template_variables: BTreeMap<String, String>,
}

/// A range; an end that is absent is not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ThresholdRange {
    /// Least good value.
    pub min: Option<f64>,
    /// Largest good value.
    pub max: Option<f64>,
}

/// When a webhook is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookType {
    /// Each tick of the analysis, as a check.
    #[default]
    #[serde(alias = "")]
    Rollout,
    /// Before traffic goes to the canary, as a check.
    PreRollout,
    /// After a success or a failure; its answer changes nothing.
    PostRollout,
    /// Before a new revision is scaled up; the analysis waits for a yes.
    ConfirmRollout,
    /// Before the canary is promoted; the analysis waits for a yes.
    ConfirmPromotion,
    /// Before the canary's weight grows; the analysis waits for a yes.
    ConfirmTrafficIncrease,
    /// With each event; its answer changes nothing.
    Event,
    /// Each tick; a yes rolls back.
    Rollback,
}

/// A webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Webhook {
    /// When it is called.
    #[serde(rename = "type")]
    pub hook_type: HookType,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Whether a wait for it raises no alert.
    pub mute_alert: bool,
    /// How long an answer may take, as Go writes it; 10 s where it has fewer than two characters.
    pub timeout: String,
    /// How often a call that failed is tried again.
    pub retries: i32,
    /// What is sent along.
    pub metadata: BTreeMap<String, String>,
}

/// How a release is rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentStrategy {
    /// Weights step by step.
    Canary,
    /// Checks without traffic, then all of it.
    BlueGreen,
    /// Requests that match go to the canary.
    AbTesting,
}

impl CanarySpec {
    /// The analysis that counts.
    #[must_use]
    pub fn analysis(&self) -> Option<&Analysis> {
        self.analysis.as_ref().or(self.canary_analysis.as_ref())
    }

    /// Whether releases are promoted without an analysis: asked for, or there is none.
    #[must_use]
    pub fn skips_analysis(&self) -> bool {
        self.skip_analysis || self.analysis().is_none()
    }

    /// Seconds that a workload may stay unavailable.
    #[must_use]
    pub fn progress_deadline_s(&self) -> i32 {
        self.progress_deadline_seconds.unwrap_or(600)
    }

    /// Time between ticks, nanoseconds.
    #[must_use]
    pub fn interval_ns(&self) -> u64 {
        self.analysis().map_or(ANALYSIS_INTERVAL_NS, Analysis::interval_ns)
    }
}

impl Analysis {
    /// Time between ticks, nanoseconds: 60 s where it is no duration, 10 s where it is less.
    #[must_use]
    pub fn interval_ns(&self) -> u64 {
        match parse_ns(&self.interval) {
            None => ANALYSIS_INTERVAL_NS,
            Some(interval_ns) => u64::try_from(interval_ns).unwrap_or(0).max(MINIMUM_INTERVAL_NS),
        }
    }

    /// Failed checks until a rollback.
    #[must_use]
    pub fn failed_checks_allowed(&self) -> i32 {
        if self.threshold > 0 { self.threshold } else { 1 }
    }

    /// How a release is rolled out.
    #[must_use]
    pub fn strategy(&self) -> DeploymentStrategy {
        match (self.iterations > 0, self.matches.is_empty()) {
            (true, false) => DeploymentStrategy::AbTesting,
            (true, true) => DeploymentStrategy::BlueGreen,
            (false, _) => DeploymentStrategy::Canary,
        }
    }
}
