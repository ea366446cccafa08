//! What CI reads.

use windtunnel_record::Source;
use windtunnel_record::compare::compare;
use windtunnel_record::judge::{Verdict, judge};
use windtunnel_record::result::RunResult;

use crate::flights::{scenario, with_latencies, with_slow};

fn result(rules: &[&str], slow: usize) -> RunResult {
    let mut scenario = scenario(rules);
    for (line, objective) in (7..).zip(&mut scenario.objectives) {
        objective.position = Some(format!("test.yaml:{line}"));
    }
    let simulated = with_slow(1_000, slow);
    let live = with_latencies(Source::Live, &[5; 600]);
    let mut gates = judge(&scenario, &simulated);
    gates.extend(judge(&scenario, &live));
    let comparison = compare(&simulated, &live);
    RunResult::new("test", 42, gates, Some(comparison), "windtunnel run test.yaml --seed 42".into())
}

/// A pipeline that reads the result would break.
#[test]
fn the_result_stays_as_it_is() {
    let mut result = result(&["p99<300ms", "mismatches=0"], 40);
    result.versions.insert("windtunnel".into(), "0.1.0".into());
    result.wall.insert("simulate".into(), 0.25);
    let text = serde_json::to_string_pretty(&result).expect("JSON");
    insta::assert_snapshot!(text);
    assert_eq!(serde_json::from_str::<RunResult>(&text).expect("a result"), result);
}

/// A pipeline would go on after a failure, or stop without one.
#[test]
fn exit_codes_follow_the_gates() {
    for (rules, slow, verdict, exit_code) in [
        (&["p99<300ms"][..], 0, Verdict::Pass, 0),
        (&["p99<300ms"], 40, Verdict::Fail, 1),
        (&["p99.9<300ms"], 0, Verdict::Inconclusive, 3),
        (&[], 0, Verdict::Inconclusive, 3),
    ] {
        let result = result(rules, slow);
        assert_eq!(
            (result.verdict, result.exit_code),
            (verdict, exit_code),
            "{rules:?}: {:?}",
            result.reasons
        );
        assert!(!result.reasons.is_empty());
    }
}

/// A run whose client could not keep up would be green.
#[test]
fn a_doubt_makes_a_pass_inconclusive_and_leaves_a_failure() {
    let mut passed = result(&["p99<300ms"], 0);
    passed.doubt("The client was the bottleneck.".into());
    assert_eq!((passed.verdict, passed.exit_code), (Verdict::Inconclusive, 3));
    let mut failed = result(&["p99<300ms"], 40);
    failed.doubt("The client was the bottleneck.".into());
    assert_eq!((failed.verdict, failed.exit_code), (Verdict::Fail, 1));
}
