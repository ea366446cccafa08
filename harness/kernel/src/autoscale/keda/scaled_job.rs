//! How many jobs a ScaledJob starts.
//!
//! Source: `pkg/scaling/executor/scale_jobs.go` and `pkg/scaling/scaledjob/metrics.go`.

use serde::{Deserialize, Serialize};

use super::SECOND_NS;
use super::spec::ScaleTrigger;

/// The parts of a ScaledJob's `spec` that decide; the others are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledJobSpec {
    /// Seconds between polls; 30 if left out.
    pub polling_interval: Option<i32>,
    /// Jobs that always run; 0 if left out.
    pub min_replica_count: Option<i32>,
    /// Most jobs at once; 100 if left out.
    pub max_replica_count: Option<i32>,
    /// How jobs that run and wait are counted.
    pub scaling_strategy: StrategySpec,
    /// What is scaled on.
    pub triggers: Vec<ScaleTrigger>,
}

/// `scalingStrategy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StrategySpec {
    /// `default`, `custom`, `accurate` or `eager`; `default` if left out.
    pub strategy: String,
    /// Of `custom`: messages that running jobs are not counted for.
    pub custom_scaling_queue_length_deduction: Option<i32>,
    /// Of `custom`: share of the running jobs that counts; a number. Without one, `custom` is `default`.
    pub custom_scaling_running_job_percentage: String,
    /// Conditions that make a pod count as running; whoever counts pending jobs looks at them.
    pub pending_pod_conditions: Vec<String>,
    /// Over several triggers: `min`, `avg`, `sum` or `max`; `max` if left out.
    pub multiple_scalers_calculation: String,
}

/// A strategy, resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Strategy {
    /// As many as there is work for, less those that run.
    #[default]
    Default,
    /// The same with a deduction and a share of the running jobs.
    Custom {
        /// Messages deducted.
        deduction: i64,
        /// Share of the running jobs that counts.
        running_share: f64,
    },
    /// Messages leave the queue when a job takes them: only jobs that wait are counted off.
    Accurate,
    /// As many as fit.
    Eager,
}

/// How many jobs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jobs {
    /// Jobs that have not finished, those that wait included.
    pub running: i64,
    /// Jobs without a running pod.
    pub pending: i64,
}

/// What one trigger says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TriggerWork {
    /// Its value.
    pub queue_length: f64,
    /// Jobs for it: value divided by target, at most `maxReplicaCount`.
    pub jobs: f64,
    /// Whether it is active.
    pub active: bool,
}

/// What all triggers say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Whether jobs are wanted at all.
    pub active: bool,
    /// Value, rounded up.
    pub queue_length: i64,
    /// Jobs for it, rounded up.
    pub jobs: i64,
}

/// What to do at a poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDecision {
    /// Start this many jobs.
    pub create: i64,
    /// What the strategy allows; can be negative.
    pub effective: i64,
    /// What is asked for.
    pub scale_to: i64,
    /// Step again after this.
    pub requeue_after_ns: u64,
}

impl TriggerWork {
    /// Of a value and its target a job.
    #[must_use]
    pub fn of(value: f64, target: f64, active: bool, maximum: i64) -> Self {
        let jobs = if target == 0.0 { 0.0 } else { (value / target).min(maximum as f64) };
        Self { queue_length: value, jobs, active }
    }
}

impl ScaledJobSpec {
    /// Jobs that always run.
    #[must_use]
    pub fn minimum(&self) -> i64 {
        let minimum = i64::from(self.min_replica_count.unwrap_or(0));
        match self.max_replica_count {
            Some(maximum) => minimum.min(i64::from(maximum)),
            None => minimum,
        }
    }

    /// Most jobs on top of those, as upstream counts: the maximum less the minimum, or the maximum where that is less
    /// than the minimum; 100 if left out, whatever the minimum.
    #[must_use]
    pub fn maximum(&self) -> i64 {
        match (self.max_replica_count.map(i64::from), self.min_replica_count.map(i64::from)) {
            (None, _) => 100,
            (Some(maximum), Some(minimum)) if minimum > maximum => maximum,
            (Some(maximum), _) => maximum - self.minimum(),
        }
    }

