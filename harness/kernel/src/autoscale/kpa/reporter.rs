//! The activator's concurrency reporter, one a revision.

use serde::{Deserialize, Serialize};

use super::{SECOND_NS, Stat};

/// Turns requests that come and go into one [`Stat`] a report period.
///
/// The first request after a quiet period is reported at once, because a revision at zero waits for it; the
/// next periodic report leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConcurrencyReporter {
    entry: Option<Entry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    usage: Usage,
    /// 1 until the periodic report after the immediate one, then 0.
    already_reported: f64,
}

impl ConcurrencyReporter {
    /// A reporter that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request arrived. Returns the immediate stat when it is the first one of a busy period.
    pub fn request_in(&mut self, now_ns: u64) -> Option<Stat> {
        let is_first = self.entry.is_none();
        let entry =
            self.entry.get_or_insert_with(|| Entry { usage: Usage::new(now_ns), already_reported: 1.0 });
        entry.usage.arrive(now_ns);
        is_first.then_some(Stat {
            at_ns: now_ns,
            average_concurrency: 1.0,
            request_count: 1.0,
            ..Stat::default()
        })
    }

    /// A request was answered, or given up.
    pub fn request_out(&mut self, now_ns: u64) {
        if let Some(entry) = &mut self.entry {
            entry.usage.leave(now_ns);
        }
    }

    /// The report of the period that ends now; `None` while idle. A period without any activity ends the busy
    /// period (its zero is still reported).
    pub fn report(&mut self, now_ns: u64) -> Option<Stat> {
        let entry = self.entry.as_mut()?;
        let (average, count) = entry.usage.report(now_ns);
        let already_reported = std::mem::take(&mut entry.already_reported);
        if average == 0.0 && entry.usage.in_flight == 0 {
            self.entry = None;
        }
        Some(Stat {
            at_ns: now_ns,
            average_concurrency: (average - already_reported).max(0.0),
            request_count: count - already_reported,
            ..Stat::default()
        })
    }

    /// Whether nothing is to be reported: no request since the last busy period ended.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.entry.is_none()
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.entry.as_ref().map_or(0, |entry| entry.usage.in_flight)
    }
}

/// The time-weighted integral of requests in flight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Usage {
    in_flight: u32,
    count: u64,
    changed_ns: u64,
    elapsed_ns: u64,
    /// Request-nanoseconds.
    area: u128,
}

impl Usage {
    fn new(now_ns: u64) -> Self {
        Self { in_flight: 0, count: 0, changed_ns: now_ns, elapsed_ns: 0, area: 0 }
    }

    fn arrive(&mut self, now_ns: u64) {
        self.advance(now_ns);
        self.in_flight = self.in_flight.saturating_add(1);
        self.count += 1;
    }

    fn leave(&mut self, now_ns: u64) {
        self.advance(now_ns);
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Average concurrency and the number of arrivals since the last report; in-flight requests stay.
    fn report(&mut self, now_ns: u64) -> (f64, f64) {
        self.advance(now_ns);
        let average = if self.elapsed_ns == 0 {
            0.0
        } else {
            (self.area as f64 / SECOND_NS as f64) / (self.elapsed_ns as f64 / SECOND_NS as f64)
        };
        let count = self.count as f64;
        (self.area, self.elapsed_ns, self.count) = (0, 0, 0);
        (average, count)
    }

    /// Time that stands still or runs back adds nothing.
    fn advance(&mut self, now_ns: u64) {
        let Some(elapsed_ns) = now_ns.checked_sub(self.changed_ns) else { return };
        self.elapsed_ns = self.elapsed_ns.saturating_add(elapsed_ns);
        self.area += u128::from(self.in_flight) * u128::from(elapsed_ns);
        self.changed_ns = now_ns;
    }
}
