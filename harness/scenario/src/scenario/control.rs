//! The control plane: its cycles and delays, its decision rules, and what watches the predictions.

use serde::{Deserialize, Serialize};
use windtunnel_kernel::autoscale::hpa;

use super::distribution::Distribution;
use crate::quantity::Duration;

/// Cycles and delays of the control plane; the defaults are upstream's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// The Knative autoscaler's metrics.
    pub kpa: KpaTiming,
    /// Knative's activator.
    pub activator: Activator,
    /// The HorizontalPodAutoscaler and the metrics that it reads.
    pub hpa: HpaTiming,
    /// KEDA.
    pub keda: KedaTiming,
    /// Flagger.
    pub flagger: FlaggerControl,
    /// When each loop's first cycle is.
    pub phases: ControlPhases,
}

/// Delays of the Knative autoscaler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KpaTiming {
    /// How long a scrape of a revision's pods takes, while the activator is not in their path (upstream's metric
    /// `scrape_time`): what it read counts for the second in which it ends. `None` takes no time.
    pub scrape_time: Option<Distribution>,
}

/// How Knative's activator finds out that it can reach a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activator {
    /// The deadline of a probe (`PROBE_TIMEOUT`).
    pub probe_timeout: Duration,
    /// What becomes of a connection that is made after that.
    pub late_connections: LateConnections,
}

impl Default for Activator {
    fn default() -> Self {
        Self { probe_timeout: Duration::from_ms(300), late_connections: LateConnections::default() }
    }
}

/// What becomes of a connection that is made when the activator's probe has been given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LateConnections {
    /// A later probe finds it, as in activators that are built with Go 1.23 or later.
    #[default]
    Kept,
    /// It is not made: each probe begins anew, as in older ones (release 1.10). A round trip of 70 ms is too long then.
    Dropped,
}

/// Cycles and delays of the HorizontalPodAutoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HpaTiming {
    /// How often it decides (`--horizontal-pod-autoscaler-sync-period`).
    pub sync: Duration,
    /// How often the metrics server reads the pods (`--metric-resolution`).
    pub scrape: Duration,
    /// From the reading to the moment at which the metric can be seen.
    pub delay: Duration,
    /// The release of Kubernetes whose rules hold.
    pub version: hpa::Version,
}

impl Default for HpaTiming {
    fn default() -> Self {
        Self {
            sync: Duration::from_s(15),
            scrape: Duration::from_s(15),
            delay: Duration::ZERO,
            version: hpa::Version::default(),
        }
    }
}

/// Flagger's controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlaggerControl {
    /// The release of Flagger whose rules hold.
    pub version: FlaggerVersion,
}

/// Releases of Flagger between which it decides differently; each one stands for those up to the next.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum FlaggerVersion {
    /// 1.0 to 1.43: a primary that is stuck while it is promoted is rolled back to, although the canary is all that
    /// works.
    #[serde(rename = "1.0")]
    V1_0,
    /// 1.44 and later: the canary keeps all requests.
    #[default]
    #[serde(rename = "1.44")]
    V1_44,
}

/// Cycles and delays of KEDA where a ScaledObject names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KedaTiming {
    /// How often triggers are read (`pollingInterval`).
    pub polling: Duration,
    /// From the reading to the moment at which the metric can be seen.
    pub delay: Duration,
}

impl Default for KedaTiming {
    fn default() -> Self {
        Self { polling: Duration::from_s(30), delay: Duration::ZERO }
    }
}

/// When the first cycle of each loop is, from the start of the scenario; `None` leaves it to the seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPhases {
    /// The Knative autoscaler's ticks.
    pub kpa: Option<Duration>,
    /// The Knative autoscaler's and the metrics server's readings.
    pub scrape: Option<Duration>,
    /// The HorizontalPodAutoscaler's decisions.
    pub hpa: Option<Duration>,
    /// KEDA's polling.
    pub keda: Option<Duration>,
    /// The ticks of a canary's controller.
    pub canary: Option<Duration>,
    /// The cluster autoscaler's looks.
    pub nodes: Option<Duration>,
}

/// Whose decision rules hold where upstream is likely to be wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Upstream's rules without its likely bugs.
    #[default]
    Windtunnel,
    /// Upstream's rules, bugs included.
    Upstream,
}

/// Features or predictions that change, and what watches them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// How the features change.
    pub feature: Option<DriftShift>,
    /// How the predictions change.
    pub predictions: Option<DriftShift>,
    /// What watches.
    pub detector: DriftDetector,
}

/// A change of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftShift {
    /// When it begins, from the start of the scenario.
    pub at: Duration,
    /// How far the mean moves in the end, in standard deviations; not 0.
    pub shift: f64,
    /// How long it takes; zero is a step.
    pub over: Duration,
}

/// A detector of drift.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftDetector {
    /// What it computes.
    pub test: DriftTest,
    /// How many of the latest requests it compares with the reference, at least 2.
    pub window: u32,
    /// Where it raises the alarm: a p-value below it for `ks`, a value above it for `psi`.
    pub threshold: f64,
}

impl DriftDetector {
    /// The threshold of a detector that names none.
    pub const fn default_threshold(test: DriftTest) -> f64 {
        match test {
            DriftTest::Ks => 0.01,
            DriftTest::Psi => 0.2,
        }
    }
}

impl Default for DriftDetector {
    fn default() -> Self {
        Self { test: DriftTest::Ks, window: 500, threshold: Self::default_threshold(DriftTest::Ks) }
    }
}

/// Tests of whether two samples come from one distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriftTest {
    /// Kolmogorov and Smirnov's, two samples.
    Ks,
    /// The population stability index over ten bins of the reference.
    Psi,
}
