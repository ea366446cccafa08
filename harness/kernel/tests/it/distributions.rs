//! Distributions, intervals and slopes, against SciPy 1.17.1.

use windtunnel_kernel::statistics::interval::{self, Interval, Moments};
use windtunnel_kernel::statistics::{binomial, chi_square, normal, regression, student};

fn near(found: f64, expected: f64, tolerance: f64, what: &str) {
    let allowed = tolerance * expected.abs().max(1e-300);
    assert!((found - expected).abs() <= allowed, "{what}: {found:e}, expected {expected:e}");
}

/// `scipy.stats.norm`. If it fails, every interval and every p-value out of a normal approximation is wrong.
#[test]
fn normal_distribution() {
    for (p, z) in [
        (1e-300, -37.047_096_299_361_2),
        (1e-10, -6.361_340_902_404_056),
        (0.001, -3.090_232_306_167_813),
        (0.025, -1.959_963_984_540_054_5),
        (0.3, -0.524_400_512_708_040_9),
        (0.5, 0.0),
        (0.9, 1.281_551_565_544_600_4),
        (0.975, 1.959_963_984_540_054),
        (0.995, 2.575_829_303_548_900_4),
        (1.0 - 1e-12, 7.034_486_910_047_836),
    ] {
        near(normal::quantile(p), z, 1e-13, &format!("quantile {p:e}"));
    }
    for (z, p) in [
        (-5.0, 0.999_999_713_348_428_1),
        (-1.0, 0.841_344_746_068_542_9),
        (0.0, 0.5),
        (1.96, 0.024_997_895_148_220_435),
        (8.0, 6.220_960_574_271_74e-16),
        (30.0, 4.906_713_927_147_908e-198),
    ] {
        near(normal::at_least(z), p, 1e-12, &format!("at least {z}"));
    }
    assert_eq!(
        (normal::quantile(0.0), normal::quantile(1.0)).0.is_finite(),
        normal::quantile(1.0).is_finite()
    );
}

/// `scipy.stats.t`. If it fails, a mean over a few replications is called surer than it is.
#[test]
fn student_distribution() {
    for (p, degrees, t) in [
        (0.975, 1.0, 12.706_204_736_174_694),
        (0.975, 2.0, 4.302_652_729_749_462),
        (0.975, 9.0, 2.262_157_162_798_205),
        (0.995, 29.0, 2.756_385_903_670_605),
        (0.95, 100.0, 1.660_234_326_085_339_2),
        (0.6, 3.5, 0.273_265_454_055_779_73),
        (0.025, 5.0, -2.570_581_835_636_315_5),
        (0.9999, 4.0, 13.033_671_720_896_821),
        (0.975, 1e6, 1.959_966_356_814_107),
    ] {
        near(student::quantile(p, degrees), t, 1e-10, &format!("quantile {p} of {degrees}"));
    }
    near(student::quantile(0.999_999, 1.0), 318_309.886_173_590_26, 1e-9, "far out");
    near(student::quantile(0.500_000_1, 7.0), 2.597_460_273_922_152_4e-7, 1e-6, "near the middle");
    for (t, degrees, p) in [
        (2.0, 5.0, 0.050_969_739_414_929_174),
        (-1.5, 12.0, 0.920_271_248_243_396_6),
        (10.0, 3.0, 0.001_064_199_529_207_075_1),
        (50.0, 10.0, 1.237_155_164_651_34e-13),
        (0.1, 1.5, 0.466_020_726_743_481_4),
        (6.0, 1e5, 9.899_647_278_008_859e-10),
    ] {
        near(student::at_least(t, degrees), p, 1e-11, &format!("at least {t} of {degrees}"));
    }
}

/// `scipy.stats.chi2`. If it fails, a difference of counts is called significant when it is not.
#[test]
fn chi_square_distribution() {
    for (p, degrees, x) in [
        (0.95, 1.0, 3.841_458_820_694_124),
        (0.05, 1.0, 0.003_932_140_000_019_522),
        (0.99, 10.0, 23.209_251_158_954_356),
        (0.5, 2.0, 1.386_294_361_119_891),
        (0.001, 4.0, 0.090_804_035_538_979_09),
        (0.999_999, 3.0, 30.664_849_706_154_27),
        (0.95, 1000.0, 1_074.679_448_803_441),
        (1e-8, 2.0, 2.000_000_009_999_999_5e-8),
        (0.025, 0.5, 5.273_202_591_259_991e-7),
    ] {
        near(chi_square::quantile(p, degrees), x, 1e-10, &format!("quantile {p} of {degrees}"));
    }
    for (x, degrees, p) in [
        (3.84, 1.0, 0.050_043_521_248_705_19),
        (200.0, 10.0, 1.613_930_533_697_731_7e-37),
        (1000.0, 1100.0, 0.985_590_272_110_086_5),
        (0.1, 3.0, 0.991_837_423_731_876_4),
    ] {
        near(chi_square::at_least(x, degrees), p, 1e-11, &format!("at least {x} of {degrees}"));
        near(chi_square::at_most(x, degrees), 1.0 - p, 1e-9, &format!("at most {x} of {degrees}"));
    }
}

