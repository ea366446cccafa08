//! The future event list: a four-ary heap of (time, sequence, event) and one lane beside it.

/// One event that is due.
#[derive(Clone, Copy, Debug)]
struct Entry<E> {
    time_ns: u64,
    sequence: u64,
    event: E,
}

impl<E> Entry<E> {
    /// Earlier time first; among equals, the one that was scheduled first.
    fn before(&self, other: &Self) -> bool {
        (self.time_ns, self.sequence) < (other.time_ns, other.sequence)
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
#[derive(Clone, Debug)]
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
        let from_lane = match (&self.lane, self.heap.first()) {
            (Some(lane), Some(top)) => lane.before(top),
            (Some(_), None) => true,
            (None, _) => false,
        };
        let entry = if from_lane { self.lane.take()? } else { self.pop_heap()? };
        self.now_ns = entry.time_ns;
        Some((entry.time_ns, entry.event))
    }

    fn entry(&mut self, time_ns: u64, event: E) -> Entry<E> {
        let sequence = self.sequence;
        self.sequence += 1;
        Entry { time_ns: time_ns.max(self.now_ns), sequence, event }
    }

    fn pop_heap(&mut self) -> Option<Entry<E>> {
        let last = self.heap.pop()?;
        let Some(top) = self.heap.first().copied() else { return Some(last) };
        self.heap[0] = last;
        self.sink(0);
        Some(top)
    }

    fn rise(&mut self, mut at: usize) {
        let moving = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if !moving.before(&self.heap[parent]) {
                break;
            }
            self.heap[at] = self.heap[parent];
            at = parent;
        }
        self.heap[at] = moving;
    }

    fn sink(&mut self, mut at: usize) {
        let moving = self.heap[at];
        let len = self.heap.len();
        loop {
            let first = at * ARITY + 1;
            if first >= len {
                break;
            }
            let mut least = first;
            for child in first + 1..(first + ARITY).min(len) {
                if self.heap[child].before(&self.heap[least]) {
                    least = child;
                }
            }
            if !self.heap[least].before(&moving) {
                break;
            }
            self.heap[at] = self.heap[least];
            at = least;
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
