//! How fast: exact quantiles of recorded requests, and a histogram for runs too long to keep.

use hdrhistogram::Histogram;
use windtunnel_kernel::statistics::quantile::nearest_rank;

use crate::recording::Request;

/// The latency that a fraction `q` of the successful requests does not exceed, in nanoseconds: a latency that
/// really occurred (nearest rank). `None` without successful requests.
pub fn of_requests<'a>(requests: impl Iterator<Item = &'a Request>, q: f64) -> Option<u64> {
    nearest_rank(&sorted_latencies(requests), q)
}

/// The latencies of the successful requests in ascending order, in nanoseconds, for several quantiles.
pub fn sorted_latencies<'a>(requests: impl Iterator<Item = &'a Request>) -> Vec<u64> {
    let mut latencies: Vec<u64> =
        requests.filter(|request| request.succeeded()).map(|request| request.latency_ns).collect();
    latencies.sort_unstable();
    latencies
}

/// Counts latencies in bounded memory; quantiles are within 0.1 % of the exact ones.
#[derive(Clone, Debug)]
pub struct LatencyHistogram {
    counts: Histogram<u64>,
}

impl LatencyHistogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self { counts: Histogram::new(3).expect("three significant digits are valid") }
    }

    /// Counts one latency in nanoseconds.
    pub fn record(&mut self, latency_ns: u64) {
        let latency_ns = latency_ns.max(1);
        // It grows with its values; only what no memory could hold is counted as the largest value so far.
        if self.counts.record(latency_ns).is_err() {
            self.counts.saturating_record(latency_ns);
        }
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, other: &Self) {
        if self.counts.add(&other.counts).is_err() {
            for value in other.counts.iter_recorded() {
                self.counts.saturating_record_n(value.value_iterated_to(), value.count_at_value());
            }
        }
    }

    /// How many latencies were counted.
    pub fn len(&self) -> u64 {
        self.counts.len()
    }

    /// Whether none was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The latency that a fraction `q` does not exceed, in nanoseconds; `None` without latencies.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        (!self.is_empty()).then(|| self.counts.value_at_quantile(q.clamp(0.0, 1.0)))
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}
