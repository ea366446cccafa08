//! The metric path: stats go into four windows, and the decider reads two averages out of them.

use serde::{Deserialize, Serialize};

use super::window::{Aggregation, Window};
use super::{Config, REPORT_PERIOD_NS};

/// What a revision scales on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScalingMetric {
    /// Requests in flight.
    #[default]
    Concurrency,
    /// Requests a second.
    Rps,
}

impl ScalingMetric {
    /// The annotation's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::Rps => "rps",
        }
    }
}

/// One report of a reporter (an activator, or all scraped pods of a revision together) for one report period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stat {
    /// When the report was received, nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// Requests in flight, averaged over the period.
    pub average_concurrency: f64,
    /// The part of `average_concurrency` that came through an activator (which reports it itself).
    pub average_proxied_concurrency: f64,
    /// Requests that arrived in the period (1 s, so also requests a second).
    pub request_count: f64,
    /// The part of `request_count` that came through an activator.
    pub proxied_request_count: f64,
}

/// The four windows of a revision: stable and panic, of concurrency and of requests a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Collector {
    concurrency: WindowPair,
    rps: WindowPair,
}

/// Averages over the stable and the panic window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    /// Over the stable window.
    pub stable: f64,
    /// Over the panic window.
    pub panic: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct WindowPair {
    stable: Window,
    panic: Window,
}

impl Collector {
    /// Empty windows.
    #[must_use]
    pub fn new(aggregation: Aggregation, stable_window_ns: u64, panic_window_ns: u64) -> Self {
        let pair = WindowPair {
            stable: Window::new(aggregation, stable_window_ns, REPORT_PERIOD_NS),
            panic: Window::new(aggregation, panic_window_ns, REPORT_PERIOD_NS),
        };
        Self { concurrency: pair.clone(), rps: pair }
    }

    /// Empty windows of a revision's configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self::new(config.aggregation, config.stable_window_ns, config.panic_window_ns)
    }

    /// Adds a stat to the bucket of its second. What the activators reported themselves is taken off, so that a
    /// request is counted once.
    pub fn record(&mut self, stat: &Stat) {
        self.concurrency.record(stat.at_ns, stat.average_concurrency - stat.average_proxied_concurrency);
        self.rps.record(stat.at_ns, stat.request_count - stat.proxied_request_count);
    }

    /// Both averages of `metric` as of `now_ns`, or `None` for "no data": the stable window is empty **and** there
    /// is something to scrape, so that the silence says nothing about the load. Without a scrape target (the
    /// activator is always in the path) silence means no load.
    #[must_use]
    pub fn averages(&self, metric: ScalingMetric, now_ns: u64, has_scrape_target: bool) -> Option<Averages> {
        let pair = match metric {
            ScalingMetric::Concurrency => &self.concurrency,
            ScalingMetric::Rps => &self.rps,
        };
        if has_scrape_target && pair.stable.is_empty(now_ns) {
            return None;
        }
        Some(Averages { stable: pair.stable.average(now_ns), panic: pair.panic.average(now_ns) })
    }

    /// Changes the windows' lengths. How they aggregate is fixed when they are made.
    pub fn resize(&mut self, stable_window_ns: u64, panic_window_ns: u64, now_ns: u64) {
        for pair in [&mut self.concurrency, &mut self.rps] {
            pair.stable.resize(stable_window_ns, now_ns);
            pair.panic.resize(panic_window_ns, now_ns);
        }
    }
}

impl WindowPair {
    fn record(&mut self, at_ns: u64, value: f64) {
        self.stable.record(at_ns, value);
        self.panic.record(at_ns, value);
    }
}

/// How many of `population` pods a scrape asks: enough to know the mean to within a sixth or so at 95 %, all of
/// them up to three.
#[must_use]
pub fn sample_size(population: u32) -> u32 {
    // z = 1.96 for 95 % confidence, variance 100, margin of error 5.
    const FACTOR: f64 = 1.96 * 1.96 * 100.0 / 25.0;
    if population <= 3 {
        return population;
    }
    let population = f64::from(population);
    (population * FACTOR / (population + FACTOR - 1.0)).ceil() as u32
}
