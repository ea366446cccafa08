//! The `spec` of an Argo `Rollout` (`argoproj.io/v1alpha1`) as far as it is decided upon, with upstream's defaults.

use serde::{Deserialize, Serialize};

use super::super::value::{IntOrText, Value};
use crate::duration::parse_ns;

pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// A `Rollout`'s `spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutSpec {
    /// Replicas; 1 if absent.
    pub replicas: Option<i32>,
    /// How a new version is rolled out.
    pub strategy: Strategy,
    /// How far back a version may lie that is rolled back to without steps.
    pub rollback_window: Option<RollbackWindow>,
    /// Whether a user has paused it.
    pub paused: bool,
    /// Seconds without progress until it counts as stuck; 600 if absent.
    pub progress_deadline_seconds: Option<i32>,
    /// Whether a stuck rollout is aborted.
    pub progress_deadline_abort: bool,
}

/// `spec.strategy`: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    /// Two versions, one behind each service.
    pub blue_green: Option<BlueGreen>,
    /// Steps.
    pub canary: Option<Canary>,
}

/// `spec.rollbackWindow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollbackWindow {
    /// Revisions that may lie between.
    pub revisions: i32,
}

/// `spec.strategy.canary`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Canary {
    /// Service of the canary's pods.
    pub canary_service: String,
    /// Service of the stable pods.
    pub stable_service: String,
    /// What to do, one after the other.
    pub steps: Vec<Step>,
    /// What splits requests; absent = the numbers of pods do.
    pub traffic_routing: Option<TrafficRouting>,
    /// Pods more than asked for; a quarter if absent.
    pub max_surge: Option<IntOrText>,
    /// Pods fewer than asked for; a quarter if absent.
    pub max_unavailable: Option<IntOrText>,
    /// Analysis in the background of the steps.
    pub analysis: Option<BackgroundAnalysis>,
    /// Seconds until the previous version is scaled down (traffic routing only); 30 if absent.
    pub scale_down_delay_seconds: Option<i32>,
    /// Previous versions that are kept for that long at most.
    pub scale_down_delay_revision_limit: Option<i32>,
    /// Seconds until an aborted version is scaled down (traffic routing only); 30 if absent, 0 = never.
    pub abort_scale_down_delay_seconds: Option<i32>,
    /// Whether the stable version shrinks with its share of the traffic (traffic routing only).
    pub dynamic_stable_scale: bool,
    /// Least pods of a version that has any (traffic routing only).
    pub min_pods_per_replica_set: Option<i32>,
    /// How many of the canary's pods are enough to go on.
    pub replica_progress_threshold: Option<ProgressThreshold>,
}

/// `replicaProgressThreshold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressThreshold {
    /// Unit.
    #[serde(rename = "type")]
    pub unit: ProgressUnit,
    /// How many; less than 0 = all.
    pub value: i32,
}

/// Unit of a [`ProgressThreshold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgressUnit {
    /// Percent of the pods that are asked for.
    #[serde(rename = "Percent")]
    Percent,
    /// Pods.
    #[serde(rename = "Pods")]
    Pods,
}

/// `trafficRouting`: whether there is one, and its scale. Which mesh or ingress it is makes no difference here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficRouting {
    /// Weight of all of the traffic; 100 if absent.
    pub max_traffic_weight: Option<i32>,
    /// Names of the routes that steps may add.
    pub managed_routes: Vec<Value>,
}

/// A step: one of its fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Step {
    /// Weight of the canary from here on.
    pub set_weight: Option<i32>,
    /// Wait.
    pub pause: Option<PauseStep>,
    /// Run an experiment to its end.
    pub experiment: Option<ExperimentStep>,
    /// Run an analysis to its end.
    pub analysis: Option<AnalysisRef>,
    /// Number of the canary's pods from here on (traffic routing only).
    pub set_canary_scale: Option<CanaryScale>,
    /// Requests with certain headers go to the canary from here on.
    pub set_header_route: Option<HeaderRoute>,
    /// Requests of a certain form are copied to the canary from here on.
    pub set_mirror_route: Option<MirrorRoute>,
    /// A plugin's business.
    pub plugin: Option<PluginStep>,
}

/// A pause.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PauseStep {
    /// Seconds, or a duration as Go writes it; absent = until somebody says so.
    pub duration: Option<IntOrText>,
}

/// An experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentStep {
    /// Its versions.
    pub templates: Vec<ExperimentTemplate>,
    /// How long it runs.
    pub duration: String,
    /// Its analyses.
    pub analyses: Vec<Value>,
}

/// A version of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExperimentTemplate {
    /// Name.
    pub name: String,
    /// `canary` or `stable`.
    pub spec_ref: String,
    /// Pods.
    pub replicas: Option<i32>,
    /// Its share of the traffic; absent = none.
    pub weight: Option<i32>,
}

