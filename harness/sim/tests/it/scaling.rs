//! The autoscaler in the loop, by hand.

use windtunnel_sim::{Phase, Phases};

use crate::setting::{S, Setting, decisions, fly, fly_at};

/// Ten requests a second of one second each: concurrency climbs to 10 within the first second and stays.
fn ten_at_a_time() -> Setting {
    Setting {
        predictor: "minReplicas: 1, maxReplicas: 10, scaleTarget: 2".to_owned(),
        load: "process: constant, phases: [{for: 20s, rate: 10/s}]".to_owned(),
        duration: "20s".to_owned(),
        service_time: "distribution: constant, mean: 1s".to_owned(),
        autoscaler: "container-concurrency-target-percentage: '100'".to_owned(),
        ..Setting::default()
    }
}

/// Every replica that is wanted too early or too late is money or latency: the decisions must be those of the
/// formula, at the ticks.
///
/// The pod is ready at -1 s, so buckets start with a 0 there. The first request's immediate report puts a 1
/// into bucket 0; the report at 1 s has the mean of 1, 2, … 10, less that 1: 4.5; each one after it has 10.
/// Ticks are at 0.5 s, 2.5 s, …, the panic window has 6 buckets and a threshold of 2 x ready pods:
/// - 0.5 s: 1 / 2 buckets = 0.5, at a target of 2 a pod: 1
/// - 2.5 s: (1 + 4.5 + 10) / 4 = 3.9: 2 pods, panic
/// - 4.5 s: 35.5 / 6 = 5.9: 3 pods
/// - 6.5 s: panic window 1 s to 6 s (4.5 + 5 x 10) / 6 = 9.1: 5 pods
/// - 8.5 s: 10: 5 pods
#[test]
fn replicas_follow_the_windows_tick_by_tick() {
    let mut plan = ten_at_a_time().plan();
    plan.phases.ticks = Phase::Run(S / 2);
    let at_ns: Vec<u64> = (0..200).map(|index| index * S / 10).collect();
    let recording = fly_at(&plan, &at_ns);
    assert_eq!(decisions(&recording), [(2_500, 1, 2), (4_500, 2, 3), (6_500, 3, 5)]);
    assert!(recording.decisions[0].text.contains("panicking"), "{}", recording.decisions[0].text);
    assert_eq!(recording.decisions[0].actor, "kpa");
    assert_eq!(recording.decisions[0].explanation["panic"], 3.875);
    assert_eq!(recording.cold_starts.len(), 4);
    assert!(recording.cold_starts.iter().all(|start| !start.activated), "nobody waited at zero");
}

/// A limit that is not kept costs what it was set to save.
#[test]
fn the_maximum_holds() {
    let setting =
        Setting { predictor: "minReplicas: 1, maxReplicas: 3, scaleTarget: 2".to_owned(), ..ten_at_a_time() };
    let (recording, _) = fly(&setting.plan(), 1);
    assert_eq!(recording.decisions.last().map(|decision| decision.to), Some(3));
    let last = &recording.decisions[recording.decisions.len() - 1];
    assert!(recording.decisions.iter().all(|decision| decision.to <= 3), "{last:?}");
}

/// Scaling down must not cut off requests that a pod still computes, if its grace is long enough.
#[test]
fn no_request_is_lost_when_pods_go() {
    let mut setting = Setting {
        load: "process: constant, phases: [{for: 10s, rate: 20/s}, {for: 50s, rate: 1/s}]".to_owned(),
        duration: "60s".to_owned(),
        autoscaler: "container-concurrency-target-percentage: '100', stable-window: 6s".to_owned(),
        service_time: "distribution: constant, mean: 400ms".to_owned(),
        ..ten_at_a_time()
    };
    let (recording, summary) = fly(&setting.plan(), 1);
    assert_eq!(summary.failed, 0);
    assert!(recording.decisions.iter().any(|decision| decision.to < decision.from), "it scaled down");
    // The scenario's grace is 500 ms: computing for two seconds is too long.
    setting.service_time = "distribution: constant, mean: 2s".to_owned();
    let (recording, summary) = fly(&setting.plan(), 1);
    let killed = recording.requests.iter().filter(|request| request.status == 502).count() as u64;
    assert_eq!(summary.failed, killed, "only pods that stop lose requests");
    assert!(killed > 0);
}

/// The phase of the autoscaler's clock is part of what happens: it must be where the plan puts it.
#[test]
fn ticks_lie_where_the_plan_puts_them() {
    let mut plan = ten_at_a_time().plan();
    for offset_ms in [0_u64, 300, 1_700] {
        plan.phases = Phases { ticks: Phase::Run(offset_ms * 1_000_000), reports: Phase::Run(0) };
        let (recording, _) = fly(&plan, 1);
        assert!(decisions(&recording).iter().all(|(at_ms, ..)| at_ms % 2_000 == offset_ms), "{offset_ms}");
    }
    // As live: a little after each even second of the clock.
    plan.phases = Phases::default();
    let (recording, _) = fly(&plan, 1);
    assert!(decisions(&recording).iter().all(|(at_ms, ..)| at_ms % 2_000 == 100));
    // As upstream, from the revision's own start: two seconds and one before t=0, when the manifests were applied.
    plan.phases.ticks = Phase::Own;
    plan.lead_ns = S + 300_000_000;
    let (recording, _) = fly(&plan, 1);
    assert!(
        decisions(&recording).iter().all(|(at_ms, ..)| at_ms % 2_000 == 1_700),
        "{:?}",
        decisions(&recording)
    );
}
