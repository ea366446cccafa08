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
        if self.lock().add(key) {
            self.changed.notify_one();
        }
    }

    /// Hands out this key after `delay`, or sooner if that was asked before.
    pub(crate) fn add_after(&self, key: &Key, delay: Duration) {
        if self.lock().add_at(key, Instant::now() + delay) {
            self.changed.notify_one();
        }
    }

    /// The last attempt at this key worked.
    pub(crate) fn succeeded(&self, key: &Key) {
        self.lock().failures.remove(key);
    }

    /// The last attempt at this key failed: hands it out again, later after each failure.
    pub(crate) fn failed(&self, key: &Key) {
        let delay = self.lock().delay_after_failure(key);
        self.add_after(key, delay);
    }

    /// The next key, when there is one.
    pub(crate) async fn next(&self) -> Key {
        loop {
            let wake = match self.lock().take(Instant::now()) {
                Ok(key) => return key,
                Err(wake) => wake,
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

impl Inner {
    /// Returns whether there is something new to hand out.
    fn add(&mut self, key: &Key) -> bool {
        self.due.remove(key);
        let is_new = self.queued.insert(key.clone());
        if is_new {
            self.ready.push_back(key.clone());
        }
        is_new
    }

    /// Returns whether there may be something to hand out sooner than before.
    fn add_at(&mut self, key: &Key, at: Instant) -> bool {
        if self.queued.contains(key) || self.due.get(key).is_some_and(|before| *before <= at) {
            return false;
        }
        self.due.insert(key.clone(), at);
        true
    }

    fn delay_after_failure(&mut self, key: &Key) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let delay = FIRST_RETRY.saturating_mul(1 << (*failures).min(16)).min(LAST_RETRY);
        *failures += 1;
        delay
    }

    /// The next key, or when there will be one if nothing is added.
    fn take(&mut self, now: Instant) -> Result<Key, Option<Instant>> {
        let due: Vec<Key> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.add(&key);
        }
        match self.ready.pop_front() {
            Some(key) => {
                self.queued.remove(&key);
                Ok(key)
            }
            None => Err(self.due.values().min().copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("n", name)
    }

    /// If this fails controllers run twice for one change, or a requeue hides a change.
    #[test]
    fn keys_come_once_in_order_and_late_ones_when_they_are_due() {
        let mut queue = Inner::default();
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(3), now + Duration::from_secs(9));
        assert!(queue.add(&key("a")) && queue.add(&key("b")) && !queue.add(&key("a")));
        assert!(queue.add_at(&key("c"), soon) && !queue.add_at(&key("c"), late));
        assert_eq!(queue.take(now), Ok(key("a")));
        assert_eq!(queue.take(now), Ok(key("b")));
        assert_eq!(queue.take(now), Err(Some(soon)));
        assert_eq!(queue.take(soon), Ok(key("c")));
        assert_eq!(queue.take(late), Err(None), "only once");
        assert!(queue.add_at(&key("c"), late) && queue.add(&key("c")));
        assert_eq!(queue.take(now), Ok(key("c")), "a change does not wait for the requeue");
        assert_eq!(queue.take(late), Err(None), "and the requeue is part of it");
    }

    /// If this fails a broken object is retried without a pause and takes a whole core.
    #[test]
    fn failures_wait_longer_each_time_and_success_forgets_them() {
        let queue = Queue::default();
        let waits: Vec<u128> =
            (0..12).map(|_| queue.lock().delay_after_failure(&key("a")).as_millis()).collect();
        assert_eq!(waits[..4], [5, 10, 20, 40]);
        assert_eq!(waits[11], 5_000);
        queue.succeeded(&key("a"));
        assert_eq!(queue.lock().delay_after_failure(&key("a")).as_millis(), 5);
    }
}