    /// The strategy, resolved.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        let spec = &self.scaling_strategy;
        match spec.strategy.as_str() {
            "custom" => match spec.custom_scaling_running_job_percentage.parse::<f64>() {
                Ok(running_share) => Strategy::Custom {
                    deduction: i64::from(spec.custom_scaling_queue_length_deduction.unwrap_or(0)),
                    running_share,
                },
                Err(_) => Strategy::Default,
            },
            "accurate" => Strategy::Accurate,
            "eager" => Strategy::Eager,
            _ => Strategy::Default,
        }
    }

    /// Triggers together.
    #[must_use]
    pub fn combine(&self, triggers: &[TriggerWork]) -> Work {
        let active = || triggers.iter().filter(|trigger| trigger.active);
        let count = active().count();
        let (mut length, mut jobs, mut is_active) = (0.0, 0.0, false);
        match self.scaling_strategy.multiple_scalers_calculation.as_str() {
            "min" => {
                for trigger in active() {
                    if length == 0.0 || trigger.queue_length < length {
                        (length, jobs, is_active) = (trigger.queue_length, trigger.jobs, true);
                    }
                }
            }
            calculation @ ("avg" | "sum") => {
                let divisor = if calculation == "avg" { count.max(1) as f64 } else { 1.0 };
                length = active().map(|trigger| trigger.queue_length).sum::<f64>() / divisor;
                jobs = active().map(|trigger| trigger.jobs).sum::<f64>() / divisor;
                is_active = count > 0;
            }
            _ => {
                for trigger in active() {
                    if trigger.queue_length > length {
                        (length, jobs, is_active) = (trigger.queue_length, trigger.jobs, true);
                    }
                }
            }
        }
        // Casts of floats saturate, and of no number give 0.
        Work {
            active: is_active || self.minimum() > 0,
            queue_length: length.ceil() as i64,
            jobs: jobs.min(self.maximum() as f64).ceil() as i64,
        }
    }

    /// How many jobs to start.
    #[must_use]
    pub fn step(&self, work: Work, jobs: Jobs) -> JobDecision {
        let minimum = self.minimum();
        let (effective, scale_to) = if jobs.running < minimum {
            (minimum - jobs.running, minimum - jobs.running)
        } else {
            let above = Jobs { running: jobs.running.saturating_sub(minimum), ..jobs };
            self.strategy().effective(work.jobs, above, self.maximum(), work.queue_length)
        };
        let create = if work.active && effective > 0 { scale_to.min(effective).max(0) } else { 0 };
        let polling_s = u64::try_from(self.polling_interval.unwrap_or(30)).unwrap_or(0);
        JobDecision { create, effective, scale_to, requeue_after_ns: polling_s.saturating_mul(SECOND_NS) }
    }
}

impl Strategy {
    /// What the strategy makes of `maximum` jobs for the work: how many may be started, and how many are asked for.
    #[must_use]
    pub fn effective(self, maximum: i64, jobs: Jobs, max_replicas: i64, scale_to: i64) -> (i64, i64) {
        let Jobs { running, pending } = jobs;
        match self {
            Self::Default => (maximum.saturating_sub(running), scale_to),
            Self::Custom { deduction, running_share } => {
                let counted = (running as f64 * running_share) as i64;
                (maximum.saturating_sub(deduction).saturating_sub(counted).min(max_replicas), scale_to)
            }
            Self::Accurate => {
                let total = maximum.saturating_add(running).saturating_sub(pending);
                if total > max_replicas {
                    (max_replicas.saturating_sub(running), scale_to)
                } else {
                    (maximum.saturating_sub(pending), scale_to)
                }
            }
            Self::Eager => {
                (max_replicas.saturating_sub(running).saturating_sub(pending).min(maximum), max_replicas)
            }
        }
    }
}
