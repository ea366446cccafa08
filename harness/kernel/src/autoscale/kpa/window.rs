//! Averaging windows: rings of buckets, aligned to whole granules of Unix time.

use serde::{Deserialize, Serialize};

/// How a window weighs its buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Aggregation {
    /// Every bucket counts the same.
    #[default]
    Linear,
    /// Newer buckets count exponentially more.
    WeightedExponential,
}

/// Values beyond this are clamped to it, so that sums of any input stay finite and exact enough to subtract
/// from. Nothing that is counted in requests comes near.
pub const VALUE_LIMIT: f64 = 1e9;

/// Windows hold at most this many buckets (a day of seconds); longer ones are cut.
const BUCKETS_LIMIT: u64 = 86_400;

/// A ring of buckets whose plain average is taken over the part of the window that has seen data.
///
/// Values recorded in one bucket **add up**: that is how the reports of activators and of scraped pods merge.
/// The window starts partial, so the first seconds of traffic count in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimedBuckets {
    buckets: Vec<f64>,
    granularity_ns: u64,
    window_ns: u64,
    /// Index (time / granularity) of the first bucket of this stretch of data.
    first: Option<u64>,
    /// Index of the newest bucket.
    last: Option<u64>,
    total: f64,
}

impl TimedBuckets {
    /// An empty window of `window_ns`, cut into buckets of `granularity_ns` (rounded up, at least one bucket).
    #[must_use]
    pub fn new(window_ns: u64, granularity_ns: u64) -> Self {
        let granularity_ns = granularity_ns.max(1);
        let count = bucket_count(window_ns, granularity_ns);
        Self {
            buckets: vec![0.0; count],
            granularity_ns,
            window_ns: window_ns.min(BUCKETS_LIMIT.saturating_mul(granularity_ns)),
            first: None,
            last: None,
            total: 0.0,
        }
    }

    /// Adds `value` to the bucket of `now_ns`. A bucket that a whole window lies behind the newest is dropped;
    /// NaN is dropped too.
    pub fn record(&mut self, now_ns: u64, value: f64) {
        if value.is_nan() {
            return;
        }
        let value = value.clamp(-VALUE_LIMIT, VALUE_LIMIT);
        let index = now_ns / self.granularity_ns;
        if self.last != Some(index) && !self.move_to(index) {
            return;
        }
        let slot = self.slot(index);
        self.buckets[slot] += value;
        self.total += value;
    }

