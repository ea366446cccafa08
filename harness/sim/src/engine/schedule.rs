//! The future event list: a four-ary heap of (time, sequence, event) and one lane beside it.

use serde::{Deserialize, Serialize};

/// One event that is due.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Entry<E> {
    time_ns: u64,
    sequence: u64,
    event: E,
}

impl<E> Entry<E> {
    /// What orders events: earlier time first; among equals, the one that was scheduled first. One number, so that
    /// the heap finds the least of four without a branch.
    fn rank(&self) -> u128 {
        (u128::from(self.time_ns) << 64) | u128::from(self.sequence)
    }
}

const ARITY: usize = 4;

/// Events that will happen, in the order in which they will.
///
/// Order is total: two events at one instant happen in the order in which they were scheduled, so a run
/// depends on nothing but its inputs. A source that is already sorted (the arrivals of a trace) uses
/// [`Schedule::lane`], which costs no heap operation.
///
/// ```
/// use windtunnel_sim::engine::Schedule;
/// let mut schedule = Schedule::starting_at(0);
/// schedule.at(20, "b");
/// schedule.at(10, "a");
/// schedule.at(20, "c");
/// let order: Vec<_> = std::iter::from_fn(|| schedule.pop()).collect();
/// assert_eq!(order, [(10, "a"), (20, "b"), (20, "c")]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule<E> {
    heap: Vec<Entry<E>>,
    lane: Option<Entry<E>>,
    now_ns: u64,
    sequence: u64,
}

impl<E: Copy> Schedule<E> {
    /// An empty schedule whose clock stands at `now_ns`.
    pub fn starting_at(now_ns: u64) -> Self {
        Self { heap: Vec::with_capacity(1024), lane: None, now_ns, sequence: 0 }
    }

    /// The instant of the event that was popped last, in nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Number of events that are due.
    pub fn len(&self) -> usize {
        self.heap.len() + usize::from(self.lane.is_some())
    }

    /// True when nothing will ever happen again.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Schedules `event` at `time_ns`; an instant in the past means now.
    pub fn at(&mut self, time_ns: u64, event: E) {
        let entry = self.entry(time_ns, event);
        self.heap.push(entry);
        self.rise(self.heap.len() - 1);
    }

    /// Schedules `event` after `delay_ns` from now.
    pub fn after(&mut self, delay_ns: u64, event: E) {
        self.at(self.now_ns.saturating_add(delay_ns), event);
    }

    /// Puts the next event of the one sorted source into the lane, replacing what is there.
    pub fn lane(&mut self, time_ns: u64, event: E) {
        self.lane = Some(self.entry(time_ns, event));
    }

