//! Whether a run kept up with its load: stable, backlogged or overloaded.
//!
//! A latency that was measured while a queue grew says how long the run was, not how fast the service is. So growth is
//! tested, not guessed: the requests in flight are divided by the arrival rate, which by Little's law is the time that
//! a request spends in the system, in 20 batches of equal length, without the first tenth of the load (starts from
//! zero). The slope of a straight line through the batch means has a Student-t confidence interval whose degrees of
//! freedom are reduced by the autocorrelation of the residuals. A run is
//!
//! * **overloaded** when the interval of the slope is above zero, the line explains at least half of the variance and
//!   the growth is at least half of the mean; when the same holds of the requests in flight although the load did not
//!   rise (where it fell, the quotient is no straight line); or when, at 95 % confidence, more than one request in twenty was refused or
//!   timed out for lack of capacity;
//! * **backlogged** when it is not overloaded, but for a quarter of the time nine times as many requests waited as were
//!   being served (as in an M/M/1 queue at nine tenths of its capacity), or when as many were left at the end;
//! * **stable** otherwise.
//!
//! Near saturation (not stable, or servers busy for nine tenths of the time) a small error of the model is a large
//! error of the latency, and reports say so.

use std::fmt;

use serde::{Deserialize, Serialize};
use windtunnel_kernel::statistics::binomial::clopper_pearson;
use windtunnel_kernel::statistics::student;

use crate::bottleneck::{self, Bottleneck};
use crate::digest::Digest;
use crate::recording::{Point, Recording};

/// Batches of the test, at most.
const BATCHES: usize = 20;
/// Batches of the test, at least.
const LEAST_BATCHES: usize = 6;
/// Samples a batch, at least.
const SAMPLES_EACH: usize = 3;
/// Confidence of the interval of the slope.
const CONFIDENCE: f64 = 0.95;
/// What the batches count as, at least, however alike they are.
const LEAST_EFFECTIVE: f64 = 5.0;
/// Share of the variance that a growth must explain.
const LEAST_EXPLAINED: f64 = 0.5;
/// Growth over the window, as a share of the mean, that matters.
const LEAST_GROWTH: f64 = 0.5;
/// Share of refused requests that is an overload.
const MOST_REFUSED: f64 = 0.05;
/// Waiting requests for each that is served, from which on there is a backlog.
const WAITING_EACH: f64 = 9.0;
/// Share of the time with a backlog that makes a run backlogged.
const MOST_BACKLOGGED: f64 = 0.25;
/// Utilisation from which on servers are near saturation.
pub const NEAR_SATURATION: f64 = 0.9;

/// How a run coped with its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// It kept up.
    Stable,
    /// It kept up, but only just: most requests waited.
    Backlogged,
    /// It did not keep up.
    Overloaded,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stable => "STABLE",
            Self::Backlogged => "BACKLOGGED",
            Self::Overloaded => "OVERLOADED",
        })
    }
}

/// A slope with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slope {
    /// Growth a second.
    pub per_s: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Share of the variance that the line explains, 0 to 1.
    pub explained: f64,
}

/// How a run coped with its load, and what it was short of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stability {
    /// The verdict of the test.
    pub level: Level,
    /// Whether latencies depend so much on the load that a small error of the model is a large one of theirs.
    pub near_saturation: bool,
    /// Start of what was looked at, nanoseconds.
    pub from_ns: u64,
    /// End of what was looked at, nanoseconds.
    pub to_ns: u64,
    /// Growth of the time in the system, seconds a second.
    pub growth: Slope,
    /// Mean of the requests in flight.
    pub in_flight: f64,
    /// Requests in flight in the last batch.
    pub in_flight_at_end: f64,
    /// Share of the time in which nine times as many requests waited as were served.
    pub backlogged_share: f64,
    /// Share of the requests that were refused or timed out for lack of capacity.
    pub refused_share: f64,
    /// Busy share of the busiest revision's servers; `None` when nobody measured it.
    pub utilisation: Option<f64>,
    /// Why, in one sentence.
    pub sentence: String,
    /// What it was short of first; `None` when nothing was.
    pub bottleneck: Option<Bottleneck>,
}

impl Stability {
    /// The verdict's sentence, and the bottleneck's.
    pub fn sentences(&self) -> String {
        match &self.bottleneck {
            Some(bottleneck) => format!("{} {}", self.sentence, bottleneck.sentence),
            None => self.sentence.clone(),
        }
    }

