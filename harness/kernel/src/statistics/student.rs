//! Student's t distribution.

use super::beta::{incomplete, rest};
use super::{normal, root};

/// `P[T >= t]` for `degrees` of freedom (any positive number; with infinitely many it is the normal distribution). NaN
/// is taken for 0, and for one degree of freedom.
#[must_use]
pub fn at_least(t: f64, degrees: f64) -> f64 {
    let degrees = degrees_of_freedom(degrees);
    if t.is_nan() {
        return 0.5;
    }
    if degrees >= NORMAL_FROM {
        return normal::at_least(t);
    }
    let square = t * t;
    // Share of the distribution outside of [-t, t].
    let outside = if square.is_infinite() {
        0.0
    } else if square < degrees {
        rest(square / (degrees + square), 0.5, 0.5 * degrees)
    } else {
        incomplete(degrees / (degrees + square), 0.5 * degrees, 0.5)
    };
    if t > 0.0 { 0.5 * outside } else { 1.0 - 0.5 * outside }
}

/// The value that a share `p` of the distribution lies under. `p` is cut to what can be told from 0 and 1; NaN is 0.5.
#[must_use]
pub fn quantile(p: f64, degrees: f64) -> f64 {
    let degrees = degrees_of_freedom(degrees);
    if p.is_nan() || p == 0.5 {
        return 0.0;
    }
    if degrees >= NORMAL_FROM {
        return normal::quantile(p);
    }
    if p < 0.5 {
        return -upper_quantile(p.max(f64::MIN_POSITIVE), degrees);
    }
    upper_quantile((1.0 - p).max(f64::EPSILON / 4.0), degrees)
}

/// From here on the difference to the normal distribution is lost in rounding.
const NORMAL_FROM: f64 = 1e15;

fn degrees_of_freedom(degrees: f64) -> f64 {
    if degrees.is_nan() { 1.0 } else { degrees.max(1e-3) }
}

/// The value that a share `p < 0.5` lies over.
fn upper_quantile(p: f64, degrees: f64) -> f64 {
    // Far out the tail falls as t^-degrees, so the logarithm of t is what is searched for.
    let exponent = root::falling(-700.0, 709.0, |exponent| at_least(libm::exp(exponent), degrees) - p);
    libm::exp(exponent)
}