    /// The average over the window as of `now_ns`, rounded to six decimals.
    ///
    /// Buckets between the newest and now are left out of the divisor, holes before the newest count as zero,
    /// and after a whole window without data the average is 0.
    #[must_use]
    pub fn average(&self, now_ns: u64) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let now = now_ns / self.granularity_ns;
        let count = self.buckets.len() as u64;
        // Saturates when the start is unknown (a window that was resized after its data had gone).
        let filled = self.first.map_or(u64::MAX, |first| last.saturating_sub(first).saturating_add(1));
        if now <= last {
            return round_6(self.total / filled.min(count) as f64);
        }
        let idle = now - last;
        if self.is_window_or_more(idle) {
            return 0.0;
        }
        let expired: f64 = (last + 1..=now).map(|index| self.buckets[self.slot(index)]).sum();
        let divisor = filled.min(count - idle.min(count - 1));
        round_6((self.total - expired) / divisor as f64)
    }

    /// Whether nothing was recorded for *more* than a window. Data of exactly a window ago is not "empty",
    /// yet averages 0.
    #[must_use]
    pub fn is_empty(&self, now_ns: u64) -> bool {
        let now = now_ns / self.granularity_ns;
        self.last
            .is_none_or(|last| now.saturating_sub(last).saturating_mul(self.granularity_ns) > self.window_ns)
    }

    /// Changes the length of the window, keeping the newest buckets. Data that is kept is taken for a full old
    /// window, even where it was a partial one.
    pub fn resize(&mut self, window_ns: u64, now_ns: u64) {
        let window_ns = window_ns.min(BUCKETS_LIMIT.saturating_mul(self.granularity_ns));
        if window_ns == self.window_ns {
            return;
        }
        let old_count = self.buckets.len() as u64;
        let count = bucket_count(window_ns, self.granularity_ns) as u64;
        let mut buckets = vec![0.0; count as usize];
        let mut total = 0.0;
        match self.last {
            Some(last) if !self.is_empty(now_ns) => {
                for back in 0..count.min(old_count).min(last.saturating_add(1)) {
                    let value = self.buckets[self.slot(last - back)];
                    buckets[((last - back) % count) as usize] = value;
                    total += value;
                }
                self.first = Some(last.saturating_sub(old_count - 1));
            }
            _ => self.first = None,
        }
        self.window_ns = window_ns;
        self.buckets = buckets;
        self.total = total;
    }

    /// The exponentially weighted sum as of `now_ns`: the newest bucket weighs `coefficient`, each older one
    /// `1 - coefficient` times the one after it. Idle buckets up to now weigh in as zeros. The weights add up to
    /// less than one, so the estimate leans low. Not rounded.
    #[must_use]
    pub fn weighted_average(&self, now_ns: u64, coefficient: f64) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        if self.is_empty(now_ns) {
            return 0.0;
        }
        let idle = (now_ns / self.granularity_ns).saturating_sub(last);
        let count = self.buckets.len() as u64;
        let mut weight = coefficient * libm::pow(1.0 - coefficient, idle.min(count) as f64);
        let mut sum = 0.0;
        for back in 0..count.saturating_sub(idle).min(last.saturating_add(1)) {
            sum += self.buckets[self.slot(last - back)] * weight;
            weight *= 1.0 - coefficient;
        }
        sum
    }

    /// How many buckets the window has.
    #[must_use]
    pub fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    /// Makes `index` a live bucket; false when it lies a whole window or more behind the newest.
    fn move_to(&mut self, index: u64) -> bool {
        if let Some(last) = self.last
            && index < last
            && self.is_window_or_more(last - index)
        {
            return false;
        }
        if self.first.is_none_or(|first| first > index) {
            self.first = Some(index);
        }
        match self.last {
            Some(last) if index < last => return true,
            Some(last) if !self.is_window_or_more(index - last) => {
                for stale in last + 1..=index {
                    let slot = self.slot(stale);
                    self.total -= self.buckets[slot];
                    self.buckets[slot] = 0.0;
                }
            }
            _ => {
                self.first = Some(index);
                self.buckets.fill(0.0);
                self.total = 0.0;
            }
        }
        self.last = Some(index);
        true
    }

    fn is_window_or_more(&self, buckets: u64) -> bool {
        buckets.saturating_mul(self.granularity_ns) >= self.window_ns
    }

    fn slot(&self, index: u64) -> usize {
        (index % self.buckets.len() as u64) as usize
    }
}

/// A window with its way of averaging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    aggregation: Aggregation,
    buckets: TimedBuckets,
}

impl Window {
    /// An empty window.
    #[must_use]
    pub fn new(aggregation: Aggregation, window_ns: u64, granularity_ns: u64) -> Self {
        Self { aggregation, buckets: TimedBuckets::new(window_ns, granularity_ns) }
    }

    /// See [`TimedBuckets::record`].
    pub fn record(&mut self, now_ns: u64, value: f64) {
        self.buckets.record(now_ns, value);
    }

    /// The average as of `now_ns`, the way this window averages.
    #[must_use]
    pub fn average(&self, now_ns: u64) -> f64 {
        match self.aggregation {
            Aggregation::Linear => self.buckets.average(now_ns),
            Aggregation::WeightedExponential => {
                self.buckets.weighted_average(now_ns, smoothing_coefficient(self.buckets.bucket_count()))
            }
        }
    }

    /// See [`TimedBuckets::is_empty`].
    #[must_use]
    pub fn is_empty(&self, now_ns: u64) -> bool {
        self.buckets.is_empty(now_ns)
    }

    /// See [`TimedBuckets::resize`].
    pub fn resize(&mut self, window_ns: u64, now_ns: u64) {
        self.buckets.resize(window_ns, now_ns);
    }
}

/// The weight of the newest of `buckets` buckets: such that all of them carry 99.99 % of the weight, but never
/// under 0.2.
#[must_use]
pub fn smoothing_coefficient(buckets: usize) -> f64 {
    const CARRIED: f64 = 0.9999;
    const MINIMUM: f64 = 0.2;
    (1.0 - libm::pow(1.0 - CARRIED, 1.0 / buckets.max(1) as f64)).max(MINIMUM)
}

fn bucket_count(window_ns: u64, granularity_ns: u64) -> usize {
    window_ns.div_ceil(granularity_ns).clamp(1, BUCKETS_LIMIT) as usize
}

/// Six decimals, halves away from zero.
fn round_6(value: f64) -> f64 {
    // Adding zero turns -0 into 0.
    (value * 1e6).round() / 1e6 + 0.0
}
