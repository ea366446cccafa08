//! A histogram of latencies in bounded memory, fast enough for millions of requests a second.
//!
//! Buckets are log-linear: every power of two is cut into 256 equal parts, so that a bucket's middle is within
//! 1/512 (0.2 %) of every latency in it. Latencies under 512 ns have a bucket each. This is the layout of HDR
//! histograms (Gil Tene) with a fixed precision, which makes recording one shift, one add and one store.

/// Bits of a latency that choose its part within a power of two.
const PART_BITS: u32 = 8;
/// Parts of a power of two.
const PARTS: u64 = 1 << PART_BITS;

/// How far a quantile may be from the exact one, as a fraction of it.
pub const RELATIVE_ERROR: f64 = 1.0 / (2 * PARTS) as f64;

/// The most buckets that a histogram can have, whatever is recorded.
pub const MOST_BUCKETS: usize = ((64 - PART_BITS as usize) << PART_BITS) + PARTS as usize;

/// Counts latencies in bounded memory; quantiles are within [`RELATIVE_ERROR`] of the exact ones.
///
/// ```
/// use windtunnel_record::quantile::LatencyHistogram;
///
/// let mut latencies = LatencyHistogram::new();
/// for ms in 1..=1_000 {
///     latencies.record(ms * 1_000_000);
/// }
/// let p99 = latencies.quantile(0.99).unwrap() as f64;
/// assert!((p99 / 990e6 - 1.0).abs() < 0.002);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyHistogram {
    /// Grows to the highest bucket that was needed.
    counts: Vec<u64>,
    len: u64,
    sum_ns: u128,
    least_ns: u64,
    most_ns: u64,
}

impl LatencyHistogram {
    /// An empty histogram.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: Vec::new(), len: 0, sum_ns: 0, least_ns: u64::MAX, most_ns: 0 }
    }

    /// Counts one latency in nanoseconds.
    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        let bucket = bucket_of(latency_ns);
        match self.counts.get_mut(bucket) {
            Some(count) => *count += 1,
            None => self.grow_to(bucket),
        }
        self.len += 1;
        self.sum_ns += u128::from(latency_ns);
        self.least_ns = self.least_ns.min(latency_ns);
        self.most_ns = self.most_ns.max(latency_ns);
    }

    #[cold]
    fn grow_to(&mut self, bucket: usize) {
        // To the end of the power of two: neighbours will be needed next.
        let end = (bucket / PARTS as usize + 1) * PARTS as usize;
        self.counts.resize(end.min(MOST_BUCKETS), 0);
        self.counts[bucket] += 1;
    }

    /// Adds the counts of another histogram.
    pub fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.len += other.len;
        self.sum_ns += other.sum_ns;
        self.least_ns = self.least_ns.min(other.least_ns);
        self.most_ns = self.most_ns.max(other.most_ns);
    }

    /// How many latencies were counted.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The exact mean in nanoseconds; `None` without latencies.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.len > 0).then(|| self.sum_ns as f64 / self.len as f64)
    }

    /// The exact least latency in nanoseconds; `None` without latencies.
    #[must_use]
    pub fn least(&self) -> Option<u64> {
        (self.len > 0).then_some(self.least_ns)
    }

    /// The exact highest latency in nanoseconds; `None` without latencies.
    #[must_use]
    pub fn most(&self) -> Option<u64> {
        (self.len > 0).then_some(self.most_ns)
    }

    /// The latency that a fraction `q` does not exceed (nearest rank), in nanoseconds; `None` without latencies.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        self.at_rank(rank(self.len, q)?)
    }

    /// The latency at a rank, counted from 1 at the least; `None` beyond the last one.
    #[must_use]
    pub fn at_rank(&self, rank: u64) -> Option<u64> {
        if rank == 0 || rank > self.len {
            return None;
        }
        // Ends are known exactly.
        if rank == self.len {
            return Some(self.most_ns);
        }
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(middle_of(bucket).clamp(self.least_ns, self.most_ns));
            }
        }
        None
    }

    /// How many buckets are held in memory, at most [`MOST_BUCKETS`].
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.counts.len()
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

/// The rank (from 1) of the sample that a fraction `q` of `len` samples do not exceed; `None` without samples. `q`
/// is cut to `[0, 1]`.
pub(crate) fn rank(len: u64, q: f64) -> Option<u64> {
    if len == 0 {
        return None;
    }
    let exact = if q.is_nan() { 0.0 } else { q.clamp(0.0, 1.0) } * len as f64;
    // 0.07 x 100 is 7.000000000000001 in floating point; the rank is 7.
    let rounded = exact.round();
    let rank = if (exact - rounded).abs() <= 1e-9 * exact.max(1.0) { rounded } else { exact.ceil() };
    Some((rank as u64).clamp(1, len))
}

#[inline]
fn bucket_of(latency_ns: u64) -> usize {
    let shift = (63 - (latency_ns | PARTS).leading_zeros()) - PART_BITS;
    ((u64::from(shift) << PART_BITS) + (latency_ns >> shift)) as usize
}

fn middle_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * PARTS {
        return bucket;
    }
    let shift = (bucket >> PART_BITS) - 1;
    let part = bucket - (shift << PART_BITS);
    (part << shift) + (1 << (shift - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A latency would be counted where no quantile finds it, or outside of the array.
    #[test]
    fn buckets_hold_their_latencies_and_follow_each_other() {
        let mut before = 0;
        for power in 0..64 {
            for offset in [-1_i64, 0, 1, 37] {
                let latency = (1_u64 << power).saturating_add_signed(offset);
                let bucket = bucket_of(latency);
                assert!(bucket < MOST_BUCKETS, "{latency}");
                let error = (middle_of(bucket) as f64 - latency as f64).abs();
                assert!(error <= latency as f64 * RELATIVE_ERROR * 1.000_001, "{latency}: off by {error}");
                if offset == 0 {
                    assert!(bucket >= before, "{latency}");
                    before = bucket;
                }
            }
        }
        assert_eq!(bucket_of(u64::MAX) + 1, MOST_BUCKETS);
        for latency in 0..100_000_u64 {
            let step = bucket_of(latency + 1) - bucket_of(latency);
            assert!(step <= 1, "{latency}");
        }
    }
}
