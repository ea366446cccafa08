//! What a run was short of first.
//!
//! Each candidate is a condition on the recorded series. Looked at are the samples in which requests waited (or all of
//! them, when nobody counted waiting ones); the candidate whose condition holds in most of them is named, and of equals
//! the one that is nearer to the cause: pods that find no node before replicas that start slowly, and these before
//! replicas that are all there and busy.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, ThinSeries};
use crate::recording::{Point, SeriesKey};
use crate::stability::{NEAR_SATURATION, queued, within};

/// Share of the samples in which a condition must hold to be named.
const LEAST_SHARE: f64 = 0.05;

/// What a run can be short of, nearest to the cause first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// The machine that sends the requests.
    Client,
    /// Room on the nodes: CPU, memory or GPUs.
    Nodes,
    /// Bandwidth of a storage service or registry.
    Storage,
    /// Replicas that are wanted and still starting.
    ColdStarts,
    /// Replicas: all that the workload may have are busy.
    Replicas,
    /// A broker's messages pile up.
    Broker,
    /// The activator holds requests for lack of a ready pod.
    Activator,
}

/// What a run was short of first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bottleneck {
    /// Of what.
    pub resource: Resource,
    /// Which one: a revision, a reason such as `gpu`, a prefix, a queue; empty when there is only one.
    pub target: String,
    /// Share of the looked-at samples in which it was short, 0 to 1.
    pub share: f64,
    /// When it was short first, nanoseconds.
    pub from_ns: u64,
    /// What happened, with numbers.
    pub sentence: String,
}

/// The bottleneck within a window of the run; `None` when nothing recorded shows one.
pub(crate) fn find(digest: &Digest, window: (u64, u64)) -> Option<Bottleneck> {
    let looked_at = Instants::new(digest, window);
    let mut candidates: Vec<Bottleneck> = Vec::new();
    candidates.extend(client(digest));
    candidates.extend(nodes(digest, &looked_at));
    candidates.extend(storage(digest, &looked_at));
    candidates.extend(cold_starts(digest, &looked_at));
    candidates.extend(replicas(digest, &looked_at));
    candidates.extend(broker(digest, window));
    candidates.extend(activator(digest, window));
    candidates
        .into_iter()
        .filter(|candidate| candidate.share >= LEAST_SHARE)
        // The larger share; of equals the one nearer to the cause.
        .max_by(|a, b| a.share.total_cmp(&b.share).then_with(|| b.resource.cmp(&a.resource)))
}

/// The instants at which requests waited.
struct Instants {
    times_ns: Vec<u64>,
}

impl Instants {
    fn new(digest: &Digest, (from_ns, to_ns): (u64, u64)) -> Self {
        let queued = queued(digest, from_ns, to_ns);
        let waiting: Vec<u64> =
            queued.iter().filter(|point| point.value >= 1.0).map(|point| point.t_ns).collect();
        let times_ns = if waiting.is_empty() {
            let in_flight = crate::stability::in_flight(digest);
            within(&in_flight, from_ns, to_ns).iter().map(|point| point.t_ns).collect()
        } else {
            waiting
        };
        Self { times_ns }
    }

    /// Share of the instants at which a condition holds, and the first of them.
    fn share(&self, holds: impl Fn(u64) -> bool) -> (f64, u64) {
        let short: Vec<u64> = self.times_ns.iter().copied().filter(|t_ns| holds(*t_ns)).collect();
        let first = short.first().copied().unwrap_or(0);
        (short.len() as f64 / self.times_ns.len().max(1) as f64, first)
    }

    /// The highest value of a series at these instants.
    fn most(&self, points: &[Point]) -> f64 {
        self.times_ns.iter().map(|t_ns| value_at(points, *t_ns)).fold(0.0, f64::max)
    }

    /// The mean value of a series at these instants.
    fn mean(&self, points: &[Point]) -> f64 {
        self.times_ns.iter().map(|t_ns| value_at(points, *t_ns)).sum::<f64>()
            / self.times_ns.len().max(1) as f64
    }
}

/// The last value at or before an instant; 0 before the first.
fn value_at(points: &[Point], t_ns: u64) -> f64 {
    let next = points.partition_point(|point| point.t_ns <= t_ns);
    next.checked_sub(1).map_or(0.0, |index| points[index].value)
}

fn label<'a>(key: &'a SeriesKey, name: &str) -> &'a str {
    key.labels.get(name).map_or("", String::as_str)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn seconds(t_ns: u64) -> String {
    format!("{:.0} s", t_ns as f64 / 1e9)
}

