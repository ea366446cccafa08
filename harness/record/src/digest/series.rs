//! Series with a bounded number of points.

use std::collections::BTreeMap;

use crate::recording::{Point, SeriesKey};

/// Points kept of a series, at most. When there are more, every second one is dropped.
pub const MOST_POINTS: usize = 2048;

/// Series kept, at most.
pub const MOST_SERIES: usize = 512;

/// Points of one series, thinned as the run grows; its extremes and its mean over time are exact.
#[derive(Clone, Debug, PartialEq)]
pub struct ThinSeries {
    /// Every how many points one is kept.
    every: u64,
    seen: u64,
    points: Vec<Point>,
    first_ns: u64,
    last: Point,
    /// Value times nanoseconds; a value holds until the next one.
    integral: f64,
    least: f64,
    most: Point,
}

impl ThinSeries {
    pub(crate) fn new() -> Self {
        let nothing = Point { t_ns: 0, value: 0.0 };
        Self {
            every: 1,
            seen: 0,
            points: Vec::new(),
            first_ns: 0,
            last: nothing,
            integral: 0.0,
            least: 0.0,
            most: nothing,
        }
    }

    pub(crate) fn push(&mut self, t_ns: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        let point = Point { t_ns, value };
        if self.seen == 0 {
            self.first_ns = t_ns;
            self.least = value;
            self.most = point;
        } else {
            self.integral += self.last.value * t_ns.saturating_sub(self.last.t_ns) as f64;
            self.least = self.least.min(value);
            if value > self.most.value {
                self.most = point;
            }
        }
        self.last = point;
        if self.seen.is_multiple_of(self.every) {
            if self.points.len() == MOST_POINTS {
                let mut index = 0;
                self.points.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.every *= 2;
            }
            if self.seen.is_multiple_of(self.every) {
                self.points.push(point);
            }
        }
        self.seen += 1;
    }

    /// The points kept, in order of time.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// How many values were recorded.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Mean over time from the first value to `end_ns`; `None` without values.
    pub fn mean_until(&self, end_ns: u64) -> Option<f64> {
        if self.seen == 0 {
            return None;
        }
        let end_ns = end_ns.max(self.last.t_ns);
        let span = (end_ns - self.first_ns) as f64;
        let integral = self.integral + self.last.value * (end_ns - self.last.t_ns) as f64;
        Some(if span > 0.0 { integral / span } else { self.last.value })
    }

    /// The exact least value; `None` without values.
    pub fn least(&self) -> Option<f64> {
        (self.seen > 0).then_some(self.least)
    }

    /// The exact highest value, the first time that it was reached; `None` without values.
    pub fn most(&self) -> Option<Point> {
        (self.seen > 0).then_some(self.most)
    }

    /// The last value; `None` without values.
    pub fn last(&self) -> Option<Point> {
        (self.seen > 0).then_some(self.last)
    }
}

/// All series of a run, found by name and labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThinSeriesSet {
    by_name: BTreeMap<String, Vec<usize>>,
    series: Vec<(SeriesKey, ThinSeries)>,
    omitted: u64,
}

impl ThinSeriesSet {
    /// The place of a series, which is made when it is new; `None` when there are too many.
    pub(super) fn place(&mut self, name: &str, labels: &[(&str, &str)]) -> Option<usize> {
        let places = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        let has = |key: &SeriesKey| {
            key.labels.len() == labels.len()
                && labels.iter().all(|(label, value)| key.labels.get(*label).is_some_and(|own| own == value))
        };
        if let Some(place) = places.iter().find(|place| has(&self.series[**place].0)) {
            return Some(*place);
        }
        if self.series.len() == MOST_SERIES {
            self.omitted += 1;
            return None;
        }
        let place = self.series.len();
        self.series.push((SeriesKey::new(name, labels), ThinSeries::new()));
        self.by_name.entry(name.to_owned()).or_default().push(place);
        Some(place)
    }

    pub(super) fn at(&mut self, place: usize) -> Option<&mut (SeriesKey, ThinSeries)> {
        self.series.get_mut(place)
    }

    /// All series in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&SeriesKey, &ThinSeries)> {
        let mut places: Vec<usize> = (0..self.series.len()).collect();
        places.sort_by(|a, b| self.series[*a].0.cmp(&self.series[*b].0));
        places.into_iter().map(|place| (&self.series[place].0, &self.series[place].1))
    }

    /// The series of a name in order of their keys.
    pub fn named(&self, name: &str) -> impl Iterator<Item = (&SeriesKey, &ThinSeries)> {
        let mut places = self.by_name.get(name).cloned().unwrap_or_default();
        places.sort_by(|a, b| self.series[*a].0.cmp(&self.series[*b].0));
        places.into_iter().map(|place| (&self.series[place].0, &self.series[place].1))
    }

    /// Values that were dropped because there were too many series.
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// The sum of all series of a name over time, each value holding until the next; empty without series.
    pub fn sum_of(&self, name: &str) -> Vec<Point> {
        let all: Vec<&[Point]> = self.named(name).map(|(_, series)| series.points()).collect();
        match all.as_slice() {
            [] => Vec::new(),
            [one] => one.to_vec(),
            _ => sum(&all),
        }
    }
}

/// The sum of series over time, at every instant at which any of them has a value.
fn sum(all: &[&[Point]]) -> Vec<Point> {
    let mut changes: Vec<(u64, usize, f64)> = Vec::new();
    for (index, points) in all.iter().enumerate() {
        changes.extend(points.iter().map(|point| (point.t_ns, index, point.value)));
    }
    changes.sort_by_key(|(t_ns, index, _)| (*t_ns, *index));
    let mut values = vec![0.0; all.len()];
    let mut summed: Vec<Point> = Vec::new();
    for (t_ns, index, value) in changes {
        values[index] = value;
        let total = values.iter().sum();
        match summed.last_mut() {
            Some(last) if last.t_ns == t_ns => last.value = total,
            _ => summed.push(Point { t_ns, value: total }),
        }
    }
    summed
}
