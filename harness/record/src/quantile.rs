//! How fast: exact quantiles of recorded requests, and a histogram for runs too long to keep.

use windtunnel_kernel::statistics::quantile::nearest_rank;

pub use crate::histogram::{LatencyHistogram, MOST_BUCKETS, RELATIVE_ERROR};
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
