//! MLPerf's early-stopping rule: when a sample is large enough to promise a percentile.
//!
//! A percentile `p` of latencies is promised to stay under a limit with confidence `c` when so few samples exceed
//! the limit that a process which just missed the percentile would hardly show so few: with `t` over the limit and
//! `h` under it, when `P[Bin(h + t, 1 - p) <= t] <= 1 - c`.

use super::beta::{COUNT_LIMIT, regularized};
use super::binomial::at_least;

/// What the samples say about a percentile and a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The percentile keeps to the limit, with the confidence asked for.
    Kept,
    /// It does not, with the confidence asked for.
    Broken,
    /// Neither can be said. So many more samples are needed, if no more of them exceed the limit.
    Inconclusive {
        /// How many more.
        more: u64,
    },
}

/// The percentile, and how sure to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The percentile as a fraction, such as 0.99.
    pub percentile: f64,
    /// The confidence as a fraction, such as 0.99.
    pub confidence: f64,
    /// How much the percentile may be missed by, as a fraction; usually 0.
    pub tolerance: f64,
}

impl Rule {
    /// A percentile (as a fraction) at 99 % confidence, without tolerance.
    #[must_use]
    pub fn at_99_percent(percentile: f64) -> Self {
        Self { percentile, confidence: 0.99, tolerance: 0.0 }
    }

    /// The fewest samples under the limit that make up for `over` samples above it; `None` when no number does
    /// (a percentile of 1, or parameters outside of (0, 1)).
    #[must_use]
    pub fn min_under(&self, over: u64) -> Option<u64> {
        const MAXIMUM: u64 = COUNT_LIMIT;
        let under_share = self.percentile - self.tolerance;
        let doubt = 1.0 - self.confidence;
        if !(under_share > 0.0 && under_share < 1.0 && doubt > 0.0 && doubt < 1.0) || over >= MAXIMUM {
            return None;
        }
        let is_enough = |under: u64| regularized(under_share, under, over + 1) <= doubt;
        let mut high = 1;
        while !is_enough(high) {
            if high >= MAXIMUM {
                return None;
            }
            high *= 2;
        }
        let mut low = high / 2 + 1;
        while low < high {
            let middle = low + (high - low) / 2;
            if is_enough(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Some(high)
    }

    /// The fewest samples of which `over` exceed the limit.
    #[must_use]
    pub fn min_total(&self, over: u64) -> Option<u64> {
        self.min_under(over)?.checked_add(over)
    }

    /// The position in `samples` ascending samples (0 = the smallest) of the value that the percentile is promised
    /// to stay under; `None` when there are too few. It errs on the high side.
    #[must_use]
    pub fn estimate_position(&self, samples: u64) -> Option<u64> {
        let fits = |over: u64| self.min_total(over).is_some_and(|total| total <= samples);
        if !fits(1) {
            return None;
        }
        let (mut low, mut high) = (1, samples.min(COUNT_LIMIT));
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if fits(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(samples - low)
    }

    /// Judges `samples` of which `over` exceed the limit.
    #[must_use]
    pub fn judge(&self, samples: u64, over: u64) -> Verdict {
        let over = over.min(samples);
        let needed = self.min_total(over);
        if needed.is_some_and(|needed| samples >= needed) {
            return Verdict::Kept;
        }
        // So many over the limit would hardly be seen if the percentile were kept.
        if over > 0 && at_least(over, samples, 1.0 - self.percentile) <= 1.0 - self.confidence {
            return Verdict::Broken;
        }
        Verdict::Inconclusive { more: needed.map_or(u64::MAX, |needed| needed.saturating_sub(samples)) }
    }
}