fn span(ns: u64) -> String {
    match ns {
        _ if ns >= 10_000_000_000 => format!("{:.0} s", ns as f64 / 1e9),
        _ if ns >= 1_000_000_000 => format!("{:.1} s", ns as f64 / 1e9),
        _ => format!("{:.0} ms", ns as f64 / 1e6),
    }
}

fn client(digest: &Digest) -> Option<Bottleneck> {
    let share = digest.late() as f64 / digest.requests().max(1) as f64;
    (digest.late() > 0).then(|| Bottleneck {
        resource: Resource::Client,
        target: String::new(),
        share,
        from_ns: 0,
        sentence: format!(
            "The client was the bottleneck: {} of the requests left more than 10 ms late, up to {}.",
            percent(share),
            span(digest.worst_lag_ns())
        ),
    })
}

fn nodes(digest: &Digest, looked_at: &Instants) -> Option<Bottleneck> {
    let found = |(key, series): (&SeriesKey, &ThinSeries)| {
        let reason = label(key, "reason");
        let points = series.points();
        let (share, from_ns) = looked_at.share(|t_ns| value_at(points, t_ns) >= 1.0);
        let full = fullest_pool(digest, reason, looked_at).map_or_else(String::new, |(pool, share)| {
            format!("; pool {pool} had {} of its {reason} given away", percent(share))
        });
        Bottleneck {
            resource: Resource::Nodes,
            target: reason.to_owned(),
            share,
            from_ns,
            sentence: format!(
                "Up to {:.0} pods waited for a node with enough {} in {} of the time, from {} on{full}.",
                looked_at.most(points),
                if reason.is_empty() { "room" } else { reason },
                percent(share),
                seconds(from_ns),
            ),
        }
    };
    let most = digest.series().named("pods.pending").map(found);
    most.max_by(|a, b| a.share.total_cmp(&b.share))
}

