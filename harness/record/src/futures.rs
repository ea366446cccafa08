//! Both futures of a fork: what happened, and what would have happened.
//!
//! A run that is continued from the same state with the same random numbers and one value changed differs from the
//! original by that change alone. So every difference here is an effect of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, TimeBucket};
use crate::recording::{Decision, Point, Recording};
use crate::stability::{self, Level};
use crate::summary::{QUANTILES, mean_over_time};

const HOUR_NS: f64 = 3_600e9;

/// The original and the changed run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sides<T> {
    /// As it was.
    pub original: T,
    /// With the change.
    pub changed: T,
}

/// What a figure's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FigureUnit {
    /// Nanoseconds.
    Nanoseconds,
    /// A share, 0 to 1.
    Share,
    /// A whole number.
    Count,
    /// A number, such as a mean of replicas.
    Number,
    /// Money.
    Money,
}

/// One figure of both futures, from the fork on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FigureRow {
    /// What.
    pub name: String,
    /// In what.
    pub unit: FigureUnit,
    /// Its values; `None` where it was not measured.
    pub values: Sides<Option<f64>>,
    /// Changed less original.
    pub difference: Option<f64>,
    /// The same as a share of the original; `None` when that is 0.
    pub relative: Option<f64>,
}

/// The first instant at which both futures differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Divergence {
    /// When, nanoseconds.
    pub t_ns: u64,
    /// In what, in one line with both values.
    pub what: String,
}

/// Both futures of a fork.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Futures {
    /// When they part, nanoseconds.
    pub fork_ns: u64,
    /// What was changed, as `path=value`.
    pub change: String,
    /// From when on figures count, nanoseconds: the fork, or the first boundary of counted time after it.
    pub from_ns: u64,
    /// Until when, nanoseconds.
    pub to_ns: u64,
    /// Where they first differ; `None` when the change had no effect.
    pub divergence: Option<Divergence>,
    /// Their figures.
    pub figures: Vec<FigureRow>,
    /// How each coped with its load.
    pub level: Sides<Option<Level>>,
    /// Ready replicas over time, all revisions together.
    pub replicas: Sides<Vec<Point>>,
    /// The 99th percentile of the latency over time, in nanoseconds.
    pub p99: Sides<Vec<Point>>,
}

/// Points of a curve that is kept for a chart, at most.
const MOST_POINTS: usize = 300;

/// Lays two recordings of a fork side by side.
pub fn compare_recordings(original: &Recording, changed: &Recording, fork_ns: u64, change: &str) -> Futures {
    let mut futures = compare(&Digest::of(original), &Digest::of(changed), fork_ns, change);
    // Requests are known one by one here.
    if let Some(first) = first_request(original, changed, fork_ns)
        && futures.divergence.as_ref().is_none_or(|held| first.t_ns < held.t_ns)
    {
        futures.divergence = Some(first);
    }
    futures
}

/// Lays two counted runs of a fork side by side.
pub fn compare(original: &Digest, changed: &Digest, fork_ns: u64, change: &str) -> Futures {
    let width_ns = original.time().width_ns().max(changed.time().width_ns());
    let from_ns = fork_ns.div_ceil(width_ns).saturating_mul(width_ns);
    let to_ns = original.end_ns().max(changed.end_ns());
    let sides =
        Sides { original: Side::new(original, from_ns, to_ns), changed: Side::new(changed, from_ns, to_ns) };
    let level = |digest| stability::assess_in(digest, (fork_ns, u64::MAX)).map(|found| found.level);
    Futures {
        fork_ns,
        change: change.to_owned(),
        from_ns,
        to_ns,
        divergence: divergence(original, changed, fork_ns),
        figures: figures(&sides),
        level: Sides { original: level(original), changed: level(changed) },
        replicas: Sides { original: replicas(original), changed: replicas(changed) },
        p99: Sides { original: p99(original), changed: p99(changed) },
    }
}

/// What is compared of one future.
struct Side {
    total: TimeBucket,
    replicas: Option<f64>,
    most_replicas: Option<f64>,
    queued: Option<f64>,
    cost_per_hour: Option<f64>,
    span_ns: u64,
}

impl Side {
    fn new(digest: &Digest, from_ns: u64, to_ns: u64) -> Self {
        let end_ns = digest.meta().duration_ns.max(from_ns);
        let mean = |points: &[Point]| {
            if points.is_empty() { None } else { mean_over_time(points, from_ns, end_ns) }
        };
        let replicas = digest.series().sum_of("replicas.ready");
        let after = replicas.iter().filter(|point| point.t_ns >= from_ns).map(|point| point.value);
        Self {
            total: digest.time().total_in(from_ns, to_ns.saturating_add(1)),
            replicas: mean(&replicas),
            most_replicas: after.reduce(f64::max),
            queued: mean(&digest.series().sum_of("requests.queued")),
            cost_per_hour: mean(&digest.series().sum_of("cost.per_hour")),
            span_ns: end_ns - from_ns,
        }
    }

