//! Dynamic batching: requests that come close together are computed as one.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::busy::Busy;
use super::impossible::{Impossible, positive};
use super::job::{Finished, Job, MOST_JOBS, Refusal, Started, finished};
use crate::engine::Key;

/// How a server batches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchingSettings {
    /// Requests of a batch at most.
    pub size: u32,
    /// How long the first of a batch waits for others while an instance is free.
    pub delay_ns: u64,
    /// What a batch takes however small it is.
    pub base_ns: u64,
    /// What each request of a batch adds.
    pub per_item_ns: u64,
    /// The mean of the jobs' demands: a batch takes `(base + per item × requests) × demand of its first
    /// request / mean`, so that batches vary as service times do.
    pub mean_ns: f64,
    /// Batches that are computed at the same time.
    pub instances: u32,
}

/// Requests with the instant at which they came.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    since_ns: u64,
    job: Job,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Batch {
    end_ns: u64,
    begin_ns: u64,
    /// How many it began with: one that is given up is computed all the same.
    size: u32,
    keys: Vec<Key>,
}

/// Batches as Triton's dynamic batcher makes them: when an instance is free and the line is as long as a batch
/// may be, or its first has waited for the delay, the first of the line leave together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Batching {
    settings: BatchingSettings,
    line: VecDeque<Waiting>,
    /// At most one an instance, in the order in which they began.
    running: Vec<Batch>,
    busy: Busy,
}

impl Batching {
    pub(super) fn new(settings: BatchingSettings) -> Result<Self, Impossible> {
        for (setting, value) in
            [("size of a batch", settings.size), ("number of instances that batch", settings.instances)]
        {
            if value == 0 {
                return Err(Impossible::new(setting, 0, "take at least 1"));
            }
        }
        positive("mean of the service time that scales batches", settings.mean_ns, "take one above 0")?;
        let (line, running) = (VecDeque::new(), Vec::new());
        Ok(Self { settings, line, running, busy: Busy::default() })
    }

    pub(super) fn start(&mut self, now_ns: u64, job: Job) -> Started {
        if self.line.len() >= MOST_JOBS {
            return Started::Refused(Refusal::Full);
        }
        self.line.push_back(Waiting { since_ns: now_ns, job });
        self.fill(now_ns);
        Started::Within
    }

    pub(super) fn next_ns(&self) -> Option<u64> {
        let end_ns = self.running.iter().map(|batch| batch.end_ns).min();
        match (end_ns, self.delay_ends_ns()) {
            (Some(end_ns), Some(delay_ns)) => Some(end_ns.min(delay_ns)),
            (one, other) => one.or(other),
        }
    }

    pub(super) fn advance(&mut self, now_ns: u64, done: &mut Vec<Finished>) {
        while let Some(instant_ns) = self.next_ns().filter(|next_ns| *next_ns <= now_ns) {
            if let Some(place) = self.running.iter().position(|batch| batch.end_ns == instant_ns) {
                let batch = self.running.remove(place);
                done.extend(batch.keys.iter().map(|key| Finished {
                    batch: batch.size,
                    ..finished(*key, batch.begin_ns, batch.end_ns)
                }));
            }
            self.fill(instant_ns);
        }
    }

    pub(super) fn abandon(&mut self, key: Key) -> bool {
        if let Some(place) = self.line.iter().position(|waiting| waiting.job.key == key) {
            self.line.remove(place);
            return true;
        }
        let batched = |batch: &mut Batch| {
            let place = batch.keys.iter().position(|batched| *batched == key);
            place.map(|place| batch.keys.remove(place))
        };
        self.running.iter_mut().find_map(batched).is_some()
    }

    pub(super) fn drain(&mut self, now_ns: u64) -> Vec<Key> {
        let running = std::mem::take(&mut self.running).into_iter().flat_map(|batch| batch.keys);
        let keys = running.chain(self.line.drain(..).map(|waiting| waiting.job.key)).collect();
        self.busy.set(now_ns, 0.0);
        keys
    }

    pub(super) fn settings(&self) -> &BatchingSettings {
        &self.settings
    }

    /// Batches that begin from now on take as long as with `other`. True when that is all in which they differ.
    pub(super) fn adopt_speed(&mut self, other: &BatchingSettings) -> bool {
        let &BatchingSettings { base_ns, per_item_ns, mean_ns, .. } = other;
        self.settings = BatchingSettings { base_ns, per_item_ns, mean_ns, ..self.settings };
        self.settings == *other
    }

