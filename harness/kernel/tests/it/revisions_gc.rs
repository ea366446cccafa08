//! Garbage collection of revisions with the cases of upstream's `gc_test.go` (knative/serving 98e5ef90).

use std::collections::BTreeMap;

use windtunnel_kernel::rollout::knative::gc::{Candidate, Policy, Why, collect};

const MINUTE_NS: u64 = 60 * 1_000_000_000;
const NOW_NS: u64 = 1_000 * MINUTE_NS;

/// A revision that was routed to last so many minutes ago, and made before that.
fn idle(name: &str, minutes: u64) -> Candidate {
    let last_active_ns = NOW_NS - minutes * MINUTE_NS;
    Candidate {
        name: name.to_string(),
        is_kept: false,
        created_ns: last_active_ns - MINUTE_NS,
        last_active_ns,
    }
}

fn kept(name: &str, minutes: u64) -> Candidate {
    Candidate { is_kept: true, ..idle(name, minutes) }
}

fn policy(create: Option<u64>, active: Option<u64>, min: u64, max: Option<u64>) -> Policy {
    Policy {
        retain_since_create_time_ns: create.map(|minutes| minutes * MINUTE_NS),
        retain_since_last_active_time_ns: active.map(|minutes| minutes * MINUTE_NS),
        min_non_active_revisions: min,
        max_non_active_revisions: max,
    }
}

fn deleted(policy: &Policy, revisions: &[Candidate]) -> Vec<String> {
    collect(policy, revisions, NOW_NS).deleted.into_iter().map(|(name, _)| name).collect()
}

/// A revision that somebody wants to go back to would be gone, or a cluster would fill with old ones.
#[test]
fn the_oldest_go_until_the_minimum_is_left() {
    let five = policy(Some(5), Some(5), 1, None);
    let cases = [
        ("too few", vec![idle("5554", 12), kept("5555", 11)], vec![]),
        (
            "delete oldest, keep one recent, one active",
            vec![idle("5554", 13), idle("5555", 12), kept("5556", 11)],
            vec!["5554"],
        ),
        ("none reserved", vec![kept("5554", 13), kept("5555", 12), kept("5556", 11)], vec![]),
        ("none stale", vec![idle("5554", 3), idle("5555", 2), kept("5556", 1)], vec![]),
        ("preserved", vec![kept("5554", 13), idle("5555", 12), kept("5556", 11)], vec![]),
    ];
    for (name, revisions, expected) in cases {
        assert_eq!(deleted(&five, &revisions), expected, "{name}");
    }
}

#[test]
fn more_than_the_maximum_go_however_young() {
    let hour = policy(Some(60), Some(60), 1, Some(2));
    let at_max = [idle("5553", 13), idle("5554", 12), kept("5556", 11)];
    assert_eq!(deleted(&hour, &at_max), Vec::<String>::new());
    let over = [idle("5554", 12), idle("5553", 13), idle("5555", 12), kept("5556", 11)];
    let decision = collect(&hour, &over, NOW_NS);
    assert_eq!(decision.deleted, [("5553".to_string(), Why::TooMany)]);
    let all_active = [kept("5553", 13), kept("5554", 12), kept("5555", 12), kept("5556", 11)];
    assert_eq!(deleted(&hour, &all_active), Vec::<String>::new());
}

/// TestGCInOrder and TestCollectSettings.
#[test]
fn limits_that_are_switched_off() {
    let four = [idle("5553", 15), idle("5554", 14), idle("5555", 13), idle("5556", 12), kept("5557", 11)];
    assert_eq!(deleted(&policy(None, None, 1, Some(1)), &four), ["5553", "5554", "5555"]);
    assert_eq!(deleted(&policy(None, None, 2, Some(2)), &four), ["5553", "5554"]);
    assert_eq!(deleted(&policy(None, None, 0, None), &four), Vec::<String>::new());
    // Staleness by one of the times only.
    assert_eq!(deleted(&policy(None, Some(1), 1, None), &four), ["5553", "5554", "5555"]);
    assert_eq!(deleted(&policy(Some(1), None, 3, None), &four), ["5553"]);
    // Both must be over: made 16 minutes ago, routed to 15 minutes ago.
    assert_eq!(deleted(&policy(Some(17), Some(1), 0, None), &four[..1]), Vec::<String>::new());
    assert_eq!(deleted(&policy(Some(1), Some(16), 0, None), &four[..1]), Vec::<String>::new());
    assert_eq!(deleted(&policy(Some(16), Some(15), 0, None), &four[..1]), ["5553"], "at the very moment");
}

/// Without a timer revisions would go only when something else happens to the Configuration.
#[test]
fn it_looks_again_when_the_next_is_stale() {
    let twenty = policy(Some(1), Some(20), 1, None);
    let revisions = [idle("a", 25), idle("b", 15), idle("c", 5)];
    let decision = collect(&twenty, &revisions, NOW_NS);
    assert_eq!(decision.deleted, [("a".to_string(), Why::Stale)]);
    assert_eq!(decision.look_again_ns, Some(NOW_NS + 5 * MINUTE_NS));
    // What is left is the minimum: nothing will follow.
    assert_eq!(collect(&twenty, &revisions[2..], NOW_NS).look_again_ns, None);
}

/// A value that is read wrong deletes what was to be kept.
#[test]
fn the_config_map() {
    let read = |pairs: &[(&str, &str)]| {
        let data: BTreeMap<String, String> =
            pairs.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect();
        Policy::from_config_map(&data)
    };
    assert_eq!(read(&[("_example", "x")]), Ok(policy(Some(48 * 60), Some(15 * 60), 20, Some(1000))));
    let all = [
        ("retain-since-create-time", "5m"),
        ("retain-since-last-active-time", "Disabled"),
        ("min-non-active-revisions", "3"),
        ("max-non-active-revisions", "disabled"),
    ];
    assert_eq!(read(&all), Ok(policy(Some(5), None, 3, None)));
    for (pair, key) in [
        (("retain-since-create-time", "-5m"), "retain-since-create-time"),
        (("retain-since-last-active-time", "5"), "retain-since-last-active-time"),
        (("min-non-active-revisions", "-1"), "min-non-active-revisions"),
        (("min-non-active-revisions", "1001"), "min-non-active-revisions"),
        (("max-non-active-revisions", "many"), "max-non-active-revisions"),
    ] {
        assert_eq!(read(&[pair]).unwrap_err().key, key, "{pair:?}");
    }
}