    /// Takes the next event and moves the clock to it; `None` when there is none.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        self.pop_until(u64::MAX)
    }

    /// Like [`Schedule::pop`]; `None` also when nothing is due at or before `until_ns`. What is due later stays.
    ///
    /// Entries are copied whole, never through an `Option` of one: its tag lies within the event, and taking it apart
    /// and together again stalls the processor for longer than all comparisons take. Inlined into a caller that is what
    /// would happen.
    #[inline(never)]
    pub fn pop_until(&mut self, until_ns: u64) -> Option<(u64, E)> {
        let (next, from_lane) = match (&self.lane, self.heap.first()) {
            (Some(lane), Some(top)) if lane.rank() < top.rank() => (lane, true),
            (_, Some(top)) => (top, false),
            (Some(lane), None) => (lane, true),
            (None, None) => return None,
        };
        if next.time_ns > until_ns {
            return None;
        }
        let next = *next;
        self.now_ns = next.time_ns;
        if from_lane {
            self.lane = None;
        } else {
            self.remove_top();
        }
        Some((next.time_ns, next.event))
    }

    /// When the next event is due.
    pub fn next_ns(&self) -> Option<u64> {
        let heap_ns = self.heap.first().map(|top| top.time_ns);
        self.lane.as_ref().map(|lane| lane.time_ns).into_iter().chain(heap_ns).min()
    }

    /// Moves the clock forward to `now_ns`, which must not pass an event that is due; never back.
    pub fn advance_to(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// Everything that is due, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, E)> + '_ {
        self.heap.iter().chain(&self.lane).map(|entry| (entry.time_ns, entry.event))
    }

    /// Drops the events that `keep` refuses. The order of the others stays.
    pub fn retain(&mut self, keep: impl Fn(E) -> bool) {
        self.lane = self.lane.take().filter(|entry| keep(entry.event));
        self.heap.retain(|entry| keep(entry.event));
        // A sorted list is a heap.
        self.heap.sort_unstable_by_key(Entry::rank);
    }

    fn entry(&mut self, time_ns: u64, event: E) -> Entry<E> {
        let sequence = self.sequence;
        self.sequence += 1;
        Entry { time_ns: time_ns.max(self.now_ns), sequence, event }
    }

    #[inline]
    fn remove_top(&mut self) {
        self.heap.swap_remove(0);
        if !self.heap.is_empty() {
            self.sink(0);
        }
    }

    fn rise(&mut self, mut at: usize) {
        let moving = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if self.heap[parent].rank() <= moving.rank() {
                break;
            }
            self.heap[at] = self.heap[parent];
            at = parent;
        }
        self.heap[at] = moving;
    }

    #[inline]
    fn sink(&mut self, mut at: usize) {
        let moving = self.heap[at];
        let rank = moving.rank();
        loop {
            let first = at * ARITY + 1;
            let least = match self.heap.get(first..first + ARITY) {
                Some([a, b, c, d]) => {
                    let one = if b.rank() < a.rank() { (b.rank(), 1) } else { (a.rank(), 0) };
                    let other = if d.rank() < c.rank() { (d.rank(), 3) } else { (c.rank(), 2) };
                    if other.0 < one.0 { other } else { one }
                }
                _ => match self.heap.get(first..) {
                    Some(last) => {
                        let ranks = last.iter().map(Entry::rank).zip(0..);
                        let Some(least) = ranks.min() else { break };
                        least
                    }
                    None => break,
                },
            };
            if rank <= least.0 {
                break;
            }
            let child = first + least.1;
            self.heap[at] = self.heap[child];
            at = child;
        }
        self.heap[at] = moving;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Out of order events would let effects precede their causes.
        #[test]
        fn events_leave_in_time_order_and_ties_in_scheduling_order(times in prop::collection::vec(0_u64..50, 0..300)) {
            let mut schedule = Schedule::starting_at(0);
            for (index, time) in times.iter().enumerate() {
                schedule.at(*time, index);
            }
            let mut expected: Vec<(u64, usize)> = times.iter().copied().zip(0..).collect();
            expected.sort();
            let popped: Vec<_> = std::iter::from_fn(|| schedule.pop()).collect();
            prop_assert_eq!(popped, expected);
        }
    }

    /// The lane is an optimisation: it must not change the order of a run.
    #[test]
    fn the_lane_takes_its_turn_among_the_other_events() {
        let mut schedule = Schedule::starting_at(0);
        schedule.at(5, "first");
        schedule.lane(5, "second");
        schedule.at(5, "third");
        assert_eq!(schedule.len(), 3);
        assert_eq!(schedule.pop(), Some((5, "first")));
        assert_eq!(schedule.pop(), Some((5, "second")));
        assert_eq!(schedule.pop(), Some((5, "third")));
        assert!(schedule.is_empty());
    }

    /// A snapshot that changed the order of equal-time events would not continue the same run.
    #[test]
    fn a_schedule_that_was_stored_goes_on_in_the_same_order() {
        let mut schedule = Schedule::starting_at(0);
        for event in 0..100_u32 {
            schedule.at(u64::from(event % 3), event);
        }
        schedule.lane(1, 1_000);
        schedule.pop();
        let text = serde_json::to_string(&schedule).expect("serialisable");
        let mut stored: Schedule<u32> = serde_json::from_str(&text).expect("what was written");
        assert_eq!(stored, schedule);
        let order: Vec<_> = std::iter::from_fn(|| schedule.pop()).collect();
        assert_eq!(std::iter::from_fn(|| stored.pop()).collect::<Vec<_>>(), order);
    }

    /// A what-if takes back what was planned: the rest must keep its order, and what is later must stay.
    #[test]
    fn events_can_be_taken_back_and_later_ones_are_left_alone() {
        let mut schedule = Schedule::starting_at(0);
        for event in 0..40_u64 {
            schedule.at(event / 4, event);
        }
        schedule.retain(|event| event % 2 == 0);
        assert_eq!(schedule.iter().count(), 20);
        let early: Vec<_> = std::iter::from_fn(|| schedule.pop_until(4)).collect();
        assert_eq!(early, (0..10).map(|at| (at / 2, 2 * at)).collect::<Vec<_>>());
        assert_eq!((schedule.len(), schedule.now_ns()), (10, 4));
    }

    /// Time never runs backwards, whatever a model asks for.
    #[test]
    fn the_past_means_now() {
        let mut schedule = Schedule::starting_at(100);
        schedule.at(3, ());
        assert_eq!(schedule.pop(), Some((100, ())));
        schedule.after(7, ());
        assert_eq!(schedule.pop(), Some((107, ())));
    }
}
