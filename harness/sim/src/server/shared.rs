//! Cores that requests share: generalised processor sharing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::busy::Busy;
use super::impossible::{Impossible, positive};
use super::job::{Finished, Job, MOST_JOBS, Refusal, Started, finished};
use crate::engine::Key;

/// A request in virtual time, ordered by when it ends and then by when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Running {
    /// Virtual instant of the end, as the bits of a non-negative float (which order as the float does).
    end_bits: u64,
    number: u64,
    key: Key,
    begin_ns: u64,
}

/// Requests that run at the same time on a number of cores, each at `min(1, cores / requests)` of full speed.
///
/// Virtual time advances by the service that each request has received, so a request ends when virtual time
/// has advanced by its demand, whoever comes and goes in between: a sorted set of ends is enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Shared {
    cores: f64,
    virtual_ns: f64,
    clock_ns: u64,
    number: u64,
    running: BTreeSet<Running>,
    busy: Busy,
}

impl Shared {
    pub(super) fn new(cores: f64) -> Result<Self, Impossible> {
        Ok(Self {
            cores: positive("number of cores of a server", cores, "take a finite number above 0")?,
            virtual_ns: 0.0,
            clock_ns: 0,
            number: 0,
            running: BTreeSet::new(),
            busy: Busy::default(),
        })
    }

    pub(super) fn start(&mut self, now_ns: u64, job: &Job) -> Started {
        if self.running.len() >= MOST_JOBS {
            return Started::Refused(Refusal::Full);
        }
        self.progress(now_ns);
        let end_bits = (self.virtual_ns + job.demand_ns as f64).to_bits();
        self.running.insert(Running { end_bits, number: self.number, key: job.key, begin_ns: now_ns });
        self.number += 1;
        self.changed(now_ns);
        Started::Within
    }

    pub(super) fn next_ns(&self) -> Option<u64> {
        let rest_ns = (f64::from_bits(self.running.first()?.end_bits) - self.virtual_ns).max(0.0);
        Some(self.clock_ns.saturating_add((rest_ns / self.speed()).ceil() as u64))
    }

    pub(super) fn advance(&mut self, now_ns: u64, done: &mut Vec<Finished>) {
        while let Some(end_ns) = self.next_ns().filter(|end_ns| *end_ns <= now_ns) {
            self.progress(end_ns);
            let Some(first) = self.running.pop_first() else { break };
            // Rounding to whole nanoseconds may leave the clock a hair short of the end.
            self.virtual_ns = self.virtual_ns.max(f64::from_bits(first.end_bits));
            self.changed(end_ns);
            done.push(finished(first.key, first.begin_ns, end_ns));
        }
        self.progress(now_ns);
    }

    pub(super) fn abandon(&mut self, now_ns: u64, key: Key) -> bool {
        let Some(gone) = self.running.iter().find(|running| running.key == key).copied() else {
            return false;
        };
        self.progress(now_ns);
        self.running.remove(&gone);
        self.changed(now_ns);
        true
    }

    pub(super) fn drain(&mut self, now_ns: u64) -> Vec<Key> {
        let mut running: Vec<Running> = std::mem::take(&mut self.running).into_iter().collect();
        running.sort_by_key(|running| running.number);
        self.progress(now_ns);
        self.changed(now_ns);
        running.into_iter().map(|running| running.key).collect()
    }

    /// From now on there are so many cores.
    pub(super) fn adopt_speed(&mut self, now_ns: u64, cores: f64) {
        if self.cores.to_bits() != cores.to_bits() {
            self.progress(now_ns);
            self.cores = cores;
            self.changed(now_ns);
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn cores(&self) -> f64 {
        self.cores
    }

    pub(super) fn busy_ns(&self, now_ns: u64) -> f64 {
        self.busy.area_ns(now_ns)
    }

    fn speed(&self) -> f64 {
        (self.cores / self.running.len().max(1) as f64).min(1.0)
    }

    fn progress(&mut self, now_ns: u64) {
        let span_ns = now_ns.saturating_sub(self.clock_ns) as f64;
        if !self.running.is_empty() {
            self.virtual_ns += span_ns * self.speed();
        }
        self.clock_ns = self.clock_ns.max(now_ns);
    }

    /// After one came or left: virtual time starts again with every busy period, so that it stays exact.
    fn changed(&mut self, now_ns: u64) {
        if self.running.is_empty() {
            self.virtual_ns = 0.0;
        }
        self.busy.set(now_ns, (self.running.len() as f64).min(self.cores));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tests::{job, keys};

    fn ends(cores: &mut Shared, now_ns: u64) -> Vec<(Key, u64)> {
        let mut done = Vec::new();
        cores.advance(now_ns, &mut done);
        done.iter().map(|done| (done.key, done.end_ns)).collect()
    }

    /// Requests that share a core must slow each other down by exactly their number.
    #[test]
    fn two_requests_on_one_core_take_turns() {
        let [long, short] = keys();
        let mut cores = Shared::new(1.0).unwrap();
        cores.start(0, &job(long, 100));
        assert_eq!(cores.next_ns(), Some(100));
        // At 40 the first has 60 left; the second needs 20 and both run at half speed.
        cores.start(40, &job(short, 20));
        assert_eq!(cores.next_ns(), Some(80));
        assert_eq!(ends(&mut cores, 79), []);
        // The first has 40 left at 80 and the core for itself.
        assert_eq!(ends(&mut cores, 300), [(short, 80), (long, 120)]);
        assert_eq!(cores.next_ns(), None);
        assert_eq!(cores.busy_ns(300), 120.0);
    }

    /// With a core for each request nobody waits, and half the cores idle is half utilisation.
    #[test]
    fn enough_cores_slow_nobody_down() {
        let [one, two] = keys();
        let mut cores = Shared::new(2.0).unwrap();
        cores.start(0, &job(one, 100));
        cores.start(10, &job(two, 100));
        assert_eq!(ends(&mut cores, 110), [(one, 100), (two, 110)]);
        assert_eq!(cores.busy_ns(110), 10.0 + 2.0 * 90.0 + 10.0);
    }

    /// Half a core is a pod with `cpu: 500m`: everything takes twice as long.
    #[test]
    fn half_a_core_halves_the_speed_of_one_request() {
        let [one] = keys();
        let mut cores = Shared::new(0.5).unwrap();
        cores.start(0, &job(one, 100));
        assert_eq!(cores.next_ns(), Some(200));
    }

    /// A request that is given up must not slow the others down any longer.
    #[test]
    fn who_leaves_frees_its_share() {
        let [one, two] = keys();
        let mut cores = Shared::new(1.0).unwrap();
        cores.start(0, &job(one, 100));
        cores.start(0, &job(two, 100));
        assert!(cores.abandon(50, two));
        assert!(!cores.abandon(50, two));
        assert_eq!(ends(&mut cores, 200), [(one, 125)]);
    }
}