    /// What to say beside latencies; `None` when they can be believed.
    pub fn warning(&self) -> Option<String> {
        let what = match self.level {
            Level::Overloaded => {
                "The run is overloaded: its latencies grow with its length and say nothing about the service."
            }
            Level::Backlogged => {
                "The run is backlogged: its latencies are those of a service near saturation, where a small error of \
                 the model is a large error of the latency."
            }
            Level::Stable if self.near_saturation => {
                "The servers are near saturation: a small error of the model is a large error of the latency."
            }
            Level::Stable => return None,
        };
        Some(what.to_owned())
    }
}

/// Classifies a whole run. `None` when it is too short, had no load, or nobody counted the requests in flight.
pub fn assess(digest: &Digest) -> Option<Stability> {
    assess_in(digest, (0, u64::MAX))
}

/// Classifies a recorded run, see [`assess`].
pub fn assess_recording(recording: &Recording) -> Option<Stability> {
    assess(&Digest::of(recording))
}

/// Classifies the part of a run from one instant to another, in nanoseconds of the run.
pub fn assess_in(digest: &Digest, window: (u64, u64)) -> Option<Stability> {
    let (from_ns, to_ns) = loaded(digest, window)?;
    let from_ns = from_ns + (to_ns - from_ns) / 10;
    let in_flight = within(&in_flight(digest), from_ns, to_ns);
    let batches = (in_flight.len() / SAMPLES_EACH).min(BATCHES);
    if batches < LEAST_BATCHES {
        return None;
    }
    let means = batch_means(digest, &in_flight, (from_ns, to_ns), batches);
    let growth = slope(&means.time_in_system)?;
    let queued = queued(digest, from_ns, to_ns);
    let backlogged_share = backlogged_share(&in_flight, &queued);
    let utilisation = utilisation(digest, from_ns, to_ns);
    let total = digest.time().total_in(from_ns, to_ns);
    let refused = digest.refused_in(&total);
    let answered = total.served + total.failed;
    let refused_share = if answered > 0 { refused as f64 / answered as f64 } else { 0.0 };
    let is_refusing = clopper_pearson(refused, answered.max(refused), CONFIDENCE).0 > MOST_REFUSED;

    let span_s = (to_ns - from_ns) as f64 / 1e9;
    let mean_time = mean(means.time_in_system.iter().map(|(_, time)| *time));
    let matters = |slope: &Slope, mean: f64| {
        slope.low > 0.0 && slope.explained >= LEAST_EXPLAINED && slope.per_s * span_s >= LEAST_GROWTH * mean
    };
    let mean_in_flight = mean(in_flight.iter().map(|point| point.value));
    let pile = slope(&means.in_flight).filter(|slope| !means.load_rises() && matters(slope, mean_in_flight));
    let is_growing = matters(&growth, mean_time) || pile.is_some();
    let (first, last) = (means.in_flight[0].1, means.in_flight[means.in_flight.len() - 1].1);
    let level = if is_growing || is_refusing {
        Level::Overloaded
    } else if backlogged_share >= MOST_BACKLOGGED {
        Level::Backlogged
    } else {
        Level::Stable
    };
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let busy = utilisation
        .map_or_else(String::new, |share| format!(" Servers were busy {} of the time.", percent(share)));
    let time_text = format!(
        "{:+.3} s each second, 95 % interval {:+.3} to {:+.3}",
        growth.per_s, growth.low, growth.high
    );
    let growth_text = match pile {
        Some(pile) => {
            format!("{:+.2} each second, 95 % interval {:+.2} to {:+.2}", pile.per_s, pile.low, pile.high)
        }
        None => format!("time in the system {time_text}"),
    };
    let sentence = if is_growing {
        format!(
            "Requests in flight grew from {first:.1} to {last:.1} in {span_s:.0} s ({growth_text}).{busy}"
        )
    } else if is_refusing {
        format!(
            "{refused} of {answered} requests ({}) were refused or timed out for lack of capacity.{busy}",
            percent(refused_share)
        )
    } else if level == Level::Backlogged {
        format!(
            "In {} of the time nine times as many requests waited as were served; the queue did not grow for good \
             ({time_text}).{busy}",
            percent(backlogged_share)
        )
    } else {
        format!("The time in the system did not grow ({time_text}).{busy}")
    };
    let near_saturation = level != Level::Stable || utilisation.is_some_and(|share| share >= NEAR_SATURATION);
    let bottleneck = near_saturation.then(|| bottleneck::find(digest, (from_ns, to_ns))).flatten();
    Some(Stability {
        level,
        near_saturation,
        from_ns,
        to_ns,
        growth,
        in_flight: mean_in_flight,
        in_flight_at_end: last,
        backlogged_share,
        refused_share,
        utilisation,
        sentence,
        bottleneck,
    })
}

