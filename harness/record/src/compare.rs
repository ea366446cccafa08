//! A simulated and a live recording of the same flight, side by side.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use windtunnel_kernel::statistics::quantile::nearest_rank;

use crate::quantile::sorted_latencies;
use crate::recording::{Point, Recording};

/// The series that counts ready replicas, labelled with the revision.
const REPLICAS: &str = "replicas.ready";

const SECOND_NS: u64 = 1_000_000_000;

/// Longer runs are compared over their first 1 000 days.
const MAX_SECONDS: u64 = 86_400_000;

/// A value of the simulation and the same value of the flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair<T> {
    /// In the simulation.
    pub simulated: T,
    /// In the live flight.
    pub live: T,
}

/// How far a simulation and a flight agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Ready replicas of each revision, in order of its name.
    pub replicas: Vec<ReplicaComparison>,
    /// Share of the seconds, in percent, in which the ready replicas of all revisions together differ by at
    /// most one; 0 when neither side recorded any, for nothing measured is no agreement.
    pub replicas_within_one_percent: f64,
    /// Latency of the successful requests.
    pub latency: LatencyComparison,
    /// Requests sent.
    pub requests: Pair<u64>,
    /// Successful answers a second.
    pub throughput_per_s: Pair<f64>,
    /// Requests without a successful answer.
    pub errors: Pair<u64>,
    /// Starts from zero while a request waited.
    pub cold_starts: Pair<u64>,
}

/// Ready replicas of one revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaComparison {
    /// Its name.
    pub revision: String,
    /// How many seconds were compared.
    pub seconds: u64,
    /// Share of them, in percent, in which the counts differ by at most one.
    pub within_one_percent: f64,
    /// The second in which they differ most, the first of them.
    pub worst: WorstSecond,
}

/// A second in which two counts differ most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorstSecond {
    /// Which second.
    pub t_s: u64,
    /// The count in the simulation.
    pub simulated: f64,
    /// The count in the live flight.
    pub live: f64,
}

/// Latency quantiles in nanoseconds; `None` where nothing was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyComparison {
    /// The median.
    pub p50: Pair<Option<u64>>,
    /// The 95th percentile.
    pub p95: Pair<Option<u64>>,
    /// The 99th percentile.
    pub p99: Pair<Option<u64>>,
}

/// Compares a simulation with the flight of the same scenario.
///
/// Replicas are compared at every whole second of the longer run; a second without a sample has the value of
/// the last sample before it, and 0 before the first.
pub fn compare(simulated: &Recording, live: &Recording) -> Comparison {
    let pair = |of: &dyn Fn(&Recording) -> u64| Pair { simulated: of(simulated), live: of(live) };
    let seconds = seconds(simulated, live);
    let (left, right) = (replicas(simulated), replicas(live));
    let revisions: BTreeSet<&str> = left.keys().chain(right.keys()).copied().collect();
    let mut totals = vec![(0.0, 0.0); seconds as usize];
    let mut compared = Vec::new();
    for revision in revisions {
        let of =
            |side: &BTreeMap<&str, &[Point]>| by_second(side.get(revision).copied().unwrap_or(&[]), seconds);
        let counts: Vec<(f64, f64)> = of(&left).into_iter().zip(of(&right)).collect();
        for (total, (simulated, live)) in totals.iter_mut().zip(&counts) {
            total.0 += simulated;
            total.1 += live;
        }
        compared.push(ReplicaComparison {
            revision: revision.to_owned(),
            seconds,
            within_one_percent: within_one_percent(&counts),
            worst: worst(&counts),
        });
    }
    Comparison {
        replicas_within_one_percent: if compared.is_empty() { 0.0 } else { within_one_percent(&totals) },
        replicas: compared,
        latency: latency(simulated, live),
        requests: pair(&|recording| recording.requests.len() as u64),
        throughput_per_s: Pair { simulated: throughput(simulated), live: throughput(live) },
        errors: pair(&|recording| {
            recording.requests.iter().filter(|request| !request.succeeded()).count() as u64
        }),
        cold_starts: pair(&|recording| {
            recording.cold_starts.iter().filter(|start| start.activated).count() as u64
        }),
    }
}

/// Whole seconds of the longer run, the first one included.
fn seconds(simulated: &Recording, live: &Recording) -> u64 {
    let longest_ns = simulated.meta.duration_ns.max(live.meta.duration_ns);
    (longest_ns / SECOND_NS).min(MAX_SECONDS) + 1
}

fn replicas(recording: &Recording) -> BTreeMap<&str, &[Point]> {
    let of_revision =
        |labels: &BTreeMap<String, String>| labels.len() == 1 && labels.contains_key("revision");
    recording
        .series
        .iter()
        .filter(|(key, _)| key.name == REPLICAS && of_revision(&key.labels))
        .filter_map(|(key, points)| Some((key.labels.get("revision")?.as_str(), points.as_slice())))
        .collect()
}

/// The last value at or before each whole second.
fn by_second(points: &[Point], seconds: u64) -> Vec<f64> {
    let mut sorted = points.to_vec();
    sorted.sort_by_key(|point| point.t_ns);
    let mut next = sorted.iter().peekable();
    let mut value = 0.0;
    (0..seconds)
        .map(|second| {
            while let Some(point) = next.next_if(|point| point.t_ns <= second * SECOND_NS) {
                value = point.value;
            }
            value
        })
        .collect()
}

fn within_one_percent(counts: &[(f64, f64)]) -> f64 {
    if counts.is_empty() {
        return 0.0;
    }
    let within = counts.iter().filter(|(simulated, live)| (simulated - live).abs() <= 1.0).count();
    100.0 * within as f64 / counts.len() as f64
}

fn worst(counts: &[(f64, f64)]) -> WorstSecond {
    let mut worst = WorstSecond { t_s: 0, simulated: 0.0, live: 0.0 };
    for (t_s, (simulated, live)) in (0..).zip(counts) {
        if t_s == 0 || (simulated - live).abs() > (worst.simulated - worst.live).abs() {
            worst = WorstSecond { t_s, simulated: *simulated, live: *live };
        }
    }
    worst
}

fn latency(simulated: &Recording, live: &Recording) -> LatencyComparison {
    let (left, right) = (sorted_latencies(simulated.requests.iter()), sorted_latencies(live.requests.iter()));
    let at = |q| Pair { simulated: nearest_rank(&left, q), live: nearest_rank(&right, q) };
    LatencyComparison { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}

fn throughput(recording: &Recording) -> f64 {
    let answered = recording.requests.iter().filter(|request| request.succeeded()).count();
    let duration_s = recording.meta.duration_ns as f64 / 1e9;
    if duration_s > 0.0 { answered as f64 / duration_s } else { 0.0 }
}
