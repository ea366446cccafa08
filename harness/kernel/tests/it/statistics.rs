//! Statistics against published and independently computed numbers.

use windtunnel_kernel::statistics::binomial::{at_least, at_most, clopper_pearson, two_sided_p_value};
use windtunnel_kernel::statistics::early_stopping::{Rule, Verdict};
use windtunnel_kernel::statistics::quantile::{linear, nearest_rank};

/// (percentile, samples over the limit, fewest samples under it) at 99 % confidence, from the binomial
/// distribution of scipy 1.17.1; rows agree with mlcommons_loadgen 6.0.17.
const EARLY_STOPPING: &[(f64, u64, u64)] = &[
    (0.9, 0, 44),
    (0.9, 1, 63),
    (0.9, 2, 79),
    (0.9, 3, 94),
    (0.9, 5, 122),
    (0.9, 8, 162),
    (0.9, 10, 187),
    (0.9, 16, 259),
    (0.9, 20, 305),
    (0.9, 50, 631),
    (0.9, 60, 736),
    (0.9, 100, 1146),
    (0.95, 0, 90),
    (0.95, 1, 129),
    (0.95, 2, 163),
    (0.95, 3, 195),
    (0.95, 5, 254),
    (0.95, 8, 336),
    (0.95, 10, 388),
    (0.95, 16, 539),
    (0.95, 20, 636),
    (0.95, 50, 1322),
    (0.95, 60, 1543),
    (0.95, 100, 2404),
    (0.97, 0, 152),
    (0.97, 1, 218),
    (0.97, 2, 275),
    (0.97, 3, 329),
    (0.97, 5, 428),
    (0.97, 8, 568),
    (0.97, 10, 657),
    (0.97, 16, 913),
    (0.97, 20, 1077),
    (0.97, 50, 2243),
    (0.97, 60, 2618),
    (0.97, 100, 4082),
    (0.99, 0, 459),
    (0.99, 1, 661),
    (0.99, 2, 836),
    (0.99, 3, 998),
    (0.99, 5, 1302),
    (0.99, 8, 1728),
    (0.99, 10, 2000),
    (0.99, 16, 2782),
    (0.99, 20, 3284),
    (0.99, 50, 6848),
    (0.99, 60, 7993),
    (0.99, 100, 12471),
    (0.999, 0, 4603),
    (0.999, 1, 6635),
    (0.999, 2, 8401),
    (0.999, 3, 10039),
    (0.999, 5, 13100),
    (0.999, 8, 17390),
    (0.999, 10, 20130),
    (0.999, 16, 28009),
    (0.999, 20, 33077),
    (0.999, 50, 69008),
    (0.999, 60, 80555),
    (0.999, 100, 125726),
];

/// If it fails, a run passes, or asks for more samples, where MLPerf would say otherwise.
#[test]
fn early_stopping_is_mlperfs() {
    for &(percentile, over, under) in EARLY_STOPPING {
        let rule = Rule::at_99_percent(percentile);
        assert_eq!(rule.min_under(over), Some(under), "p{percentile} over {over}");
        assert_eq!(rule.min_total(over), Some(under + over));
    }
}

/// If it fails, an objective is judged wrongly or the number of samples that are missing is wrong.
#[test]
fn verdicts_on_percentiles() {
    let p99 = Rule::at_99_percent(0.99);
    assert_eq!(p99.judge(459, 0), Verdict::Kept);
    assert_eq!(p99.judge(458, 0), Verdict::Inconclusive { more: 1 });
    assert_eq!(p99.judge(595, 16), Verdict::Broken);
    assert_eq!(p99.judge(1000, 16), Verdict::Inconclusive { more: 1798 });
    assert_eq!(p99.judge(0, 0), Verdict::Inconclusive { more: 459 });
    assert_eq!(p99.judge(2, 2), Verdict::Broken, "both over the limit has a probability of 0.0001");
    assert_eq!(p99.judge(10, 1), Verdict::Inconclusive { more: 652 });
    // Single-stream p90 over 796 samples discards the 59 slowest.
    assert_eq!(Rule::at_99_percent(0.9).estimate_position(796), Some(736));
    assert_eq!(Rule::at_99_percent(0.9).estimate_position(63), None);
    assert_eq!(Rule::at_99_percent(0.9).estimate_position(64), Some(63));
    for percentile in [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(Rule::at_99_percent(percentile).min_under(3), None);
    }
    assert!(Rule::at_99_percent(0.999_999_9).min_under(0).is_some());
}

