//! The circuit breaker in front of a revision or a pod: a limit of requests in flight and a bounded queue.

use serde::{Deserialize, Serialize};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offer {
    /// It runs now; end it with [`Breaker::finish`].
    Admit,
    /// It waits until a [`Breaker::finish`] or [`Breaker::update_capacity`] takes it out, or
    /// [`Breaker::abandon`] gives it up. First in, first out is the caller's choice (upstream does not promise it).
    Queue,
    /// Queue and slots are full: 503.
    Reject,
}

/// A queued request was taken out and runs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dequeued;

/// Counts requests in flight and in the queue; it holds none of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    slots: u64,
    capacity: u32,
    running: u32,
    queued: u32,
}

impl Breaker {
    /// A breaker for `queue_depth` waiting requests beside at most `max_concurrency` running ones, of which
    /// `capacity` may run now.
    #[must_use]
    pub fn new(queue_depth: u32, max_concurrency: u32, capacity: u32) -> Self {
        Self { slots: u64::from(queue_depth) + u64::from(max_concurrency), capacity, running: 0, queued: 0 }
    }

    /// The queue-proxy's breaker in front of a pod that takes `container_concurrency` requests at once: ten times as
    /// many may wait. `None` for 0, no limit: then nothing is in the way.
    #[must_use]
    pub fn of_pod(container_concurrency: u32) -> Option<Self> {
        let queue_depth = container_concurrency.saturating_mul(10);
        (container_concurrency > 0)
            .then(|| Self::new(queue_depth, container_concurrency, container_concurrency))
    }

    /// A request arrives.
    pub fn offer(&mut self) -> Offer {
        if self.is_full() {
            Offer::Reject
        } else if self.has_room() {
            self.running += 1;
            Offer::Admit
        } else {
            self.queued = self.queued.saturating_add(1);
            Offer::Queue
        }
    }

    /// Takes a slot only if one is free now; never queues. End it with [`finish`](Self::finish).
    pub fn reserve(&mut self) -> bool {
        let reserved = !self.is_full() && self.has_room();
        if reserved {
            self.running += 1;
        }
        reserved
    }

    /// A running request ended. Returns the queued one that takes its place, if any may.
    pub fn finish(&mut self) -> Option<Dequeued> {
        self.running = self.running.saturating_sub(1);
        self.dequeue()
    }

    /// A queued request gave up.
    pub fn abandon(&mut self) {
        self.queued = self.queued.saturating_sub(1);
    }

    /// Changes how many may run. Running requests stay even when that is fewer; returns how many queued ones run
    /// now.
    pub fn update_capacity(&mut self, capacity: u32) -> u32 {
        self.capacity = capacity;
        let dequeued = self.queued.min(self.capacity.saturating_sub(self.running));
        self.queued -= dequeued;
        self.running += dequeued;
        dequeued
    }

    /// How many may run.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running
    }

    /// How many wait.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.queued
    }

    fn dequeue(&mut self) -> Option<Dequeued> {
        if self.queued == 0 || !self.has_room() {
            return None;
        }
        self.queued -= 1;
        self.running += 1;
        Some(Dequeued)
    }

    fn is_full(&self) -> bool {
        u64::from(self.running) + u64::from(self.queued) >= self.slots
    }

    fn has_room(&self) -> bool {
        self.running < self.capacity
    }
}
