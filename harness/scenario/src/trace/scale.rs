//! More or fewer arrivals than were recorded.

use std::collections::VecDeque;

use crate::load::{Stream, Work};

type Timed = (u64, Work);

/// Each arrival `scale` times on average.
pub(super) fn scaled(
    rows: impl Iterator<Item = Timed> + Send + 'static,
    scale: f64,
    mut random: Stream,
) -> Box<dyn Iterator<Item = Timed> + Send> {
    if scale == 1.0 {
        return Box::new(rows);
    }
    if scale < 1.0 {
        return Box::new(rows.filter(move |_| random.unit() < scale));
    }
    Box::new(Repeated {
        rows,
        scale,
        random,
        previous_ns: None,
        next: None,
        begun: false,
        due: VecDeque::new(),
    })
}

/// Arrivals with copies, in order of time.
struct Repeated<I> {
    rows: I,
    scale: f64,
    random: Stream,
    previous_ns: Option<u64>,
    next: Option<Timed>,
    begun: bool,
    /// The current arrival and its copies.
    due: VecDeque<Timed>,
}

impl<I: Iterator<Item = Timed>> Repeated<I> {
    fn repeat(&mut self, (at_ns, work): Timed) {
        let before = self.previous_ns.map(|previous_ns| at_ns - previous_ns);
        let after = self.next.map(|(next_ns, _)| next_ns - at_ns);
        let gap_ns = match (before, after) {
            (Some(before), Some(after)) => before.min(after),
            (one, other) => one.or(other).unwrap_or(0),
        };
        let whole = self.scale.floor();
        let further = u64::from(self.random.unit() < self.scale - whole);
        let copies = whole as u64 - 1 + further;
        let mut places: Vec<u64> =
            (0..copies).map(|_| at_ns + (self.random.unit() * gap_ns as f64) as u64).collect();
        places.sort_unstable();
        self.due.push_back((at_ns, work));
        self.due.extend(places.into_iter().map(|at_ns| (at_ns, work)));
    }
}

impl<I: Iterator<Item = Timed>> Iterator for Repeated<I> {
    type Item = Timed;

    fn next(&mut self) -> Option<Timed> {
        if !self.begun {
            self.begun = true;
            self.next = self.rows.next();
        }
        if self.due.is_empty() {
            let current = self.next?;
            self.next = self.rows.next();
            self.repeat(current);
            self.previous_ns = Some(current.0);
        }
        self.due.pop_front()
    }
}
