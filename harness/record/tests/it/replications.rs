//! Statistics over replications.

use std::collections::BTreeMap;

use windtunnel_record::replications::{Direction, Interval, Stop, Stopping, intervals, paired};

/// p99 of two variants in milliseconds, one pair a seed.
const FIRST: [f64; 8] = [211.4, 198.7, 240.1, 225.9, 203.3, 219.8, 233.0, 207.5];
const SECOND: [f64; 8] = [205.2, 196.0, 231.7, 221.1, 199.9, 211.0, 226.4, 204.8];

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} instead of {expected}");
}

/// A plan would be sure of a figure that it is not sure of. `scipy.stats.t.interval` gave the numbers.
#[test]
fn intervals_are_students() {
    let interval = Interval::of(&FIRST, 0.95).expect("samples");
    close(interval.mean, 217.4625);
    close(interval.low, 205.146_580_352_044_9);
    close(interval.high, 229.778_419_647_955_1);
    let wider = Interval::of(&FIRST, 0.99).expect("samples");
    close(wider.low, 199.235_775_364_786_43);
    close(wider.high, 235.689_224_635_213_58);
    assert!(wider.contains(217.0) && !wider.contains(300.0));
}

/// One replication, none, or a figure that is not a number would look like a certain one.
#[test]
fn too_few_samples_promise_nothing() {
    assert_eq!(Interval::of(&[], 0.95), None);
    assert_eq!(Interval::of(&[1.0, f64::NAN], 0.95), None);
    assert_eq!(Interval::of(&[1.0, f64::INFINITY], 0.95), None);
    let one = Interval::of(&[5.0], 0.95).expect("a sample");
    assert_eq!((one.low, one.high, one.confidence, one.replications), (5.0, 5.0, 0.0, 1));
    assert_eq!(Interval::of(&[3.0; 4], 0.95).expect("samples").relative_half_width(), 0.0);
    assert_eq!(paired(&FIRST, &SECOND[..7], 0.95), None);
    assert_eq!(paired(&[1.0], &[2.0], 0.95).expect("a pair").direction, Direction::Undecided);
}

/// A difference that common random numbers show would drown in the noise that both variants share.
/// `scipy.stats.ttest_rel` gave the numbers.
#[test]
fn pairs_show_what_their_common_noise_hides() {
    let difference = paired(&FIRST, &SECOND, 0.95).expect("pairs");
    close(difference.interval.mean, -5.45);
    close(difference.interval.low, -7.487_069_729_751_605);
    close(difference.interval.high, -3.412_930_270_248_401);
    close(difference.variance_ratio.expect("a spread"), 0.015_398_937_525_184_07);
    assert_eq!(difference.direction, Direction::Lower);
    let (first, second) = (Interval::of(&FIRST, 0.95).unwrap(), Interval::of(&SECOND, 0.95).unwrap());
    assert!(second.high > first.low, "without pairs the intervals overlap");
}

/// Figures that only some replications have would be counted with a wrong number, or crash the report.
#[test]
fn every_figure_has_its_own_number_of_replications() {
    let figures = |p99: f64, cost: Option<f64>| {
        let mut figures = BTreeMap::from([("latency.p99".to_owned(), p99)]);
        figures.extend(cost.map(|cost| ("cost.total".to_owned(), cost)));
        figures
    };
    let runs = [figures(10.0, Some(1.0)), figures(12.0, None), figures(14.0, Some(f64::NAN))];
    let found = intervals(&runs, 0.95);
    assert_eq!((found["latency.p99"].replications, found["latency.p99"].mean), (3, 12.0));
    assert_eq!((found["cost.total"].replications, found["cost.total"].mean), (1, 1.0));
}

/// Replications would stop at an interval that is narrow by chance, or never.
#[test]
fn replications_stop_when_the_interval_is_narrow() {
    let rule = Stopping::default();
    assert_eq!(rule.decide(&[]), Stop::Continue(5));
    assert_eq!(rule.decide(&[&[10.0, 10.0, 10.0]]), Stop::Continue(2), "narrow, but too few");
    assert_eq!(rule.decide(&[&[10.0; 5]]), Stop::Narrow);
    // Half of scipy's interval is 5.66 % of the mean: 8 x (5.66 / 5)^2 is 10.3, so 11 are needed.
    assert_eq!(rule.decide(&[&FIRST]), Stop::Continue(3));
    let wide: Vec<f64> = (0..30).map(|n| f64::from(n % 3) * 50.0 + 1.0).collect();
    assert_eq!(rule.decide(&[&wide[..6]]), Stop::Continue(24), "as many as there may be");
    assert_eq!(rule.decide(&[&wide]), Stop::Exhausted);
    // The widest figure decides.
    assert_eq!(rule.decide(&[&[10.0; 6], &wide[..6]]), Stop::Continue(24));
}
