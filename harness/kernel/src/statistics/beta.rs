//! Binomial probabilities without cancellation, and the regularised incomplete beta function on top of them.
//!
//! Probabilities by C. Loader's saddle-point expansion (*Fast and Accurate Computation of Binomial
//! Probabilities*, 2000), the integral by its continued fraction (Lentz's algorithm).

use std::f64::consts::PI;

/// `ln P[Bin(n, p) = k]`; minus infinity where impossible.
pub(crate) fn ln_probability(k: u64, n: u64, p: f64) -> f64 {
    let q = 1.0 - p;
    if k > n {
        return f64::NEG_INFINITY;
    }
    if p <= 0.0 {
        return if k == 0 { 0.0 } else { f64::NEG_INFINITY };
    }
    if q <= 0.0 {
        return if k == n { 0.0 } else { f64::NEG_INFINITY };
    }
    let (kf, nf) = (k as f64, n as f64);
    if k == 0 {
        return nf * (-p).ln_1p();
    }
    if k == n {
        return nf * p.ln();
    }
    let rest = nf - kf;
    let correction = stirling_error(n)
        - stirling_error(k)
        - stirling_error(n - k)
        - deviance(kf, nf * p)
        - deviance(rest, nf * q);
    correction + 0.5 * (nf / (2.0 * PI * kf * rest)).ln()
}

/// The regularised incomplete beta function `I_x(a, b)` for whole `a, b >= 1`: the probability that at least `a`
/// of `a + b - 1` tries succeed.
pub(crate) fn regularized(x: f64, a: u64, b: u64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast on its own side of the mean.
    if x < (a as f64 + 1.0) / ((a + b) as f64 + 2.0) {
        leading(x, a, b) * fraction(x, a as f64, b as f64)
    } else {
        1.0 - leading(1.0 - x, b, a) * fraction(1.0 - x, b as f64, a as f64)
    }
    .clamp(0.0, 1.0)
}

/// `x^a (1-x)^b / (a B(a, b))`, out of a binomial probability.
fn leading(x: f64, a: u64, b: u64) -> f64 {
    (ln_probability(a, a + b, x)).exp() * (b as f64 / (a + b) as f64)
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const ENOUGH: f64 = 1e-15;
    const TINY: f64 = 1e-300;
    // It takes about sqrt(max(a, b)) rounds; this is far beyond any sample that fits in memory.
    const ROUNDS: u32 = 1_000_000;
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for round in 1..=ROUNDS {
        let m = f64::from(round);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / nonzero(1.0 + even * d);
        c = nonzero(1.0 + even / c);
        result *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / nonzero(1.0 + odd * d);
        c = nonzero(1.0 + odd / c);
        let change = d * c;
        result *= change;
        if (change - 1.0).abs() < ENOUGH {
            break;
        }
    }
    result
}

/// `ln n! - ln(sqrt(2 pi n) (n/e)^n)`.
fn stirling_error(n: u64) -> f64 {
    if n <= 15 {
        let nf = n as f64;
        let factorial: f64 = (1..=n).map(|i| i as f64).product();
        if n == 0 {
            return 0.0;
        }
        return factorial.ln() - (0.5 * (2.0 * PI * nf).ln() + nf * nf.ln() - nf);
    }
    let nf = n as f64;
    let square = nf * nf;
    (1.0 / 12.0
        - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - (1.0 / 1188.0) / square) / square) / square)
            / square)
        / nf
}

/// `x ln(x / m) + m - x`, without cancellation where `x` is near `m`.
fn deviance(x: f64, m: f64) -> f64 {
    let difference = x - m;
    if difference.abs() < 0.1 * (x + m) {
        let v = difference / (x + m);
        let mut sum = difference * v;
        let mut term = 2.0 * x * v;
        for j in 1..1000 {
            term *= v * v;
            let next = sum + term / f64::from(2 * j + 1);
            if next == sum {
                return next;
            }
            sum = next;
        }
        return sum;
    }
    x * (x / m).ln() + m - x
}
