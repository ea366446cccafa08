//! What values used to look like.

use serde::{Deserialize, Serialize};

use super::{DriftError, Outcome, Test, anderson_darling, cramer_von_mises, ks, of_cells, wasserstein};
use crate::routing::balance::below;
use crate::statistics::quantile;

/// A sample to compare windows with, prepared once for many of them. Values that are not finite are left out and
/// counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Ascending.
    values: Vec<f64>,
    cells: Cells,
    /// How many of the values lie in each cell.
    counts: Vec<u64>,
    dropped: u64,
}

/// How values fall into cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Cells {
    /// Numbers: bins between these ascending edges. A value on an edge belongs to the bin above it.
    Bins(Vec<f64>),
    /// Categories: one each of these ascending codes, and one for all others.
    Codes(Vec<f64>),
}

impl Reference {
    /// Numbers. Their bins lie between their deciles; deciles that coincide make fewer bins, so a column of a handful of
    /// values is better taken for [`categories`](Self::categories).
    ///
    /// # Errors
    /// Fewer than two finite values.
    pub fn numbers(values: &[f64]) -> Result<Self, DriftError> {
        let (values, dropped) = ascending(values, "the reference")?;
        let mut edges: Vec<f64> =
            (0..=10).filter_map(|tenth| quantile::linear(&values, f64::from(tenth) * 0.1)).collect();
        edges.dedup();
        // The outermost bins are open.
        let inner = if edges.len() > 2 { edges[1..edges.len() - 1].to_vec() } else { Vec::new() };
        Ok(Self::with(values, Cells::Bins(inner), dropped))
    }

    /// Categories, as numbers that stand for them.
    ///
    /// # Errors
    /// Fewer than two finite values.
    pub fn categories(values: &[f64]) -> Result<Self, DriftError> {
        let (values, dropped) = ascending(values, "the reference")?;
        let mut codes = values.clone();
        codes.dedup();
        Ok(Self::with(values, Cells::Codes(codes), dropped))
    }

    /// Compares a window with it.
    ///
    /// # Errors
    /// Fewer than two finite values, or a test that orders values although these are categories.
    pub fn compare(&self, test: Test, window: &[f64], threshold: f64) -> Result<Outcome, DriftError> {
        if test.is_ordered() && matches!(self.cells, Cells::Codes(_)) {
            return Err(DriftError::Categories { test });
        }
        let (window, dropped) = ascending(window, "the window")?;
        let (statistic, p_value) = self.statistic(test, &window);
        Ok(Outcome::of(test, statistic, p_value, threshold, dropped))
    }

    /// The threshold at which a share `false_alarm` of windows of `window` values is called drifted although nothing
    /// has changed, by `rounds` pairs of a reference and a window drawn from this one with replacement. `rng` gives
    /// uniform 64-bit words. For a test with a p-value it is a p-value.
    ///
    /// # Errors
    /// A window of fewer than two values, or a test that orders values although these are categories.
    pub fn calibrate(
        &self,
        test: Test,
        window: usize,
        false_alarm: f64,
        rounds: u32,
        rng: &mut impl FnMut() -> u64,
    ) -> Result<f64, DriftError> {
        let mut scores = Vec::with_capacity(rounds as usize);
        for _ in 0..rounds.max(1) {
            let mut draw = |count: usize| -> Vec<f64> {
                (0..count).map(|_| self.values[below(self.values.len() as u64, rng) as usize]).collect()
            };
            let (reference, window) = (draw(self.values.len()), draw(window));
            let reference = match self.cells {
                Cells::Bins(_) => Self::numbers(&reference),
                Cells::Codes(_) => Self::categories(&reference),
            }?;
            let outcome = reference.compare(test, &window, 0.0)?;
            // Larger is more suspicious.
            scores.push(outcome.p_value.map_or(outcome.statistic, |p_value| -p_value));
        }
        scores.sort_unstable_by(f64::total_cmp);
        let share = if false_alarm.is_nan() { 0.0 } else { 1.0 - false_alarm.clamp(0.0, 1.0) };
        Ok(quantile::linear(&scores, share).map_or(0.0, f64::abs))
    }

    /// How many values it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Never: it has two values at least.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Values that were left out because they are not finite.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn with(values: Vec<f64>, cells: Cells, dropped: u64) -> Self {
        let counts = cells.count(&values);
        Self { values, cells, counts, dropped }
    }

    fn statistic(&self, test: Test, window: &[f64]) -> (f64, Option<f64>) {
        let with_p_value = |(statistic, p_value): (f64, f64)| (statistic, Some(p_value));
        match test {
            Test::Ks => with_p_value(ks::test(&self.values, window)),
            Test::CramerVonMises => with_p_value(cramer_von_mises::test(&self.values, window)),
            Test::AndersonDarling => with_p_value(anderson_darling::test(&self.values, window)),
            Test::Wasserstein => (wasserstein::distance(&self.values, window), None),
            Test::Psi | Test::JensenShannon | Test::ChiSquare => {
                of_cells(test, &self.counts, &self.cells.count(window)).unwrap_or((0.0, None))
            }
        }
    }
}

impl Cells {
    fn count(&self, ascending: &[f64]) -> Vec<u64> {
        match self {
            Self::Bins(edges) => {
                // Cumulative counts under each edge, then their differences.
                let mut counts = Vec::with_capacity(edges.len() + 1);
                let mut before = 0;
                for &edge in edges {
                    let under = ascending.partition_point(|&value| value < edge);
                    counts.push((under - before) as u64);
                    before = under;
                }
                counts.push((ascending.len() - before) as u64);
                counts
            }
            Self::Codes(codes) => {
                let mut counts = vec![0; codes.len() + 1];
                for value in ascending {
                    let cell = codes.binary_search_by(|code| code.total_cmp(value)).unwrap_or(codes.len());
                    counts[cell] += 1;
                }
                counts
            }
        }
    }
}

/// The finite values in ascending order, and how many are not.
fn ascending(values: &[f64], place: &'static str) -> Result<(Vec<f64>, u64), DriftError> {
    const NEEDED: usize = 2;
    // Adding zero turns -0 into 0, so that equal values are equal in the total order too.
    let mut finite: Vec<f64> =
        values.iter().filter(|value| value.is_finite()).map(|value| value + 0.0).collect();
    if finite.len() < NEEDED {
        return Err(DriftError::TooFew { place, found: finite.len(), needed: NEEDED });
    }
    finite.sort_unstable_by(f64::total_cmp);
    let dropped = (values.len() - finite.len()) as u64;
    Ok((finite, dropped))
}
