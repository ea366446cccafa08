//! Series, summed over their labels and held from sample to sample.

use std::collections::BTreeMap;

/// The sum of several series that are written at the same instants. A value holds until the next one.
///
/// The order in which values of one instant come does not matter: they count together, once time has gone on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Level {
    values: BTreeMap<String, f64>,
    t_ns: Option<u64>,
    /// The sum before the instant `t_ns`.
    before: Option<f64>,
}

impl Level {
    /// Takes a value; returns what held before it, `(from, to, sum)`, once time has gone on.
    pub(super) fn put(&mut self, label: &str, t_ns: u64, value: f64) -> Option<(u64, u64, f64)> {
        let mut over = None;
        match self.t_ns {
            Some(now_ns) if t_ns > now_ns => {
                let sum = self.sum();
                self.before = Some(sum);
                self.t_ns = Some(t_ns);
                over = Some((now_ns, t_ns, sum));
            }
            Some(_) => {}
            None => self.t_ns = Some(t_ns),
        }
        match self.values.get_mut(label) {
            Some(held) => *held = value,
            None => drop(self.values.insert(label.to_owned(), value)),
        }
        over
    }

    /// The sum of all series as of the last value; `None` before the first.
    pub(super) fn now(&self) -> Option<f64> {
        self.t_ns.map(|_| self.sum())
    }

    /// The sum that held before `t_ns`; `None` before the first value.
    pub(super) fn before(&self, t_ns: u64) -> Option<f64> {
        if self.t_ns? < t_ns { self.now() } else { self.before }
    }

    /// What holds from the last value on: `(from, sum)`.
    fn open(&self) -> Option<(u64, f64)> {
        self.t_ns.map(|t_ns| (t_ns, self.sum()))
    }

    fn sum(&self) -> f64 {
        self.values.values().sum()
    }
}

/// Extremes and mean of a sum of series within a window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gauge {
    /// Names of the series that are summed up.
    pub(super) names: &'static [&'static str],
    pub(super) window: (u64, u64),
    level: Level,
    measured: Measured,
}

/// What a gauge has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Measured {
    /// Instants at which it was sampled.
    pub(super) samples: u64,
    pub(super) least: f64,
    pub(super) most: f64,
    /// When it was highest, the first time.
    pub(super) most_at_ns: u64,
    /// Sum times nanoseconds.
    pub(super) integral: f64,
    /// Nanoseconds that it covers.
    pub(super) span_ns: u64,
}

impl Measured {
    /// Mean over time; `None` when nothing was sampled.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.span_ns > 0).then(|| self.integral / self.span_ns as f64)
    }

    fn hold(&mut self, window: (u64, u64), (from_ns, to_ns, value): (u64, u64, f64)) {
        let (low, high) = (from_ns.max(window.0), to_ns.min(window.1));
        if low >= high {
            return;
        }
        if self.samples == 0 || value > self.most {
            (self.most, self.most_at_ns) = (value, low);
        }
        self.least = if self.samples == 0 { value } else { self.least.min(value) };
        self.samples += 1;
        self.integral += value * (high - low) as f64;
        self.span_ns += high - low;
    }
}

impl Gauge {
    pub(super) fn new(names: &'static [&'static str], window: (u64, u64)) -> Self {
        Self { names, window, level: Level::default(), measured: Measured::default() }
    }

    pub(super) fn put(&mut self, name: &str, label: &str, t_ns: u64, value: f64) {
        // Series of different names may have the same label.
        let held = if self.names.len() > 1 {
            self.level.put(&format!("{name} {label}"), t_ns, value)
        } else {
            self.level.put(label, t_ns, value)
        };
        if let Some(held) = held {
            self.measured.hold(self.window, held);
        }
    }

    /// What was measured, the last value held to the end of the window.
    pub(super) fn measured(&self) -> Measured {
        let mut measured = self.measured;
        if let Some((from_ns, sum)) = self.level.open() {
            measured.hold(self.window, (from_ns, self.window.1, sum));
        }
        measured
    }
}
