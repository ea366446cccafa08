//! The metric path: stats go into four windows, and the decider reads two averages out of them.

use serde::{Deserialize, Serialize};

use super::window::{Aggregation, VALUE_LIMIT, Window};
use super::{Bugs, Config, REPORT_PERIOD_NS};

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

impl Stat {
    /// Concurrency and requests a second without what came through an activator.
    fn unproxied(&self) -> (f64, f64) {
        (
            self.average_concurrency - self.average_proxied_concurrency,
            self.request_count - self.proxied_request_count,
        )
    }
}

/// The four windows of a revision: stable and panic, of concurrency and of requests a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Collector {
    concurrency: WindowPair,
    rps: WindowPair,
    /// The latest scrape, which a second one of the same second replaces; `None` where both are to count.
    scraped: Option<Scraped>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Scraped {
    second: u64,
    concurrency: f64,
    rps: f64,
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
        Self { concurrency: pair.clone(), rps: pair, scraped: Some(Scraped::default()) }
    }

    /// Empty windows of a revision's configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self::new(config.aggregation, config.stable_window_ns, config.panic_window_ns).with_bugs(config.bugs)
    }

    /// The same windows with upstream's likely bugs, or without.
    #[must_use]
    pub fn with_bugs(mut self, bugs: Bugs) -> Self {
        self.set_bugs(bugs);
        self
    }

    /// From now on with upstream's likely bugs, or without.
    pub fn set_bugs(&mut self, bugs: Bugs) {
        self.scraped = (!bugs.double_counted_scrapes).then(Scraped::default);
    }

    /// Adds a stat to the bucket of its second, whoever sends it: the stats of several activators add up. What the
    /// activators reported themselves is taken off, so that a request is counted once.
    pub fn record(&mut self, stat: &Stat) {
        let (concurrency, rps) = stat.unproxied();
        self.concurrency.record(stat.at_ns, concurrency);
        self.rps.record(stat.at_ns, rps);
    }

    /// Adds the scrape of a revision's pods, of which there should be one a second: a later one of the same second
    /// takes the earlier one's place, unless [`Bugs::double_counted_scrapes`] lets both count.
    pub fn record_scrape(&mut self, stat: &Stat) {
        let (mut concurrency, mut rps) = stat.unproxied();
        if let Some(scraped) = &mut self.scraped {
            scraped.move_to(stat.at_ns / REPORT_PERIOD_NS);
            concurrency = replace(&mut scraped.concurrency, concurrency);
            rps = replace(&mut scraped.rps, rps);
        }
        self.concurrency.record(stat.at_ns, concurrency);
        self.rps.record(stat.at_ns, rps);
    }

    /// Whether the stable window of `metric` holds nothing as of `now_ns`.
    #[must_use]
    pub fn is_empty(&self, metric: ScalingMetric, now_ns: u64) -> bool {
        self.pair(metric).stable.is_empty(now_ns)
    }

    /// Both averages of `metric` as of `now_ns`, or `None` for "no data": the stable window is empty **and** there
    /// is something to scrape, so that the silence says nothing about the load. Without a scrape target (the
    /// activator is always in the path) silence means no load.
    #[must_use]
    pub fn averages(&self, metric: ScalingMetric, now_ns: u64, has_scrape_target: bool) -> Option<Averages> {
        let pair = self.pair(metric);
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

    fn pair(&self, metric: ScalingMetric) -> &WindowPair {
        match metric {
            ScalingMetric::Concurrency => &self.concurrency,
            ScalingMetric::Rps => &self.rps,
        }
    }
}

impl WindowPair {
    fn record(&mut self, at_ns: u64, value: f64) {
        self.stable.record(at_ns, value);
        self.panic.record(at_ns, value);
    }
}

impl Scraped {
    fn move_to(&mut self, second: u64) {
        if self.second != second {
            *self = Self { second, concurrency: 0.0, rps: 0.0 };
        }
    }
}

/// Puts `new` in the place of `old`: what is to be added for it. NaN replaces nothing and adds nothing.
fn replace(old: &mut f64, new: f64) -> f64 {
    if new.is_nan() {
        return 0.0;
    }
    let new = new.clamp(-VALUE_LIMIT, VALUE_LIMIT);
    new - std::mem::replace(old, new)
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
