//! What goes between a broker, its consumers and its autoscaler.

use serde::{Deserialize, Serialize};

use crate::engine::Key;

/// Messages that a broker holds at most; RabbitMQ and Kafka end in a full disk instead.
pub const MOST_MESSAGES: u64 = 10_000_000;

/// Names one delivery of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag {
    /// The partition; 0 for a queue.
    pub partition: u32,
    /// The place of the message in its partition or queue, from 0.
    pub offset: u64,
    /// The number of the delivery among all deliveries of the broker, from 0.
    pub delivery: u64,
}

/// A message on its way to a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The message.
    pub message: Key,
    /// Who gets it.
    pub consumer: Key,
    /// What to acknowledge it with.
    pub tag: Tag,
    /// How often it was delivered, this time included.
    pub deliveries: u32,
    /// It was acknowledged before, but no committed offset covered it when its partition changed hands: the
    /// consumer computes it again, and whoever published it knows its result already.
    pub is_duplicate: bool,
    /// When it was published.
    pub published_ns: u64,
}

/// What becomes of a message that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It goes back to its place and is delivered again.
    Requeued,
    /// It was delivered as often as it may be and goes to the dead letters.
    Dead,
}

/// A delivery that ended without acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The message.
    pub message: Key,
    /// Who had it, and may still be computing it in vain.
    pub consumer: Key,
    /// The delivery, which is no longer valid.
    pub tag: Tag,
    /// What becomes of the message.
    pub fate: Fate,
}

/// Where all messages are that were ever published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All.
    pub published: u64,
    /// Done for good: acknowledged, and in Kafka committed.
    pub acked: u64,
    /// Waiting for a consumer.
    pub ready: u64,
    /// Delivered; in Kafka also those that are acknowledged while one before them is not.
    pub unacked: u64,
    /// Among the dead letters.
    pub dead: u64,
}

impl Counts {
    /// Messages in the queue: what waits and what is being computed.
    pub fn depth(&self) -> u64 {
        self.ready + self.unacked
    }

    /// The law of every broker: each message is in exactly one place.
    pub fn is_conserved(&self) -> bool {
        self.published == self.acked + self.ready + self.unacked + self.dead
    }
}

/// The two offsets from which the lag of a partition is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionOffsets {
    /// Messages that were ever published to it.
    pub latest: u64,
    /// The first that is not covered by a commit; `None` until something was committed.
    pub committed: Option<u64>,
}

impl PartitionOffsets {
    /// Messages that no commit covers.
    pub fn lag(&self) -> u64 {
        self.latest.saturating_sub(self.committed.unwrap_or(0))
    }
}
