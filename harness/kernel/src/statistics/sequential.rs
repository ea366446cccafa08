//! Whether a share keeps to a limit, judged while the samples come, at any time and as often as one likes.
//!
//! A test that is made for one look and taken every second calls every service bad sooner or later. This one does not:
//! it bets against "the share is at most the limit" and against "the share is at least the limit" with every alternative
//! share at once, weighed by a beta distribution (mean = the limit, weight of one bad sample). The winnings are a
//! martingale at worst, so by Ville's inequality they exceed `1/alpha` at any time with probability `alpha` at most
//! (Ramdas et al., *Game-theoretic statistics and safe anytime-valid inference*, 2023).

use serde::{Deserialize, Serialize};

use super::beta::{COUNT_LIMIT, ln_tails};

/// What can be said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Neither.
    #[default]
    Open,
    /// The share is under the limit.
    Kept,
    /// The share is over the limit.
    Broken,
}

/// The running test of one share.
///
/// ```
/// use windtunnel_kernel::statistics::sequential::{Judgement, ShareTest};
///
/// // At most 1 % of the requests may be slow; wrong once in a hundred runs at most.
/// let mut test = ShareTest::new(0.01, 0.01);
/// assert_eq!(test.observe(150, 8), Judgement::Broken);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareTest {
    limit: f64,
    alpha: f64,
    samples: u64,
    over: u64,
    judgement: Judgement,
}

impl ShareTest {
    /// A test of whether a share is at most `limit`, with a probability of at most `alpha` of a wrong word on either
    /// side. Both are cut to the open range from 0 to 1; NaN is taken for 0.01.
    #[must_use]
    pub fn new(limit: f64, alpha: f64) -> Self {
        let share = |value: f64| if value.is_nan() { 0.01 } else { value.clamp(1e-9, 1.0 - 1e-9) };
        Self { limit: share(limit), alpha: share(alpha), samples: 0, over: 0, judgement: Judgement::Open }
    }

    /// Takes `samples` more, of which `over` exceed what they should keep to. Once the judgement is made it stays.
    pub fn observe(&mut self, samples: u64, over: u64) -> Judgement {
        self.samples = self.samples.saturating_add(samples).min(COUNT_LIMIT);
        self.over = self.over.saturating_add(over.min(samples)).min(self.samples);
        if self.judgement == Judgement::Open {
            let enough = -libm::log(self.alpha);
            let (broken, kept) = self.ln_evidence();
            if broken >= enough {
                self.judgement = Judgement::Broken;
            } else if kept >= enough {
                self.judgement = Judgement::Kept;
            }
        }
        self.judgement
    }

    /// The judgement so far.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        self.judgement
    }

    /// Samples so far, and how many of them exceeded.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.samples, self.over)
    }

    /// The natural logarithm of the winnings against "kept" and against "broken"; 0 at the start.
    #[must_use]
    pub fn ln_evidence(&self) -> (f64, f64) {
        let (over, under) = (self.over as f64, (self.samples - self.over) as f64);
        let (a, b) = (1.0, (1.0 - self.limit) / self.limit);
        let (prior_under, prior_over) = ln_tails(self.limit, a, b);
        let (under_limit, over_limit) = ln_tails(self.limit, a + over, b + under);
        // All alternatives together, then the part of them on either side of the limit.
        let all = ln_beta_ratio(a, b, over, under)
            - over * libm::log(self.limit)
            - under * libm::log1p(-self.limit);
        (all + over_limit - prior_over, all + under_limit - prior_under)
    }
}

/// `ln (B(a + k, b + r) / B(a, b))`.
fn ln_beta_ratio(a: f64, b: f64, k: f64, r: f64) -> f64 {
    ln_gamma_ratio(a, k) + ln_gamma_ratio(b, r) - ln_gamma_ratio(a + b, k + r)
}

/// `ln (Γ(x + n) / Γ(x))`.
fn ln_gamma_ratio(x: f64, n: f64) -> f64 {
    libm::lgamma(x + n) - libm::lgamma(x)
}
