//! The keys that wait to be reconciled, in their order, and those whose writes are on their way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use tokio::time::Instant;

use crate::metrics::{Metrics, Outcome};
use crate::world::Key;

/// A queue that holds a key once, and hands none out whose writes run.
pub(super) struct Queue {
    waiting: BTreeMap<Key, Instant>,
    in_flight: BTreeSet<Key>,
    metrics: Metrics,
}

impl Queue {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { waiting: BTreeMap::new(), in_flight: BTreeSet::new(), metrics }
    }

    pub(super) fn insert(&mut self, key: Key) {
        if let std::collections::btree_map::Entry::Vacant(place) = self.waiting.entry(key) {
            self.metrics.queued(place.key());
            place.insert(Instant::now());
        }
    }

    pub(super) fn extend(&mut self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            self.insert(key);
        }
    }

    /// Takes the first key behind `after` whose writes do not run; its work has begun.
    pub(super) fn next(&mut self, after: Option<&Key>) -> Option<Key> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.waiting.range((from, Bound::Unbounded));
        let key = behind.find(|(key, _)| !self.in_flight.contains(key))?.0.clone();
        let since = self.waiting.remove(&key)?;
        self.metrics.begun(&key, since.elapsed());
        Some(key)
    }

    /// Whether a key waits that could be worked on.
    pub(super) fn has_work(&self) -> bool {
        self.waiting.keys().any(|key| !self.in_flight.contains(key))
    }

    /// Keys whose writes run.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn is_in_flight(&self, key: &Key) -> bool {
        self.in_flight.contains(key)
    }

    /// A key's writes are on their way.
    pub(super) fn send(&mut self, key: Key) {
        self.metrics.started(&key);
        self.in_flight.insert(key);
    }

    /// A key's work is done; nothing if it had not begun.
    pub(super) fn done(&mut self, key: &Key, outcome: Outcome, writes: bool) {
        self.in_flight.remove(key);
        self.metrics.ended(key, outcome, writes);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.metrics.cleared(self.waiting.keys());
    }
}