    fn requests(&self) -> u64 {
        self.total.offered
    }
}

fn figures(sides: &Sides<Side>) -> Vec<FigureRow> {
    let mut rows = Vec::new();
    let mut row = |name: &str, unit: FigureUnit, of: &dyn Fn(&Side) -> Option<f64>| {
        let values = Sides { original: of(&sides.original), changed: of(&sides.changed) };
        if values.original.is_none() && values.changed.is_none() {
            return;
        }
        let difference = values.original.zip(values.changed).map(|(original, changed)| changed - original);
        let relative = values
            .original
            .zip(difference)
            .filter(|(original, _)| *original != 0.0)
            .map(|(original, difference)| difference / original.abs());
        rows.push(FigureRow { name: name.to_owned(), unit, values, difference, relative });
    };
    for (q, name) in QUANTILES {
        row(&format!("latency {name}"), FigureUnit::Nanoseconds, &|side| {
            side.total.latencies.quantile(q).map(|ns| ns as f64)
        });
    }
    row("latency mean", FigureUnit::Nanoseconds, &|side| side.total.latencies.mean());
    row("requests", FigureUnit::Count, &|side| Some(side.requests() as f64));
    row("answered", FigureUnit::Count, &|side| Some(side.total.served as f64));
    row("failed", FigureUnit::Count, &|side| Some(side.total.failed as f64));
    row("error rate", FigureUnit::Share, &|side| {
        let all = side.total.served + side.total.failed;
        (all > 0).then(|| side.total.failed as f64 / all as f64)
    });
    row("held by the activator", FigureUnit::Count, &|side| Some(side.total.held as f64));
    row("replicas, mean", FigureUnit::Number, &|side| side.replicas);
    row("replicas, most", FigureUnit::Number, &|side| side.most_replicas);
    row("waiting requests, mean", FigureUnit::Number, &|side| side.queued);
    row("pods started", FigureUnit::Count, &|side| Some(side.total.starts as f64));
    row("starts from zero", FigureUnit::Count, &|side| Some(side.total.starts_from_zero as f64));
    row("cost an hour", FigureUnit::Money, &|side| side.cost_per_hour);
    row("cost", FigureUnit::Money, &|side| {
        side.cost_per_hour.map(|rate| rate * side.span_ns as f64 / HOUR_NS)
    });
    row("cost of a million answers", FigureUnit::Money, &|side| {
        let total = side.cost_per_hour? * side.span_ns as f64 / HOUR_NS;
        (side.total.served > 0).then(|| total / side.total.served as f64 * 1e6)
    });
    rows
}

fn replicas(digest: &Digest) -> Vec<Point> {
    thinned(digest.series().sum_of("replicas.ready"))
}

fn p99(digest: &Digest) -> Vec<Point> {
    let width_ns = digest.time().width_ns();
    let points = digest.time().iter().enumerate().filter_map(|(index, bucket)| {
        let value = bucket.latencies.quantile(0.99)? as f64;
        Some(Point { t_ns: index as u64 * width_ns, value })
    });
    points.collect()
}

/// Every so many points, so that there are not too many; changes of a stepped line are kept as far as there is room.
fn thinned(points: Vec<Point>) -> Vec<Point> {
    let mut changes: Vec<Point> = Vec::new();
    let last = points.last().copied();
    for point in points {
        if changes.last().is_none_or(|held| held.value != point.value) {
            changes.push(point);
        }
    }
    if let Some(last) = last.filter(|last| changes.last() != Some(last)) {
        changes.push(last);
    }
    let every = changes.len().div_ceil(MOST_POINTS).max(1);
    changes.into_iter().step_by(every).collect()
}

/// The earliest difference from the fork on, in decisions, series or counts.
fn divergence(original: &Digest, changed: &Digest, fork_ns: u64) -> Option<Divergence> {
    let found = [
        first_decision(original.decisions().0, changed.decisions().0, fork_ns),
        first_value(original, changed, fork_ns),
        first_count(original, changed, fork_ns),
    ];
    // A decision comes before what follows from it at the same instant.
    found.into_iter().flatten().min_by_key(|divergence| divergence.t_ns)
}

fn first_decision(original: &[Decision], changed: &[Decision], fork_ns: u64) -> Option<Divergence> {
    let after = |decisions: &[Decision]| -> Vec<Decision> {
        decisions.iter().filter(|decision| decision.t_ns >= fork_ns).cloned().collect()
    };
    let (original, changed) = (after(original), after(changed));
    let tell = |decision: &Decision| format!("{} {} to {}", decision.actor, decision.target, decision.to);
    for index in 0..original.len().max(changed.len()) {
        let (left, right) = (original.get(index), changed.get(index));
        let same = match (left, right) {
            (Some(left), Some(right)) => {
                (left.t_ns, &left.actor, &left.target, left.from, left.to)
                    == (right.t_ns, &right.actor, &right.target, right.from, right.to)
            }
            _ => false,
        };
        if same {
            continue;
        }
        let t_ns = left.into_iter().chain(right).map(|decision| decision.t_ns).min()?;
        let at = |side: Option<&Decision>| match side {
            Some(decision) if decision.t_ns == t_ns => tell(decision),
            _ => "no decision".to_owned(),
        };
        return Some(Divergence { t_ns, what: format!("decided: {}, instead of {}", at(right), at(left)) });
    }
    None
}

