//! `spec` of a ScaledObject (`keda.sh/v1alpha1`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{KedaError, SECOND_NS};
use crate::autoscale::hpa::Behavior;

/// The `spec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaledObjectSpec {
    /// What is scaled.
    pub scale_target_ref: ScaleTarget,
    /// Seconds between polls of the triggers; 30 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polling_interval: Option<i32>,
    /// Seconds after its creation before the object may scale to zero; 0 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_cooldown_period: Option<i32>,
    /// Seconds after the last activity before the target goes to zero or idle; 300 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_period: Option<i32>,
    /// Replicas without activity, where that is not the minimum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_replica_count: Option<i32>,
    /// Least replicas; 0 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replica_count: Option<i32>,
    /// Most replicas; 100 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replica_count: Option<i32>,
    /// Settings of the HorizontalPodAutoscaler, and modifiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advanced: Option<Advanced>,
    /// What is scaled on.
    pub triggers: Vec<ScaleTrigger>,
    /// What counts where triggers fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

/// What is scaled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleTarget {
    /// Its name.
    pub name: String,
    /// `apps/v1` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `Deployment` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The container whose environment triggers read; it decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_source_container_name: Option<String>,
}

/// Settings of the HorizontalPodAutoscaler, and modifiers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Advanced {
    /// Of the HorizontalPodAutoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizontal_pod_autoscaler_config: Option<HpaConfig>,
    /// Whether the target gets its old size back when the object is deleted.
    #[serde(default)]
    pub restore_to_original_replica_count: bool,
    /// One value out of all triggers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_modifiers: Option<ScalingModifiers>,
}

/// Of the HorizontalPodAutoscaler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HpaConfig {
    /// Its `behavior`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
    /// Its name; `keda-hpa-` and the object's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One value out of all triggers. The formula is evaluated by whoever observes; its value is handed in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScalingModifiers {
    /// The formula.
    #[serde(default)]
    pub formula: String,
    /// The value a pod (or in total) that the formula's result is held against; a number.
    #[serde(default)]
    pub target: String,
    /// The object is active above this; 0 if left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub activation_target: String,
    /// AverageValue if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_type: Option<MetricType>,
}

/// One trigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleTrigger {
    /// Which scaler, such as `rabbitmq`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name in formulas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the HorizontalPodAutoscaler gets the value of the last poll instead of a fresh one.
    #[serde(default)]
    pub use_cached_metrics: bool,
    /// Its settings; every value is a text.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Where its secrets come from; it decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_ref: Option<AuthenticationRef>,
    /// AverageValue if left out; Utilization is for cpu and memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_type: Option<MetricType>,
}

/// Where a trigger's secrets come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthenticationRef {
    /// Name of the TriggerAuthentication.
    pub name: String,
    /// Or ClusterTriggerAuthentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Kind of a metric's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricType {
    /// A pod.
    AverageValue,
    /// In total.
    Value,
    /// In percent of requests.
    Utilization,
}

/// What counts where triggers fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fallback {
    /// How many failures in a row are only errors.
    pub failure_threshold: i32,
    /// Replicas after that.
    pub replicas: i32,
    /// How they relate to the present ones.
    #[serde(default)]
    pub behavior: FallbackBehavior,
}

/// How a fallback's replicas relate to the present ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FallbackBehavior {
    /// Exactly them.
    #[default]
    Static,
    /// The present ones instead.
    CurrentReplicas,
    /// The greater.
    CurrentReplicasIfHigher,
    /// The smaller.
    CurrentReplicasIfLower,
    /// The formula decides: a failing trigger is `nil` in it.
    ScalingModifiers,
}

impl ScaledObjectSpec {
    /// Nanoseconds between polls.
    #[must_use]
    pub fn polling_interval_ns(&self) -> u64 {
        seconds_ns(self.polling_interval.unwrap_or(30))
    }

    /// Nanoseconds after the last activity before the target goes to zero or idle.
    #[must_use]
    pub fn cooldown_ns(&self) -> u64 {
        seconds_ns(self.cooldown_period.unwrap_or(300))
    }

    /// Nanoseconds after its creation before the object may scale to zero.
    #[must_use]
    pub fn initial_cooldown_ns(&self) -> u64 {
        seconds_ns(self.initial_cooldown_period.unwrap_or(0))
    }

