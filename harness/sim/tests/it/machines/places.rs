//! Where pods go, who waits for a place, and machines that come and go.

use super::{fixed, scaled, told, values};
use crate::setting::fly;

/// Two pods of a tenth of a core a machine, scans at whole ten seconds of the run.
const POOL: &str = "nodes: {pools: [{name: cpu, count: 1, least: 1, most: 3, cpu: 0.2, memory: 64GiB, price: 1.00/h}], \
                    autoscaler: {provisioning: 90s, scan: 10s, idle: 60s}}\ncontrol: {phases: {nodes: 0s}}";

/// A scale-up that waits for machines is minutes late, and the bill grows from the order on, not from the first request.
///
/// At 15 s two pods more are wanted than the machine has room for. The scan at 20 s orders one machine for both; it is
/// ready at 110 s and the pods a second later. At 120 s they go again. Nothing goes within ten minutes after a scale-up
/// (20 s + 600 s), so the machine, empty since 120 s, is removed at 620 s. It costs 1.00 an hour for 600 s.
#[test]
fn the_autoscaler_orders_and_removes_machines() {
    let mut setting = fixed(2, POOL);
    setting.duration = "700s".to_owned();
    setting.load = "process: constant, phases: [{for: 700s, rate: 1/s}]".to_owned();
    setting.events = format!("[{}, {}]", scaled(15, 4), scaled(120, 2));
    let (recording, summary) = fly(&setting.plan(), 1);
    let failed: Vec<_> = recording.requests.iter().filter(|request| request.status != 200).collect();
    assert!(failed.is_empty(), "{failed:?} {summary:?}");
    assert_eq!(
        told(&recording, "node"),
        [
            (20_000, "cpu-1", "TriggeredScaleUp: 2 pods are pending; ready in 1m30s"),
            (110_000, "cpu-1", "ready"),
            (620_000, "cpu-1", "ScaleDown: removed"),
        ]
    );
    let pods: Vec<(u64, &str)> =
        told(&recording, "pod").into_iter().map(|(at, _, text)| (at, text)).collect();
    let why = "FailedScheduling: 0/1 nodes are available: 1 Insufficient cpu.";
    let placed = "Scheduled: to cpu-1, after 1m35s";
    let expected = [
        (15_000, "created"),
        (15_000, "created"),
        (15_000, why),
        (15_000, why),
        (110_000, placed),
        (110_000, placed),
        (111_000, "ready"),
        (111_000, "ready"),
        (120_000, "stopping"),
        (120_000, "stopping"),
    ];
    assert_eq!(pods, expected);
    assert_eq!(values(&recording, "pods.pending", &[("reason", "cpu")], &[16, 109, 111]), [2.0, 2.0, 0.0]);
    let pool = [("pool", "cpu")];
    assert_eq!(values(&recording, "nodes.ready", &pool, &[19, 21, 111, 621]), [1.0, 1.0, 2.0, 1.0]);
    assert_eq!(values(&recording, "nodes.wanted", &pool, &[19, 21, 111, 621]), [1.0, 2.0, 2.0, 1.0]);
    assert_eq!(values(&recording, "nodes.cpu_allocated", &pool, &[14, 112, 121]), [1.0, 1.0, 0.5]);
    assert_eq!(values(&recording, "cost.per_hour", &[], &[19, 21, 621]), [1.0, 2.0, 1.0]);
    let total = values(&recording, "cost.total", &[], &[700])[0];
    assert!((total - 1300.0 / 3600.0).abs() < 1e-6, "{total}");
    let phases: Vec<u64> = recording.cold_starts[0].phases.iter().map(|(_, ns)| ns / 1_000_000).collect();
    assert_eq!(phases, [95_100, 200, 300, 300, 60, 40], "the wait for the machine is a part of the start");
}

/// A machine that is hardly used goes, and its pods are made anew elsewhere before nobody is left.
///
/// Three machines with a pod each, a quarter of the machine. Two are not needed: what is on the first fits on the second,
/// and all of that on the third. Not needed since the scan at 0 s, the first one goes after more than a minute, at 70 s.
/// Its pod makes the second one half full, which is not little; the third one is
/// not needed from the scan at 80 s on and goes at 150 s.
#[test]
fn a_machine_that_is_hardly_used_is_drained() {
    let mut setting = fixed(
        3,
        "nodes: {pools: [{name: cpu, count: 3, least: 1, most: 3, cpu: 0.4, memory: 64GiB}], autoscaler: {scan: 10s, idle: \
         60s}}\ncontrol: {phases: {nodes: 0s}}",
    );
    setting.duration = "300s".to_owned();
    setting.load = "process: constant, phases: [{for: 300s, rate: 1/s}]".to_owned();
    let (recording, summary) = fly(&setting.plan(), 1);
    let drained = told(&recording, "node");
    let evicted: u32 = drained
        .iter()
        .filter_map(|(_, _, text)| text.strip_prefix("ScaleDown: ")?.split(' ').next()?.parse::<u32>().ok())
        .sum();
    assert_eq!((drained.len(), evicted), (4, 2), "{drained:?}");
    let pool = [("pool", "cpu")];
    assert_eq!(values(&recording, "nodes.ready", &pool, &[50, 200]), [3.0, 1.0]);
    assert_eq!(values(&recording, "nodes.cpu_allocated", &pool, &[200]), [0.75]);
    assert_eq!(recording.cold_starts.len(), 2, "the evicted pods were replaced");
    assert_eq!(summary.failed, 0);
}

/// Without an autoscaler a pod that fits nowhere waits for ever, and the reason is the scarce thing.
#[test]
fn what_is_short_is_named() {
    let nodes = "nodes: {pools: [{name: gpu, count: 1, cpu: 8, memory: 192MiB, gpus: 1, gpu-memory: 24GiB}]}";
    let mut setting = fixed(1, nodes);
    setting.events = format!("[{}]", scaled(10, 2));
    let (recording, _) = fly(&setting.plan(), 1);
    assert_eq!(values(&recording, "pods.pending", &[("reason", "memory")], &[11, 60]), [1.0, 1.0]);
    assert_eq!(values(&recording, "nodes.gpu_allocated", &[("pool", "gpu")], &[11]), [0.0]);
}
