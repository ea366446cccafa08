//! The figures of one run: latencies, failures by cause, cold starts by phase, cost.

use serde::{Deserialize, Serialize};

use crate::digest::{Cause, Digest};
use crate::histogram::LatencyHistogram;
use crate::quantile::sorted_latencies;
use crate::recording::{Measure, Point, Recording, Source};
use crate::replications::Figures;
use crate::stability::{self, Stability};

/// Latency quantiles of a table, as a fraction and as people call them.
pub const QUANTILES: [(f64, &str); 6] =
    [(0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];

const HOUR_NS: f64 = 3_600e9;

/// Latencies of the successful answers of a run, a service or a revision, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyRow {
    /// Which run.
    pub source: Source,
    /// What was measured: whole answers, unless it says otherwise.
    #[serde(default, skip_serializing_if = "Measure::is_latency")]
    pub measure: Measure,
    /// Of what: `all`, `service` or `revision`.
    pub of: LatencyOf,
    /// Its name; empty for `all`.
    pub name: String,
    /// Successful answers.
    pub answered: u64,
    /// Requests without one.
    pub failed: u64,
    /// Mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 95th percentile.
    pub p95: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// 99.9th percentile.
    #[serde(rename = "p99.9")]
    pub p999: Option<u64>,
    /// 99.99th percentile.
    #[serde(rename = "p99.99")]
    pub p9999: Option<u64>,
    /// The slowest.
    pub max: Option<u64>,
}

/// What a row of latencies is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatencyOf {
    /// The whole run.
    All,
    /// One service.
    Service,
    /// One revision.
    Revision,
}

impl LatencyRow {
    fn new(source: Source, of: LatencyOf, name: &str, latencies: &LatencyHistogram, failed: u64) -> Self {
        let at = |q: f64| latencies.quantile(q);
        Self {
            source,
            measure: Measure::Latency,
            of,
            name: name.to_owned(),
            answered: latencies.len(),
            failed,
            mean: latencies.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: latencies.most(),
        }
    }

    /// The quantiles in the order of [`QUANTILES`].
    pub fn quantiles(&self) -> [Option<u64>; 6] {
        [self.p50, self.p90, self.p95, self.p99, self.p999, self.p9999]
    }
}

/// Failures of one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorRow {
    /// Which run.
    pub source: Source,
    /// HTTP status and text.
    #[serde(flatten)]
    pub cause: Cause,
    /// How many requests.
    pub count: u64,
    /// Share of all requests, 0 to 1.
    pub share: f64,
}

/// Lengths of one phase of the cold starts, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseRow {
    /// Which run.
    pub source: Source,
    /// Its name; `total` for whole starts.
    pub phase: String,
    /// How many starts had it.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 95th percentile.
    pub p95: u64,
    /// The longest.
    pub max: u64,
}

/// What a run cost, in the currency of the scenario's prices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Which run.
    pub source: Source,
    /// In all.
    pub total: f64,
    /// Mean of an hour.
    pub per_hour: f64,
    /// The dearest hour's rate.
    pub most_per_hour: f64,
    /// For a million successful answers; `None` without one.
    pub per_million: Option<f64>,
}

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Which run.
    pub source: Source,
    /// Length of the load, nanoseconds.
    pub duration_ns: u64,
    /// Requests sent.
    pub requests: u64,
    /// Successful answers.
    pub answered: u64,
    /// Requests that the activator held, and how long at most 99 % of them, nanoseconds.
    pub held: u64,
    /// 99th percentile of how long they were held, nanoseconds.
    pub held_p99: Option<u64>,
    /// Starts of pods, and those from zero that a request waited for.
    pub starts: u64,
    /// Starts from zero that a request waited for.
    pub starts_from_zero: u64,
    /// Latencies: all, then by service (when there are several), then by revision (when there are several); then the
    /// same for the first and for further tokens of language models, where there were any.
    pub latency: Vec<LatencyRow>,
    /// Failures by cause, the most frequent first.
    pub errors: Vec<ErrorRow>,
    /// Cold starts by phase, whole starts last.
    pub cold_starts: Vec<PhaseRow>,
    /// Mean of ready replicas, all revisions together; `None` when nobody counted them.
    pub replicas: Option<f64>,
    /// The most ready replicas at once.
    pub most_replicas: Option<f64>,
    /// What it cost; `None` without prices.
    pub cost: Option<Cost>,
    /// How it coped with its load; `None` when that cannot be said.
    pub stability: Option<Stability>,
}