    /// Least replicas, zero included.
    #[must_use]
    pub fn minimum(&self) -> i32 {
        self.min_replica_count.unwrap_or(0)
    }

    /// Least replicas of the HorizontalPodAutoscaler: at least 1.
    #[must_use]
    pub fn hpa_minimum(&self) -> i32 {
        self.minimum().max(1)
    }

    /// Most replicas.
    #[must_use]
    pub fn maximum(&self) -> i32 {
        self.max_replica_count.unwrap_or(100)
    }

    /// The modifiers, if there are any.
    #[must_use]
    pub fn modifiers(&self) -> Option<&ScalingModifiers> {
        let modifiers = self.advanced.as_ref()?.scaling_modifiers.as_ref()?;
        (modifiers != &ScalingModifiers::default()).then_some(modifiers)
    }

    /// Refuses what KEDA refuses.
    ///
    /// # Errors
    /// The first field that is outside of its range.
    pub fn check(&self) -> Result<(), KedaError> {
        for (place, seconds, least) in [
            ("pollingInterval", self.polling_interval, 1),
            ("initialCooldownPeriod", self.initial_cooldown_period, 0),
            ("cooldownPeriod", self.cooldown_period, 0),
            ("idleReplicaCount", self.idle_replica_count, 0),
            ("minReplicaCount", self.min_replica_count, 0),
            ("maxReplicaCount", self.max_replica_count, 1),
        ] {
            if let Some(number) = seconds.filter(|&number| number < least) {
                return Err(KedaError::new(format!("spec.{place}"), number, format!("at least {least}")));
            }
        }
        if self.minimum() > self.maximum() {
            let expected = format!("at most maxReplicaCount ({})", self.maximum());
            return Err(KedaError::new("spec.minReplicaCount", self.minimum(), expected));
        }
        // As upstream has it: a minimum that is written down counts as at least 1 here.
        let minimum = if self.min_replica_count.is_some() { self.hpa_minimum() } else { 0 };
        if let Some(idle) = self.idle_replica_count.filter(|&idle| idle >= minimum) {
            let expected = format!("less than minReplicaCount ({})", self.minimum());
            return Err(KedaError::new("spec.idleReplicaCount", idle, expected));
        }
        if self.triggers.is_empty() {
            return Err(KedaError::new("spec.triggers", "an empty list", "at least one trigger"));
        }
        for (index, trigger) in self.triggers.iter().enumerate() {
            let name = trigger.name.as_ref().filter(|name| !name.is_empty());
            if self.triggers[..index].iter().any(|other| name.is_some() && other.name.as_ref() == name) {
                let expected = "a name of its own, or none";
                return Err(KedaError::new(
                    format!("spec.triggers[{index}].name"),
                    format!("{:?}", trigger.name.as_deref().unwrap_or_default()),
                    expected,
                ));
            }
            if trigger.use_cached_metrics && (trigger.is_resource() || trigger.kind == "cron") {
                let expected = format!("false, because {} is not polled", trigger.kind);
                let place = format!("spec.triggers[{index}].useCachedMetrics");
                return Err(KedaError::new(place, "true", expected));
            }
        }
        let Some(fallback) = &self.fallback else { return Ok(()) };
        for (place, number) in
            [("failureThreshold", fallback.failure_threshold), ("replicas", fallback.replicas)]
        {
            if number < 0 {
                return Err(KedaError::new(format!("spec.fallback.{place}"), number, "at least 0"));
            }
        }
        let only_resources = self.triggers.iter().all(|trigger| trigger.is_resource());
        if only_resources && self.modifiers().is_none() {
            let expected = "a trigger that is not cpu or memory, because those cannot fall back";
            return Err(KedaError::new("spec.fallback", "a fallback", expected));
        }
        Ok(())
    }
}

impl ScaleTrigger {
    /// Whether it is cpu or memory, which the HorizontalPodAutoscaler looks at itself.
    #[must_use]
    pub fn is_resource(&self) -> bool {
        matches!(self.kind.as_str(), "cpu" | "memory")
    }
}

fn seconds_ns(seconds: i32) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(SECOND_NS)
}
