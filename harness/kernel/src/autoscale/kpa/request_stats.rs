//! Requests that come and go, as averages over a report period: the queue-proxy's and the activator's accounting.

use serde::{Deserialize, Serialize};

use super::{SECOND_NS, Stat};

/// How a request reached the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Path {
    /// Straight from the gateway.
    Direct,
    /// Through an activator, which reports it itself.
    Proxied,
}

/// The time-weighted integral of requests in flight. What is in flight outlives a report, everything else starts anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestStats {
    changed_ns: u64,
    elapsed_ns: u64,
    all: Tally,
    proxied: Tally,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tally {
    in_flight: u32,
    count: u64,
    /// Request-nanoseconds; a report period holds 18 billion requests in flight for a second before it is full.
    area: u64,
}

/// What happened in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestReport {
    /// Requests in flight, averaged over the time that passed.
    pub average_concurrency: f64,
    /// The part of it that came through an activator.
    pub average_proxied_concurrency: f64,
    /// Requests that arrived.
    pub request_count: f64,
    /// The part of them that came through an activator.
    pub proxied_request_count: f64,
}

impl RequestReport {
    /// The stat of a pod's queue-proxy for a period of `period_ns`: arrivals become a rate a second, concurrency is an
    /// average already.
    #[must_use]
    pub fn to_stat(&self, at_ns: u64, period_ns: u64) -> Stat {
        let seconds = period_ns.max(1) as f64 / SECOND_NS as f64;
        Stat {
            at_ns,
            average_concurrency: self.average_concurrency,
            average_proxied_concurrency: self.average_proxied_concurrency,
            request_count: self.request_count / seconds,
            proxied_request_count: self.proxied_request_count / seconds,
        }
    }
}

impl RequestStats {
    /// Nothing in flight at `now_ns`.
    #[must_use]
    pub fn new(now_ns: u64) -> Self {
        Self { changed_ns: now_ns, elapsed_ns: 0, all: Tally::default(), proxied: Tally::default() }
    }

    /// A request arrived.
    pub fn arrive(&mut self, now_ns: u64, path: Path) {
        self.advance(now_ns);
        if path == Path::Proxied {
            self.proxied.arrive();
        }
        self.all.arrive();
    }

    /// A request was answered, or given up.
    pub fn leave(&mut self, now_ns: u64, path: Path) {
        self.advance(now_ns);
        if path == Path::Proxied {
            self.proxied.leave();
        }
        self.all.leave();
    }

    /// The report of the period that ends at `now_ns`; the next one starts.
    pub fn report(&mut self, now_ns: u64) -> RequestReport {
        self.advance(now_ns);
        let elapsed_ns = std::mem::take(&mut self.elapsed_ns);
        let (average_concurrency, request_count) = self.all.report(elapsed_ns);
        let (average_proxied_concurrency, proxied_request_count) = self.proxied.report(elapsed_ns);
        RequestReport {
            average_concurrency,
            average_proxied_concurrency,
            request_count,
            proxied_request_count,
        }
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.all.in_flight
    }

    /// Time that stands still or runs back adds nothing: events of several threads arrive out of order by a little.
    fn advance(&mut self, now_ns: u64) {
        let Some(elapsed_ns) = now_ns.checked_sub(self.changed_ns) else { return };
        self.elapsed_ns = self.elapsed_ns.saturating_add(elapsed_ns);
        self.all.pass(elapsed_ns);
        self.proxied.pass(elapsed_ns);
        self.changed_ns = now_ns;
    }
}

impl Tally {
    fn arrive(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
        self.count = self.count.saturating_add(1);
    }

    fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    fn pass(&mut self, elapsed_ns: u64) {
        self.area = self.area.saturating_add(u64::from(self.in_flight).saturating_mul(elapsed_ns));
    }

    /// (average, count), which start anew.
    fn report(&mut self, elapsed_ns: u64) -> (f64, f64) {
        let area = std::mem::take(&mut self.area);
        let average = if elapsed_ns == 0 { 0.0 } else { area as f64 / elapsed_ns as f64 };
        (average, std::mem::take(&mut self.count) as f64)
    }
}
