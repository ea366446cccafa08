//! KEDA: ScaledObjects, to and from zero by us, in between by the HorizontalPodAutoscaler that is made for them.
//!
//! [`Loops`] is pure: it is told what has changed ([`Loops::changed`]) and what a poll found ([`Loops::polled`]), and
//! returns writes; its clock is handed in. The decisions are the kernel's
//! ([`windtunnel_kernel::autoscale::keda`]). The private `sources` ask Prometheus, RabbitMQ and the API server and give
//! back a [`Polled`], and listen to external scalers that tell by themselves; the engine runs the two against each other. [`Metrics`] serves the values that the
//! HorizontalPodAutoscalers ask for as `external.metrics.k8s.io`.
//!
//! It works only where nobody else does: where we have made the ScaledObjects' definition (it carries
//! `app.kubernetes.io/managed-by: windtunnel`) and no Deployment `keda-operator` is in the namespace `keda`
//! ([`World::runs_keda`](crate::World::runs_keda)). Two that scale one Deployment would undo each other's work.
//!
//! Upstream's admission webhook is not there: what it refuses (two ScaledObjects or another autoscaler on one target,
//! zero replicas with nothing but cpu and memory) leads to `Ready` false here, with upstream's message.
//!
//! Source: kedacore/keda 8b4f083c (August 2026), `controllers/keda` and `pkg/scaling`.

mod listeners;
mod loops;
mod object;
mod sample;
mod serve;
pub(crate) mod sources;
mod status;
mod time_zone;

use std::time::Duration;

use windtunnel_kernel::autoscale::keda::{ScaledObjectSpec, Trigger};
use windtunnel_kernel::duration;

pub(crate) use listeners::Listeners;
pub use loops::Loops;
pub use sample::{Polled, Sample, Target};
pub(crate) use serve::Ask;
pub use serve::Metrics;

use crate::world::ObjectKey;

/// Label of a ScaledObject and selector of its metrics: its name.
pub const NAME_LABEL: &str = "scaledobject.keda.sh/name";
/// Namespace of upstream's operator, and of the Secrets that a ClusterTriggerAuthentication names.
pub const KEDA_NAMESPACE: &str = "keda";
/// Upstream's operator.
pub const KEDA_OPERATOR: &str = "keda-operator";
/// What holds a ScaledObject until its target has been left alone.
pub const FINALIZER: &str = "finalizer.keda.sh";

/// What a poll is to find out.
#[derive(Clone, Debug)]
pub struct Question {
    /// The ScaledObject.
    pub key: ObjectKey,
    /// Which state of it: an answer to another one is let go.
    pub stamp: String,
    /// Its spec.
    pub spec: ScaledObjectSpec,
    /// Its triggers, as far as they are known: an external one may stand for several metrics.
    pub triggers: Vec<Trigger>,
    /// Which triggers of the spec to ask.
    pub asked: Vec<bool>,
    /// The trigger of the spec whose external scaler says by itself that it is active; nobody is asked then.
    pub pushed: Option<usize>,
}

impl Question {
    /// How long the source of a trigger may take, if its metadata say so: milliseconds, or a duration such as `5s`.
    pub(crate) fn timeout(&self, trigger: usize) -> Option<Duration> {
        let text = self.spec.triggers.get(trigger)?.metadata.get("timeout")?;
        let ns = match text.parse::<i64>() {
            Ok(ms) => ms.checked_mul(1_000_000)?,
            Err(_) => duration::parse_ns(text)?,
        };
        u64::try_from(ns).ok().filter(|ns| *ns > 0).map(Duration::from_nanos)
    }
}