/// `scipy.stats.binom.cdf`. If it fails, a split of ten million requests is judged wrongly.
#[test]
fn binomial_tails() {
    near(binomial::at_most(3, 1000, 0.01), 0.010_072_654_772_014_291, 1e-12, "3 of 1000");
    near(binomial::at_most(9_999_000, 10_000_000, 0.9999), 0.504_205_874_946_178_4, 1e-9, "ten million");
    near(binomial::at_most(0, 5, 0.5), 0.031_25, 1e-14, "0 of 5");
}

/// `scipy.stats.t.interval` and `linregress`. If it fails, a plan promises more than its replications show.
#[test]
fn intervals_of_means_and_slopes() {
    let values = [2.1, 3.4, 1.9, 5.6, 4.4, 3.3, 2.8, 4.9, 3.7, 4.1];
    let Interval { estimate, low, high } = interval::mean(&values, 0.95).expect("enough values");
    near(estimate, 3.62, 1e-14, "mean");
    near(low, 2.777_078_701_150_487_4, 1e-12, "low");
    near(high, 4.462_921_298_849_513, 1e-12, "high");
    let sure = interval::mean(&values, 0.99).expect("enough values");
    near(sure.low, 2.409_051_600_474_273_7, 1e-12, "low at 99 %");
    assert!(sure.contains(estimate) && sure.relative_half_width().is_some_and(|width| width > 0.3));

    let points: Vec<(f64, f64)> = values.iter().enumerate().map(|(x, &y)| (x as f64, y)).collect();
    let line = regression::line(&points, 0.95).expect("a line");
    near(line.slope.estimate, 0.155_151_515_151_515_15, 1e-12, "slope");
    near(line.slope.low, -0.135_846_967_309_429_08, 1e-11, "slope, low");
    near(line.slope.high, 0.446_149_997_612_459_4, 1e-11, "slope, high");
    near(line.intercept, 2.921_818_181_818_182, 1e-12, "intercept");

    assert_eq!(interval::mean(&[1.0], 0.95), None);
    assert_eq!(regression::line(&points[..2], 0.95), None);
    assert_eq!(regression::line(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)], 0.95), None);
}

/// `scipy.stats.quantile_test` (its positions count from 0 in `arange`). If it fails, a p99 is promised on too few
/// samples.
#[test]
fn intervals_of_quantiles() {
    for (count, q, confidence, low, high) in [
        (100, 0.5, 0.95, Some(39), Some(60)),
        (1000, 0.99, 0.99, Some(980), Some(997)),
        (30, 0.9, 0.95, Some(22), None),
        (460, 0.99, 0.98, Some(449), Some(459)),
        (500, 0.99, 0.99, Some(487), None),
    ] {
        assert_eq!(
            interval::quantile_positions(count, q, confidence),
            (low, high),
            "{count} {q} {confidence}"
        );
    }
    let sorted: Vec<f64> = (0..100).map(f64::from).collect();
    let median = interval::quantile(&sorted, 0.5, 0.95).expect("enough samples");
    assert_eq!((median.low, median.estimate, median.high), (39.0, 49.0, 60.0));
    assert_eq!(interval::quantile(&sorted, 0.99, 0.95), None, "no sample is that far out");
}

/// If it fails, a queue that grows without end is called stable, or noise that is correlated with itself is called
/// growth.
#[test]
fn batches_tell_growth_from_wandering() {
    // A correlated series without trend: each value is 0.9 of the one before plus a shake.
    let mut state = 1_u64;
    let mut shake = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };
    let mut level = 0.0;
    let wandering: Vec<f64> = (0..3600)
        .map(|_| {
            level = 0.9 * level + shake();
            level
        })
        .collect();
    let still = regression::batch_slope(&wandering, 1.0, 20, 0.95).expect("enough values");
    assert!(still.contains(0.0), "{still:?}");
    let growing: Vec<f64> = wandering.iter().enumerate().map(|(i, value)| value + 0.01 * i as f64).collect();
    let grows = regression::batch_slope(&growing, 1.0, 20, 0.95).expect("enough values");
    assert!(grows.low > 0.0 && grows.contains(0.01), "{grows:?}");
    assert_eq!(regression::batch_slope(&growing[..10], 1.0, 20, 0.95), None);
}

/// If it fails, the mean of a long run drifts away from its values.
#[test]
fn moments_are_exact_where_sums_would_cancel() {
    let moments: Moments = [1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0].into_iter().collect();
    assert_eq!((moments.mean(), moments.variance()), (Some(1e9 + 10.0), Some(30.0)));
    let odd: Moments = [1.0, f64::NAN, f64::INFINITY, 3.0].into_iter().collect();
    assert_eq!((odd.count(), odd.left_out(), odd.mean()), (2, 2, Some(2.0)));
}
