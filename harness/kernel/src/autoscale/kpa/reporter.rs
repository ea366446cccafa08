//! The activator's concurrency reporter, one a revision.

use serde::{Deserialize, Serialize};

use super::Stat;
use super::request_stats::{Path, RequestStats};

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
    usage: RequestStats,
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
    #[inline]
    pub fn request_in(&mut self, now_ns: u64) -> Option<Stat> {
        let is_first = self.entry.is_none();
        let entry = self
            .entry
            .get_or_insert_with(|| Entry { usage: RequestStats::new(now_ns), already_reported: 1.0 });
        entry.usage.arrive(now_ns, Path::Direct);
        is_first.then_some(Stat {
            at_ns: now_ns,
            average_concurrency: 1.0,
            request_count: 1.0,
            ..Stat::default()
        })
    }

    /// A request was answered, or given up.
    #[inline]
    pub fn request_out(&mut self, now_ns: u64) {
        if let Some(entry) = &mut self.entry {
            entry.usage.leave(now_ns, Path::Direct);
        }
    }

    /// The report of the period that ends now; `None` while idle. A period without any activity ends the busy
    /// period (its zero is still reported).
    pub fn report(&mut self, now_ns: u64) -> Option<Stat> {
        let entry = self.entry.as_mut()?;
        let report = entry.usage.report(now_ns);
        let already_reported = std::mem::take(&mut entry.already_reported);
        if report.average_concurrency == 0.0 && entry.usage.in_flight() == 0 {
            self.entry = None;
        }
        Some(Stat {
            at_ns: now_ns,
            average_concurrency: (report.average_concurrency - already_reported).max(0.0),
            request_count: report.request_count - already_reported,
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
        self.entry.as_ref().map_or(0, |entry| entry.usage.in_flight())
    }
}
