//! A queue as RabbitMQ's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::delivery::{Counts, Delivery, Fate, Lost, MOST_MESSAGES, PartitionOffsets, Tag};
use super::rate::Rates;
use crate::engine::Key;
use crate::server::Impossible;

/// How a queue delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RabbitSettings {
    /// Messages that a consumer has without having acknowledged them, at most; 0 is no limit.
    pub prefetch: u32,
    /// How long a consumer may take to acknowledge a message before it goes back. Only that message does, as in
    /// SQS; RabbitMQ's `consumer_timeout` closes the consumer's channel, with all that it has.
    pub visibility_ns: u64,
    /// How often a message is delivered at most, then it is a dead letter; 0 is no limit. A quorum queue's
    /// `delivery-limit` counts deliveries after the first: it is one less.
    pub deliveries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Message {
    offset: u64,
    key: Key,
    deliveries: u32,
    published_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unacked {
    message: Message,
    consumer: Key,
    deadline_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Consumer {
    key: Key,
    unacked: u32,
}

/// Any consumer takes any message; consumers take turns, and what comes back goes to where it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rabbit {
    settings: RabbitSettings,
    /// Never delivered, in order.
    fresh: VecDeque<Message>,
    /// Delivered before, so they come before every fresh one.
    returned: BTreeSet<Message>,
    /// By number of delivery, so in the order in which they time out.
    unacked: BTreeMap<u64, Unacked>,
    /// By key.
    consumers: Vec<Consumer>,
    /// The consumer whose turn it is.
    turn: usize,
    deliveries: u64,
    published: u64,
    acked: u64,
    dead: u64,
    rates: Rates,
}

impl Rabbit {
    pub(super) fn new(settings: RabbitSettings) -> Result<Self, Impossible> {
        if settings.visibility_ns == 0 {
            return Err(Impossible::new("visibility time-out of a queue", "0 ns", "take a time above 0"));
        }
        Ok(Self {
            settings,
            fresh: VecDeque::new(),
            returned: BTreeSet::new(),
            unacked: BTreeMap::new(),
            consumers: Vec::new(),
            turn: 0,
            deliveries: 0,
            published: 0,
            acked: 0,
            dead: 0,
            rates: Rates::default(),
        })
    }

    pub(super) fn publish(&mut self, now_ns: u64, message: Key) -> bool {
        if self.counts().depth() >= MOST_MESSAGES {
            return false;
        }
        let (offset, key) = (self.published, message);
        self.fresh.push_back(Message { offset, key, deliveries: 0, published_ns: now_ns });
        self.published += 1;
        self.rates.published.add(now_ns);
        true
    }

    pub(super) fn consumer_joined(&mut self, _now_ns: u64, consumer: Key) {
        if let Err(place) = self.find(consumer) {
            self.consumers.insert(place, Consumer { key: consumer, unacked: 0 });
            self.turn += usize::from(place < self.turn);
        }
    }

    pub(super) fn consumer_left(&mut self, _now_ns: u64, consumer: Key, lost: &mut Vec<Lost>) {
        let Ok(place) = self.find(consumer) else { return };
        self.consumers.remove(place);
        self.turn -= usize::from(place < self.turn);
        for (delivery, gone) in self.unacked.extract_if(.., |_, unacked| unacked.consumer == consumer) {
            lost.push(give_back(&self.settings, &mut self.returned, &mut self.dead, delivery, &gone));
        }
    }

    pub(super) fn poll(&mut self, now_ns: u64, consumer: Key) -> Option<Delivery> {
        let place = self.find(consumer).ok()?;
        self.deliver(now_ns, place)
    }

    pub(super) fn dispatch(&mut self, now_ns: u64) -> Option<Delivery> {
        let number = self.consumers.len();
        let most = number as u64 * u64::from(self.settings.prefetch);
        let is_saturated = self.settings.prefetch > 0 && self.unacked.len() as u64 >= most;
        if number == 0 || is_saturated || (self.fresh.is_empty() && self.returned.is_empty()) {
            return None;
        }
        let order = (0..number).map(|step| (self.turn + step) % number);
        let place = order.into_iter().find(|place| self.has_room(*place))?;
        self.turn = (place + 1) % number;
        self.deliver(now_ns, place)
    }

    pub(super) fn ack(&mut self, _now_ns: u64, tag: Tag) -> bool {
        if self.take(tag).is_none() {
            return false;
        }
        self.acked += 1;
        true
    }

    pub(super) fn reject(&mut self, _now_ns: u64, tag: Tag) -> Option<Lost> {
        let gone = self.take(tag)?;
        Some(give_back(&self.settings, &mut self.returned, &mut self.dead, tag.delivery, &gone))
    }

    pub(super) fn next_timeout_ns(&self) -> Option<u64> {
        self.unacked.first_key_value().map(|(_, unacked)| unacked.deadline_ns)
    }

    pub(super) fn expire(&mut self, now_ns: u64, lost: &mut Vec<Lost>) {
        while self.next_timeout_ns().is_some_and(|deadline_ns| deadline_ns <= now_ns) {
            let Some((delivery, gone)) = self.unacked.pop_first() else { break };
            self.has_one_less(gone.consumer);
            lost.push(give_back(&self.settings, &mut self.returned, &mut self.dead, delivery, &gone));
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            published: self.published,
            acked: self.acked,
            ready: (self.fresh.len() + self.returned.len()) as u64,
            unacked: self.unacked.len() as u64,
            dead: self.dead,
        }
    }

    pub(super) fn offsets(&self) -> Vec<PartitionOffsets> {
        let done = self.acked + self.dead;
        vec![PartitionOffsets { latest: self.published, committed: (done > 0).then_some(done) }]
    }

    pub(super) fn rates(&self) -> &Rates {
        &self.rates
    }

    pub(super) fn consumers(&self) -> usize {
        self.consumers.len()
    }

    fn find(&self, consumer: Key) -> Result<usize, usize> {
        self.consumers.binary_search_by_key(&consumer, |consumer| consumer.key)
    }

    fn has_room(&self, place: usize) -> bool {
        self.settings.prefetch == 0 || self.consumers[place].unacked < self.settings.prefetch
    }

    fn deliver(&mut self, now_ns: u64, place: usize) -> Option<Delivery> {
        if !self.has_room(place) {
            return None;
        }
        let mut message = self.returned.pop_first().or_else(|| self.fresh.pop_front())?;
        message.deliveries = message.deliveries.saturating_add(1);
        let consumer = &mut self.consumers[place];
        consumer.unacked += 1;
        let deadline_ns = now_ns.saturating_add(self.settings.visibility_ns);
        let unacked = Unacked { message, consumer: consumer.key, deadline_ns };
        self.unacked.insert(self.deliveries, unacked);
        let tag = Tag { partition: 0, offset: message.offset, delivery: self.deliveries };
        self.deliveries += 1;
        self.rates.delivered.add(now_ns);
        Some(Delivery {
            message: message.key,
            consumer: unacked.consumer,
            tag,
            deliveries: message.deliveries,
            is_duplicate: false,
            published_ns: message.published_ns,
        })
    }

    fn take(&mut self, tag: Tag) -> Option<Unacked> {
        let gone = self.unacked.remove(&tag.delivery)?;
        self.has_one_less(gone.consumer);
        Some(gone)
    }

    fn has_one_less(&mut self, consumer: Key) {
        if let Ok(place) = self.find(consumer) {
            self.consumers[place].unacked -= 1;
        }
    }
}

/// A delivery is over and its message goes where it belongs.
fn give_back(
    settings: &RabbitSettings,
    returned: &mut BTreeSet<Message>,
    dead: &mut u64,
    delivery: u64,
    gone: &Unacked,
) -> Lost {
    let is_dead = settings.deliveries > 0 && gone.message.deliveries >= settings.deliveries;
    if is_dead {
        *dead += 1;
    } else {
        returned.insert(gone.message);
    }
    Lost {
        message: gone.message.key,
        consumer: gone.consumer,
        tag: Tag { partition: 0, offset: gone.message.offset, delivery },
        fate: if is_dead { Fate::Dead } else { Fate::Requeued },
    }
}
