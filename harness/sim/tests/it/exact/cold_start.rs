//! From a request that finds nobody to its answer, phase by phase.

use super::{replicas, steps};
use crate::setting::{MS, S, Setting, fly_at, latencies};

/// Asleep soon, with six phases of six different lengths: 5 s in all. Both windows and the grace period are 6 s.
///
/// Applied at -6 s, ready at -1 s. Nobody asks for anything: the tick of 0.5 s wants none, but a revision is active for a
/// stable window at least, until 5 s. The activator has been in the path for longer than the grace by then, so the pod
/// goes when the status is written, 5 ms later.
pub(super) fn asleep() -> Setting {
    Setting {
        predictor: "minReplicas: 0, maxReplicas: 5".to_owned(),
        autoscaler: "stable-window: 6s, scale-to-zero-grace-period: 6s, panic-window-percentage: '100'"
            .to_owned(),
        gateway: "2ms".to_owned(),
        pod_start:
            "schedule: 300ms, image-pull: 1s, download: 1600ms, load: 900ms, probe: 800ms, propagate: 400ms"
                .to_owned(),
        ..Setting::default()
    }
}

/// A cold start is why users set a minimum: its length, its parts and who waits for it must be right to the millisecond.
///
/// A request is sent at 10 s and is at the gateway 2 ms later. That very request pokes the autoscaler, which makes a pod at
/// once; its phases end 300, 1300, 2900, 3800, 4600 and 5000 ms later, at 15.002 s. The other requests wait for the same
/// pod: a concurrency of 3 is far below the target of 70, so no second pod is asked for. All are released at 15.002 s
/// and take 5 ms. The last one comes after it and waits for nothing. It is in the report of 16 s, which the windows hold
/// until 21; at 22.5 none is wanted, the revision has been active since 15 s: gone at 22.505 s.
///
/// Catches a phase that is left out, counted twice or started with another one; a pod for every waiting request; a
/// release at the next tick instead of at the endpoint's arrival.
#[test]
fn every_phase_of_a_cold_start_takes_its_time() {
    let mut plan = asleep().plan();
    plan.phases.ticks = windtunnel_sim::Phase::Run(S / 2);
    let recording = fly_at(&plan, &[10 * S, 11 * S + 500 * MS, 14 * S + 999 * MS, 15 * S + 500 * MS]);

    assert_eq!(replicas(&recording), [(5_005, 0), (10_002, 1), (22_505, 0)]);
    assert_eq!(latencies(&recording), [5_007 * MS, 3_507 * MS, 8 * MS, 7 * MS]);
    let held: Vec<u64> = recording.requests.iter().map(|request| request.held_ns / MS).collect();
    assert_eq!(held, [5_000, 3_500, 1, 0]);
    assert_eq!(steps(&recording, "replicas.wanted"), [(0, 1.0), (6, 0.0), (11, 1.0), (23, 0.0)]);
    assert_eq!(steps(&recording, "replicas.ready"), [(0, 1.0), (6, 0.0), (16, 1.0), (23, 0.0)]);

    assert_eq!(recording.cold_starts.len(), 1);
    let start = &recording.cold_starts[0];
    assert_eq!((start.t_ns, start.activated), (10_002 * MS, true));
    let phases: Vec<(&str, u64)> = start.phases.iter().map(|(name, ns)| (name.as_str(), ns / MS)).collect();
    assert_eq!(
        phases,
        [
            ("schedule", 300),
            ("image-pull", 1_000),
            ("download", 1_600),
            ("load", 900),
            ("probe", 800),
            ("propagate", 400)
        ]
    );
    let told: Vec<(u64, &str)> = recording
        .events
        .iter()
        .filter(|event| event.kind == "pod" || event.kind == "activation")
        .map(|event| (event.t_ns / MS, event.text.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (5_005, "stopping"),
            (10_002, "a request waits: there is no ready pod"),
            (10_002, "created"),
            (15_002, "ready"),
            (15_002, "3 waiting requests released"),
            (22_505, "stopping"),
        ]
    );
}

