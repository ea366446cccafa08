//! The standard normal distribution.

use std::f64::consts::{PI, SQRT_2};

/// `P[Z <= z]`, exact in both tails. NaN is taken for 0.
#[must_use]
pub fn at_most(z: f64) -> f64 {
    if z.is_nan() { 0.5 } else { 0.5 * libm::erfc(-z / SQRT_2) }
}

/// `P[Z >= z]`, exact in both tails.
#[must_use]
pub fn at_least(z: f64) -> f64 {
    at_most(-z)
}

/// The value that a share `p` of the distribution lies under. `p` is cut to what can be told from 0 and 1, so that the
/// result is finite; NaN is 0.5.
///
/// Start by P. Acklam's rational approximation, refined with Halley's method.
#[must_use]
pub fn quantile(p: f64) -> f64 {
    const CENTRAL: ([f64; 6], [f64; 5]) = (
        [
            -3.969_683_028_665_376e1,
            2.209_460_984_245_205e2,
            -2.759_285_104_469_687e2,
            1.383_577_518_672_69e2,
            -3.066_479_806_614_716e1,
            2.506_628_277_459_239,
        ],
        [
            -5.447_609_879_822_406e1,
            1.615_858_368_580_409e2,
            -1.556_989_798_598_866e2,
            6.680_131_188_771_972e1,
            -1.328_068_155_288_572e1,
        ],
    );
    const TAIL: ([f64; 6], [f64; 4]) = (
        [
            -7.784_894_002_430_293e-3,
            -3.223_964_580_411_365e-1,
            -2.400_758_277_161_838,
            -2.549_732_539_343_734,
            4.374_664_141_464_968,
            2.938_163_982_698_783,
        ],
        [7.784_695_709_041_462e-3, 3.224_671_290_700_398e-1, 2.445_134_137_142_996, 3.754_408_661_907_416],
    );
    if p.is_nan() {
        return 0.0;
    }
    // The upper half mirrors the lower one, where small shares are exact.
    if p > 0.5 {
        return -quantile(1.0 - p);
    }
    let p = p.max(f64::MIN_POSITIVE);
    let mut z = if p < 0.024_25 {
        let r = (-2.0 * libm::log(p)).sqrt();
        polynomial(&TAIL.0, r) / (polynomial(&TAIL.1, r) * r + 1.0)
    } else {
        let q = p - 0.5;
        let r = q * q;
        polynomial(&CENTRAL.0, r) * q / (polynomial(&CENTRAL.1, r) * r + 1.0)
    };
    for _ in 0..2 {
        // The error relative to the density, so that nothing overflows far out.
        let density = libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt();
        let step = (at_most(z) - p) / density;
        if !step.is_finite() {
            break;
        }
        z -= step / (1.0 + 0.5 * z * step);
    }
    z
}

/// Coefficients from the highest power.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |value, coefficient| value * x + coefficient)
}
