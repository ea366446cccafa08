//! Recommendations and scale events, release by release.

use windtunnel_kernel::autoscale::hpa::calculator::{PodSamples, Rules, Timing, Tolerances, utilization};
use windtunnel_kernel::autoscale::hpa::history::{
    LOG_LIMIT, Windows, change_within, stabilize, stabilize_one_way, stabilize_within, store,
};
use windtunnel_kernel::autoscale::hpa::spec::{PolicyKind, ScalingPolicy};
use windtunnel_kernel::autoscale::hpa::{
    Options, Pod, Readiness, ReadyStatus, Recommendation, Sample, ScaleEvent, Version,
};

use crate::hpa_upstream::{NOW, SECOND};

fn events(list: &[(i32, u64)]) -> Vec<ScaleEvent> {
    let event = |&(change, ago)| ScaleEvent { change, at_ns: NOW - ago * SECOND, outdated: false };
    list.iter().map(event).collect()
}

fn policies(list: &[(PolicyKind, i32, i32)]) -> Vec<ScalingPolicy> {
    let policy = |&(kind, value, period_seconds)| ScalingPolicy { kind, value, period_seconds };
    list.iter().map(policy).collect()
}

/// If it fails, rate limits forget a change too early or count it for ever.
///
/// Source: kubernetes/kubernetes 003e8629 `horizontal_test.go`, `TestStoreScaleEvents`; the rows without behaviour store
/// nothing at all, which the whole decision's test covers.
#[test]
fn scale_events_are_stored_as_upstream_stores_them() {
    let two = policies(&[(PolicyKind::Pods, 10, 60), (PolicyKind::Percent, 100, 60)]);
    let one = policies(&[(PolicyKind::Pods, 10, 60)]);
    let mixed = policies(&[(PolicyKind::Pods, 10, 60), (PolicyKind::Percent, 100, 30)]);
    let long = policies(&[(PolicyKind::Pods, 10, 120), (PolicyKind::Percent, 100, 30)]);
    type Row<'a> = (&'a str, &'a [(i32, u64)], &'a [ScalingPolicy], i64, &'a [(i32, bool)]);
    let rows: &[Row<'_>] = &[
        ("empty entries with two-policy-behavior", &[], &two, 0, &[(5, false)]),
        ("one outdated entry to be replaced with behavior", &[(7, 61)], &two, 0, &[(5, false)]),
        ("one actual entry to be not touched with behavior", &[(7, 58)], &two, 7, &[(7, false), (5, false)]),
        ("two entries, one of them to be replaced", &[(7, 61), (6, 59)], &one, 6, &[(5, false), (6, false)]),
        (
            "replace one entry, use policies with different periods",
            &[(8, 29), (6, 59), (7, 61), (9, 61)],
            &mixed,
            14,
            &[(8, false), (6, false), (7, true), (5, false)],
        ),
        ("two entries, both actual", &[(7, 58), (6, 59)], &long, 13, &[(7, false), (6, false), (5, false)]),
    ];
    for (name, before, policies, within_a_minute, after) in rows {
        let mut log = events(before);
        assert_eq!(change_within(&log, 60, NOW), *within_a_minute, "{name}");
        store(&mut log, 5, Some(policies), NOW);
        let found: Vec<(i32, bool)> = log.iter().map(|event| (event.change, event.outdated)).collect();
        assert_eq!(found, *after, "{name}");
    }
}

/// If it fails, a clock's tick at the edge of a window scales down a step early, or late.
///
/// Source: `time.After` and `time.Before` in `horizontal.go` are strict.
#[test]
fn edges_of_windows_are_upstreams() {
    let at = |ago: u64| vec![Recommendation { replicas: 9, at_ns: NOW - ago * SECOND }];
    for (ago, legacy, within) in [(299, 9, 9), (300, 9, 3), (301, 3, 3)] {
        assert_eq!(stabilize(&mut at(ago), 3, 300 * SECOND, NOW), legacy, "legacy, {ago} s");
        let windows = Windows { up_s: 0, down_s: 300 };
        assert_eq!(stabilize_within(&mut at(ago), 10, 3, windows, NOW), within, "behaviour, {ago} s");
    }
    assert_eq!(
        change_within(&events(&[(4, 60)]), 60, NOW),
        0,
        "an event as old as the period does not count"
    );
    // An entry exactly as old as the window is neither counted nor overwritten.
    let mut log = at(300);
    stabilize_within(&mut log, 10, 3, Windows { up_s: 300, down_s: 300 }, NOW);
    assert_eq!(log.len(), 2);
}

/// If it fails, a team that still runs an old release is told that it scales as a new one does.
///
/// Sources: kubernetes issue 96671, scenario 1, and pull request 97348 that fixed it.
#[test]
fn before_1_21_a_recommendation_down_could_scale_up() {
    let windows = Windows { up_s: 300, down_s: 300 };
    let log = vec![Recommendation { replicas: 3, at_ns: NOW - 60 * SECOND }];
    assert_eq!(stabilize_one_way(&mut log.clone(), 2, 1, windows, NOW), 3);
    assert_eq!(stabilize_within(&mut { log }, 2, 1, windows, NOW), 2);
}

/// If it fails, targets over 100 % scale down too far on releases since 1.26 while metrics are missing.
///
/// Source: kubernetes pull request 112178: a pod without metrics counts as max(100 %, target) of its request. Target 300 %,
/// two pods at 200 %, one without metrics: before, ceil((200+200+100)/3/300 x 3) = ceil(1.66) = 2; since,
/// (200+200+300)/3 = 233 %, ratio 0.7766…, x 3 = 2.33 -> 3.
#[test]
fn missing_pods_count_as_the_target_since_1_26() {
    let ready = Readiness { status: ReadyStatus::True, since_ns: NOW - 900 * SECOND };
    let pods = [Pod { ready: Some(ready), started_ns: Some(NOW - 900 * SECOND), ..Pod::default() }; 3];
    let sample = Some(Sample { value_milli: 200, at_ns: NOW, window_ns: 30 * SECOND });
    for (version, replicas) in [(Version::V1_21, 2), (Version::V1_26, 3), (Version::V1_33, 3)] {
        let options = Options { version, ..Options::default() };
        let samples = PodSamples {
            pods: &pods,
            samples: &[sample, sample, None],
            others_milli: &[],
            is_cpu: true,
            timing: Timing::of(&options, NOW),
        };
        let rules = Rules { current: 3, tolerances: Tolerances::both(0.1), options: &options };
        let found = utilization(samples, &[Some(100); 3], 300, rules).expect("a proposal");
        assert_eq!(found.replicas, replicas, "{version:?}: {found:?}");
    }
}

/// If it fails, a controller that is asked more often than its windows are long fills the memory.
#[test]
fn logs_are_bounded() {
    let mut log = Vec::new();
    let mut changes = Vec::new();
    let policies = policies(&[(PolicyKind::Pods, 1, 1800)]);
    for step in 0..2 * LOG_LIMIT as u64 {
        stabilize(&mut log, 3, 3600 * SECOND, NOW + step);
        store(&mut changes, 1, Some(&policies), NOW + step);
    }
    assert_eq!((log.len(), changes.len()), (LOG_LIMIT, LOG_LIMIT));
    assert!(log.iter().all(|entry| entry.at_ns >= NOW + LOG_LIMIT as u64), "the oldest go first");
}
