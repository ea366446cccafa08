//! The activator's line: who starts when, on which slot.

use super::replicas;
use crate::setting::{MS, S, Setting, fly_at, latencies};

/// Two at a time on a pod, at most two pods, at zero from 5 s on (see `cold_start`); a request takes one second.
fn narrow() -> Setting {
    Setting {
        predictor: "minReplicas: 0, maxReplicas: 2, containerConcurrency: 2".to_owned(),
        autoscaler: "stable-window: 6s, scale-to-zero-grace-period: 6s, panic-window-percentage: '100'"
            .to_owned(),
        service_time: "distribution: constant, mean: 1s".to_owned(),
        duration: "40s".to_owned(),
        load: "process: constant, phases: [{for: 40s, rate: 1/s}]".to_owned(),
        ..Setting::default()
    }
}

/// Whoever waits is served in order, as soon as there is a slot, wherever that is: a user's p99 is made of this.
///
/// Requests A to E come at 20.6, 20.7, 20.8, 20.9 and 21.05 s. A pokes the autoscaler: one pod, ready at 21.6; A and B
/// start then and end at 22.6, C and D start then and end at 23.6. Target: 2 x 70 % = 1.4. Reports: the immediate 1
/// into second 20; at 21: (1 + 2 + 3 + 4) x 0.1 over 0.4 s = 2.5, less 1: 1.5; at 22: 4 x 0.05 + 5 x 0.95 = 4.95. At the tick of
/// 22.5: (1 + 1.5 + 4.95) / 3 = 2.483: 2 pods, twice the one that is ready: panic. The second pod is ready at 23.5 and
/// takes E at once, 0.1 s before a slot of the first one is free: E ends at 24.5.
///
/// Catches a line that is served last come first served, a pod that is given more than its limit, and a new pod that gets
/// nothing until the next request comes.
#[test]
fn the_line_is_served_in_order_by_whichever_slot_is_free() {
    let mut plan = narrow().plan();
    plan.phases.ticks = windtunnel_sim::Phase::Run(S / 2);
    let at_ns = [20_600, 20_700, 20_800, 20_900, 21_050].map(|at_ms| at_ms * MS);
    let recording = fly_at(&plan, &at_ns);
    let ends: Vec<u64> = latencies(&recording)
        .iter()
        .zip(&at_ns)
        .map(|(latency_ns, at_ns)| (at_ns + latency_ns) / MS)
        .collect();
    assert_eq!(ends, [22_600, 22_600, 23_600, 23_600, 24_500]);
    assert_eq!(replicas(&recording)[..3], [(5_005, 0), (20_600, 1), (22_500, 2)]);
}

/// A client that leaves the line gives its place to the next one, and one that leaves its pod does not: the pod goes on
/// computing. Otherwise an overload would look shorter than it is.
///
/// One pod of one slot, ready at 21 s for A (sent at 20 s). Patience is 2.5 s. A runs from 21 to 22. B (20.1) would run from
/// 22 to 23, but its client goes at 22.6; its slot is free at 23 all the same. C (20.2) leaves the line at 22.7. D (20.9)
/// runs from 23 to 24, and its client goes at 23.4. E (21.6) starts at 24, its client
/// goes at 24.1, the pod goes on until 25. F (23.6) starts at 25 and has its answer at 26, 0.1 s before its client goes.
#[test]
fn who_gives_up_frees_its_place_in_the_line_but_not_its_pod() {
    let setting = Setting {
        predictor: "minReplicas: 0, maxReplicas: 1, containerConcurrency: 1".to_owned(),
        timeout: "2500ms".to_owned(),
        ..narrow()
    };
    let at_ns = [20_000, 20_100, 20_200, 20_900, 21_600, 23_600].map(|at_ms| at_ms * MS);
    let mut plan = setting.plan();
    plan.phases.ticks = windtunnel_sim::Phase::Run(S / 2);
    let mut recording = fly_at(&plan, &at_ns);
    recording.requests.sort_by_key(|request| request.row);
    let ends: Vec<(u16, u64)> =
        recording.requests.iter().map(|request| (request.status, request.done_ns() / MS)).collect();
    assert_eq!(ends, [(200, 22_000), (0, 22_600), (0, 22_700), (0, 23_400), (0, 24_100), (200, 26_000)]);
}

/// One server by hand: waiting is what is left of those before, and nothing is carried over an idle time.
///
/// Service 300 ms. Sent at 0, 100, 150, 700, 1200, 1210 ms; begun at 0, 300, 600, 900, 1200, 1500 ms.
#[test]
fn six_requests_at_one_server() {
    let setting = Setting {
        predictor: "minReplicas: 1, maxReplicas: 1, containerConcurrency: 1".to_owned(),
        service_time: "distribution: constant, mean: 300ms".to_owned(),
        ..Setting::default()
    };
    let at_ns = [0, 100, 150, 700, 1_200, 1_210].map(|at_ms| at_ms * MS);
    let recording = fly_at(&setting.plan(), &at_ns);
    assert_eq!(latencies(&recording), [300, 500, 750, 500, 300, 590].map(|ms| ms * MS));
}

/// One shared core by hand: each of n requests gets 1/n of it.
///
/// Service 300 ms. A comes at 0, B at 100, C at 400 ms. Alone until 100 A gets 100. Shared until A's other 200 are done:
/// at 400 A and B have got 150 more each, and C comes with A at 250, B at 150. Thirds: A's 50 take 150, until 550. B has 200
/// then, C 50; halves: B's 100 take 200, until 750. C has 150 and is alone with its other 150: 900.
///
/// Catches a share that is only computed when a request starts.
#[test]
fn three_requests_on_one_core() {
    let setting = Setting {
        predictor: "minReplicas: 1, maxReplicas: 1, containerConcurrency: 0".to_owned(),
        service_time: "distribution: constant, mean: 300ms".to_owned(),
        ..Setting::default()
    };
    let mut plan = setting.plan();
    plan.environment.server.cores = windtunnel_scenario::Cores::Number(1.0);
    let recording = fly_at(&plan, &[0, 100 * MS, 400 * MS]);
    assert_eq!(latencies(&recording), [550 * MS, 650 * MS, 500 * MS]);
}