    /// Requests that are being computed.
    pub(super) fn running(&self) -> usize {
        self.running.iter().map(|batch| batch.keys.len()).sum()
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    pub(super) fn instances(&self) -> f64 {
        f64::from(self.settings.instances)
    }

    pub(super) fn busy_ns(&self, now_ns: u64) -> f64 {
        self.busy.area_ns(now_ns)
    }

    /// When the first of the line has waited long enough, if an instance is free for it.
    fn delay_ends_ns(&self) -> Option<u64> {
        let is_free = self.running.len() < self.settings.instances as usize;
        let first = self.line.front().filter(|_| is_free)?;
        Some(first.since_ns.saturating_add(self.settings.delay_ns))
    }

    fn fill(&mut self, now_ns: u64) {
        while self
            .delay_ends_ns()
            .is_some_and(|delay_ns| delay_ns <= now_ns || self.line.len() >= self.settings.size as usize)
        {
            self.begin(now_ns);
        }
        self.busy.set(now_ns, self.running.len() as f64);
    }

    fn begin(&mut self, now_ns: u64) {
        let size = self.line.len().min(self.settings.size as usize);
        let scale = self.line.front().map_or(0.0, |first| first.job.demand_ns as f64) / self.settings.mean_ns;
        let keys: Vec<Key> = self.line.drain(..size).map(|waiting| waiting.job.key).collect();
        let plain_ns = self.settings.base_ns as f64 + self.settings.per_item_ns as f64 * size as f64;
        let end_ns = now_ns.saturating_add((plain_ns * scale + 0.5) as u64);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.running.push(Batch { end_ns, begin_ns: now_ns, size, keys });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tests::{job, keys};

    fn batching(size: u32, instances: u32) -> Batching {
        let settings =
            BatchingSettings { size, delay_ns: 5, base_ns: 10, per_item_ns: 2, mean_ns: 100.0, instances };
        Batching::new(settings).unwrap()
    }

    fn ends(server: &mut Batching, now_ns: u64) -> Vec<(Key, u64, u64, u32)> {
        let mut done = Vec::new();
        server.advance(now_ns, &mut done);
        done.iter().map(|done| (done.key, done.begin_ns, done.end_ns, done.batch)).collect()
    }

    /// A lone request waits for company exactly as long as configured, and a full batch not at all.
    #[test]
    fn a_batch_leaves_when_it_is_full_or_its_first_has_waited() {
        let [one, two, three, four] = keys();
        let mut server = batching(3, 1);
        server.start(0, job(one, 100));
        assert_eq!(server.next_ns(), Some(5));
        server.start(3, job(two, 900));
        // At 5 the delay of the first is over: 10 + 2 × 2.
        assert_eq!(ends(&mut server, 5), []);
        assert_eq!(server.next_ns(), Some(19));
        // The third waits while the instance is busy, long past its delay, and leaves when it is free.
        server.start(6, job(three, 200));
        assert_eq!(server.next_ns(), Some(19));
        assert_eq!(ends(&mut server, 19), [(one, 5, 19, 2), (two, 5, 19, 2)]);
        // Twice the mean: (10 + 2) × 2.
        assert_eq!(server.next_ns(), Some(43));
        server.start(42, job(four, 50));
        assert_eq!(ends(&mut server, 100), [(three, 19, 43, 1), (four, 47, 53, 1)]);
        assert_eq!(server.busy_ns(100), 14.0 + 24.0 + 6.0);
    }

    /// A line of five with batches of two on two instances: two full batches at once, then the rest.
    #[test]
    fn full_batches_fill_every_instance() {
        let [one, two, three, four, five] = keys();
        let mut server = batching(2, 2);
        for key in [one, two, three, four, five] {
            server.start(0, job(key, 100));
        }
        assert_eq!((server.running(), server.waiting()), (4, 1));
        assert_eq!(
            ends(&mut server, 40),
            [(one, 0, 14, 2), (two, 0, 14, 2), (three, 0, 14, 2), (four, 0, 14, 2), (five, 14, 26, 1)]
        );
    }

    /// Who gives up in a batch gets no answer, but the batch is not faster for it; in the line its place goes.
    #[test]
    fn giving_up_leaves_a_running_batch_as_it_is() {
        let [one, two, three] = keys();
        let mut server = batching(2, 1);
        for key in [one, two, three] {
            server.start(0, job(key, 100));
        }
        assert!(server.abandon(one));
        assert!(server.abandon(three));
        assert!(!server.abandon(three));
        assert_eq!(ends(&mut server, 100), [(two, 0, 14, 2)]);
    }

    /// Settings that make batches impossible are told apart.
    #[test]
    fn a_batch_of_none_is_refused() {
        let settings = BatchingSettings {
            size: 0,
            delay_ns: 5,
            base_ns: 10,
            per_item_ns: 2,
            mean_ns: 1.0,
            instances: 1,
        };
        assert_eq!(Batching::new(settings).unwrap_err().to_string(), "size of a batch is 0: take at least 1");
        Batching::new(BatchingSettings { size: 1, mean_ns: 0.0, ..settings }).unwrap_err();
        Batching::new(BatchingSettings { size: 1, instances: 0, ..settings }).unwrap_err();
    }
}
