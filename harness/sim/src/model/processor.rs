//! Cores that requests share: generalised processor sharing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::engine::Key;

/// A job in virtual time, ordered by when it ends and then by when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    /// Virtual instant of the end, as the bits of a non-negative float (which order as the float does).
    end_bits: u64,
    sequence: u64,
    request: Key,
}

/// Requests that run at the same time on a number of cores, each at `min(1, cores / requests)` of full speed.
///
/// Virtual time advances by the service that each request has received, so a request ends when virtual time
/// has advanced by its demand, whoever comes and goes in between: a heap of ends is enough.
#[derive(Clone, Debug)]
pub(super) struct SharedCores {
    cores: f64,
    virtual_ns: f64,
    last_ns: u64,
    sequence: u64,
    jobs: BinaryHeap<Reverse<Job>>,
}

impl SharedCores {
    pub(super) fn new(cores: f64) -> Self {
        Self { cores, virtual_ns: 0.0, last_ns: 0, sequence: 0, jobs: BinaryHeap::new() }
    }

    /// A request that needs `demand_ns` of one core starts.
    pub(super) fn start(&mut self, now_ns: u64, demand_ns: u64, request: Key) {
        self.advance(now_ns);
        let end_bits = (self.virtual_ns + demand_ns as f64).to_bits();
        self.jobs.push(Reverse(Job { end_bits, sequence: self.sequence, request }));
        self.sequence += 1;
    }

    /// When the next request ends if nobody comes.
    pub(super) fn next_end_ns(&self) -> Option<u64> {
        let Reverse(job) = self.jobs.peek()?;
        let rest_ns = (f64::from_bits(job.end_bits) - self.virtual_ns).max(0.0) / self.speed();
        Some(self.last_ns + rest_ns.ceil() as u64)
    }

    /// Ends the request that is due at `now_ns`.
    pub(super) fn end(&mut self, now_ns: u64) -> Option<Key> {
        self.advance(now_ns);
        let Reverse(job) = self.jobs.pop()?;
        // Rounding to whole nanoseconds may leave the clock a hair short of the end.
        self.virtual_ns = self.virtual_ns.max(f64::from_bits(job.end_bits));
        if self.jobs.is_empty() {
            self.virtual_ns = 0.0;
        }
        Some(job.request)
    }

    fn speed(&self) -> f64 {
        (self.cores / self.jobs.len().max(1) as f64).min(1.0)
    }

    fn advance(&mut self, now_ns: u64) {
        let span_ns = now_ns.saturating_sub(self.last_ns) as f64;
        if !self.jobs.is_empty() {
            self.virtual_ns += span_ns * self.speed();
        }
        self.last_ns = now_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Slab;

    /// Requests that share a core must slow each other down by exactly their number.
    #[test]
    fn two_requests_on_one_core_take_turns() {
        let mut keys = Slab::default();
        let (long, short) = (keys.insert(()), keys.insert(()));
        let mut cores = SharedCores::new(1.0);
        cores.start(0, 100, long);
        assert_eq!(cores.next_end_ns(), Some(100));
        // At 40 the first has 60 left; the second needs 20 and both run at half speed.
        cores.start(40, 20, short);
        assert_eq!(cores.next_end_ns(), Some(80));
        assert_eq!(cores.end(80), Some(short));
        // The first has 40 left and the core for itself.
        assert_eq!(cores.next_end_ns(), Some(120));
        assert_eq!(cores.end(120), Some(long));
        assert_eq!(cores.next_end_ns(), None);
    }

    /// With a core for each request nobody waits.
    #[test]
    fn enough_cores_slow_nobody_down() {
        let mut keys = Slab::default();
        let (one, two) = (keys.insert(()), keys.insert(()));
        let mut cores = SharedCores::new(2.0);
        cores.start(0, 100, one);
        cores.start(10, 100, two);
        assert_eq!(cores.next_end_ns(), Some(100));
        assert_eq!(cores.end(100), Some(one));
        assert_eq!(cores.next_end_ns(), Some(110));
        assert_eq!(cores.end(110), Some(two));
    }
}