/// An analysis by the templates it is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisRef {
    /// Templates.
    pub templates: Vec<TemplateRef>,
    /// Arguments.
    pub args: Vec<Value>,
    /// Metrics that do not count, as patterns of their names.
    pub dry_run: Vec<Value>,
}

/// A reference to an `AnalysisTemplate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateRef {
    /// Name.
    pub template_name: String,
    /// Whether it is a `ClusterAnalysisTemplate`.
    pub cluster_scope: Option<bool>,
}

/// `spec.strategy.canary.analysis`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackgroundAnalysis {
    /// Templates.
    pub templates: Vec<TemplateRef>,
    /// Arguments.
    pub args: Vec<Value>,
    /// Metrics that do not count, as patterns of their names.
    pub dry_run: Vec<Value>,
    /// Index of the first step that it runs beside; 0 if absent.
    pub starting_step: Option<i32>,
}

/// `setCanaryScale`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryScale {
    /// As many pods as this weight would need.
    pub weight: Option<i32>,
    /// Pods.
    pub replicas: Option<i32>,
    /// From here on as the traffic again.
    pub match_traffic_weight: bool,
}

/// `setHeaderRoute`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderRoute {
    /// Name of the route.
    pub name: String,
    /// Which requests; empty = the route is removed.
    #[serde(rename = "match")]
    pub matches: Vec<Value>,
}

/// `setMirrorRoute`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MirrorRoute {
    /// Name of the route.
    pub name: String,
    /// Which requests; empty = the route is removed.
    #[serde(rename = "match")]
    pub matches: Vec<Value>,
    /// Percentage of them; all if absent.
    pub percentage: Option<i32>,
}

/// A plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PluginStep {
    /// Name.
    pub name: String,
}

/// `spec.strategy.blueGreen`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlueGreen {
    /// Service of the users.
    pub active_service: String,
    /// Service of the testers; empty = none.
    pub preview_service: String,
    /// Pods of the new version until it becomes active; all if absent.
    pub preview_replica_count: Option<i32>,
    /// Whether it becomes active by itself; yes if absent.
    pub auto_promotion_enabled: Option<bool>,
    /// Seconds until it becomes active by itself.
    pub auto_promotion_seconds: i32,
    /// Pods fewer than asked for.
    pub max_unavailable: Option<IntOrText>,
    /// Seconds until the previous version is scaled down; 30 if absent.
    pub scale_down_delay_seconds: Option<i32>,
    /// Previous versions that are kept for that long at most.
    pub scale_down_delay_revision_limit: Option<i32>,
    /// Analysis before it becomes active.
    pub pre_promotion_analysis: Option<AnalysisRef>,
    /// Analysis after it became active.
    pub post_promotion_analysis: Option<AnalysisRef>,
    /// Seconds until an aborted version is scaled down; 30 if absent, 0 = never.
    pub abort_scale_down_delay_seconds: Option<i32>,
}

/// When an aborted version is scaled down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AbortDelay {
    /// After this; `None` = never.
    pub(super) delay_ns: Option<u64>,
    /// Whether the manifest says so.
    pub(super) is_explicit: bool,
}

impl AbortDelay {
    /// Whether the manifest asks for a scale-down that is delayed (and not for none).
    pub(super) fn is_explicit_delay(self) -> bool {
        self.is_explicit && self.delay_ns.is_some()
    }
}

impl RolloutSpec {
    /// Replicas, at least 0.
    #[must_use]
    pub fn replicas(&self) -> i32 {
        self.replicas.unwrap_or(1).max(0)
    }

    /// The canary strategy with its steps; none for blue/green.
    #[must_use]
    pub fn canary(&self) -> Option<&Canary> {
        self.strategy.canary.as_ref()
    }

    /// Whether a traffic router splits requests.
    #[must_use]
    pub fn is_traffic_routed(&self) -> bool {
        self.canary().is_some_and(|canary| canary.traffic_routing.is_some())
    }

    /// Weight of all of the traffic, at least 1.
    #[must_use]
    pub fn max_weight(&self) -> i32 {
        let routing = self.canary().and_then(|canary| canary.traffic_routing.as_ref());
        routing.and_then(|routing| routing.max_traffic_weight).unwrap_or(100).max(1)
    }

