//! Deadlines that (nearly) all lie the same time ahead: a queue and one timer instead of a timer a request.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::engine::Key;

/// Requests by deadline. They come in in the order in which they go, since each has the same time, unless a what-if
/// has changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deadlines {
    queue: VecDeque<(u64, Key)>,
    armed: bool,
}

impl Deadlines {
    /// Adds a request and drops those at the front that `is_live` knows nothing of. Returns the instant for
    /// which a timer must be set, if none is.
    pub(super) fn push(&mut self, due_ns: u64, request: Key, is_live: impl Fn(Key) -> bool) -> Option<u64> {
        while self.queue.front().is_some_and(|(_, key)| !is_live(*key)) {
            self.queue.pop_front();
        }
        // One timer is enough, unless this one is due before it.
        let is_first = match self.queue.back() {
            Some((last_ns, _)) if *last_ns > due_ns => self.overtake(due_ns, request),
            _ => {
                self.queue.push_back((due_ns, request));
                false
            }
        };
        if self.armed && !is_first {
            return None;
        }
        self.armed = true;
        self.queue.front().map(|(due_ns, _)| *due_ns)
    }

    /// Puts a request before those that are due later; true when that is in front of all.
    #[cold]
    fn overtake(&mut self, due_ns: u64, request: Key) -> bool {
        let later = self.queue.iter().rev().take_while(|(other_ns, _)| *other_ns > due_ns).count();
        let position = self.queue.len() - later;
        self.queue.insert(position, (due_ns, request));
        position == 0
    }

    /// The timer fired: the next request that is live and overdue. Call until `None`, then [`Self::rearm`].
    pub(super) fn overdue(&mut self, now_ns: u64, is_live: impl Fn(Key) -> bool) -> Option<Key> {
        while let Some((due_ns, key)) = self.queue.front().copied() {
            if is_live(key) && due_ns > now_ns {
                return None;
            }
            self.queue.pop_front();
            if is_live(key) {
                return Some(key);
            }
        }
        None
    }

    /// The instant for which the timer must be set again, if there is anything left.
    pub(super) fn rearm(&mut self) -> Option<u64> {
        let next_ns = self.queue.front().map(|(due_ns, _)| *due_ns);
        self.armed = next_ns.is_some();
        next_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Slab;

    /// Every request that outlives its deadline must be given up, at its deadline, once.
    #[test]
    fn only_live_requests_run_out_and_each_once() {
        let mut keys = Slab::default();
        let [first, second, third] = [1, 2, 3].map(|value| keys.insert(value));
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.push(10, first, |_| true), Some(10));
        assert_eq!(deadlines.push(20, second, |_| true), None);
        assert_eq!(deadlines.push(30, third, |_| true), None);
        keys.remove(first);
        let is_live = |key| keys.get(key).is_some();
        assert_eq!(deadlines.overdue(10, is_live), None);
        assert_eq!(deadlines.rearm(), Some(20));
        assert_eq!(deadlines.overdue(20, is_live), Some(second));
        assert_eq!(deadlines.overdue(20, is_live), None);
        assert_eq!(deadlines.rearm(), Some(30));
        assert_eq!(deadlines.overdue(30, is_live), Some(third));
        assert_eq!(deadlines.overdue(30, is_live), None);
        assert_eq!(deadlines.rearm(), None);
        assert_eq!(deadlines.push(50, first, |_| true), Some(50), "an empty queue arms the timer again");
    }

    /// A what-if with a shorter timeout must not wait behind the requests that were there before.
    #[test]
    fn a_shorter_deadline_overtakes() {
        let mut keys = Slab::default();
        let [first, second, third] = [1, 2, 3].map(|value| keys.insert(value));
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.push(100, first, |_| true), Some(100));
        assert_eq!(deadlines.push(40, second, |_| true), Some(40));
        assert_eq!(deadlines.push(50, third, |_| true), None);
        let order: Vec<Option<Key>> = (0..3).map(|_| deadlines.overdue(100, |_| true)).collect();
        assert_eq!(order, [Some(second), Some(third), Some(first)]);
    }
}
