//! A queue of keys: each key once, at once or at a later time, with growing delays after failures.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::world::Key;

const FIRST_RETRY: Duration = Duration::from_millis(5);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// A queue of keys with one consumer. It holds at most one entry a live object, so it is bounded by the store.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    ready: VecDeque<Key>,
    queued: BTreeSet<Key>,
    due: BTreeMap<Key, Instant>,
    failures: BTreeMap<Key, u32>,
}

impl Queue {
    /// Hands out this key soon.
    pub(crate) fn add(&self, key: &Key) {
        let mut inner = self.lock();
        inner.due.remove(key);
        if inner.queued.insert(key.clone()) {
            inner.ready.push_back(key.clone());
            drop(inner);
            self.changed.notify_one();
        }
    }

    /// Hands out this key after `delay`, or sooner if that was asked before.
    pub(crate) fn add_after(&self, key: &Key, delay: Duration) {
        let at = Instant::now() + delay;
        let mut inner = self.lock();
        if inner.queued.contains(key) || inner.due.get(key).is_some_and(|before| *before <= at) {
            return;
        }
        inner.due.insert(key.clone(), at);
        drop(inner);
        self.changed.notify_one();
    }

    /// The last attempt at this key worked.
    pub(crate) fn succeeded(&self, key: &Key) {
        self.lock().failures.remove(key);
    }

    /// The last attempt at this key failed: hands it out again, later after each failure.
    pub(crate) fn failed(&self, key: &Key) {
        let mut inner = self.lock();
        let failures = inner.failures.entry(key.clone()).or_default();
        let delay = FIRST_RETRY.saturating_mul(1 << (*failures).min(16)).min(LAST_RETRY);
        *failures += 1;
        drop(inner);
        self.add_after(key, delay);
    }

    /// The next key, when there is one.
    pub(crate) async fn next(&self) -> Key {
        loop {
            let wake = {
                let mut inner = self.lock();
                let now = Instant::now();
                let due: Vec<Key> =
                    inner.due.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
                for key in due {
                    inner.due.remove(&key);
                    if inner.queued.insert(key.clone()) {
                        inner.ready.push_back(key);
                    }
                }
                if let Some(key) = inner.ready.pop_front() {
                    inner.queued.remove(&key);
                    return key;
                }
                inner.due.values().min().copied()
            };
            match wake {
                None => self.changed.notified().await,
                Some(at) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails controllers run twice for one change, or a requeue hides a change.
    #[tokio::test(start_paused = true)]
    async fn keys_come_once_in_order_and_late_ones_when_they_are_due() {
        let queue = Queue::default();
        let key = |name: &str| Key::new("n", name);
        queue.add(&key("a"));
        queue.add(&key("b"));
        queue.add(&key("a"));
        queue.add_after(&key("c"), Duration::from_secs(3));
        queue.add_after(&key("c"), Duration::from_secs(9));
        assert_eq!(queue.next().await.name, "a");
        assert_eq!(queue.next().await.name, "b");
        let start = Instant::now();
        assert_eq!(queue.next().await.name, "c");
        assert_eq!(start.elapsed().as_secs(), 3);
        queue.add_after(&key("c"), Duration::from_secs(3));
        queue.add(&key("c"));
        assert_eq!(queue.next().await.name, "c");
        assert!(tokio::time::timeout(Duration::from_secs(60), queue.next()).await.is_err(), "only once");
    }

    /// If this fails a broken object is retried without a pause and takes a whole core.
    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_and_success_forgets_them() {
        let queue = Queue::default();
        let key = Key::new("n", "a");
        let mut waits = Vec::new();
        for _ in 0..12 {
            queue.failed(&key);
            let start = Instant::now();
            queue.next().await;
            waits.push(start.elapsed().as_millis());
        }
        assert_eq!(waits[..4], [5, 10, 20, 40]);
        assert_eq!(waits[11], 5_000);
        queue.succeeded(&key);
        queue.failed(&key);
        let start = Instant::now();
        queue.next().await;
        assert_eq!(start.elapsed().as_millis(), 5);
    }
}
