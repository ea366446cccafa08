//! How much of a server is busy, over time.

use serde::{Deserialize, Serialize};

/// The area under the number of busy units (cores, workers, engines), in unit-nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Busy {
    level: f64,
    area_ns: f64,
    since_ns: u64,
}

impl Busy {
    /// From `now_ns` on, `level` units are busy.
    #[inline]
    pub(super) fn set(&mut self, now_ns: u64, level: f64) {
        self.area_ns = self.area_ns(now_ns);
        self.since_ns = self.since_ns.max(now_ns);
        self.level = level;
    }

    /// The area up to `now_ns`.
    #[inline]
    pub(super) fn area_ns(&self, now_ns: u64) -> f64 {
        self.area_ns + self.level * now_ns.saturating_sub(self.since_ns) as f64
    }
}
