//! Shares of bins or categories.

use crate::statistics::chi_square as distribution;

/// Shares below this count as this in the stability index, so that an empty cell is much but not everything.
pub const SHARE_MINIMUM: f64 = 1e-4;

/// Population stability index of counts over the same cells; 0 when a side is empty.
#[must_use]
pub fn psi(reference: &[u64], window: &[u64]) -> f64 {
    let floor = |share: f64| share.max(SHARE_MINIMUM);
    let term = |(p, q): (f64, f64)| (floor(p) - floor(q)) * libm::log(floor(p) / floor(q));
    shares(reference, window).map(term).sum::<f64>() + 0.0
}

/// Jensen-Shannon distance of counts over the same cells, by the natural logarithm: from 0 to the square root of ln 2
/// (0.8326).
#[must_use]
pub fn jensen_shannon(reference: &[u64], window: &[u64]) -> f64 {
    let half = |p: f64, middle: f64| if p > 0.0 { 0.5 * p * libm::log(p / middle) } else { 0.0 };
    let term = |(p, q): (f64, f64)| {
        let middle = 0.5 * (p + q);
        half(p, middle) + half(q, middle)
    };
    shares(reference, window).map(term).sum::<f64>().max(0.0).sqrt()
}

/// Statistic and p-value of the chi-square test of independence of a two-row table. Cells that are empty in both rows do
/// not count; with two cells Yates's correction is applied. (0, 1) for a table that says nothing.
#[must_use]
pub fn chi_square(reference: &[u64], window: &[u64]) -> (f64, f64) {
    let table: Vec<(f64, f64)> = reference
        .iter()
        .zip(window)
        .map(|(&one, &other)| (one as f64, other as f64))
        .filter(|(one, other)| one + other > 0.0)
        .collect();
    let rows = table.iter().fold((0.0, 0.0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
    let total = rows.0 + rows.1;
    if table.len() < 2 || rows.0 <= 0.0 || rows.1 <= 0.0 {
        return (0.0, 1.0);
    }
    let degrees = (table.len() - 1) as f64;
    let correction = if table.len() == 2 { 0.5 } else { 0.0 };
    let term = |seen: f64, expected: f64| {
        let difference = (seen - expected).abs();
        let difference = difference - difference.min(correction);
        difference * difference / expected
    };
    let statistic: f64 = table
        .iter()
        .map(|&(one, other)| {
            let column = (one + other) / total;
            term(one, column * rows.0) + term(other, column * rows.1)
        })
        .sum();
    (statistic, distribution::at_least(statistic, degrees))
}

/// The shares of every cell; none when a side is empty.
fn shares<'a>(reference: &'a [u64], window: &'a [u64]) -> impl Iterator<Item = (f64, f64)> + 'a {
    let total = |counts: &[u64]| counts.iter().map(|&count| count as f64).sum::<f64>();
    let (n, m) = (total(reference), total(window));
    let cells = if n > 0.0 && m > 0.0 { reference.len().min(window.len()) } else { 0 };
    (0..cells).map(move |cell| (reference[cell] as f64 / n, window[cell] as f64 / m))
}
