//! RabbitMQ: length of a queue, and rates in and out of it.
//!
//! Source: `pkg/scalers/rabbitmq_scaler.go`.

use serde::{Deserialize, Serialize};

use super::super::KedaError;
use super::Measured;
use super::metadata::Metadata;

/// The trigger's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RabbitMq {
    /// The queue, or a regular expression for several.
    pub queue_name: String,
    /// What is measured.
    pub mode: Mode,
    /// Target.
    pub value: f64,
    /// Active above this.
    pub activation_value: f64,
    /// Only messages that no consumer has taken yet count (HTTP only).
    pub exclude_unacknowledged: bool,
    /// Whether `queue_name` is a regular expression (HTTP only).
    pub use_regex: bool,
    /// How several queues count (with a regular expression).
    pub operation: Operation,
    /// How the broker is asked.
    pub protocol: Protocol,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Messages in the queue.
    #[default]
    QueueLength,
    /// Messages published a second.
    MessageRate,
    /// Messages delivered a second.
    DeliverGetRate,
    /// Published for each delivered.
    PublishedToDeliveredRatio,
    /// Seconds until the queue is empty.
    ExpectedQueueConsumptionTime,
}

/// How several queues count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Added up.
    #[default]
    Sum,
    /// On average; counts of messages without the fraction.
    Avg,
    /// The greatest of each number.
    Max,
}

/// How the broker is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// By its management API: counts and rates.
    #[default]
    Http,
    /// As a client: the number of messages only.
    Amqp,
}

/// What the broker says about a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Messages, those that consumers have taken and not acknowledged included.
    pub messages: i64,
    /// Messages that no consumer has taken.
    pub ready: i64,
    /// Messages published a second.
    pub publish_rate: f64,
    /// Messages delivered a second.
    pub deliver_get_rate: f64,
}

impl RabbitMq {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first one that KEDA would refuse.
    pub fn read(metadata: &Metadata<'_>) -> Result<Self, KedaError> {
        let protocol = match metadata.text("protocol") {
            Some("http") => Protocol::Http,
            Some("amqp") => Protocol::Amqp,
            None | Some("auto") => match metadata.text("host").and_then(|host| host.split_once("://")) {
                Some(("amqp" | "amqps", _)) => Protocol::Amqp,
                Some(("http" | "https", _)) | None => Protocol::Http,
                Some(_) => return Err(metadata.refuse("host", "an address with amqp or http")),
            },
            Some(_) => return Err(metadata.refuse("protocol", "auto, http or amqp")),
        };
        let operation = match metadata.text("operation") {
            None | Some("sum") => Operation::Sum,
            Some("avg") => Operation::Avg,
            Some("max") => Operation::Max,
            Some(_) => return Err(metadata.refuse("operation", "sum, avg or max")),
        };
        let read = Self {
            queue_name: metadata.needed("queueName")?,
            mode: Mode::default(),
            value: 20.0,
            activation_value: metadata.number("activationValue")?.unwrap_or(0.0),
            exclude_unacknowledged: metadata.truth("excludeUnacknowledged", false)?,
            use_regex: metadata.truth("useRegex", false)?,
            operation,
            protocol,
        };
        if protocol == Protocol::Amqp {
            for (key, is_set) in
                [("useRegex", read.use_regex), ("excludeUnacknowledged", read.exclude_unacknowledged)]
            {
                if is_set {
                    return Err(metadata.refuse(key, "false, because the protocol is amqp"));
                }
            }
        }
        let mode = metadata.text("mode").filter(|&mode| mode != "Unknown");
        let value = metadata.number("value")?.filter(|&value| value != 0.0);
        if let Some(length) = metadata.number("queueLength")?.filter(|&length| length != 0.0) {
            if mode.is_some() || value.is_some() {
                return Err(metadata.refuse("queueLength", "nothing beside mode and value, which replace it"));
            }
            return Ok(Self { value: length, ..read });
        }
        let (mode, value) = match (mode, value) {
            (None, None) => return Ok(read),
            (None, Some(_)) => return Err(metadata.refuse("mode", "a mode for the value")),
            (Some(_), None) => return Err(metadata.refuse("value", "a value for the mode, other than 0")),
            (Some(mode), Some(value)) => (mode, value),
        };
        let mode = match mode {
            "QueueLength" => Mode::QueueLength,
            "MessageRate" => Mode::MessageRate,
            "DeliverGetRate" => Mode::DeliverGetRate,
            "PublishedToDeliveredRatio" => Mode::PublishedToDeliveredRatio,
            "ExpectedQueueConsumptionTime" => Mode::ExpectedQueueConsumptionTime,
            _ => {
                let modes = "QueueLength, MessageRate, DeliverGetRate, PublishedToDeliveredRatio or ExpectedQueueConsumptionTime";
                return Err(metadata.refuse("mode", modes));
            }
        };
        if protocol == Protocol::Amqp && mode != Mode::QueueLength {
            return Err(metadata.refuse("mode", "QueueLength, because the protocol is amqp"));
        }
        Ok(Self { mode, value, ..read })
    }

