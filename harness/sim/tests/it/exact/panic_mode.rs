//! Panic mode: entered at the right tick with the right number, kept, extended, and left.

use windtunnel_scenario::Duration;

use super::{replicas, steps};
use crate::setting::{MS, S, Setting, fly_at};

/// A target of exactly 10 requests in flight a pod, a stable window of 20 s, so a panic window of 2 s; a request takes one
/// second, so that the concurrency is the rate. A pod starts in one second and has time to finish when it stops.
fn plan(threshold_percent: u32) -> windtunnel_sim::Plan {
    let setting = Setting {
        predictor: "minReplicas: 1, maxReplicas: 20, scaleTarget: 10".to_owned(),
        autoscaler: format!(
            "container-concurrency-target-percentage: '100', stable-window: 20s, panic-threshold-percentage: \
             '{threshold_percent}'"
        ),
        service_time: "distribution: constant, mean: 1s".to_owned(),
        duration: "90s".to_owned(),
        load: "process: constant, phases: [{for: 90s, rate: 1/s}]".to_owned(),
        ..Setting::default()
    };
    let mut plan = setting.plan();
    plan.phases.ticks = windtunnel_sim::Phase::Run(S / 2);
    plan.environment.pod_stop.grace = Duration::from_ms(5_000);
    plan
}

/// Evenly spaced arrivals: from and to in seconds, and how many a second.
fn arrivals(parts: &[(u64, u64, u64)]) -> Vec<u64> {
    let even = |(from_s, to_s, rate): &(u64, u64, u64)| {
        let (from_s, rate, count) = (*from_s, *rate, (to_s - from_s) * rate);
        (0..count).map(move |index| from_s * S + index * S / rate)
    };
    parts.iter().flat_map(even).collect()
}

/// A burst must be met within seconds and its replicas paid for exactly one stable window longer.
///
/// 10 a second, but 40 a second from 30 s to 36 s. Each second's report is the mean concurrency of the second before:
/// 10; second 31: the old ones fade (9, 8, … 0 for 0.1 s each: 4.5) and the new ones come (1, 2, … 40 for 0.025 s
/// each: 20.5): 25; seconds 32 to 36: 40; second 37: 39 … 0 (19.5) and 1 … 10 (5.5): 25; from 38 on 10 again.
///
/// - 30.5: panic window 29, 30: 10: 1 pod.
/// - 32.5: panic window (25 + 40) / 2 = 32.5: 4 pods, 4 times the ready one, over the threshold of 2: panic, 4 pods.
///   (The stable window says (18 x 10 + 25 + 40) / 20 = 12.25: 2.)
/// - 34.5, 36.5: 40: 4 pods, which are ready: 4 / 4 is no reason to extend the panic.
/// - 38.5: 17.5: 2 pods; in a panic nothing goes down. Nor at 40.5 … 50.5.
/// - 52.5: 20 s after it began, not more than that: still a panic.
/// - 54.5: over. Stable window 35 … 54: 40 + 40 + 25 + 17 x 10 = 275: 13.75: 2 pods (and 4 / 2 = 2 are the fewest allowed).
/// - 56.5: (25 + 19 x 10) / 20 = 10.75: 2 pods.
/// - 58.5: 10: 1 pod.
///
/// Catches a panic that is left one tick early or late, that follows the load down, or that never ends; windows that are
/// a second too long or too short.
#[test]
fn a_panic_begins_with_the_burst_and_ends_a_stable_window_later() {
    let recording = fly_at(&plan(200), &arrivals(&[(0, 30, 10), (30, 36, 40), (36, 90, 10)]));
    assert_eq!(replicas(&recording), [(32_500, 4), (54_500, 2), (58_500, 1)]);
    assert_eq!(
        steps(&recording, "replicas.ready"),
        [(0, 1.0), (34, 4.0), (55, 2.0), (59, 1.0)],
        "ready a second after it was decided, gone at once"
    );
    let panic = &recording.decisions[0];
    assert_eq!((&panic.explanation["panic"], &panic.explanation["stable"]), (&32.5.into(), &12.25.into()));
    assert_eq!(panic.explanation["panicking"], true);
    assert_eq!(recording.decisions[1].explanation["panicking"], false);
    assert!(
        recording.requests.iter().all(|request| request.latency_ns == 1_000 * MS && request.status == 200)
    );
}

/// A second burst within the panic starts its time anew and raises its level, and the way down is no faster than the
/// largest step that is allowed.
///
/// As above, and 100 a second from 42 s to 48 s: second 43: 4.5 + 50.5 = 55; 44 to 48: 100; 49: 49.5 + 5.5 = 55; then 10.
///
/// - 32.5: 4 pods as above.
/// - 42.5: panic window 41, 42: 10: nothing.
/// - 44.5: (55 + 100) / 2 = 77.5: 8 pods, twice the 4 ready ones: on the threshold, which counts. The panic's time starts
///   anew; 8 pods.
/// - 46.5: 100: 10 pods, 10 / 8 is under the threshold; the level rises, the time stays.
/// - 64.5: 20 s after 44.5, not more: still a panic.
/// - 66.5: over. Stable window 47 … 66: 100 + 100 + 55 + 17 x 10 = 425: 21.25: 3 pods; not under 10 / 2 = 5: 5 pods.
/// - 68.5: (55 + 19 x 10) / 20 = 12.25: 2 pods; not under 5 / 2, rounded down: 2.
/// - 70.5: 10: 1 pod.
///
/// Catches a threshold that is not reached by equality, a panic that does not start anew, and a step down of more than
/// half.
#[test]
fn a_second_burst_extends_the_panic() {
    let load = [(0, 30, 10), (30, 36, 40), (36, 42, 10), (42, 48, 100), (48, 90, 10)];
    let recording = fly_at(&plan(200), &arrivals(&load));
    assert_eq!(
        replicas(&recording),
        [(32_500, 4), (44_500, 8), (46_500, 10), (66_500, 5), (68_500, 2), (70_500, 1)]
    );
}

/// A load that grows slowly must never panic: the stable window follows it, and panicking would keep replicas for nothing.
///
/// 10 a second until 20 s, then 15 a second until 60 s. Second 21: 4.5 + (1 + … + 15) / 15 = 8: 12.5; from 22 on 15.
/// At 22.5 the panic window has (12.5 + 15) / 2 = 13.75: 2 pods, twice the one: that is a panic, and its level is 2.
/// With a threshold of 300 % it is none: the stable window has 10.375 at 22.5 ((18 x 10 + 12.5 + 15) / 20), so 2 pods
/// as well, by the stable window; and when the load goes back, at 60 s, they go when the window is back at 10: second
/// 61: 7 (14 … 0) + 5.5 = 12.5, then 10; the window of 80.5 holds 61 … 80: (12.5 + 19 x 10) / 20 = 10.125: 2; that of 82.5
/// none but tens: 1. In the panic the same, since it is over at 44.5.
#[test]
fn the_threshold_decides_what_a_panic_is() {
    let load = arrivals(&[(0, 20, 10), (20, 60, 15), (60, 90, 10)]);
    for (threshold_percent, is_panic) in [(200, true), (300, false)] {
        let recording = fly_at(&plan(threshold_percent), &load);
        assert_eq!(replicas(&recording), [(22_500, 2), (82_500, 1)], "{threshold_percent} %");
        assert_eq!(recording.decisions[0].explanation["panicking"], is_panic, "{threshold_percent} %");
    }
}