impl Summary {
    /// The figures of what was counted; latencies are within 0.2 %.
    pub fn of(digest: &Digest) -> Self {
        let source = digest.meta().source;
        let (requests, answered) = (digest.requests(), digest.succeeded());
        let latency = Measure::ALL.into_iter().flat_map(|measure| rows(digest, measure)).collect();
        let mut errors: Vec<ErrorRow> = digest
            .causes()
            .map(|(cause, count)| ErrorRow {
                source,
                cause: cause.clone(),
                count,
                share: count as f64 / requests.max(1) as f64,
            })
            .collect();
        errors.sort_by_key(|row| std::cmp::Reverse(row.count));
        let replicas = digest.series().sum_of("replicas.ready");
        Self {
            source,
            duration_ns: digest.meta().duration_ns,
            requests,
            answered,
            held: digest.held().len(),
            held_p99: digest.held().quantile(0.99),
            starts: digest.starts().len(),
            starts_from_zero: digest.starts().from_zero(),
            latency,
            errors,
            cold_starts: phases(digest, source),
            replicas: mean_over_time(&replicas, 0, digest.end_ns()),
            most_replicas: replicas.iter().map(|point| point.value).reduce(f64::max),
            cost: cost(digest, answered),
            stability: stability::assess(digest),
        }
    }

    /// The figures of a recording; its latencies over all requests are exact.
    pub fn of_recording(recording: &Recording) -> Self {
        let mut summary = Self::of(&Digest::of(recording));
        let sorted = sorted_latencies(recording.requests.iter());
        if let Some(all) = summary.latency.first_mut() {
            let at = |q| windtunnel_kernel::statistics::quantile::nearest_rank(&sorted, q);
            (all.p50, all.p90, all.p95) = (at(0.5), at(0.9), at(0.95));
            (all.p99, all.p999, all.p9999) = (at(0.99), at(0.999), at(0.9999));
        }
        summary
    }

    /// Successful answers a second.
    pub fn throughput_per_s(&self) -> f64 {
        if self.duration_ns > 0 { self.answered as f64 / (self.duration_ns as f64 / 1e9) } else { 0.0 }
    }

    /// The figures that are compared between replications and variants: `latency.mean`, `latency.p50` to
    /// `latency.p99.99` and `latency.max` in nanoseconds, the same of `ttft` and `tpot` where there were tokens, `error-rate` from 0 to 1, `throughput` in answers a second,
    /// `replicas`, `starts-from-zero`, `cost.total`, `cost.per-hour`, `cost.per-million`. What was not measured is missing.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::new();
        let mut put = |name: &str, value: Option<f64>| {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                figures.insert(name.to_owned(), value);
            }
        };
        if let Some(all) = self.latency.first() {
            put("latency.mean", all.mean);
            for ((_, name), value) in QUANTILES.iter().zip(all.quantiles()) {
                put(&format!("latency.{name}"), value.map(|ns| ns as f64));
            }
            put("latency.max", all.max.map(|ns| ns as f64));
        }
        for (measure, what) in [(Measure::FirstToken, "ttft"), (Measure::PerToken, "tpot")] {
            let is_it = |row: &&LatencyRow| row.measure == measure && row.of == LatencyOf::All;
            let Some(all) = self.latency.iter().find(is_it) else { continue };
            put(&format!("{what}.mean"), all.mean);
            for ((_, name), value) in QUANTILES.iter().zip(all.quantiles()) {
                put(&format!("{what}.{name}"), value.map(|ns| ns as f64));
            }
        }
        if self.requests > 0 {
            put("error-rate", Some((self.requests - self.answered) as f64 / self.requests as f64));
            put("throughput", Some(self.throughput_per_s()));
        }
        put("replicas", self.replicas);
        put("starts-from-zero", Some(self.starts_from_zero as f64));
        put("cost.total", self.cost.map(|cost| cost.total));
        put("cost.per-hour", self.cost.map(|cost| cost.per_hour));
        put("cost.per-million", self.cost.and_then(|cost| cost.per_million));
        figures
    }
}