fn first_value(original: &Digest, changed: &Digest, fork_ns: u64) -> Option<Divergence> {
    let keys: BTreeSet<_> =
        original.series().iter().chain(changed.series().iter()).map(|(key, _)| key.clone()).collect();
    let points = |digest: &Digest| -> BTreeMap<_, Vec<Point>> {
        digest.series().iter().map(|(key, series)| (key.clone(), series.points().to_vec())).collect()
    };
    let (left, right) = (points(original), points(changed));
    let mut first: Option<Divergence> = None;
    for key in keys {
        let side = |all: &BTreeMap<_, Vec<Point>>| -> BTreeMap<u64, f64> {
            let points = all.get(&key).map_or(&[][..], Vec::as_slice);
            points
                .iter()
                .filter(|point| point.t_ns >= fork_ns)
                .map(|point| (point.t_ns, point.value))
                .collect()
        };
        let (left, right) = (side(&left), side(&right));
        let times: BTreeSet<u64> = left.keys().chain(right.keys()).copied().collect();
        let both = !left.is_empty() && !right.is_empty();
        let differs = |t_ns: &u64| match (left.get(t_ns), right.get(t_ns)) {
            (Some(left), Some(right)) => left != right,
            // Series that were thinned differently have other instants; only a series of one side counts.
            _ => !both,
        };
        let Some(t_ns) = times.into_iter().find(differs) else { continue };
        if first.as_ref().is_some_and(|held| held.t_ns <= t_ns) {
            continue;
        }
        let labels: Vec<&str> = key.labels.values().map(String::as_str).collect();
        let of = if labels.is_empty() { String::new() } else { format!(" of {}", labels.join(", ")) };
        let tell =
            |value: Option<&f64>| value.map_or_else(|| "nothing".to_owned(), |value| format!("{value}"));
        first = Some(Divergence {
            t_ns,
            what: format!(
                "{}{of}: {}, instead of {}",
                key.name,
                tell(right.get(&t_ns)),
                tell(left.get(&t_ns))
            ),
        });
    }
    first
}

/// The first stretch of time after the fork in which requests were counted differently.
fn first_count(original: &Digest, changed: &Digest, fork_ns: u64) -> Option<Divergence> {
    if original.time().width_ns() != changed.time().width_ns() {
        return None;
    }
    let width_ns = original.time().width_ns();
    let nothing = TimeBucket::default();
    let (left, right): (Vec<_>, Vec<_>) = (original.time().iter().collect(), changed.time().iter().collect());
    let index = (0..left.len().max(right.len())).find(|index| {
        let of = |all: &[&TimeBucket]| {
            let bucket = all.get(*index).copied().unwrap_or(&nothing);
            (bucket.offered, bucket.served, bucket.failed, bucket.latencies.mean())
        };
        *index as u64 * width_ns >= fork_ns && of(&left) != of(&right)
    })?;
    let tell = |buckets: &[&TimeBucket]| {
        let bucket = buckets.get(index).copied().unwrap_or(&nothing);
        let mean_ms = bucket.latencies.mean().unwrap_or(0.0) / 1e6;
        format!("{} served in {mean_ms:.2} ms on average and {} failed", bucket.served, bucket.failed)
    };
    Some(Divergence {
        t_ns: index as u64 * width_ns,
        what: format!(
            "requests in the {} s from there: {}, instead of {}",
            width_ns / 1_000_000_000,
            tell(&right),
            tell(&left)
        ),
    })
}

fn first_request(original: &Recording, changed: &Recording, fork_ns: u64) -> Option<Divergence> {
    let in_order = |recording: &Recording| {
        let mut requests: Vec<_> = recording
            .requests
            .iter()
            .filter(|request| request.done_ns() >= fork_ns)
            .map(|request| (request.done_ns(), request.intended_ns, request.row, request.status))
            .collect();
        requests.sort_unstable();
        requests
    };
    let (left, right) = (in_order(original), in_order(changed));
    let index = (0..left.len().max(right.len())).find(|index| left.get(*index) != right.get(*index))?;
    let (left, right) = (left.get(index), right.get(index));
    let t_ns = left.into_iter().chain(right).map(|request| request.0).min()?;
    let tell = |side: Option<&(u64, u64, u32, u16)>| match side {
        Some((done_ns, intended_ns, _, status)) if *done_ns == t_ns => {
            format!("answer {status} to the request of {:.3} s", *intended_ns as f64 / 1e9)
        }
        _ => "no answer at that instant".to_owned(),
    };
    Some(Divergence { t_ns, what: format!("{}, instead of {}", tell(right), tell(left)) })
}
