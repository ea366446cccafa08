//! Statistics over replications: the same run with other seeds.
//!
//! Within a run latencies are alike, so their spread says little about how sure a figure is. Replications are
//! independent: the interval of a figure (a mean, a quantile, a cost) is Student's t interval of its values, one a
//! replication. Two variants that were run with the same seeds (common random numbers) are compared by their
//! differences, pair by pair, which removes what both have in common.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windtunnel_kernel::statistics::student;

/// Confidence that is used unless another one is asked for.
pub const CONFIDENCE: f64 = 0.95;

/// A mean over replications with its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Lower end; the mean itself when there is only one replication.
    pub low: f64,
    /// Upper end; the mean itself when there is only one replication.
    pub high: f64,
    /// Confidence of the interval, 0 to 1; 0 when there is only one replication and nothing can be said.
    pub confidence: f64,
    /// Replications that it rests on.
    pub replications: u64,
}

impl Interval {
    /// Student's t interval of the mean. `None` without samples, or when a sample or an end is not finite.
    ///
    /// ```
    /// use windtunnel_record::replications::Interval;
    ///
    /// let interval = Interval::of(&[10.0, 12.0, 9.0, 11.0, 13.0], 0.95).unwrap();
    /// assert_eq!(interval.mean, 11.0);
    /// assert!((interval.low - 9.036_757).abs() < 1e-5 && (interval.high - 12.963_243).abs() < 1e-5);
    /// ```
    pub fn of(samples: &[f64], confidence: f64) -> Option<Self> {
        if samples.is_empty() || samples.iter().any(|sample| !sample.is_finite()) {
            return None;
        }
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        if samples.len() == 1 {
            return mean.is_finite().then_some(Self {
                mean,
                low: mean,
                high: mean,
                confidence: 0.0,
                replications: 1,
            });
        }
        let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let margin = student::quantile(0.5 + confidence / 2.0, count - 1.0) * (variance / count).sqrt();
        let (low, high) = (mean - margin, mean + margin);
        // Samples at the end of what a number can hold have no interval.
        let is_finite = low.is_finite() && high.is_finite();
        is_finite.then_some(Self { mean, low, high, confidence, replications: samples.len() as u64 })
    }

    /// A value that is known without doubt, such as a price.
    pub fn exact(value: f64) -> Self {
        Self { mean: value, low: value, high: value, confidence: 1.0, replications: 1 }
    }

    /// Half the width of the interval.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Half the width as a share of the mean's magnitude; 0 for an interval without width, and infinite around a
    /// mean of 0.
    pub fn relative_half_width(&self) -> f64 {
        let half = self.half_width();
        if half == 0.0 { 0.0 } else { half / self.mean.abs() }
    }

    /// Whether a value lies in the interval.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// The figures of one replication by name, such as `latency.p99` in nanoseconds.
pub type Figures = BTreeMap<String, f64>;

/// The interval of every figure that at least one replication has. Figures that are not finite are left out, and the
/// interval says on how many replications it rests.
pub fn intervals<'a>(
    replications: impl IntoIterator<Item = &'a Figures>,
    confidence: f64,
) -> BTreeMap<String, Interval> {
    let mut samples: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for figures in replications {
        for (name, value) in figures.iter().filter(|(_, value)| value.is_finite()) {
            samples.entry(name).or_default().push(*value);
        }
    }
    samples
        .into_iter()
        .filter_map(|(name, samples)| Some((name.to_owned(), Interval::of(&samples, confidence)?)))
        .collect()
}

/// What two variants differ by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The second is lower than the first.
    Lower,
    /// The second is higher than the first.
    Higher,
    /// The interval holds 0: nobody can tell.
    Undecided,
}

/// A figure of two variants that were run with the same seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The second variant's figure less the first one's.
    pub interval: Interval,
    /// The same as a share of the first variant's mean; `None` when that is 0.
    pub relative: Option<f64>,
    /// What can be said.
    pub direction: Direction,
    /// By how much the pairing narrowed the interval: its variance over that of two independent samples. Below 1 it
    /// helped.
    pub variance_ratio: Option<f64>,
}

/// Compares two variants, one pair a seed. `None` without pairs, with unequal numbers, or with a figure that is not
/// finite.
pub fn paired(first: &[f64], second: &[f64], confidence: f64) -> Option<Difference> {
    if first.len() != second.len() {
        return None;
    }
    let differences: Vec<f64> = first.iter().zip(second).map(|(first, second)| second - first).collect();
    let interval = Interval::of(&differences, confidence)?;
    let base = Interval::of(first, confidence)?.mean;
    let direction = match (interval.replications, interval.low, interval.high) {
        (0 | 1, _, _) => Direction::Undecided,
        (_, low, _) if low > 0.0 => Direction::Higher,
        (_, _, high) if high < 0.0 => Direction::Lower,
        _ => Direction::Undecided,
    };
    let independent = variance(first) + variance(second);
    Some(Difference {
        interval,
        relative: (base != 0.0).then(|| interval.mean / base.abs()),
        direction,
        variance_ratio: (independent > 0.0).then(|| variance(&differences) / independent),
    })
}

fn variance(samples: &[f64]) -> f64 {
    if samples.len() < 2 {
        return 0.0;
    }
    let mean = samples.iter().sum::<f64>() / samples.len() as f64;
    samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / (samples.len() - 1) as f64
}

/// When there are enough replications.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopping {
    /// Half the width of the interval, as a share of the mean, that is narrow enough.
    pub relative_half_width: f64,
    /// Confidence of the interval.
    pub confidence: f64,
    /// Replications in any case: an interval of two or three is narrow by chance.
    pub least: u64,
    /// Replications at most.
    pub most: u64,
}

impl Default for Stopping {
    fn default() -> Self {
        Self { relative_half_width: 0.05, confidence: CONFIDENCE, least: 5, most: 30 }
    }
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// The interval is narrow enough.
    Narrow,
    /// It is not, but there were as many replications as there may be.
    Exhausted,
    /// About so many more are needed.
    Continue(u64),
}

impl Stopping {
    /// Looks at the figures of all replications so far, one list a figure that matters.
    pub fn decide(&self, figures: &[&[f64]]) -> Stop {
        let done = figures.iter().map(|samples| samples.len() as u64).max().unwrap_or(0);
        let mut needed = self.least;
        for samples in figures {
            let finite: Vec<f64> = samples.iter().copied().filter(|sample| sample.is_finite()).collect();
            let Some(interval) = Interval::of(&finite, self.confidence) else { continue };
            let width = interval.relative_half_width();
            if interval.replications < 2 || width <= self.relative_half_width {
                continue;
            }
            // The width falls with the root of the number.
            let factor = (width / self.relative_half_width).powi(2);
            let more = (interval.replications as f64 * factor).ceil().min(1e12) as u64;
            needed = needed.max(more.max(done + 1));
        }
        if done >= needed {
            Stop::Narrow
        } else if done >= self.most {
            Stop::Exhausted
        } else {
            Stop::Continue(needed.min(self.most) - done)
        }
    }
}
