//! Wasserstein's distance of order 1: the area between two distribution functions, in the unit of the values. How far
//! the values have moved on average.

use super::ranks::steps;

/// The distance of two ascending samples of finite values; at most [`f64::MAX`], and 0 when one is empty.
#[must_use]
pub fn distance(reference: &[f64], window: &[f64]) -> f64 {
    if reference.is_empty() || window.is_empty() {
        return 0.0;
    }
    let (n, m) = (reference.len() as f64, window.len() as f64);
    let mut area = 0.0;
    let mut before: Option<(f64, f64)> = None;
    for step in steps(reference, window) {
        if let Some((value, difference)) = before {
            // Halves first, so that the width of any two finite values is finite.
            area += difference * (0.5 * step.value - 0.5 * value);
        }
        let difference = (step.at_most.0 as f64 / n - step.at_most.1 as f64 / m).abs();
        before = Some((step.value, difference));
    }
    (2.0 * area).min(f64::MAX)
}
