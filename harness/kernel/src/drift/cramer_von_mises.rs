//! The two-sample Cramér-von Mises test.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use super::ranks::steps;

/// Samples up to this size get an exact p-value.
pub const EXACT_MAXIMUM: usize = 20;

/// The statistic T and its p-value for two ascending samples: exact up to [`EXACT_MAXIMUM`] values a side, from the
/// limiting distribution beyond (good to about 10^-7). (0, 1) when a sample is empty. Values that repeat get mid-ranks,
/// which is an approximation that fails when many do.
#[must_use]
pub fn test(reference: &[f64], window: &[f64]) -> (f64, f64) {
    if reference.is_empty() || window.is_empty() {
        return (0.0, 1.0);
    }
    let (n, m) = (reference.len() as f64, window.len() as f64);
    let u = ranks(reference, window);
    let (product, total) = (n * m, n + m);
    let statistic = u / (product * total) - (4.0 * product - 1.0) / (6.0 * total);
    let p_value = if reference.len().max(window.len()) <= EXACT_MAXIMUM {
        exact(u, reference.len(), window.len())
    } else {
        let expected = (1.0 + 1.0 / total) / 6.0;
        let variance = (total + 1.0) * (4.0 * product * total - 3.0 * (n * n + m * m) - 2.0 * product)
            / (45.0 * total * total * 4.0 * product);
        let normalized = 1.0 / 6.0 + (statistic - expected) / (45.0 * variance).sqrt();
        if normalized < 0.003 { 1.0 } else { 1.0 - limiting(normalized) }
    };
    (statistic, p_value.clamp(0.0, 1.0))
}

/// The rank sums that the statistic is made of: n sum (r_i - i)^2 + m sum (s_j - j)^2 over the mid-ranks r, s.
fn ranks(reference: &[f64], window: &[f64]) -> f64 {
    let (n, m) = (reference.len() as f64, window.len() as f64);
    let mut sums = (0.0, 0.0);
    for step in steps(reference, window) {
        let last = (step.at_most.0 + step.at_most.1) as f64;
        let rank = last - 0.5 * ((step.equal.0 + step.equal.1) as f64 - 1.0);
        let squares = |at_most: usize, equal: usize| -> f64 {
            let own = at_most - equal + 1..=at_most;
            own.map(|position| (rank - position as f64) * (rank - position as f64)).sum()
        };
        sums.0 += squares(step.at_most.0, step.equal.0);
        sums.1 += squares(step.at_most.1, step.equal.1);
    }
    n * sums.0 + m * sums.1
}

/// The exact probability of rank sums of at least `u`, by counting all arrangements: Y. Xiao, A. Gordon and A. Yakovlev,
/// *A C++ Program for the Cramér-Von Mises Two-Sample Test*, Journal of Statistical Software 17, 2007.
fn exact(u: f64, n: usize, m: usize) -> f64 {
    let common = n / divisor(n, m) * m;
    let (step_n, step_m) = ((common / n) as i64, (common / m) as i64);
    let (product, total) = ((n * m) as f64, (n + m) as f64);
    let squared = (common * common) as f64;
    let least =
        (squared * total * (6.0 * u - product * (4.0 * product - 1.0)) / (6.0 * product * product)).floor();
    // columns[v]: how often each sum of squares comes about on the way to v values of the one and u of the other.
    let mut columns: Vec<BTreeMap<u64, f64>> = vec![BTreeMap::new(); n + 1];
    columns[0].insert(0, 1.0);
    for row in 0..=m {
        let mut left: BTreeMap<u64, f64> = BTreeMap::new();
        for (column, ways) in columns.iter_mut().enumerate() {
            for (&sum, &count) in ways.iter() {
                *left.entry(sum).or_insert(0.0) += count;
            }
            let difference = (step_n * column as i64 - step_m * row as i64).unsigned_abs();
            left = left.into_iter().map(|(sum, count)| (sum + difference * difference, count)).collect();
            ways.clone_from(&left);
        }
    }
    let all: f64 = columns[n].values().sum();
    let beyond: f64 =
        columns[n].iter().filter(|&(&sum, _)| sum as f64 >= least).map(|(_, count)| count).sum();
    beyond / all
}

fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a.max(1) } else { divisor(b, a % b) }
}

/// The limiting distribution function, by S. Csörgő and J. Faraway (*The Exact and Asymptotic Distributions of
/// Cramér-von Mises Statistics*, 1996), equation 1.2.
fn limiting(x: f64) -> f64 {
    const ENOUGH: f64 = 1e-10;
    let mut sum = 0.0;
    // Γ(k + 1/2) / Γ(k + 1), from Γ(1/2).
    let mut ratio = PI.sqrt();
    for k in 0..100 {
        let k = f64::from(k);
        let y = 4.0 * k + 1.0;
        let term = ratio / (libm::pow(PI, 1.5) * x.sqrt()) * y.sqrt() * scaled_bessel(y * y / (16.0 * x));
        sum += term;
        if term < ENOUGH {
            break;
        }
        ratio *= (k + 0.5) / (k + 1.0);
    }
    sum
}

/// `e^-q K_{1/4}(q)`, by the trapezoidal rule on its integral, which is as exact as the arithmetic because the
/// integrand falls doubly exponentially.
fn scaled_bessel(q: f64) -> f64 {
    const STEP: f64 = 0.0625;
    let mut sum = 0.5 * libm::exp(-2.0 * q);
    for round in 1..2000 {
        let t = f64::from(round) * STEP;
        let exponent = q * (1.0 + libm::cosh(t));
        if exponent > 745.0 {
            break;
        }
        sum += libm::exp(-exponent) * libm::cosh(0.25 * t);
    }
    sum * STEP
}
