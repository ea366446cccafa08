//! A topic as Kafka's, with one consumer group.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::delivery::{Counts, Delivery, Fate, Lost, MOST_MESSAGES, PartitionOffsets, Tag};
use super::rate::Rates;
use crate::engine::Key;
use crate::server::Impossible;

/// How a topic and its consumer group work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaSettings {
    /// Partitions; messages go to them in turn.
    pub partitions: u32,
    /// Messages that a consumer computes at the same time, over all its partitions.
    pub prefetch: u32,
    /// How long a consumer may take for a message before it is put out of the group (`max.poll.interval.ms`). It
    /// joins again at once, without what it had.
    pub visibility_ns: u64,
    /// How often a message is delivered at most before the application puts it among its dead letters; 0 is no
    /// limit.
    pub deliveries: u32,
    /// How long nobody gets anything after a consumer came or went.
    pub rebalance_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Ready,
    Out,
    Done,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    key: Key,
    published_ns: u64,
    deliveries: u32,
    was_acked: bool,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Partition {
    /// From the committed offset on.
    log: VecDeque<Record>,
    committed: u64,
    has_committed: bool,
    /// No record before this place in `log` is ready.
    next: usize,
    /// Who consumes it since the last rebalance.
    owner: Option<Key>,
}

impl Partition {
    fn record(&mut self, offset: u64) -> Option<&mut Record> {
        let place = usize::try_from(offset.checked_sub(self.committed)?).ok()?;
        self.log.get_mut(place)
    }

    /// The place of the first record that is ready.
    fn first_ready(&mut self) -> Option<usize> {
        while self.log.get(self.next)?.state != State::Ready {
            self.next += 1;
        }
        Some(self.next)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Out {
    partition: u32,
    offset: u64,
    consumer: Key,
    deadline_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    key: Key,
    out: u32,
    /// Its partitions are neighbours: the first, and how many.
    first: usize,
    owned: usize,
    /// The one of them at which it looks next.
    turn: usize,
}

/// Each partition is taken in order by one consumer. What a consumer acknowledges is committed as soon as all
/// before it in the partition is; when a partition changes hands, its new consumer begins at the committed offset
/// (at least once).
///
/// A change in the group stops deliveries for the length of a rebalance. What consumers have goes on meanwhile and
/// may be acknowledged; at the end partitions are dealt out by range, and deliveries of partitions that moved are
/// taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kafka {
    settings: KafkaSettings,
    partitions: Vec<Partition>,
    /// By number of delivery, so in the order in which they time out.
    out: BTreeMap<u64, Out>,
    /// By key.
    members: Vec<Member>,
    turn: usize,
    rebalance_ends_ns: Option<u64>,
    deliveries: u64,
    counts: Counts,
    rates: Rates,
}

impl Kafka {
    pub(super) fn new(settings: KafkaSettings) -> Result<Self, Impossible> {
        for (setting, value) in [
            ("number of partitions of a topic", u64::from(settings.partitions)),
            ("prefetch of a topic's consumers", u64::from(settings.prefetch)),
            ("visibility time-out of a topic, in nanoseconds,", settings.visibility_ns),
        ] {
            if value == 0 {
                return Err(Impossible::new(setting, 0, "take at least 1"));
            }
        }
        let partition =
            Partition { log: VecDeque::new(), committed: 0, has_committed: false, next: 0, owner: None };
        Ok(Self {
            settings,
            partitions: vec![partition; settings.partitions as usize],
            out: BTreeMap::new(),
            members: Vec::new(),
            turn: 0,
            rebalance_ends_ns: None,
            deliveries: 0,
            counts: Counts::default(),
            rates: Rates::default(),
        })
    }

    pub(super) fn publish(&mut self, now_ns: u64, message: Key) -> bool {
        if self.counts.depth() >= MOST_MESSAGES {
            return false;
        }
        let place = (self.counts.published % u64::from(self.settings.partitions)) as usize;
        let (key, state) = (message, State::Ready);
        let record = Record { key, published_ns: now_ns, deliveries: 0, was_acked: false, state };
        self.partitions[place].log.push_back(record);
        self.counts.published += 1;
        self.counts.ready += 1;
        self.rates.published.add(now_ns);
        true
    }

