//! Binomial probabilities without cancellation, and the regularised incomplete beta function on top of them.
//!
//! Probabilities by C. Loader's saddle-point expansion (*Fast and Accurate Computation of Binomial
//! Probabilities*, 2000), the integral by its continued fraction (Lentz's algorithm).

use std::f64::consts::PI;

/// Counts beyond this are cut to it: more than any run has, and as many as the arithmetic here is exact for.
pub(crate) const COUNT_LIMIT: u64 = 1 << 40;

/// `ln P[Bin(n, p) = k]`; minus infinity where impossible.
pub(crate) fn ln_probability(k: u64, n: u64, p: f64) -> f64 {
    if k > n {
        return f64::NEG_INFINITY;
    }
    ln_mass(k as f64, (n - k) as f64, p)
}

/// `ln (Γ(k+r+1) / (Γ(k+1) Γ(r+1)) p^k (1-p)^r)` for `k, r >= 0`.
fn ln_mass(k: f64, rest: f64, p: f64) -> f64 {
    let n = k + rest;
    let q = 1.0 - p;
    if p <= 0.0 {
        return if k == 0.0 { 0.0 } else { f64::NEG_INFINITY };
    }
    if q <= 0.0 {
        return if rest == 0.0 { 0.0 } else { f64::NEG_INFINITY };
    }
    if k == 0.0 {
        return n * libm::log1p(-p);
    }
    if rest == 0.0 {
        return n * libm::log(p);
    }
    let correction = stirling_error(n)
        - stirling_error(k)
        - stirling_error(rest)
        - deviance(k, n * p)
        - deviance(rest, n * q);
    correction + 0.5 * libm::log(n / (2.0 * PI * k * rest))
}

/// The regularised incomplete beta function `I_x(a, b)` for whole `a, b >= 1`: the probability that at least `a`
/// of `a + b - 1` tries succeed.
pub(crate) fn regularized(x: f64, a: u64, b: u64) -> f64 {
    incomplete(x, a as f64, b as f64)
}

/// The regularised incomplete beta function `I_x(a, b)` for `a, b > 0`; `x` outside of [0, 1] is cut to it, NaN is 0.
pub(crate) fn incomplete(x: f64, a: f64, b: f64) -> f64 {
    let (lower, upper) = ln_tails(x, a, b);
    if lower < upper { libm::exp(lower) } else { 1.0 - libm::exp(upper) }.clamp(0.0, 1.0)
}

/// `1 - I_x(a, b)`, exact however small.
pub(crate) fn rest(x: f64, a: f64, b: f64) -> f64 {
    let (lower, upper) = ln_tails(x, a, b);
    if lower < upper { 1.0 - libm::exp(lower) } else { libm::exp(upper) }.clamp(0.0, 1.0)
}

/// `(ln I_x(a, b), ln (1 - I_x(a, b)))`, each exact however small.
pub(crate) fn ln_tails(x: f64, a: f64, b: f64) -> (f64, f64) {
    if x.is_nan() || x <= 0.0 {
        return (f64::NEG_INFINITY, 0.0);
    }
    if x >= 1.0 {
        return (0.0, f64::NEG_INFINITY);
    }
    // The fraction converges fast on its own side of the mean.
    if x < (a + 1.0) / (a + b + 2.0) {
        let lower = (ln_leading(x, a, b) + libm::log(fraction(x, a, b))).min(0.0);
        (lower, ln_1m_exp(lower))
    } else {
        let upper = (ln_leading(1.0 - x, b, a) + libm::log(fraction(1.0 - x, b, a))).min(0.0);
        (ln_1m_exp(upper), upper)
    }
}

/// `ln (1 - e^v)` for `v <= 0`.
fn ln_1m_exp(v: f64) -> f64 {
    if v > -std::f64::consts::LN_2 { libm::log(-libm::expm1(v)) } else { libm::log1p(-libm::exp(v)) }
}

/// `ln (x^a (1-x)^b / (a B(a, b)))`, out of a binomial probability.
fn ln_leading(x: f64, a: f64, b: f64) -> f64 {
    ln_mass(a, b, x) + libm::log(b / (a + b))
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const ENOUGH: f64 = 1e-15;
    const TINY: f64 = 1e-300;
    // It takes about sqrt(max(a, b)) rounds.
    const ROUNDS: u32 = 2_000_000;
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
        if (change - 1.0).abs() < ENOUGH || change.is_nan() {
            break;
        }
    }
    result
}

/// `ln Γ(n+1) - ln(sqrt(2 pi n) (n/e)^n)`; 0 for 0.
pub(crate) fn stirling_error(n: f64) -> f64 {
    if n <= 0.0 {
        return 0.0;
    }
    if n <= 15.0 {
        return libm::lgamma(n + 1.0) - (0.5 * libm::log(2.0 * PI * n) + n * libm::log(n) - n);
    }
    let square = n * n;
    (1.0 / 12.0
        - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - (1.0 / 1188.0) / square) / square) / square)
            / square)
        / n
}

/// `x ln(x / m) + m - x`, without cancellation where `x` is near `m`.
pub(crate) fn deviance(x: f64, m: f64) -> f64 {
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
    x * libm::log(x / m) + m - x
}