/// Rows of one measure; of tokens none where nothing was measured.
fn rows(digest: &Digest, measure: Measure) -> Vec<LatencyRow> {
    let source = digest.meta().source;
    let all = digest.times(measure);
    if all.is_empty() && measure != Measure::Latency {
        return Vec::new();
    }
    let row = |of, name: &str, times: &LatencyHistogram, failed| LatencyRow {
        measure,
        ..LatencyRow::new(source, of, name, times, failed)
    };
    let is_told = |times: &LatencyHistogram| measure == Measure::Latency || !times.is_empty();
    let mut rows = vec![row(LatencyOf::All, "", &all, digest.failed())];
    let services = digest.by_service();
    if services.len() > 1 {
        let told = services.iter().filter(|(_, counts)| is_told(counts.times(measure)));
        rows.extend(
            told.map(|(name, counts)| row(LatencyOf::Service, name, counts.times(measure), counts.failed)),
        );
    }
    if digest.by_revision().count() > 1 {
        let told = digest.by_revision().filter(|(_, counts)| is_told(counts.times(measure)));
        rows.extend(
            told.map(|(name, counts)| row(LatencyOf::Revision, name, counts.times(measure), counts.failed)),
        );
    }
    rows
}

fn phases(digest: &Digest, source: Source) -> Vec<PhaseRow> {
    let starts = digest.starts();
    let row = |phase: &str, lengths: &LatencyHistogram| {
        Some(PhaseRow {
            source,
            phase: phase.to_owned(),
            count: lengths.len(),
            mean: lengths.mean()?,
            p50: lengths.quantile(0.5)?,
            p95: lengths.quantile(0.95)?,
            max: lengths.most()?,
        })
    };
    starts
        .phases()
        .chain([("total", starts.total())])
        .filter_map(|(phase, lengths)| row(phase, lengths))
        .collect()
}

/// What a run cost from the samples of its rate, each holding until the next.
fn cost(digest: &Digest, answered: u64) -> Option<Cost> {
    let end_ns = digest.meta().duration_ns;
    let rate = digest.series().sum_of("cost.per_hour");
    let first_ns = rate.first()?.t_ns;
    // One series has an exact mean; a sum of several has that of the points kept.
    let mut series = digest.series().named("cost.per_hour");
    let per_hour = match (series.next(), series.next()) {
        (Some((_, only)), None) => only.mean_until(end_ns)?,
        _ => mean_over_time(&rate, 0, end_ns)?,
    };
    let total = per_hour * end_ns.saturating_sub(first_ns) as f64 / HOUR_NS;
    Some(Cost {
        source: digest.meta().source,
        total,
        per_hour,
        most_per_hour: rate.iter().map(|point| point.value).fold(0.0, f64::max),
        per_million: (answered > 0).then(|| total / answered as f64 * 1e6),
    })
}

/// Mean over time of a value that holds until the next one, from `from_ns` (or the first point) to `to_ns`; `None`
/// without points.
pub(crate) fn mean_over_time(points: &[Point], from_ns: u64, to_ns: u64) -> Option<f64> {
    let (mut integral, mut covered) = (0.0, 0.0);
    for (index, point) in points.iter().enumerate() {
        let until_ns = points.get(index + 1).map_or(to_ns, |next| next.t_ns).min(to_ns);
        let length = until_ns.saturating_sub(point.t_ns.max(from_ns)) as f64;
        integral += point.value * length;
        covered += length;
    }
    if covered > 0.0 { Some(integral / covered) } else { points.last().map(|point| point.value) }
}