/// A burst while the pod starts must bring further pods, or the first one is overrun: the autoscaler sees the waiting ones.
///
/// The target is 2.1 (70 % of containerConcurrency 3). Ticks are at 10.5, 12.5, … Requests come at
/// 10.1, 10.2, … 10.7 (seven). The first one's immediate report puts 1 into the bucket of second 10: one pod at 10.1. At the
/// tick of 10.5 nothing else is reported: 1 / 2.1, one pod. The report at 11 covers 10.1 to 11: 1, 2, … 6 for 0.1 s each
/// and 7 for 0.3 s are 4.2 over 0.9 s, 4.667 less the 1: 3.667. That at 12 is 7. At 12.5: (1 + 3.667 + 7) / 3 = 3.889:
/// 2 pods, twice those that are ready (none counts as one): panic, 2 pods. The report at 13 is 7 and that of 14 too; at 14.5:
/// (1 + 3.667 + 7 + 7 + 7) / 5 = 5.133: 3 pods. The pods are ready at 15.1, 17.5 and 19.5.
///
/// At 15.1 the first pod takes three (it has three slots), which end at 16.1; then the next three, which end at 17.1;
/// then the last one, which ends at 18.1. Seconds 15, 16 and 17 report: 7 until 16 (the seven are there until 16.1);
/// (16, 17]: 7 x 0.1 + 4 x 0.9 = 4.3; (17, 18]: 4 x 0.1 + 1 x 0.9 = 1.3. At 16.5 the panic window of six seconds (buckets 11
/// to 16): (3.667 + 7 x 5) / 6 = 6.444: 4 pods, ready at 21.5, and the panic starts anew for the last time (four times the ready one). Then less: at 18.5
/// (7 x 4 + 4.3 + 1.3) / 6 = 5.6: 3; four stay until the panic is over: more than 6 s after 16.5, at 24.5. Nothing has been
/// there since 18, but a step down is by half at most: 2 at 24.5, 1 at 26.5, none wanted at 28.5: gone at 28.505.
///
/// Catches an autoscaler that is blind while there are no pods, or that takes the wait for the end of the load.
#[test]
fn waiting_requests_bring_further_pods() {
    let setting = Setting {
        predictor: "minReplicas: 0, maxReplicas: 5, containerConcurrency: 3".to_owned(),
        service_time: "distribution: constant, mean: 1s".to_owned(),
        gateway: "0s".to_owned(),
        duration: "30s".to_owned(),
        load: "process: constant, phases: [{for: 30s, rate: 1/s}]".to_owned(),
        ..asleep()
    };
    let mut plan = setting.plan();
    plan.phases.ticks = windtunnel_sim::Phase::Run(S / 2);
    let at_ns: Vec<u64> = (1..=7).map(|index| 10 * S + index * 100 * MS).collect();
    let recording = fly_at(&plan, &at_ns);
    assert_eq!(
        replicas(&recording),
        [
            (5_005, 0),
            (10_100, 1),
            (12_500, 2),
            (14_500, 3),
            (16_500, 4),
            (24_500, 2),
            (26_500, 1),
            (28_505, 0)
        ]
    );
    let ends: Vec<u64> = latencies(&recording)
        .iter()
        .zip(&at_ns)
        .map(|(latency_ns, at_ns)| (at_ns + latency_ns) / MS)
        .collect();
    assert_eq!(ends, [16_100, 16_100, 16_100, 17_100, 17_100, 17_100, 18_100]);
    let ready: Vec<u64> = recording
        .events
        .iter()
        .filter(|event| event.text == "ready" && event.kind == "pod")
        .map(|event| event.t_ns / MS)
        .collect();
    assert_eq!(ready, [15_100, 17_500, 19_500, 21_500]);
}
