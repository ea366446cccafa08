//! MLPerf's early-stopping rule, as the gates apply it.

use windtunnel_record::judge::{Verdict, judge};

use crate::flights::{scenario, with_slow};

/// Percentile, confidence, requests over the limit, and the fewest under it and in all that allow a promise.
const VECTORS: &str = include_str!("data/early-stopping.csv");

/// Gates would pass on fewer requests than MLPerf asks for, or ask for more.
#[test]
fn gates_pass_from_exactly_the_number_of_requests_that_mlperf_asks_for() {
    let mut checked = 0;
    for line in VECTORS.lines().skip(1) {
        let fields: Vec<f64> = line.split(',').map(|field| field.parse().expect("a number")).collect();
        let [percentile, confidence, over, _under, total] = fields[..] else { panic!("{line}") };
        assert_eq!(confidence, 0.99);
        let (over, total) = (over as usize, total as usize);
        if total > 30_000 {
            continue; // the rule itself is tested where it lives
        }
        let rule = format!("p{}<300ms", (percentile * 1_000.0).round() / 10.0);
        let scenario = scenario(&[&rule]);
        let enough = &judge(&scenario, &with_slow(total, over))[0];
        assert_eq!(enough.verdict, Verdict::Pass, "{line}: {}", enough.reason);
        assert_eq!(enough.samples, total as u64);
        let short = &judge(&scenario, &with_slow(total - 1, over))[0];
        assert_eq!(short.verdict, Verdict::Inconclusive, "{line}: {}", short.reason);
        assert!(short.reason.contains("; 1 more that all keep the limit would do."), "{}", short.reason);
        checked += 1;
    }
    assert!(checked >= 45, "only {checked} vectors were looked at");
}
