//! What is seen at a sync: the target's scale, its pods, and one reading a metric.

use serde::{Deserialize, Serialize};

/// What is seen at a sync.
///
/// `readings[i]` belongs to `spec.metrics[i]` of the defaulted spec; in a reading, `samples[j]` and `requests_milli[j]`
/// belong to `pods[j]`. A metric without a reading counts as failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Now, nanoseconds since the Unix epoch. Must not run back.
    pub now_ns: u64,
    /// The target's scale; `None` = it could not be read.
    pub scale: Option<Scale>,
    /// Whether the target's selector is usable.
    #[serde(default)]
    pub selector: Selector,
    /// The pods that the target's selector matches.
    pub pods: Vec<Pod>,
    /// A reading a metric, in the order of the spec.
    pub readings: Vec<Reading>,
}

/// The scale subresource of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// `spec.replicas`: what it should have.
    pub spec_replicas: i32,
    /// `status.replicas`: what it has, rolling updates included.
    pub status_replicas: i32,
}

/// Whether the target's pod selector is usable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selector {
    /// It is.
    #[default]
    Valid,
    /// It is missing or cannot be parsed.
    Invalid,
    /// Another autoscaler's target selects some of the same pods.
    Ambiguous,
}

/// A pod, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// `status.phase`.
    pub phase: Phase,
    /// Whether it has a deletion timestamp.
    #[serde(default)]
    pub deleting: bool,
    /// Its `Ready` condition; `None` = it has none yet.
    pub ready: Option<Readiness>,
    /// `status.startTime`, nanoseconds since the Unix epoch; `None` = not acknowledged by a node yet.
    pub started_ns: Option<u64>,
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not all of its containers have been started.
    Pending,
    /// It runs.
    #[default]
    Running,
    /// It has ended well.
    Succeeded,
    /// It has ended badly.
    Failed,
    /// Its node does not answer.
    Unknown,
}

/// A `Ready` condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether it is `True`; `Unknown` counts as not ready but, for CPU metrics, not as `False`.
    pub status: ReadyStatus,
    /// When it changed last, nanoseconds since the Unix epoch.
    pub since_ns: u64,
}

/// Status of a `Ready` condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadyStatus {
    /// Ready.
    True,
    /// Not ready.
    #[default]
    False,
    /// The node has not said for a while.
    Unknown,
}

/// What a metrics API answered for one metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// An error.
    Failed {
        /// What it said.
        message: String,
    },
    /// For Resource, ContainerResource and Pods metrics.
    Pods {
        /// A sample a pod; `None` = the pod has no metrics.
        samples: Vec<Option<Sample>>,
        /// Requests of each pod (or of the one container), thousandths of the resource's unit; `None` = a container has
        /// no request. Only looked at for utilization targets.
        requests_milli: Vec<Option<i64>>,
        /// Values of pods that are not in the list, thousandths.
        others_milli: Vec<i64>,
    },
    /// For Object metrics (one value) and External ones (added up), thousandths.
    Values {
        /// The values.
        values_milli: Vec<i64>,
    },
}

/// A pod's usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Usage over the window, thousandths of the unit.
    pub value_milli: i64,
    /// End of the window, nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// Length of the window, nanoseconds.
    pub window_ns: u64,
}

impl Observation {
    /// Pods that run and are ready.
    #[must_use]
    pub fn ready_pods(&self) -> i64 {
        let is_ready = |pod: &&Pod| {
            pod.phase == Phase::Running && pod.ready.is_some_and(|ready| ready.status == ReadyStatus::True)
        };
        i64::try_from(self.pods.iter().filter(is_ready).count()).unwrap_or(i64::MAX)
    }
}
