//! A broker of messages, for workloads that take their work from a queue.
//!
//! | role | types |
//! | --- | --- |
//! | the broker, in two kinds | [`Broker`] with [`RabbitSettings`], [`KafkaSettings`] |
//! | what a consumer gets | [`Delivery`], [`Tag`] |
//! | what comes back without an answer | [`Lost`], [`Fate`] |
//! | what an autoscaler reads | [`Counts`], [`PartitionOffsets`], the rates |
//!
//! A broker is a value: no clock, no randomness, serialisable at any instant. The caller tells it the time, which
//! never goes back, calls [`Broker::expire`] at [`Broker::next_timeout_ns`], and after everything that may set a
//! message free calls [`Broker::dispatch`] until it has nothing to give. No message is ever lost:
//! [`Counts::is_conserved`] holds after every call.
//!
//! ```
//! use windtunnel_sim::broker::{Broker, RabbitSettings};
//! use windtunnel_sim::engine::Slab;
//!
//! let (mut messages, mut pods) = (Slab::default(), Slab::default());
//! let mut broker = Broker::rabbit(RabbitSettings { prefetch: 1, visibility_ns: 1_000, deliveries: 5 })?;
//! let (message, pod) = (messages.insert(()), pods.insert(()));
//! broker.consumer_joined(0, pod);
//! broker.publish(10, message);
//! let delivery = broker.dispatch(10).unwrap();
//! assert_eq!((delivery.message, delivery.consumer), (message, pod));
//! assert!(broker.ack(20, delivery.tag));
//! assert_eq!(broker.counts().acked, 1);
//! # Ok::<(), windtunnel_sim::server::Impossible>(())
//! ```

mod delivery;
mod kafka;
mod rabbit;
mod rate;

use serde::{Deserialize, Serialize};

use self::kafka::Kafka;
use self::rabbit::Rabbit;
use crate::engine::Key;
use crate::server::Impossible;

pub use self::delivery::{Counts, Delivery, Fate, Lost, MOST_MESSAGES, PartitionOffsets, Tag};
pub use self::kafka::KafkaSettings;
pub use self::rabbit::RabbitSettings;
pub use self::rate::RATE_WINDOW_S;

/// One queue or topic with its consumers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Broker {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Rabbit(Box<Rabbit>),
    Kafka(Box<Kafka>),
}

/// Calls the method of the broker that it is.
macro_rules! of {
    ($self:ident, $broker:ident => $call:expr) => {
        match &$self.kind {
            Kind::Rabbit($broker) => $call,
            Kind::Kafka($broker) => $call,
        }
    };
    (mut $self:ident, $broker:ident => $call:expr) => {
        match &mut $self.kind {
            Kind::Rabbit($broker) => $call,
            Kind::Kafka($broker) => $call,
        }
    };
}

impl Broker {
    /// A queue as RabbitMQ's: any consumer may take any message.
    ///
    /// # Errors
    /// A visibility time-out of 0.
    pub fn rabbit(settings: RabbitSettings) -> Result<Self, Impossible> {
        Ok(Self { kind: Kind::Rabbit(Box::new(Rabbit::new(settings)?)) })
    }

    /// A topic as Kafka's with one consumer group: each partition belongs to one consumer and is taken in order.
    ///
    /// # Errors
    /// Partitions, prefetch or a visibility time-out of 0.
    pub fn kafka(settings: KafkaSettings) -> Result<Self, Impossible> {
        Ok(Self { kind: Kind::Kafka(Box::new(Kafka::new(settings)?)) })
    }

    /// A message comes; false when [`MOST_MESSAGES`] are there already and it is refused.
    pub fn publish(&mut self, now_ns: u64, message: Key) -> bool {
        of!(mut self, broker => broker.publish(now_ns, message))
    }

    /// A pod begins to consume; in Kafka that starts a rebalance.
    pub fn consumer_joined(&mut self, now_ns: u64, consumer: Key) {
        of!(mut self, broker => broker.consumer_joined(now_ns, consumer));
    }

    /// A pod stops consuming, for whatever reason: what it had not acknowledged goes back, and in Kafka a rebalance
    /// starts. A pod that drains leaves after its last acknowledgement.
    pub fn consumer_left(&mut self, now_ns: u64, consumer: Key, lost: &mut Vec<Lost>) {
        of!(mut self, broker => broker.consumer_left(now_ns, consumer, lost));
    }

    /// The next message for one consumer, if it has one and room for it.
    pub fn poll(&mut self, now_ns: u64, consumer: Key) -> Option<Delivery> {
        of!(mut self, broker => broker.poll(now_ns, consumer))
    }

    /// The next message for any consumer that has room, the consumers taking turns.
    pub fn dispatch(&mut self, now_ns: u64) -> Option<Delivery> {
        of!(mut self, broker => broker.dispatch(now_ns))
    }

    /// A consumer is done with a message; false when the delivery is over already, because it timed out or was
    /// taken away, and the message is or will be computed again.
    pub fn ack(&mut self, now_ns: u64, tag: Tag) -> bool {
        of!(mut self, broker => broker.ack(now_ns, tag))
    }

    /// A consumer failed at a message, which goes back; `None` when the delivery is over already.
    pub fn reject(&mut self, now_ns: u64, tag: Tag) -> Option<Lost> {
        of!(mut self, broker => broker.reject(now_ns, tag))
    }

    /// When [`Broker::expire`] is to be called next.
    pub fn next_timeout_ns(&self) -> Option<u64> {
        of!(self, broker => broker.next_timeout_ns())
    }

    /// Takes back what was not acknowledged in time until `now_ns`, and ends a rebalance that is due.
    pub fn expire(&mut self, now_ns: u64, lost: &mut Vec<Lost>) {
        of!(mut self, broker => broker.expire(now_ns, lost));
    }

    /// Where all messages are.
    pub fn counts(&self) -> Counts {
        of!(self, broker => broker.counts())
    }

    /// The offsets of each partition; of a queue, as if it were one partition that commits every message.
    pub fn offsets(&self) -> Vec<PartitionOffsets> {
        of!(self, broker => broker.offsets())
    }

    /// Messages that no committed offset covers: those that wait, those that are computed, and those that are done
    /// while one before them is not.
    pub fn lag(&self) -> u64 {
        self.offsets().iter().map(PartitionOffsets::lag).sum()
    }

    /// Messages published a second, over the last [`RATE_WINDOW_S`] whole seconds.
    pub fn publish_rate(&self, now_ns: u64) -> f64 {
        of!(self, broker => broker.rates().published.per_s(now_ns))
    }

    /// Messages delivered a second, again or for the first time, over the last [`RATE_WINDOW_S`] whole seconds.
    pub fn deliver_rate(&self, now_ns: u64) -> f64 {
        of!(self, broker => broker.rates().delivered.per_s(now_ns))
    }

    /// Pods that consume.
    pub fn consumers(&self) -> usize {
        of!(self, broker => broker.consumers())
    }
}

#[cfg(test)]
mod tests;