fn fullest_pool(digest: &Digest, reason: &str, looked_at: &Instants) -> Option<(String, f64)> {
    let name = match reason {
        "cpu" => "nodes.cpu_allocated",
        "memory" => "nodes.memory_allocated",
        "gpu" => "nodes.gpu_allocated",
        _ => return None,
    };
    digest
        .series()
        .named(name)
        .map(|(key, series)| (label(key, "pool").to_owned(), looked_at.mean(series.points())))
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

fn storage(digest: &Digest, looked_at: &Instants) -> Option<Bottleneck> {
    let found = |(key, series): (&SeriesKey, &ThinSeries)| {
        let prefix = label(key, "prefix");
        let points = series.points();
        let (share, from_ns) = looked_at.share(|t_ns| value_at(points, t_ns) >= NEAR_SATURATION);
        Bottleneck {
            resource: Resource::Storage,
            target: prefix.to_owned(),
            share,
            from_ns,
            sentence: format!(
                "Downloads from {prefix} used {} of its bandwidth on average and were throttled in {} of the time, from {} \
                 on.",
                percent(looked_at.mean(points)),
                percent(share),
                seconds(from_ns),
            ),
        }
    };
    digest.series().named("storage.utilisation").map(found).max_by(|a, b| a.share.total_cmp(&b.share))
}

fn cold_starts(digest: &Digest, looked_at: &Instants) -> Option<Bottleneck> {
    let starts = digest.starts();
    let typical = starts.total().quantile(0.5)?;
    let longest = starts
        .phases()
        .filter_map(|(phase, lengths)| Some((phase, lengths.mean()? * lengths.len() as f64)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(phase, _)| phase)?;
    let length = starts.phases().find(|(phase, _)| *phase == longest)?.1.quantile(0.5)?;
    let found = |revision: &str, wanted: &[Point], ready: &[Point]| {
        let (share, from_ns) = looked_at.share(|t_ns| value_at(ready, t_ns) < value_at(wanted, t_ns));
        Bottleneck {
            resource: Resource::ColdStarts,
            target: revision.to_owned(),
            share,
            from_ns,
            sentence: format!(
                "In {} of the time fewer pods of {revision} were ready than wanted ({:.1} of {:.1} on average), from {} on: \
                 a start takes {} (median), most of it {longest} ({}).",
                percent(share),
                looked_at.mean(ready),
                looked_at.mean(wanted),
                seconds(from_ns),
                span(typical),
                span(length),
            ),
        }
    };
    pairs(digest)
        .map(|(revision, wanted, ready)| found(revision, wanted.points(), ready.points()))
        .max_by(|a, b| a.share.total_cmp(&b.share))
}

/// Revisions with their wanted and their ready replicas.
fn pairs(digest: &Digest) -> impl Iterator<Item = (&str, &ThinSeries, &ThinSeries)> {
    digest.series().named("replicas.wanted").filter_map(|(key, wanted)| {
        let revision = key.labels.get("revision")?;
        let (_, ready) = digest
            .series()
            .named("replicas.ready")
            .find(|(key, _)| key.labels.get("revision") == Some(revision))?;
        Some((revision.as_str(), wanted, ready))
    })
}

fn replicas(digest: &Digest, looked_at: &Instants) -> Option<Bottleneck> {
    let found = |(revision, wanted, ready): (&str, &ThinSeries, &ThinSeries)| {
        let most = wanted.most().map_or(0.0, |point| point.value);
        if most <= 0.0 {
            return None;
        }
        let busy = digest
            .series()
            .named("server.utilisation")
            .find(|(key, _)| label(key, "revision") == revision)
            .map(|(_, series)| series.points());
        let waiting = digest
            .series()
            .named("requests.queued")
            .find(|(key, _)| label(key, "revision") == revision)
            .map(|(_, series)| series.points());
        let is_busy = |t_ns: u64| match (busy, waiting) {
            (Some(busy), _) if value_at(busy, t_ns) >= NEAR_SATURATION => true,
            (_, Some(waiting)) => value_at(waiting, t_ns) >= 1.0,
            (Some(_), None) => false,
            (None, None) => true,
        };
        let (share, from_ns) = looked_at.share(|t_ns| {
            value_at(wanted.points(), t_ns) >= most && value_at(ready.points(), t_ns) >= most && is_busy(t_ns)
        });
        let (decisions, _) = digest.decisions();
        let limit = decisions.iter().rev().find_map(|decision| {
            let says_so = decision.target == revision && decision.text.to_ascii_lowercase().contains("max");
            (says_so && decision.to as f64 == most).then(|| format!(" (\"{}\")", decision.text))
        });
        let busy = busy
            .map_or_else(String::new, |busy| format!(", {} busy on average", percent(looked_at.mean(busy))));
        Some(Bottleneck {
            resource: Resource::Replicas,
            target: revision.to_owned(),
            share,
            from_ns,
            sentence: format!(
                "{revision} ran all of its {most:.0} replicas{busy} in {} of the time, from {} on, and got no more{}.",
                percent(share),
                seconds(from_ns),
                limit.unwrap_or_default(),
            ),
        })
    };
    pairs(digest).filter_map(found).max_by(|a, b| a.share.total_cmp(&b.share))
}

fn broker(digest: &Digest, (from_ns, to_ns): (u64, u64)) -> Option<Bottleneck> {
    let found = |(key, series): (&SeriesKey, &ThinSeries)| {
        let points = within(series.points(), from_ns, to_ns);
        let (first, last) = (points.first()?, points.last()?);
        let queue = label(key, "queue");
        // How much of what lies there came in this window.
        let share = ((last.value - first.value) / last.value.max(1.0)).clamp(0.0, 1.0);
        (last.value >= 10.0).then(|| Bottleneck {
            resource: Resource::Broker,
            target: queue.to_owned(),
            share,
            from_ns: first.t_ns,
            sentence: format!(
                "Messages in {} grew from {:.0} to {:.0}.",
                if queue.is_empty() { "the broker" } else { queue },
                first.value,
                last.value
            ),
        })
    };
    digest.series().named("queue.depth").filter_map(found).max_by(|a, b| a.share.total_cmp(&b.share))
}

fn activator(digest: &Digest, (from_ns, to_ns): (u64, u64)) -> Option<Bottleneck> {
    let total = digest.time().total_in(from_ns, to_ns);
    let share = total.held as f64 / total.offered.max(1) as f64;
    let width_ns = digest.time().width_ns();
    let first = digest.time().iter().position(|bucket| bucket.held > 0)? as u64 * width_ns;
    let p95 = digest.held().quantile(0.95)?;
    Some(Bottleneck {
        resource: Resource::Activator,
        target: String::new(),
        share,
        from_ns: first.max(from_ns),
        sentence: format!(
            "The activator held {} of the requests, up to {} for nineteen of twenty of them.",
            percent(share),
            span(p95)
        ),
    })
}
