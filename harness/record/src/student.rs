//! Student's t distribution.
//!
//! The distribution function is the regularised incomplete beta function, evaluated by its continued fraction
//! (modified Lentz; Abramowitz and Stegun 26.5.8 and 26.7.1); the quantile is found by halving.

/// `P[T <= t]` with `df` degrees of freedom (a whole number is not needed). 0.5 for values that make no sense.
#[must_use]
pub fn cumulative(t: f64, df: f64) -> f64 {
    if t.is_nan() || df.is_nan() || df <= 0.0 {
        return 0.5;
    }
    if t.is_infinite() {
        return if t > 0.0 { 1.0 } else { 0.0 };
    }
    if df.is_infinite() || df > 1e9 {
        return 0.5 * libm::erfc(-t / std::f64::consts::SQRT_2);
    }
    let tail = 0.5 * regularized_beta(df / 2.0, 0.5, df / (df + t * t));
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The value that `T` stays under with probability `p` with `df` degrees of freedom. `p` is cut to what a
/// floating-point number can tell from 0 and 1; 0 for degrees of freedom that make no sense.
#[must_use]
pub fn quantile(p: f64, df: f64) -> f64 {
    if p.is_nan() || df.is_nan() || df <= 0.0 {
        return 0.0;
    }
    let p = p.clamp(1e-12, 1.0 - 1e-12);
    if p < 0.5 {
        return -quantile(1.0 - p, df);
    }
    // Above the median the tail is small, and exact where 1 - tail is not.
    let tail = 1.0 - p;
    let is_above = |t: f64| cumulative(-t, df) <= tail;
    let mut high = 1.0;
    while !is_above(high) && high < 1e15 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..200 {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if is_above(middle) { high = middle } else { low = middle }
    }
    low + (high - low) / 2.0
}

fn regularized_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let ln_front =
        libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x);
    let front = libm::exp(ln_front);
    // The fraction converges quickly on the side of its mean.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(a, b, x) / a
    } else {
        1.0 - front * fraction(b, a, 1.0 - x) / b
    }
}

fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let guard = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for m in 1..100_000_u32 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        result *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let step = d * c;
        result *= step;
        if (step - 1.0).abs() < 1e-16 {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Confidence intervals would be too narrow or too wide. Values of scipy.stats.t (1.17.1).
    #[test]
    fn agrees_with_scipy() {
        for (p, df, expected) in [
            (0.975, 1.0, 12.706204736174694),
            (0.975, 2.0, 4.302652729749462),
            (0.975, 4.0, 2.7764451051977934),
            (0.95, 9.0, 1.833112932656237),
            (0.99, 19.0, 2.5394831906239625),
            (0.975, 29.0, 2.045229642132703),
            (0.995, 3.5, 5.085702223091256),
            (0.9, 120.0, 1.288646233656378),
            (0.025, 6.0, -2.4469118511449794),
            (0.999, 0.7, 3637.014630105735),
            (0.975, 1000000.0, 1.959966356814107),
        ] {
            let found = quantile(p, df);
            assert!(
                (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
                "{p} {df}: {found} {expected}"
            );
            assert!((cumulative(expected, df) - p).abs() < 1e-11, "{p} {df}");
        }
        assert!(quantile(0.5, 7.0).abs() < 1e-12);
        assert_eq!(
            (quantile(f64::NAN, 3.0), quantile(0.9, -1.0), cumulative(f64::NAN, 3.0)),
            (0.0, 0.0, 0.5)
        );
    }
}
