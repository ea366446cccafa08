//! Confidence intervals of a mean and of a quantile.

use serde::{Deserialize, Serialize};

use super::binomial::{at_least, at_most};
use super::student;

/// An estimate and the range that the true value lies in with the confidence asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// What the sample says.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Half the width, relative to the estimate; `None` for an estimate of 0.
    #[must_use]
    pub fn relative_half_width(&self) -> Option<f64> {
        let ratio = 0.5 * (self.high - self.low) / self.estimate.abs();
        (self.estimate != 0.0 && ratio.is_finite()).then_some(ratio)
    }

    /// Whether a value lies in the range.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Count, mean and variance of a sample as it comes, without its values (Welford's algorithm). Values that are not finite
/// are counted apart and otherwise left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
    left_out: u64,
}

impl Moments {
    /// An empty sample.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    pub fn push(&mut self, value: f64) {
        let count = self.count + 1;
        let delta = value - self.mean;
        let mean = self.mean + delta / count as f64;
        let squares = self.squares + delta * (value - mean);
        if mean.is_finite() && squares.is_finite() {
            (self.count, self.mean, self.squares) = (count, mean, squares);
        } else {
            self.left_out += 1;
        }
    }

    /// Values in the sample.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Values that were not finite, or so large that the variance would not be.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The mean; `None` without values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// The sample variance (divisor count - 1); `None` for fewer than two values.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).max(0.0))
    }

    /// The interval of the mean by Student's t, for independent values that are nearly normal (or many); `None` for
    /// fewer than two values. `confidence` is a fraction such as 0.95.
    #[must_use]
    pub fn confidence(&self, confidence: f64) -> Option<Interval> {
        let variance = self.variance()?;
        let degrees = (self.count - 1) as f64;
        let t = student::quantile(1.0 - tail(confidence), degrees);
        let half = t * (variance / self.count as f64).sqrt();
        let interval = Interval { estimate: self.mean, low: self.mean - half, high: self.mean + half };
        (interval.low.is_finite() && interval.high.is_finite()).then_some(interval)
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::new();
        values.into_iter().for_each(|value| moments.push(value));
        moments
    }
}

/// The interval of a mean; see [`Moments::confidence`].
#[must_use]
pub fn mean(values: &[f64], confidence: f64) -> Option<Interval> {
    values.iter().copied().collect::<Moments>().confidence(confidence)
}

/// The positions (from 0) in `count` ascending samples between which the quantile `q` lies with the confidence asked
/// for, whatever the distribution: by the binomial distribution of how many samples lie under it. `None` for a side on
/// which there are too few samples.
#[must_use]
pub fn quantile_positions(count: u64, q: f64, confidence: f64) -> (Option<u64>, Option<u64>) {
    if q.is_nan() {
        return (None, None);
    }
    let (q, tail) = (q.clamp(0.0, 1.0), tail(confidence));
    // The sample of rank r lies over the quantile when fewer than r samples lie under it.
    let low = last(1, count, |rank| at_most(rank - 1, count, q) <= tail).map(|rank| rank - 1);
    // It lies under the quantile when at least r samples do.
    let high = last(1, count, |rank| at_least(count - rank + 1, count, q) <= tail).map(|back| count - back);
    (low, high)
}

/// The interval of the quantile `q` of ascending samples; `None` where there are too few for either side, see
/// [`quantile_positions`]. The estimate is the nearest rank.
#[must_use]
pub fn quantile(sorted: &[f64], q: f64, confidence: f64) -> Option<Interval> {
    let (low, high) = quantile_positions(sorted.len() as u64, q, confidence);
    let value = |position: Option<u64>| sorted.get(usize::try_from(position?).ok()?).copied();
    Some(Interval {
        estimate: super::quantile::nearest_rank(sorted, q)?,
        low: value(low)?,
        high: value(high)?,
    })
}

/// The probability that is left on either side.
pub(crate) fn tail(confidence: f64) -> f64 {
    if confidence.is_nan() { 0.5 } else { (0.5 * (1.0 - confidence)).clamp(0.0, 0.5) }
}

/// The last number in `from..=to` that fulfils `condition`, which once false stays false; `None` if none does.
fn last(from: u64, to: u64, condition: impl Fn(u64) -> bool) -> Option<u64> {
    let (mut low, mut high) = (from, to.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if condition(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    (low > from).then(|| low - 1)
}
