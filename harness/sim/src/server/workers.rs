//! A fixed number of workers and one line in front of them.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::busy::Busy;
use super::impossible::Impossible;
use super::job::{Finished, Job, MOST_JOBS, Refusal, Started, finished};
use crate::engine::Key;

/// A request that a worker computes, ordered by when it ends and then by when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Running {
    end_ns: u64,
    number: u64,
    key: Key,
    begin_ns: u64,
}

/// A number of requests at a time, first come first served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Workers {
    workers: usize,
    line: VecDeque<Job>,
    running: BTreeSet<Running>,
    number: u64,
    busy: Busy,
}

impl Workers {
    pub(super) fn new(workers: u32) -> Result<Self, Impossible> {
        if workers == 0 {
            return Err(Impossible::new("number of workers of a server", 0, "take at least 1"));
        }
        Ok(Self {
            workers: workers as usize,
            line: VecDeque::new(),
            running: BTreeSet::new(),
            number: 0,
            busy: Busy::default(),
        })
    }

    pub(super) fn start(&mut self, now_ns: u64, job: Job) -> Started {
        if self.line.len() >= MOST_JOBS {
            return Started::Refused(Refusal::Full);
        }
        self.line.push_back(job);
        self.fill(now_ns);
        Started::Within
    }

    pub(super) fn next_ns(&self) -> Option<u64> {
        Some(self.running.first()?.end_ns)
    }

    pub(super) fn advance(&mut self, now_ns: u64, done: &mut Vec<Finished>) {
        while let Some(first) = self.running.first().filter(|first| first.end_ns <= now_ns).copied() {
            self.running.pop_first();
            done.push(finished(first.key, first.begin_ns, first.end_ns));
            self.fill(first.end_ns);
        }
    }

    pub(super) fn abandon(&mut self, now_ns: u64, key: Key) -> bool {
        if let Some(place) = self.line.iter().position(|job| job.key == key) {
            self.line.remove(place);
            return true;
        }
        let Some(gone) = self.running.iter().find(|running| running.key == key).copied() else {
            return false;
        };
        self.running.remove(&gone);
        self.fill(now_ns);
        true
    }

    pub(super) fn drain(&mut self, now_ns: u64) -> Vec<Key> {
        let mut running: Vec<Running> = std::mem::take(&mut self.running).into_iter().collect();
        running.sort_by_key(|running| running.number);
        let line = std::mem::take(&mut self.line);
        self.fill(now_ns);
        running.into_iter().map(|running| running.key).chain(line.into_iter().map(|job| job.key)).collect()
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    pub(super) fn workers(&self) -> f64 {
        self.workers as f64
    }

    pub(super) fn busy_ns(&self, now_ns: u64) -> f64 {
        self.busy.area_ns(now_ns)
    }

    /// Gives those in the line to workers that are free.
    fn fill(&mut self, now_ns: u64) {
        while self.running.len() < self.workers {
            let Some(job) = self.line.pop_front() else { break };
            let end_ns = now_ns.saturating_add(job.demand_ns);
            self.running.insert(Running { end_ns, number: self.number, key: job.key, begin_ns: now_ns });
            self.number += 1;
        }
        self.busy.set(now_ns, self.running.len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tests::{job, keys};

    /// Three jobs for two workers, by hand: the third waits for the first worker that is free.
    #[test]
    fn who_comes_third_waits_for_the_first_of_two_workers() {
        let [one, two, three, four] = keys();
        let mut workers = Workers::new(2).unwrap();
        workers.start(0, job(one, 100));
        workers.start(10, job(two, 50));
        workers.start(20, job(three, 30));
        workers.start(20, job(four, 5));
        assert_eq!((workers.running(), workers.waiting(), workers.next_ns()), (2, 2, Some(60)));
        let mut done = Vec::new();
        workers.advance(90, &mut done);
        assert_eq!(done, [finished(two, 10, 60), finished(three, 60, 90)]);
        workers.advance(200, &mut done);
        assert_eq!(done[2..], [finished(four, 90, 95), finished(one, 0, 100)]);
        assert_eq!(workers.busy_ns(200), 100.0 + 50.0 + 30.0 + 5.0);
    }

    /// A worker whose request was given up must take the next one at once, and the line keeps its order.
    #[test]
    fn giving_up_frees_a_worker_or_a_place_in_the_line() {
        let [one, two, three, four] = keys();
        let mut workers = Workers::new(1).unwrap();
        for key in [one, two, three, four] {
            workers.start(0, job(key, 100));
        }
        assert!(workers.abandon(10, two));
        assert!(workers.abandon(30, one));
        assert_eq!(workers.next_ns(), Some(130));
        assert_eq!(workers.drain(50), [three, four]);
        assert_eq!((workers.next_ns(), workers.busy_ns(90)), (None, 50.0));
    }
}