/// From the first to the last bucket with load, within a window.
fn loaded(digest: &Digest, (from_ns, to_ns): (u64, u64)) -> Option<(u64, u64)> {
    let width_ns = digest.time().width_ns();
    let mut span: Option<(u64, u64)> = None;
    for (index, bucket) in digest.time().iter().enumerate() {
        let start = index as u64 * width_ns;
        let (low, high) = (start.max(from_ns), start.saturating_add(width_ns).min(to_ns));
        if bucket.offered > 0 && low < high {
            span = Some((span.map_or(low, |(first, _)| first), high));
        }
    }
    let length_ns = digest.meta().duration_ns;
    let (low, high) = span?;
    // The last bucket may reach over the end of the load.
    let high = if length_ns > low { high.min(length_ns) } else { high };
    (low < high).then_some((low, high))
}

/// Requests in flight: the series without labels, or the sum over the services.
pub(crate) fn in_flight(digest: &Digest) -> Vec<Point> {
    let whole = digest.series().named("requests.in_flight").find(|(key, _)| key.labels.is_empty());
    match whole {
        Some((_, series)) => series.points().to_vec(),
        None => digest.series().sum_of("requests.in_flight"),
    }
}

/// Requests that wait, in servers' queues and in brokers.
pub(crate) fn queued(digest: &Digest, from_ns: u64, to_ns: u64) -> Vec<Point> {
    let waiting = digest.series().sum_of("requests.queued");
    let waiting = if waiting.is_empty() { digest.series().sum_of("queue.depth") } else { waiting };
    within(&waiting, from_ns, to_ns)
}

pub(crate) fn within(points: &[Point], from_ns: u64, to_ns: u64) -> Vec<Point> {
    points.iter().filter(|point| (from_ns..to_ns).contains(&point.t_ns)).copied().collect()
}

/// Mean utilisation of the busiest revision.
fn utilisation(digest: &Digest, from_ns: u64, to_ns: u64) -> Option<f64> {
    digest
        .series()
        .named("server.utilisation")
        .map(|(_, series)| within(series.points(), from_ns, to_ns))
        .filter(|points| !points.is_empty())
        .map(|points| mean(points.iter().map(|point| point.value)))
        .max_by(f64::total_cmp)
}

/// Share of the samples in which nine times as many requests waited as were served.
fn backlogged_share(in_flight: &[Point], queued: &[Point]) -> f64 {
    let waiting_at = |t_ns: u64| {
        let next = queued.partition_point(|point| point.t_ns <= t_ns);
        next.checked_sub(1).map_or(0.0, |index| queued[index].value)
    };
    let backlogged = in_flight.iter().filter(|point| {
        let waiting = waiting_at(point.t_ns);
        waiting > WAITING_EACH * (point.value - waiting).max(1.0)
    });
    backlogged.count() as f64 / in_flight.len().max(1) as f64
}

struct Means {
    /// Middle of each batch in seconds, and the time in the system by Little's law.
    time_in_system: Vec<(f64, f64)>,
    /// Middle of each batch in seconds, and the requests in flight.
    in_flight: Vec<(f64, f64)>,
    /// Requests a second.
    rates: Vec<f64>,
}

impl Means {
    /// Whether the load of the last tenth is a tenth above the mean: then more requests in flight are no surprise.
    fn load_rises(&self) -> bool {
        let tenth = (self.rates.len() / 10).max(1);
        let last = mean(self.rates.iter().rev().take(tenth).copied());
        last > 1.1 * mean(self.rates.iter().copied())
    }
}

