//! The regularised incomplete gamma function: by its series below the mean, by its continued fraction above.

use std::f64::consts::PI;

use super::beta::{deviance, stirling_error};

/// `P(a, x)`, the share of a gamma distribution of shape `a > 0` under `x`.
pub(crate) fn lower(a: f64, x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 {
        0.0
    } else if x == f64::INFINITY {
        1.0
    } else if x < a + 1.0 {
        series(a, x).clamp(0.0, 1.0)
    } else {
        (1.0 - fraction(a, x)).clamp(0.0, 1.0)
    }
}

/// `Q(a, x) = 1 - P(a, x)`, exact however small.
pub(crate) fn upper(a: f64, x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 {
        1.0
    } else if x == f64::INFINITY {
        0.0
    } else if x < a + 1.0 {
        (1.0 - series(a, x)).clamp(0.0, 1.0)
    } else {
        fraction(a, x).clamp(0.0, 1.0)
    }
}

/// `x^a e^-x / Γ(a + 1)`, without cancellation.
fn leading(a: f64, x: f64) -> f64 {
    libm::exp(-stirling_error(a) - deviance(a, x)) / (2.0 * PI * a).sqrt()
}

const ENOUGH: f64 = 1e-16;
/// It takes about sqrt(a) rounds.
const ROUNDS: u32 = 1_000_000;

fn series(a: f64, x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for round in 1..=ROUNDS {
        term *= x / (a + f64::from(round));
        sum += term;
        if term < sum * ENOUGH {
            break;
        }
    }
    leading(a, x) * sum
}

fn fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / nonzero(b);
    let mut result = d;
    for round in 1..=ROUNDS {
        let i = f64::from(round);
        let numerator = -i * (i - a);
        b += 2.0;
        d = 1.0 / nonzero(numerator * d + b);
        c = nonzero(b + numerator / c);
        let change = d * c;
        result *= change;
        if (change - 1.0).abs() < ENOUGH * 4.0 || change.is_nan() {
            break;
        }
    }
    leading(a, x) * a * result
}
