//! Messages instead of requests: a load publishes to a broker, and the ready pods of its service consume.
//!
//! Each ready pod is a consumer, whatever share of the traffic its revision has: a broker knows no split. A pod
//! that stops gets no more messages, finishes what it has and then leaves. What is recorded is the message, once,
//! from publishing to acknowledgement; a dead letter has failed. Gateway, activator and the limits of the
//! queue-proxy are not on the way of a message, and controllers do not count it as a request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windtunnel_scenario::load::{Arrival, Work};

use super::clients::{Caller, Failure, Request, Stage};
use super::{Event as Any, World};
use crate::broker::{Broker, Delivery, Fate, Lost, Tag};
use crate::engine::{Key, Ledger, Outcome, Schedule, Slab, Violation};
use crate::plan::{Plan, broker_of};

/// What happens in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The oldest delivery may have timed out, or a rebalance is over.
    Timeout(u16),
    /// The run is over, and what is left has been waited for long enough.
    Close(u16),
}

/// The queue of a load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Queue {
    /// The load that publishes to it.
    pub(super) load: u16,
    /// The service whose pods consume.
    pub(super) service: usize,
    /// How the broker works.
    pub(super) settings: windtunnel_scenario::Queue,
    broker: Broker,
    /// The messages' bookkeeping: from publishing to acknowledgement or the dead letters.
    pub(super) ledger: Ledger,
    /// Messages whose end is not recorded yet.
    messages: Slab<Message>,
    /// Deliveries that are not over, by number.
    deliveries: BTreeMap<u64, Out>,
    /// Pods that get messages, in the order in which they became ready, and whose turn it is.
    consumers: Vec<Key>,
    turn: usize,
    /// When the broker is to be called.
    due_ns: Option<u64>,
    /// Nothing is delivered any more.
    is_closed: bool,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Message {
    arrival: Arrival,
    published_ns: u64,
}

/// A delivery that a pod computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Out {
    message: Key,
    tag: Tag,
    request: Key,
}

impl Queue {
    /// What an autoscaler asks for: depth, rates, offsets of the partitions.
    pub(super) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Deliveries that pods compute and that are not over.
    pub(super) fn computed(&self) -> u64 {
        self.deliveries.len() as u64
    }

    /// The next message for whoever has room, the consumers taking turns.
    fn next(&mut self, now_ns: u64) -> Option<Delivery> {
        let number = self.consumers.len();
        if self.is_closed || self.broker.counts().ready == 0 {
            return None;
        }
        for step in 0..number {
            let place = (self.turn + step) % number;
            if let Some(delivery) = self.broker.poll(now_ns, self.consumers[place]) {
                self.turn = (place + 1) % number;
                return Some(delivery);
            }
        }
        None
    }

    /// Every message is in one place, and every one that is not recorded is here.
    pub(super) fn check(&self, now_ns: u64) -> Result<(), Violation> {
        self.ledger.check(now_ns)?;
        let counts = self.broker.counts();
        let law = "conservation of messages (published = acked + ready + unacked + dead)";
        if !counts.is_conserved() {
            return Err(Violation { now_ns, law, detail: format!("{counts:?}") });
        }
        if self.messages.len() as u64 != self.ledger.in_flight() {
            let detail = format!("{} kept, {} without an end", self.messages.len(), self.ledger.in_flight());
            return Err(Violation { now_ns, law: "a message is kept until its end", detail });
        }
        if self.computed() > counts.unacked {
            let detail = format!("{} computed, {} unacknowledged", self.computed(), counts.unacked);
            return Err(Violation { now_ns, law: "a message is computed while it is delivered", detail });
        }
        Ok(())
    }
}

/// The queues of a plan, empty.
pub(super) fn queues_of(plan: &Plan, start_ns: u64) -> Vec<Queue> {
    let mut queues = Vec::new();
    for (load, planned) in (0_u16..).zip(&plan.loads) {
        // A queue that cannot be is found by whoever publishes to it.
        let Some(settings) = planned.queue else { continue };
        let Ok(broker) = broker_of(&settings) else { continue };
        queues.push(Queue {
            load,
            service: planned.service,
            settings,
            broker,
            ledger: Ledger::starting_at(start_ns),
            messages: Slab::default(),
            deliveries: BTreeMap::new(),
            consumers: Vec::new(),
            turn: 0,
            due_ns: None,
            is_closed: false,
        });
    }
    queues
}

