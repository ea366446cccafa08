//! A core for each request.

use serde::{Deserialize, Serialize};

use super::busy::Busy;
use super::job::{Job, Started};

/// Counts requests that do not disturb each other. The caller schedules their ends, and nothing is kept of
/// them here: this is the path of a hundred million requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Direct {
    running: u32,
    busy: Busy,
}

impl Direct {
    #[inline]
    pub(super) fn start(&mut self, now_ns: u64, job: &Job) -> Started {
        self.running = self.running.saturating_add(1);
        self.busy.set(now_ns, f64::from(self.running));
        Started::Ends(now_ns.saturating_add(job.demand_ns))
    }

    #[inline]
    pub(super) fn finish(&mut self, now_ns: u64) -> bool {
        let was_running = self.running > 0;
        self.running = self.running.saturating_sub(1);
        self.busy.set(now_ns, f64::from(self.running));
        was_running
    }

    pub(super) fn drain(&mut self, now_ns: u64) {
        self.running = 0;
        self.busy.set(now_ns, 0.0);
    }

    pub(super) fn running(&self) -> usize {
        self.running as usize
    }

    pub(super) fn busy_ns(&self, now_ns: u64) -> f64 {
        self.busy.area_ns(now_ns)
    }
}
