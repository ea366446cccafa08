//! Whether a window of values still looks like the reference.
//!
//! | module | what is compared |
//! | --- | --- |
//! | [`reference`](mod@reference) | what values used to look like, prepared for many windows |
//! | [`ks`], [`cramer_von_mises`], [`anderson_darling`] | distribution functions, with exact or asymptotic p-values |
//! | [`wasserstein`] | distribution functions, in the unit of the values |
//! | [`cells`] | shares of bins or categories: chi-square, population stability index, Jensen-Shannon distance |
//! | [`detector`] | windows of a stream of values, one after the other |
//!
//! Statistics and p-values are those of SciPy, as `ks_2samp`, `cramervonmises_2samp`, `anderson_ksamp`,
//! `chi2_contingency` and `wasserstein_distance` define them. A threshold is a p-value under which, or a distance from
//! which on, a window counts as drifted. Fixed thresholds of distances call nearly every small window drifted;
//! [`Reference::calibrate`] finds one that keeps to a rate of false alarms.
//!
//! ```
//! use windtunnel_kernel::drift::{self, Test};
//!
//! let reference: Vec<f64> = (0..200).map(f64::from).collect();
//! let window: Vec<f64> = (60..160).map(f64::from).collect();
//! let outcome = drift::numeric(Test::Ks, &reference, &window, 0.05)?;
//! assert!(outcome.drift && outcome.statistic == 0.3, "{outcome:?}");
//! # Ok::<(), drift::DriftError>(())
//! ```

pub mod anderson_darling;
pub mod cells;
pub mod cramer_von_mises;
pub mod detector;
pub mod ks;
mod ranks;
pub mod reference;
pub mod wasserstein;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use detector::{Alarm, Detector};
pub use reference::Reference;

/// A way to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Kolmogorov and Smirnov: the largest difference of the distribution functions.
    Ks,
    /// Population stability index over ten bins at the reference's deciles, or over categories.
    Psi,
    /// Wasserstein's distance of order 1, in the unit of the values.
    Wasserstein,
    /// Jensen-Shannon distance (the square root of the divergence, natural logarithm), binned as the index.
    JensenShannon,
    /// Chi-square test of the contingency table of bins or categories.
    ChiSquare,
    /// Cramér and von Mises: the squared difference of the distribution functions. Not for values that repeat a lot.
    CramerVonMises,
    /// Anderson and Darling: as before, with more weight on the tails.
    AndersonDarling,
}

impl Test {
    /// Every test.
    pub const ALL: [Self; 7] = [
        Self::Ks,
        Self::Psi,
        Self::Wasserstein,
        Self::JensenShannon,
        Self::ChiSquare,
        Self::CramerVonMises,
        Self::AndersonDarling,
    ];

    /// The word for it, such as `cramer_von_mises`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ks => "ks",
            Self::Psi => "psi",
            Self::Wasserstein => "wasserstein",
            Self::JensenShannon => "jensen_shannon",
            Self::ChiSquare => "chi_square",
            Self::CramerVonMises => "cramer_von_mises",
            Self::AndersonDarling => "anderson_darling",
        }
    }

    /// Whether it has a p-value, to which its threshold then applies.
    #[must_use]
    pub fn has_p_value(self) -> bool {
        !matches!(self, Self::Psi | Self::Wasserstein | Self::JensenShannon)
    }

    /// Whether it needs values that can be ordered, as categories cannot.
    #[must_use]
    pub fn is_ordered(self) -> bool {
        !matches!(self, Self::Psi | Self::JensenShannon | Self::ChiSquare)
    }

    /// The customary threshold: 5 % of a p-value, 0.1 of an index or a distance. Wasserstein's distance is in the unit
    /// of the values, so 0.1 suits values of standard deviation 1; see [`Reference::calibrate`].
    #[must_use]
    pub fn customary_threshold(self) -> f64 {
        if self.has_p_value() { 0.05 } else { 0.1 }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Test {
    type Err = DriftError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|test| test.name() == text)
            .ok_or_else(|| DriftError::UnknownTest { name: text.to_string() })
    }
}

/// How a window compares with the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The test.
    pub test: Test,
    /// Its statistic.
    pub statistic: f64,
    /// The probability of such a statistic without drift, where the test has one.
    pub p_value: Option<f64>,
    /// What was asked for: a p-value under which, or a statistic from which on, it is drift.
    pub threshold: f64,
    /// Whether it is drift.
    pub drift: bool,
    /// Values of the window that are not finite and do not count.
    pub dropped: u64,
}

/// Values that cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriftError {
    /// A sample is too small.
    #[error("{place} has {found} finite values, {needed} are needed: take a longer one")]
    TooFew {
        /// `the reference` or `the window`.
        place: &'static str,
        /// How many it has.
        found: usize,
        /// How many it needs.
        needed: usize,
    },
    /// The test orders values, and categories have no order.
    #[error("{test} needs numbers, not categories: take chi_square, psi or jensen_shannon")]
    Categories {
        /// The test.
        test: Test,
    },
    /// The two lists of counts are not over the same categories.
    #[error("{reference} categories in the reference, {window} in the window: count both over the same ones")]
    Cells {
        /// In the reference.
        reference: usize,
        /// In the window.
        window: usize,
    },
    /// There is no such test.
    #[error(
        "{name:?} is no drift test, known are ks, psi, wasserstein, jensen_shannon, chi_square, cramer_von_mises, anderson_darling"
    )]
    UnknownTest {
        /// What was asked for.
        name: String,
    },
}

/// Compares a window of numbers with a reference. Values that are not finite are left out.
///
/// # Errors
/// Fewer than two finite values on either side.
pub fn numeric(test: Test, reference: &[f64], window: &[f64], threshold: f64) -> Result<Outcome, DriftError> {
    Reference::numbers(reference)?.compare(test, window, threshold)
}

/// Compares counts of the same categories in a window and in a reference.
///
/// # Errors
/// The test orders values, the counts are not over the same categories, or fewer than two values on either side.
pub fn categorical(
    test: Test,
    reference: &[u64],
    window: &[u64],
    threshold: f64,
) -> Result<Outcome, DriftError> {
    if reference.len() != window.len() {
        return Err(DriftError::Cells { reference: reference.len(), window: window.len() });
    }
    for (place, counts) in [("the reference", reference), ("the window", window)] {
        let found = counts.iter().fold(0_u64, |sum, &count| sum.saturating_add(count));
        if found < 2 {
            return Err(DriftError::TooFew { place, found: found as usize, needed: 2 });
        }
    }
    let (statistic, p_value) = of_cells(test, reference, window).ok_or(DriftError::Categories { test })?;
    Ok(Outcome::of(test, statistic, p_value, threshold, 0))
}

/// Statistic and p-value of a test of cells; `None` for the others.
pub(crate) fn of_cells(test: Test, reference: &[u64], window: &[u64]) -> Option<(f64, Option<f64>)> {
    Some(match test {
        Test::Psi => (cells::psi(reference, window), None),
        Test::JensenShannon => (cells::jensen_shannon(reference, window), None),
        Test::ChiSquare => {
            let (statistic, p_value) = cells::chi_square(reference, window);
            (statistic, Some(p_value))
        }
        _ => return None,
    })
}

impl Outcome {
    pub(crate) fn of(test: Test, statistic: f64, p_value: Option<f64>, threshold: f64, dropped: u64) -> Self {
        let drift = match p_value {
            Some(p_value) => p_value < threshold,
            None => statistic >= threshold,
        };
        Self { test, statistic, p_value, threshold, drift, dropped }
    }
}