    /// What the queues say: one, or those that the regular expression matches.
    #[must_use]
    pub fn measure(&self, queues: &[Queue]) -> Measured {
        let queue = self.compose(queues);
        let messages = if self.exclude_unacknowledged { queue.ready as f64 } else { queue.messages as f64 };
        let (published, delivered) = match self.protocol {
            Protocol::Http => (queue.publish_rate, queue.deliver_get_rate),
            Protocol::Amqp => (0.0, 0.0),
        };
        let above = |value: f64| value > self.activation_value;
        let (value, active) = match self.mode {
            Mode::QueueLength => (messages, above(messages)),
            Mode::MessageRate => (published, above(published) || above(messages)),
            Mode::DeliverGetRate => (delivered, above(delivered)),
            Mode::PublishedToDeliveredRatio => {
                let is_stuck = published > 0.0 && delivered == 0.0;
                let ratio = if is_stuck {
                    self.activation_value
                } else if published > 0.0 && delivered > 0.0 {
                    published / delivered
                } else {
                    0.0
                };
                (ratio, above(ratio) || is_stuck)
            }
            Mode::ExpectedQueueConsumptionTime => {
                let is_stuck = delivered == 0.0 && messages > 0.0;
                let time = if messages == 0.0 {
                    0.0
                } else if delivered == 0.0 {
                    self.activation_value
                } else {
                    (published - delivered) / delivered + messages / delivered
                };
                (time, above(time) || is_stuck)
            }
        };
        Measured { value, active }
    }

    fn compose(&self, queues: &[Queue]) -> Queue {
        let sum = queues.iter().fold(Queue::default(), |sum, queue| Queue {
            messages: sum.messages.saturating_add(queue.messages),
            ready: sum.ready.saturating_add(queue.ready),
            publish_rate: sum.publish_rate + queue.publish_rate,
            deliver_get_rate: sum.deliver_get_rate + queue.deliver_get_rate,
        });
        match self.operation {
            _ if queues.is_empty() || !self.use_regex => queues.first().copied().unwrap_or_default(),
            Operation::Sum => sum,
            Operation::Avg => {
                let count = i64::try_from(queues.len()).unwrap_or(i64::MAX);
                Queue {
                    messages: sum.messages / count,
                    ready: sum.ready / count,
                    publish_rate: sum.publish_rate / count as f64,
                    deliver_get_rate: sum.deliver_get_rate / count as f64,
                }
            }
            Operation::Max => queues.iter().fold(Queue::default(), |most, queue| Queue {
                messages: most.messages.max(queue.messages),
                ready: most.ready.max(queue.ready),
                publish_rate: most.publish_rate.max(queue.publish_rate),
                deliver_get_rate: most.deliver_get_rate.max(queue.deliver_get_rate),
            }),
        }
    }
}
