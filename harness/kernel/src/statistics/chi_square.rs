//! The chi-square distribution.

use super::{gamma, root};

/// `P[X >= x]` for `degrees` of freedom (any positive number). NaN is taken for 0, and for one degree of freedom.
#[must_use]
pub fn at_least(x: f64, degrees: f64) -> f64 {
    gamma::upper(0.5 * degrees_of_freedom(degrees), 0.5 * x)
}

/// `P[X <= x]`.
#[must_use]
pub fn at_most(x: f64, degrees: f64) -> f64 {
    gamma::lower(0.5 * degrees_of_freedom(degrees), 0.5 * x)
}

/// The value that a share `p` of the distribution lies under; 0 for `p <= 0` and NaN, finite for `p >= 1`.
#[must_use]
pub fn quantile(p: f64, degrees: f64) -> f64 {
    let degrees = degrees_of_freedom(degrees);
    if p.is_nan() || p <= 0.0 {
        return 0.0;
    }
    let p = p.min(1.0 - f64::EPSILON / 2.0);
    // By the smaller tail, in the logarithm of x: small shares lie at tiny values.
    let exponent = root::falling(-700.0, 700.0, |exponent| {
        let x = libm::exp(exponent);
        if p < 0.5 { p - at_most(x, degrees) } else { at_least(x, degrees) - (1.0 - p) }
    });
    libm::exp(exponent)
}

fn degrees_of_freedom(degrees: f64) -> f64 {
    // Beyond, the gamma function's rounds would not suffice; no table has so many cells.
    if degrees.is_nan() { 1.0 } else { degrees.clamp(1e-3, 1e9) }
}