    pub(super) fn consumer_joined(&mut self, now_ns: u64, consumer: Key) {
        if let Err(place) = self.find(consumer) {
            self.members.insert(place, Member { key: consumer, out: 0, first: 0, owned: 0, turn: 0 });
            self.turn += usize::from(place < self.turn);
            self.begin_rebalance(now_ns);
        }
    }

    pub(super) fn consumer_left(&mut self, now_ns: u64, consumer: Key, lost: &mut Vec<Lost>) {
        let Ok(place) = self.find(consumer) else { return };
        self.members.remove(place);
        self.turn -= usize::from(place < self.turn);
        self.take_back(|out| out.consumer == consumer, lost);
        self.begin_rebalance(now_ns);
    }

    pub(super) fn poll(&mut self, now_ns: u64, consumer: Key) -> Option<Delivery> {
        let member = self.find(consumer).ok()?;
        self.deliver(now_ns, member)
    }

    pub(super) fn dispatch(&mut self, now_ns: u64) -> Option<Delivery> {
        let number = self.members.len();
        if self.counts.ready == 0 || number == 0 {
            return None;
        }
        for step in 0..number {
            let member = (self.turn + step) % number;
            if let Some(delivery) = self.deliver(now_ns, member) {
                self.turn = (member + 1) % number;
                return Some(delivery);
            }
        }
        None
    }

    pub(super) fn ack(&mut self, _now_ns: u64, tag: Tag) -> bool {
        let Some(out) = self.take(tag) else { return false };
        if let Some(record) = self.partitions[out.partition as usize].record(out.offset) {
            record.state = State::Done;
            record.was_acked = true;
        }
        self.commit(out.partition as usize);
        true
    }

    pub(super) fn reject(&mut self, _now_ns: u64, tag: Tag) -> Option<Lost> {
        let out = self.take(tag)?;
        let lost = self.give_back(tag.delivery, &out);
        self.commit(out.partition as usize);
        lost
    }

    pub(super) fn next_timeout_ns(&self) -> Option<u64> {
        let deadline_ns = self.out.first_key_value().map(|(_, out)| out.deadline_ns);
        match (deadline_ns, self.rebalance_ends_ns) {
            (Some(deadline_ns), Some(end_ns)) => Some(deadline_ns.min(end_ns)),
            (one, other) => one.or(other),
        }
    }

