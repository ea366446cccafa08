//! What the sources of metrics said, before it is a reading of the kernel.

use windtunnel_kernel::autoscale::keda::triggers::Scaler;
use windtunnel_kernel::autoscale::keda::triggers::external::External;
use windtunnel_kernel::autoscale::keda::triggers::kafka::{Offsets, Partition};
use windtunnel_kernel::autoscale::keda::triggers::rabbitmq::Queue;
use windtunnel_kernel::autoscale::keda::{Reading, Trigger};

use super::time_zone::utc_offset_s;

/// What a source said about one trigger.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Sample {
    /// It was not asked: cron knows by itself, cpu and memory are the HorizontalPodAutoscaler's.
    #[default]
    NotAsked,
    /// Why there is no answer.
    Failed(String),
    /// `prometheus`: a number a series.
    Series(Vec<f64>),
    /// `rabbitmq`: the queue, or all that the regular expression matches.
    Queues(Vec<Queue>),
    /// `kafka`: the partitions of the topic.
    Partitions(Vec<Partition>),
    /// `external`: what somebody else's scaler says.
    External {
        /// Values of the metric.
        values: Vec<f64>,
        /// Whether it says that it is active.
        is_active: bool,
    },
}

/// The target of a ScaledObject, as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// API group, empty for the core group.
    pub group: String,
    /// Version in it.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Plural name.
    pub resource: String,
    /// `spec.replicas` of its scale.
    pub replicas: i32,
    /// Replicas that are ready.
    pub ready_replicas: i32,
}

impl Target {
    /// Group, version and kind in one text, as the status has it: `apps/v1.Deployment`.
    #[must_use]
    pub fn kind_text(&self) -> String {
        format!("{}/{}.{}", self.group, self.version, self.kind)
    }

    /// `apps/v1`, or `v1` of the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// Everything that one poll found.
#[derive(Clone, Debug, PartialEq)]
pub struct Polled {
    /// Which state of the object was asked for; see [`super::Question::stamp`].
    pub stamp: String,
    /// The target, or why it cannot be scaled.
    pub target: Result<Target, String>,
    /// The triggers, with what only the sources know of them: the environment, and the metrics of external scalers.
    pub triggers: Vec<Trigger>,
    /// A sample a trigger of these.
    pub samples: Vec<Sample>,
    /// The trigger whose external scaler said by itself that it is active; see [`super::Question::pushed`].
    pub pushed: Option<usize>,
}

/// What a sample means for its trigger.
pub(super) fn reading(trigger: &Trigger, sample: &Sample, offsets: &mut Offsets, now_ns: u64) -> Reading {
    let failed = |message: String| Reading::Failed { message };
    match (&trigger.scaler, sample) {
        (Scaler::Resource(_), _) => Reading::Resource,
        (_, Sample::Failed(message)) => failed(message.clone()),
        (Scaler::Cron(cron), _) => match utc_offset_s(&cron.timezone, now_ns) {
            Some(offset_s) => Reading::Measured(cron.measure(now_ns, offset_s)),
            None => failed(format!("unable to load timezone: unknown time zone {}", cron.timezone)),
        },
        (Scaler::Prometheus(prometheus), Sample::Series(series)) => match prometheus.measure(series) {
            Ok(measured) => Reading::Measured(measured),
            Err(message) => failed(message),
        },
        (Scaler::RabbitMq(rabbitmq), Sample::Queues(queues)) => Reading::Measured(rabbitmq.measure(queues)),
        (Scaler::Kafka(kafka), Sample::Partitions(partitions)) => {
            Reading::Measured(kafka.measure(partitions, offsets))
        }
        (Scaler::External(_), Sample::External { values, is_active }) => {
            Reading::Measured(External::measure(values, *is_active))
        }
        _ => failed("the trigger was not asked".to_owned()),
    }
}