impl World<'_> {
    /// The broker that a service consumes from, for its autoscaler.
    pub(super) fn broker_of(&self, service: usize) -> Option<&Broker> {
        self.state.queues.iter().find(|queue| queue.service == service).map(Queue::broker)
    }

    fn queue_of_load(&self, load: u16) -> Option<usize> {
        self.state.queues.iter().position(|queue| queue.load == load)
    }

    fn queues_of_pod(&self, pod: Key) -> Vec<usize> {
        if self.state.queues.is_empty() {
            return Vec::new();
        }
        let Some(pod) = self.state.pods.get(pod) else { return Vec::new() };
        let service = self.state.workloads[usize::from(pod.workload)].service;
        let of_service = |(at, queue): (usize, &Queue)| (queue.service == service).then_some(at);
        self.state.queues.iter().enumerate().filter_map(of_service).collect()
    }

    /// After the run the queues are waited for, but not without end.
    pub(super) fn schedule_close(&self, schedule: &mut Schedule<Any>) {
        for queue in &self.state.queues {
            let timeout_ns = self.plan.loads[usize::from(queue.load)].timeout_ns;
            let close_ns = self.end_ns().saturating_add(timeout_ns);
            schedule.at(close_ns, Any::Queue(Event::Close(queue.load)));
        }
    }

    /// Something that a queue waited for.
    pub(super) fn queue_event(&mut self, now_ns: u64, event: Event, schedule: &mut Schedule<Any>) {
        match event {
            Event::Timeout(load) => {
                let Some(at) = self.queue_of_load(load) else { return };
                let queue = &mut self.state.queues[at];
                if queue.due_ns != Some(now_ns) {
                    return;
                }
                queue.due_ns = None;
                let mut lost = Vec::new();
                queue.broker.expire(now_ns, &mut lost);
                self.deliveries_lost(now_ns, at, &lost);
                self.pump(now_ns, at, schedule);
            }
            Event::Close(load) => self.close_queue(now_ns, load),
        }
    }

    /// An arrival of a load with a broker is a message.
    pub(super) fn publish(&mut self, now_ns: u64, load: u16, arrival: Arrival, schedule: &mut Schedule<Any>) {
        let Some(at) = self.queue_of_load(load) else {
            return self.record_undelivered(now_ns, &arrival, Failure::BrokerFull);
        };
        let queue = &mut self.state.queues[at];
        queue.ledger.enter(now_ns);
        let message = queue.messages.insert(Message { arrival, published_ns: now_ns });
        if queue.broker.publish(now_ns, message) {
            self.pump(now_ns, at, schedule);
        } else {
            self.message_ends(now_ns, at, message, Failure::BrokerFull);
        }
    }

    /// A pod is ready: it consumes.
    pub(super) fn consumer_ready(&mut self, now_ns: u64, pod: Key, schedule: &mut Schedule<Any>) {
        for at in self.queues_of_pod(pod) {
            let queue = &mut self.state.queues[at];
            queue.broker.consumer_joined(now_ns, pod);
            queue.consumers.push(pod);
            self.pump(now_ns, at, schedule);
        }
    }

    /// A pod gets no more messages; it leaves the broker with its last one.
    pub(super) fn consumer_drains(&mut self, pod: Key) {
        for at in self.queues_of_pod(pod) {
            let queue = &mut self.state.queues[at];
            if let Some(place) = queue.consumers.iter().position(|consumer| *consumer == pod) {
                queue.consumers.remove(place);
                queue.turn -= usize::from(place < queue.turn);
            }
        }
    }

    /// A pod, or its container, is gone: what it had goes back.
    pub(super) fn consumer_gone(&mut self, now_ns: u64, pod: Key, schedule: &mut Schedule<Any>) {
        for at in self.queues_of_pod(pod) {
            let mut lost = Vec::new();
            self.state.queues[at].broker.consumer_left(now_ns, pod, &mut lost);
            self.deliveries_lost(now_ns, at, &lost);
            self.pump(now_ns, at, schedule);
        }
    }

    /// Hands out messages while there are any and somebody has room, and looks again when the broker asks for it.
    fn pump(&mut self, now_ns: u64, at: usize, schedule: &mut Schedule<Any>) {
        while let Some(delivery) = self.state.queues[at].next(now_ns) {
            self.deliver(now_ns, at, &delivery, schedule);
        }
        let queue = &mut self.state.queues[at];
        let next_ns = queue.broker.next_timeout_ns().filter(|_| !queue.is_closed);
        // One timer is enough: it is set anew when it finds that nothing is due.
        if let Some(next_ns) = next_ns.map(|next_ns| next_ns.max(now_ns))
            && queue.due_ns.is_none_or(|due_ns| next_ns < due_ns)
        {
            queue.due_ns = Some(next_ns);
            schedule.at(next_ns, Any::Queue(Event::Timeout(queue.load)));
        }
    }

    /// A pod gets a message and computes it.
    fn deliver(&mut self, now_ns: u64, at: usize, delivery: &Delivery, schedule: &mut Schedule<Any>) {
        let Some(pod) = self.state.pods.get(delivery.consumer) else { return };
        let (index, position) = (pod.workload, pod.position);
        let queue = &self.state.queues[at];
        let load = queue.load;
        let kept = queue.messages.get(delivery.message);
        let arrival = kept.map_or_else(|| self.recomputed(now_ns, load, delivery), |kept| kept.arrival);
        let caller = Caller::Message(delivery.tag.delivery);
        let demand_ns = self.demand_ns(load, &arrival, caller, index);
        let workload = &mut self.state.workloads[usize::from(index)];
        self.state.touched = Some(index);
        workload.routed += 1;
        workload.waiting_live += 1;
        let stage = Stage::Waiting { held: false };
        let request = self.state.requests.insert(Request {
            arrival,
            load,
            entered_ns: now_ns,
            demand_ns,
            workload: index,
            weight_percent: 100,
            caller,
            stage,
        });
        let out = Out { message: delivery.message, tag: delivery.tag, request };
        self.state.queues[at].deliveries.insert(delivery.tag.delivery, out);
        self.start_on(now_ns, request, position, schedule);
    }

    /// A message that was acknowledged, but not committed, is computed again. Its place in the topic tells its place
    /// in the load; work that a trace brought with it is drawn.
    fn recomputed(&self, now_ns: u64, load: u16, delivery: &Delivery) -> Arrival {
        let partitions = self.plan.loads[usize::from(load)].queue.map_or(1, |queue| queue.partitions);
        let place = delivery.tag.offset * u64::from(partitions) + u64::from(delivery.tag.partition);
        let row = u32::try_from(place & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Arrival { at_ns: self.run_ns(now_ns), row, work: Work::Drawn }
    }

    /// A pod is through with a message.
    pub(super) fn message_answered(&mut self, now_ns: u64, request: &Request, delivery: u64) {
        let Some(at) = self.queue_of_load(request.load) else { return };
        let queue = &mut self.state.queues[at];
        let Some(out) = queue.deliveries.remove(&delivery) else { return };
        if queue.broker.ack(now_ns, out.tag)
            && let Some(message) = queue.messages.remove(out.message)
        {
            queue.ledger.leave(now_ns, message.published_ns, Outcome::Answered);
            self.record_answered(now_ns, request, 0);
        }
    }

    /// A pod failed at a message, or is gone.
    pub(super) fn message_failed(&mut self, now_ns: u64, request: &Request, delivery: u64, failure: Failure) {
        // What a pod had that is gone goes back when the broker notices that.
        if failure.is_loss_of_pod() {
            return;
        }
        let Some(at) = self.queue_of_load(request.load) else { return };
        let queue = &mut self.state.queues[at];
        let Some(out) = queue.deliveries.remove(&delivery) else { return };
        if let Some(lost) = queue.broker.reject(now_ns, out.tag)
            && lost.fate == Fate::Dead
        {
            self.message_ends(now_ns, at, lost.message, Failure::DeadLetter);
        }
    }

    /// A pod has room for another message.
    pub(super) fn consumer_has_room(&mut self, now_ns: u64, load: u16, schedule: &mut Schedule<Any>) {
        if let Some(at) = self.queue_of_load(load) {
            self.pump(now_ns, at, schedule);
        }
    }

    /// Deliveries that are over without an acknowledgement: pods that compute them do so for nobody.
    fn deliveries_lost(&mut self, now_ns: u64, at: usize, lost: &[Lost]) {
        for lost in lost {
            if let Some(out) = self.state.queues[at].deliveries.remove(&lost.tag.delivery) {
                self.disown(out.request);
            }
            if lost.fate == Fate::Dead {
                self.message_ends(now_ns, at, lost.message, Failure::DeadLetter);
            }
        }
    }

    /// A pod computes a delivery that is over.
    fn disown(&mut self, key: Key) {
        let Some(request) = self.state.requests.get(key).copied() else { return };
        if let Stage::Running { pod, .. } = request.stage {
            let workload = &mut self.state.workloads[usize::from(request.workload)];
            workload.failed += 1;
            workload.running -= 1;
            self.compute_for_nobody(key, request.workload, pod);
        }
    }

    /// A message will not be done.
    fn message_ends(&mut self, now_ns: u64, at: usize, key: Key, failure: Failure) {
        let queue = &mut self.state.queues[at];
        let Some(message) = queue.messages.remove(key) else { return };
        queue.ledger.leave(now_ns, message.published_ns, Outcome::Failed);
        self.record_undelivered(now_ns, &message.arrival, failure);
    }

    /// Nobody waits any longer for what is left.
    fn close_queue(&mut self, now_ns: u64, load: u16) {
        let Some(at) = self.queue_of_load(load) else { return };
        self.state.queues[at].is_closed = true;
        let deliveries = std::mem::take(&mut self.state.queues[at].deliveries);
        for out in deliveries.values() {
            self.disown(out.request);
        }
        let left: Vec<Key> = self.state.queues[at].messages.iter().map(|(key, _)| key).collect();
        for message in left {
            self.message_ends(now_ns, at, message, Failure::LeftOver);
        }
    }

    /// Writes down how much is in the queues.
    pub(super) fn sample_queues(&mut self, t_ns: u64) {
        for queue in &self.state.queues {
            let service = &self.plan.services[queue.service].name;
            let counts = queue.broker.counts();
            let labels = [("queue", service.as_str())];
            self.recorder.sample("queue.depth", &labels, t_ns, counts.depth() as f64);
            self.recorder.sample("queue.dead_letters", &labels, t_ns, counts.dead as f64);
        }
    }
}
