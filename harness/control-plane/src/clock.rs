//! Wall-clock time that never runs back.

use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// The wall clock at the start, and what has passed since then by tokio's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start_unix_ns: u64,
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start_unix_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), start: Instant::now() }
    }

    /// When the clock was started, in nanoseconds since the Unix epoch.
    pub(crate) fn start_unix_ns(&self) -> u64 {
        self.start_unix_ns
    }

    /// Nanoseconds since the Unix epoch.
    pub(crate) fn now_ns(&self) -> u64 {
        let passed = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.start_unix_ns.saturating_add(passed)
    }
}

/// A time of the API in nanoseconds since the Unix epoch.
pub(crate) fn unix_ns(time: &Time) -> u64 {
    u64::try_from(time.0.as_nanosecond()).unwrap_or(0)
}

/// A time in a text, as in RFC 3339.
pub(crate) fn unix_ns_of(text: &str) -> Option<u64> {
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_nanosecond()).ok()
}

/// An instant as Kubernetes writes it, to the second.
pub(crate) fn time(unix_ns: u64) -> Time {
    let seconds = i64::try_from(unix_ns / 1_000_000_000).unwrap_or(i64::MAX);
    Time(Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH))
}
