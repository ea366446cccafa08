//! Counts over time in a bounded number of buckets.

use crate::histogram::LatencyHistogram;
use crate::recording::Measure;

use super::tokens::TokenTimes;

/// Buckets of a run, at most. A run that needs more gets buckets twice as wide, so there are never fewer than half
/// of them.
pub const MOST_BUCKETS: usize = 256;

/// Width of the buckets of a short run, nanoseconds.
const FIRST_WIDTH_NS: u64 = 1_000_000_000;

/// What happened in one stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeBucket {
    /// Requests that were meant to be sent in it.
    pub offered: u64,
    /// Successful answers that came in it.
    pub served: u64,
    /// Failures that were noticed in it.
    pub failed: u64,
    /// Requests that were meant to be sent in it and that the activator held.
    pub held: u64,
    /// Pods that began to start in it.
    pub starts: u64,
    /// Those of them that a request waited for, at zero replicas.
    pub starts_from_zero: u64,
    /// Latencies of the successful requests that were meant to be sent in it.
    pub latencies: LatencyHistogram,
    /// What language models took for tokens of those requests.
    pub tokens: TokenTimes,
    /// Failures by the index of their cause.
    pub(super) causes: Vec<u64>,
    /// Requests by the index of the revision that they were routed to.
    pub(super) routed: Vec<u64>,
}

impl TimeBucket {
    /// Adds another bucket.
    pub(crate) fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.served += other.served;
        self.failed += other.failed;
        self.held += other.held;
        self.starts += other.starts;
        self.starts_from_zero += other.starts_from_zero;
        self.latencies.add(&other.latencies);
        self.tokens.add(&other.tokens);
        add_counts(&mut self.causes, &other.causes);
        add_counts(&mut self.routed, &other.routed);
    }

    /// Times of the successful requests that were meant to be sent in it.
    pub fn times(&self, measure: Measure) -> &LatencyHistogram {
        self.tokens.times(measure).unwrap_or(&self.latencies)
    }

    /// The share of its routed requests that went to a revision; `None` without routed requests.
    pub fn share_of(&self, revision: usize) -> Option<f64> {
        let all: u64 = self.routed.iter().sum();
        (all > 0).then(|| self.routed.get(revision).copied().unwrap_or(0) as f64 / all as f64)
    }
}

fn add_counts(counts: &mut Vec<u64>, others: &[u64]) {
    if counts.len() < others.len() {
        counts.resize(others.len(), 0);
    }
    for (count, more) in counts.iter_mut().zip(others) {
        *count += more;
    }
}

/// Counts one at an index of a list that grows.
#[inline]
pub(super) fn count_at(counts: &mut Vec<u64>, index: usize) {
    match counts.get_mut(index) {
        Some(count) => *count += 1,
        None => {
            counts.resize(index + 1, 0);
            counts[index] = 1;
        }
    }
}

/// Equal stretches of time from the start of the run, merged in pairs whenever the run outgrows them.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeBuckets {
    width_ns: u64,
    buckets: Vec<TimeBucket>,
    /// Start of the bucket looked at last, and its index: requests come nearly in order.
    last: (u64, usize),
}

impl TimeBuckets {
    pub(super) fn new() -> Self {
        Self { width_ns: FIRST_WIDTH_NS, buckets: vec![TimeBucket::default()], last: (0, 0) }
    }

    /// Width of a bucket, nanoseconds.
    pub fn width_ns(&self) -> u64 {
        self.width_ns
    }

    /// The buckets from the start of the run to the last one in which anything happened.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &TimeBucket> {
        self.buckets.iter()
    }

    /// The bucket of an instant.
    #[inline]
    pub(super) fn at(&mut self, t_ns: u64) -> &mut TimeBucket {
        let (start, index) = self.last;
        let index = if t_ns.wrapping_sub(start) < self.width_ns { index } else { self.find(t_ns) };
        &mut self.buckets[index]
    }

    #[cold]
    fn find(&mut self, t_ns: u64) -> usize {
        while t_ns / self.width_ns >= MOST_BUCKETS as u64 {
            self.merge_pairs();
        }
        let index = (t_ns / self.width_ns) as usize;
        if index >= self.buckets.len() {
            self.buckets.resize_with(index + 1, TimeBucket::default);
        }
        self.last = (index as u64 * self.width_ns, index);
        index
    }

    fn merge_pairs(&mut self) {
        let mut merged: Vec<TimeBucket> = Vec::with_capacity(MOST_BUCKETS);
        for (index, bucket) in std::mem::take(&mut self.buckets).into_iter().enumerate() {
            match merged.last_mut() {
                Some(pair) if index % 2 == 1 => pair.add(&bucket),
                _ => merged.push(bucket),
            }
        }
        self.buckets = merged;
        self.width_ns *= 2;
    }

    /// Requests meant to be sent in `from_ns..to_ns`; a bucket that the span cuts counts with its share.
    pub fn offered_in(&self, from_ns: u64, to_ns: u64) -> f64 {
        self.buckets
            .iter()
            .enumerate()
            .map(|(index, bucket)| {
                let start = index as u64 * self.width_ns;
                let low = start.max(from_ns);
                let high = start.saturating_add(self.width_ns).min(to_ns);
                bucket.offered as f64 * high.saturating_sub(low) as f64 / self.width_ns as f64
            })
            .sum()
    }

    /// Everything that happened in the buckets that begin in `from_ns..to_ns`.
    pub fn total_in(&self, from_ns: u64, to_ns: u64) -> TimeBucket {
        let mut total = TimeBucket::default();
        for (index, bucket) in self.buckets.iter().enumerate() {
            if (from_ns..to_ns).contains(&(index as u64 * self.width_ns)) {
                total.add(bucket);
            }
        }
        total
    }
}