/// If it fails, a split that is as asked for is called wrong, or a wrong one right. (successes, trials, p, p-value,
/// 99 % interval) of scipy 1.17.1.
#[test]
fn binomial_statements_are_exact() {
    for (successes, trials, p, p_value, low, high) in [
        (0, 10, 0.5, 0.001953125, 0.0, 0.4112959813475254),
        (3, 10, 0.5, 0.34375, 0.03700722109620741, 0.7351139852871308),
        (7, 20, 0.3, 0.6294979666766769, 0.11387976326673215, 0.6565685842319213),
        (120, 1000, 0.1, 0.039607719641630554, 0.09489805096539014, 0.14880108408055684),
        (1003, 10000, 0.1, 0.9203407204420351, 0.09270418130270197, 0.10827936923294783),
        (80, 1000, 0.1, 0.034868805202456166, 0.059449530863533405, 0.10465820236158947),
        (1_000_500, 10_000_000, 0.1, 0.5981614360121026, 0.09980572138163753, 0.10029465920754634),
        (1_004_000, 10_000_000, 0.1, 2.505950357781468e-05, 0.10015534168537614, 0.10064503857010218),
        (995_000, 10_000_000, 0.1, 1.3375297984164714e-07, 0.09925631991459001, 0.09974406119797204),
        (5, 1_000_000, 1e-6, 0.003659823834902278, 1.0779298152548431e-06, 1.4149694677778603e-05),
        (2, 30, 0.9, 3.550599999999978e-26, 0.003502662455149772, 0.2740013472276817),
        (999, 1000, 0.999, 1.0, 0.9925937130616469, 0.9999949874707392),
        (51, 235, 1.0 / 6.0, 0.043747970182399884, 0.15200361957962144, 0.2938482329728962),
    ] {
        let case = format!("{successes} of {trials} at {p}");
        near(two_sided_p_value(successes, trials, p), p_value, &case);
        let (found_low, found_high) = clopper_pearson(successes, trials, 0.99);
        near(found_low, low, &case);
        near(found_high, high, &case);
    }
}

/// If it fails, an odd rate or an empty run crashes the judge.
#[test]
fn edges_have_answers() {
    assert_eq!(two_sided_p_value(0, 0, 0.5), 1.0);
    assert_eq!(two_sided_p_value(0, 10, 0.0), 1.0);
    assert_eq!(two_sided_p_value(1, 10, 0.0), 0.0);
    assert_eq!(two_sided_p_value(10, 10, 1.0), 1.0);
    assert_eq!(two_sided_p_value(20, 10, 2.0), 1.0);
    assert_eq!(two_sided_p_value(3, 10, f64::NAN), 1.0);
    assert_eq!(clopper_pearson(0, 0, 0.99), (0.0, 1.0));
    assert_eq!(clopper_pearson(5, 5, 0.99).1, 1.0);
    assert_eq!((at_most(10, 10, 0.3), at_least(0, 10, 0.3), at_least(11, 10, 0.3)), (1.0, 1.0, 0.0));
    for k in 0..10 {
        near(at_most(k, 10, 0.3) + at_least(k + 1, 10, 0.3), 1.0, "the two tails make up everything");
    }
}

/// If it fails, the latency that a report shows is none that anybody waited.
#[test]
fn quantiles() {
    let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!(nearest_rank(&sorted, 0.99), Some(99.0));
    assert_eq!(nearest_rank(&sorted, 0.07), Some(7.0));
    assert_eq!(nearest_rank(&sorted, 0.991), Some(100.0));
    assert_eq!((nearest_rank(&sorted, 0.0), nearest_rank(&sorted, 7.0)), (Some(1.0), Some(100.0)));
    assert_eq!(nearest_rank::<u64>(&[], 0.5), None);
    assert_eq!(linear(&sorted, 0.5), Some(50.5));
    assert_eq!((linear(&sorted, 1.0), linear(&[], 0.5), linear(&[3.0], 0.9)), (Some(100.0), None, Some(3.0)));
}

fn near(found: f64, expected: f64, case: &str) {
    let difference = (found - expected).abs();
    assert!(difference <= 1e-9 * expected.abs(), "{case}: expected {expected}, got {found}");
}
