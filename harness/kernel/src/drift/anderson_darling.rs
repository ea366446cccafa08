//! The two-sample Anderson-Darling test with mid-ranks, by F. Scholz and M. Stephens (*K-Sample Anderson-Darling Tests*,
//! Journal of the American Statistical Association 82, 1987).

use super::ranks::steps;

/// The normalised statistic and its p-value for two ascending samples. The p-value comes out of a table from 0.001 to
/// 0.25 and is cut to that range. (0, 0.25) for fewer than four values together or values that are all equal, about
/// which nothing can be said.
#[must_use]
pub fn test(reference: &[f64], window: &[f64]) -> (f64, f64) {
    let (n, m) = (reference.len() as f64, window.len() as f64);
    let total = n + m;
    if reference.is_empty() || window.is_empty() || total < 4.0 {
        return (0.0, P_MAXIMUM);
    }
    let mut sums = (0.0, 0.0);
    let mut distinct = 0_usize;
    for step in steps(reference, window) {
        distinct += 1;
        let equal = (step.equal.0 + step.equal.1) as f64;
        let before = (step.at_most.0 + step.at_most.1) as f64 - equal;
        let middle = before + 0.5 * equal;
        let variance = middle * (total - middle) - 0.25 * total * equal;
        if variance <= 0.0 {
            continue;
        }
        let term = |at_most: usize, equal_here: usize, size: f64| {
            let rank = at_most as f64 - 0.5 * equal_here as f64;
            let difference = total * rank - middle * size;
            equal / total * difference * difference / variance
        };
        sums.0 += term(step.at_most.0, step.equal.0, n);
        sums.1 += term(step.at_most.1, step.equal.1, m);
    }
    if distinct < 2 {
        return (0.0, P_MAXIMUM);
    }
    let raw = (sums.0 / n + sums.1 / m) * (total - 1.0) / total;
    let deviation = variance(n, m).max(f64::MIN_POSITIVE).sqrt();
    let statistic = (raw - 1.0) / deviation;
    (statistic, p_value(statistic))
}

/// The variance of the statistic for samples of `n` and `m`.
fn variance(n: f64, m: f64) -> f64 {
    let total = n + m;
    let harmonic_sizes = 1.0 / n + 1.0 / m;
    // h = sum of 1/i up to N-1; g = sum over 1 <= i < j < N of 1 / ((N - i) j).
    let last = total as u64 - 1;
    let (mut h, mut g) = (0.0, 0.0);
    for i in (2..=last).rev() {
        h += 1.0 / i as f64;
        g += h / (total - i as f64 + 1.0);
    }
    h += 1.0;
    let k = 2.0;
    let a = (4.0 * g - 6.0) * (k - 1.0) + (10.0 - 6.0 * g) * harmonic_sizes;
    let b = (2.0 * g - 4.0) * k * k + 8.0 * h * k + (2.0 * g - 14.0 * h - 4.0) * harmonic_sizes - 8.0 * h
        + 4.0 * g
        - 6.0;
    let c = (6.0 * h + 2.0 * g - 2.0) * k * k
        + (4.0 * h - 4.0 * g + 6.0) * k
        + (2.0 * h - 6.0) * harmonic_sizes
        + 4.0 * h;
    let d = (2.0 * h + 6.0) * k * k - 4.0 * h * k;
    (((a * total + b) * total + c) * total + d) / ((total - 1.0) * (total - 2.0) * (total - 3.0))
}

const P_MAXIMUM: f64 = 0.25;
const P_MINIMUM: f64 = 0.001;

/// Critical values of two samples at 25 % and 0.1 % (Table 2: b0 + b1 + b2).
const CRITICAL: (f64, f64) = (0.325, 6.546);

/// The parabola of least squares through the logarithms of the seven levels over their critical values (0.325, 1.226,
/// 1.961, 2.718, 3.752, 4.592, 6.546 at 25, 10, 5, 2.5, 1, 0.5, 0.1 %), as SciPy interpolates.
const PARABOLA: [f64; 3] = [0.018_198_094_574_111_47, -1.008_226_564_465_251_5, -1.077_770_279_820_484];

fn p_value(statistic: f64) -> f64 {
    if statistic < CRITICAL.0 {
        P_MAXIMUM
    } else if statistic > CRITICAL.1 {
        P_MINIMUM
    } else {
        libm::exp((PARABOLA[0] * statistic + PARABOLA[1]) * statistic + PARABOLA[2])
    }
}