    pub(super) fn expire(&mut self, now_ns: u64, lost: &mut Vec<Lost>) {
        while let Some(due_ns) = self.next_timeout_ns().filter(|due_ns| *due_ns <= now_ns) {
            if self.rebalance_ends_ns == Some(due_ns) {
                self.end_rebalance(lost);
            } else if let Some((_, late)) = self.out.first_key_value() {
                let consumer = late.consumer;
                self.take_back(|out| out.consumer == consumer, lost);
                self.begin_rebalance(due_ns);
            }
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn offsets(&self) -> Vec<PartitionOffsets> {
        let offsets = |partition: &Partition| PartitionOffsets {
            latest: partition.committed + partition.log.len() as u64,
            committed: partition.has_committed.then_some(partition.committed),
        };
        self.partitions.iter().map(offsets).collect()
    }

    pub(super) fn rates(&self) -> &Rates {
        &self.rates
    }

    pub(super) fn consumers(&self) -> usize {
        self.members.len()
    }

    fn find(&self, consumer: Key) -> Result<usize, usize> {
        self.members.binary_search_by_key(&consumer, |member| member.key)
    }

    fn begin_rebalance(&mut self, now_ns: u64) {
        self.rebalance_ends_ns = Some(now_ns.saturating_add(self.settings.rebalance_ns));
    }

    /// Deals the partitions out as the range assignor does: neighbours to one consumer, and one more to each of the
    /// first while the division leaves a rest.
    fn end_rebalance(&mut self, lost: &mut Vec<Lost>) {
        self.rebalance_ends_ns = None;
        let (partitions, members) = (self.partitions.len(), self.members.len());
        let mut owners = vec![None; partitions];
        for (place, member) in self.members.iter_mut().enumerate() {
            let (each, rest) = (partitions / members, partitions % members);
            member.first = place * each + place.min(rest);
            member.owned = each + usize::from(place < rest);
            member.turn = 0;
            owners[member.first..member.first + member.owned].fill(Some(member.key));
        }
        for (place, owner) in owners.into_iter().enumerate() {
            if self.partitions[place].owner != owner {
                self.partitions[place].owner = owner;
                self.take_back(|out| out.partition as usize == place, lost);
                self.rewind(place);
            }
        }
    }

    /// What was done beyond the committed offset of a partition is done again.
    fn rewind(&mut self, place: usize) {
        let partition = &mut self.partitions[place];
        partition.next = 0;
        for record in partition.log.iter_mut().filter(|record| record.state == State::Done) {
            record.state = State::Ready;
            self.counts.unacked -= 1;
            self.counts.ready += 1;
        }
    }

    fn deliver(&mut self, now_ns: u64, place: usize) -> Option<Delivery> {
        let member = self.members[place];
        if self.rebalance_ends_ns.is_some() || member.out >= self.settings.prefetch {
            return None;
        }
        for step in 0..member.owned {
            let turn = (member.turn + step) % member.owned;
            let at = member.first + turn;
            let partition = &mut self.partitions[at];
            let Some(ready) = partition.first_ready() else { continue };
            let offset = partition.committed + ready as u64;
            partition.next = ready + 1;
            let record = &mut partition.log[ready];
            record.state = State::Out;
            record.deliveries = record.deliveries.saturating_add(1);
            let record = *record;
            self.members[place].out += 1;
            self.members[place].turn = turn + 1;
            let deadline_ns = now_ns.saturating_add(self.settings.visibility_ns);
            let (partition, delivery) = (u32::try_from(at).unwrap_or(u32::MAX), self.deliveries);
            self.out.insert(delivery, Out { partition, offset, consumer: member.key, deadline_ns });
            self.deliveries += 1;
            self.counts.ready -= 1;
            self.counts.unacked += 1;
            self.rates.delivered.add(now_ns);
            return Some(Delivery {
                message: record.key,
                consumer: member.key,
                tag: Tag { partition, offset, delivery },
                deliveries: record.deliveries,
                is_duplicate: record.was_acked,
                published_ns: record.published_ns,
            });
        }
        None
    }

    /// Ends the deliveries that `is_gone` names and puts their messages back.
    fn take_back(&mut self, is_gone: impl Fn(&Out) -> bool, lost: &mut Vec<Lost>) {
        let gone: Vec<(u64, Out)> = self.out.extract_if(.., |_, out| is_gone(out)).collect();
        for (delivery, out) in gone {
            self.has_one_less(out.consumer);
            lost.extend(self.give_back(delivery, &out));
            self.commit(out.partition as usize);
        }
    }

    fn take(&mut self, tag: Tag) -> Option<Out> {
        let out = self.out.remove(&tag.delivery)?;
        self.has_one_less(out.consumer);
        Some(out)
    }

    fn has_one_less(&mut self, consumer: Key) {
        if let Ok(place) = self.find(consumer) {
            self.members[place].out -= 1;
        }
    }

    fn give_back(&mut self, delivery: u64, out: &Out) -> Option<Lost> {
        let most = self.settings.deliveries;
        let partition = &mut self.partitions[out.partition as usize];
        let place = usize::try_from(out.offset.checked_sub(partition.committed)?).ok()?;
        partition.next = partition.next.min(place);
        let record = partition.record(out.offset)?;
        let is_dead = most > 0 && record.deliveries >= most;
        record.state = if is_dead { State::Dead } else { State::Ready };
        let message = record.key;
        self.counts.unacked -= 1;
        if is_dead {
            self.counts.dead += 1;
        } else {
            self.counts.ready += 1;
        }
        let tag = Tag { partition: out.partition, offset: out.offset, delivery };
        let fate = if is_dead { Fate::Dead } else { Fate::Requeued };
        Some(Lost { message, consumer: out.consumer, tag, fate })
    }

    /// Moves the committed offset over all that is done.
    fn commit(&mut self, place: usize) {
        let partition = &mut self.partitions[place];
        let is_done = |record: &mut Record| matches!(record.state, State::Done | State::Dead);
        while let Some(record) = partition.log.pop_front_if(is_done) {
            partition.committed += 1;
            partition.has_committed = true;
            partition.next = partition.next.saturating_sub(1);
            if record.state == State::Done {
                self.counts.acked += 1;
                self.counts.unacked -= 1;
            }
        }
    }
}