fn batch_means(digest: &Digest, points: &[Point], (from_ns, to_ns): (u64, u64), batches: usize) -> Means {
    let edge =
        |batch: usize| from_ns + (u128::from(to_ns - from_ns) * batch as u128 / batches as u128) as u64;
    let mut means = Means { time_in_system: Vec::new(), in_flight: Vec::new(), rates: Vec::new() };
    for batch in 0..batches {
        let (low, high) = (edge(batch), edge(batch + 1));
        let own = within(points, low, high);
        if own.is_empty() {
            continue;
        }
        let in_flight = mean(own.iter().map(|point| point.value));
        let middle_s = (low as f64 + (high - low) as f64 / 2.0) / 1e9;
        means.in_flight.push((middle_s, in_flight));
        let length_s = (high - low) as f64 / 1e9;
        let rate = digest.time().offered_in(low, high) / length_s;
        means.rates.push(rate);
        if rate > 0.0 {
            means.time_in_system.push((middle_s, in_flight / rate));
        }
    }
    means
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    if count > 0.0 { sum / count } else { 0.0 }
}

/// The least-squares slope of (seconds, value) with its interval; `None` with fewer points than the test needs.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<Slope> {
    if points.len() < LEAST_BATCHES {
        return None;
    }
    let count = points.len() as f64;
    let (centre_x, centre_y) = (mean(points.iter().map(|(x, _)| *x)), mean(points.iter().map(|(_, y)| *y)));
    let square_x: f64 = points.iter().map(|(x, _)| (x - centre_x).powi(2)).sum();
    let square_y: f64 = points.iter().map(|(_, y)| (y - centre_y).powi(2)).sum();
    if square_x <= 0.0 {
        return None;
    }
    let per_s = points.iter().map(|(x, y)| (x - centre_x) * (y - centre_y)).sum::<f64>() / square_x;
    let residuals: Vec<f64> = points.iter().map(|(x, y)| y - centre_y - per_s * (x - centre_x)).collect();
    let squares: f64 = residuals.iter().map(|residual| residual * residual).sum();
    let products: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
    // Neighbouring batches are alike: they count as fewer (a first-order process), but never as fewer than five. A queue
    // that grows wanders about its line, and would otherwise never be found to grow.
    let correlation = if squares > 0.0 { (products / squares).clamp(0.0, 0.9) } else { 0.0 };
    let effective = (count * (1.0 - correlation) / (1.0 + correlation)).max(LEAST_EFFECTIVE.min(count));
    let error = (squares / (effective - 2.0) / square_x * (count / effective).max(1.0)).sqrt();
    let margin = student::quantile(0.5 + CONFIDENCE / 2.0, effective - 2.0) * error;
    let explained = if square_y > 0.0 { (1.0 - squares / square_y).clamp(0.0, 1.0) } else { 0.0 };
    Some(Slope { per_s, low: per_s - margin, high: per_s + margin, explained })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Growth would be seen where there is none. `scipy.stats.linregress` and `scipy.stats.t` gave the numbers; the
    /// residuals alternate, so no degree of freedom is lost.
    #[test]
    fn the_slope_is_that_of_a_linear_regression() {
        let values = [
            3.1, 2.7, 3.3, 3.0, 2.9, 3.6, 3.2, 3.5, 3.1, 3.9, 3.3, 3.8, 3.6, 3.5, 4.1, 3.7, 4.0, 3.9, 4.4,
            3.8,
        ];
        let points: Vec<(f64, f64)> =
            values.iter().enumerate().map(|(index, value)| (10.0 * index as f64 + 5.0, *value)).collect();
        let found = slope(&points).expect("enough points");
        assert!((found.per_s - 0.006_135_338_345_864_662).abs() < 1e-12);
        assert!((found.explained - 0.674_358_309_567_021_1).abs() < 1e-12);
        assert!((found.low - 0.004_024_102_038_135_044).abs() < 1e-10);
        assert!((found.high - 0.008_246_574_653_594_28).abs() < 1e-10);
        assert_eq!(slope(&points[..5]), None);
    }

    /// Batches that are alike would count as independent ones: a queue that only wanders would look like one that grows.
    #[test]
    fn alike_batches_count_as_fewer() {
        let wave: Vec<(f64, f64)> = (0..20)
            .map(|index| (f64::from(index), 0.02 * f64::from(index) + (f64::from(index) * 0.7).sin()))
            .collect();
        let found = slope(&wave).expect("enough points");
        let (_, residual) = wave.iter().fold((0.0, 0.0), |(last, sum), (_, y)| (*y, sum + (y - last).abs()));
        assert!(residual > 0.0 && found.low < 0.0 && found.high > 0.0);
    }
}
