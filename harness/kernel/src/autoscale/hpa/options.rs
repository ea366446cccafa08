//! The controller's flags and what changed between releases of Kubernetes.

use serde::{Deserialize, Serialize};

use crate::Profile;

const SECOND_NS: u64 = 1_000_000_000;

/// Releases of Kubernetes between which the autoscaler decides differently. A variant stands for its own release and
/// those up to the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// 1.18 to 1.20: stabilisation looks at one window only, chosen by the direction of the present recommendation, so
    /// a recommendation that goes down can scale up (kubernetes issue 96671). Rate limits see the events of their own
    /// direction only.
    #[serde(rename = "1.18")]
    V1_18,
    /// 1.21 to 1.25: the current size is kept between the lowest recommendation of the scale-up window and the highest
    /// of the scale-down window (kubernetes pull request 97348).
    #[serde(rename = "1.21")]
    V1_21,
    /// 1.26: a pod without metrics counts, on the way down, as using its whole request or the target where that is over
    /// 100 %; before, always 100 % (kubernetes pull request 112178).
    #[serde(rename = "1.26")]
    V1_26,
    /// 1.27 to 1.32: rate limits see the events of both directions.
    #[serde(rename = "1.27")]
    V1_27,
    /// 1.33 to 1.36: a tolerance for each direction in `behavior`.
    #[default]
    #[serde(rename = "1.33")]
    V1_33,
    /// 1.37: scaling to zero is on, and a target at zero replicas is scaled up again only where the autoscaler itself
    /// took it there (the `ScaledToZero` condition).
    #[serde(rename = "1.37")]
    V1_37,
}

impl Version {
    /// Every variant, oldest first.
    pub const ALL: [Self; 6] = [Self::V1_18, Self::V1_21, Self::V1_26, Self::V1_27, Self::V1_33, Self::V1_37];

    /// The first release that it stands for, such as `1.33`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1_18 => "1.18",
            Self::V1_21 => "1.21",
            Self::V1_26 => "1.26",
            Self::V1_27 => "1.27",
            Self::V1_33 => "1.33",
            Self::V1_37 => "1.37",
        }
    }
}

/// Flags of the controller manager (`--horizontal-pod-autoscaler-*`) with upstream's defaults, and the release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Release of Kubernetes.
    pub version: Version,
    /// `sync-period`, nanoseconds: 15 s.
    pub sync_period_ns: u64,
    /// `downscale-stabilization`, nanoseconds: 300 s.
    pub downscale_stabilization_ns: u64,
    /// `tolerance`: how far a ratio may be from 1 without a change: 0.1.
    pub tolerance: f64,
    /// `cpu-initialization-period`, nanoseconds: 300 s.
    pub cpu_initialization_period_ns: u64,
    /// `initial-readiness-delay`, nanoseconds: 30 s.
    pub initial_readiness_delay_ns: u64,
    /// Likely bug of upstream: a replica count that does not fit into 32 bits wraps around (as Go converts on amd64),
    /// so an enormous value of a metric can scale down. Off: it is cut at the greatest count.
    pub wrap_replica_counts: bool,
    /// Likely bug of upstream: metrics of pods that are not in the pod list take part in averages of Pods metrics and
    /// count as pods where other pods are unready or without metrics. Off: they are left out.
    pub count_unknown_pods: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self::of(Profile::default())
    }
}

impl Options {
    /// Upstream's defaults, with or without its likely bugs.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        Self {
            version: Version::default(),
            sync_period_ns: 15 * SECOND_NS,
            downscale_stabilization_ns: 300 * SECOND_NS,
            tolerance: 0.1,
            cpu_initialization_period_ns: 300 * SECOND_NS,
            initial_readiness_delay_ns: 30 * SECOND_NS,
            wrap_replica_counts: profile == Profile::Upstream,
            count_unknown_pods: profile == Profile::Upstream,
        }
    }
}