    /// The steps of a canary.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        self.canary().map_or(&[], |canary| canary.steps.as_slice())
    }

    /// Number of steps.
    pub(super) fn step_count(&self) -> i32 {
        i32::try_from(self.steps().len()).unwrap_or(i32::MAX)
    }

    /// Whether the stable version shrinks with its share of the traffic.
    pub(super) fn is_dynamic(&self) -> bool {
        self.canary().is_some_and(|canary| canary.dynamic_stable_scale)
    }

    /// Surge and unavailable pods that are allowed. When both come to nothing, one may be unavailable.
    #[must_use]
    pub fn fence_posts(&self) -> (i32, i32) {
        let Some(canary) = self.canary() else {
            let wanted =
                self.strategy.blue_green.as_ref().and_then(|strategy| strategy.max_unavailable.clone());
            let unavailable = wanted.unwrap_or_else(quarter).of(self.replicas(), false);
            return (0, unavailable.clamp(0, self.replicas()));
        };
        let replicas = self.replicas();
        let surge = canary.max_surge.clone().unwrap_or_else(quarter).of(replicas, true).max(0);
        let mut unavailable =
            canary.max_unavailable.clone().unwrap_or_else(quarter).of(replicas, false).max(0);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        (surge, unavailable.min(replicas))
    }

    /// Seconds without progress until it counts as stuck.
    #[must_use]
    pub fn progress_deadline_ns(&self) -> u64 {
        seconds_ns(self.progress_deadline_seconds.unwrap_or(600))
    }

    /// Until a previous version is scaled down, nanoseconds.
    #[must_use]
    pub fn scale_down_delay_ns(&self) -> u64 {
        match (&self.strategy.blue_green, self.canary()) {
            (_, Some(canary)) if canary.traffic_routing.is_some() => {
                seconds_ns(canary.scale_down_delay_seconds.unwrap_or(30))
            }
            (Some(strategy), None) => seconds_ns(strategy.scale_down_delay_seconds.unwrap_or(30)),
            _ => 0,
        }
    }

    /// Previous versions that wait for their scale-down at most.
    pub(super) fn scale_down_limit(&self) -> i32 {
        let blue_green = self.strategy.blue_green.as_ref();
        blue_green
            .and_then(|strategy| strategy.scale_down_delay_revision_limit)
            .or_else(|| self.canary()?.scale_down_delay_revision_limit)
            .unwrap_or(i32::MAX)
    }

    pub(super) fn abort_delay(&self) -> AbortDelay {
        let seconds = match (&self.strategy.blue_green, self.canary()) {
            (Some(strategy), _) => strategy.abort_scale_down_delay_seconds,
            (None, Some(canary)) if canary.traffic_routing.is_some() => canary.abort_scale_down_delay_seconds,
            _ => return AbortDelay { delay_ns: Some(0), is_explicit: false },
        };
        AbortDelay {
            delay_ns: (seconds != Some(0)).then(|| seconds_ns(seconds.unwrap_or(30))),
            is_explicit: seconds.is_some(),
        }
    }
}

impl PauseStep {
    /// How long, nanoseconds: whole seconds. `None` = until somebody says so. What is no duration is over at once.
    #[must_use]
    pub fn duration_ns(&self) -> Option<u64> {
        let seconds = match self.duration.as_ref()? {
            IntOrText::Int(seconds) => i64::from(*seconds),
            IntOrText::Text(text) => match text.parse::<i32>() {
                Ok(seconds) => i64::from(seconds),
                Err(_) => parse_ns(text).map_or(-1, |duration_ns| duration_ns / 1_000_000_000),
            },
        };
        Some(u64::try_from(seconds).unwrap_or(0).saturating_mul(SECOND_NS))
    }
}

impl Step {
    /// A word or two for it.
    #[must_use]
    pub fn name(&self) -> String {
        if let Some(weight) = self.set_weight {
            return format!("setWeight: {weight}");
        }
        if let Some(pause) = &self.pause {
            return pause.duration.as_ref().map_or("pause".to_string(), |length| format!("pause: {length}"));
        }
        if self.experiment.is_some() {
            return "experiment".to_string();
        }
        if self.analysis.is_some() {
            return "analysis".to_string();
        }
        if let Some(scale) = self.set_canary_scale {
            return match (scale.weight, scale.match_traffic_weight, scale.replicas) {
                (Some(weight), _, _) => format!("setCanaryScale{{weight: {weight}}}"),
                (None, true, _) => "setCanaryScale{matchTrafficWeight: true}".to_string(),
                (None, false, replicas) => format!("setCanaryScale{{replicas: {}}}", replicas.unwrap_or(0)),
            };
        }
        if let Some(plugin) = &self.plugin {
            return format!("plugin: {}", plugin.name);
        }
        if let Some(route) = &self.set_header_route {
            return format!("setHeaderRoute: {}", route.name);
        }
        if let Some(route) = &self.set_mirror_route {
            return format!("setMirrorRoute: {}", route.name);
        }
        "invalid".to_string()
    }
}

/// Upstream's default, without a percent sign: the lax rule reads it as a percentage all the same.
fn quarter() -> IntOrText {
    IntOrText::from("25")
}

fn seconds_ns(seconds: i32) -> u64 {
    u64::try_from(seconds).unwrap_or(0) * SECOND_NS
}
