//! Stored in the middle of transfers, orders of machines and faults, and gone on with.

use windtunnel_sim::{Snapshot, resume, simulate_until};

use super::{CANARY, fixed, scaled, values};
use crate::setting::{MS, S, Setting, bytes, fly};

fn eventful() -> Setting {
    let mut setting = fixed(
        2,
        "nodes: {pools: [{name: cpu, count: 1, least: 1, most: 4, cpu: 0.3, memory: 64GiB, price: 1.00/h, bandwidth: \
         2Gbit/s}], autoscaler: {provisioning: 20s, scan: 10s, idle: 60s}, \
         monitor-grace-period: 5s, unreachable-toleration: 5s}\n\
         bandwidth: {registry: 5Gbit/s, storage: {'s3://': 1Gbit/s}}",
    );
    setting.duration = "150s".to_owned();
    setting.load = "process: poisson, phases: [{for: 150s, rate: 20/s}]".to_owned();
    setting.pod_start =
        "schedule: 100ms, image-pull: {size: 1GB}, download: {size: 500MB}, load: {rate: 500MB/s}, probe: \
                         period, propagate: 40ms"
            .to_owned();
    setting.events = format!("[{CANARY}, {}, {}]", scaled(20, 6), scaled(100, 2));
    setting.faults = "{at: 50s, fault: storage-failure, prefix: 's3://models', for: 5s}, {every: 20s, fault: pod-crash, \
                      target: digits}, {at: 70s, fault: node-loss, pool: cpu, for: 20s}, {at: 95s, fault: api-outage, for: \
                      10s}, {at: 97s, fault: metrics-gap, for: 10s}, {at: 30s, fault: clock-phase, shift: 3s}, {at: 120s, \
                      fault: crash-loop, target: digits, for: 15s}"
        .to_owned();
    setting
}

/// A fork in the middle of a transfer or of an order would lose bytes, machines or pods.
#[test]
fn a_stored_cluster_goes_on() {
    let plan = eventful().plan();
    let (whole, _) = fly(&plan, 42);
    assert!(whole.events.iter().any(|event| event.text.contains("TriggeredScaleUp")));
    assert!(whole.events.iter().any(|event| event.text.contains("TaintManagerEviction")));
    let cuts = [
        0,
        10_500 * MS,
        12 * S,
        21 * S,
        28 * S,
        41 * S,
        52 * S,
        60 * S,
        70 * S,
        71 * S,
        76 * S,
        81 * S,
        99 * S,
        121 * S,
        149 * S,
    ];
    for at_ns in cuts {
        let mut recording = plan.recording(42);
        let snapshot = simulate_until(&plan, 42, at_ns, &mut recording).expect("a sound simulation");
        let read = Snapshot::from_json(&snapshot.to_json().expect("storable")).expect("what was stored");
        assert_eq!(read, snapshot);
        resume(&plan, read, &mut recording).expect("a sound simulation");
        assert_eq!(bytes(&recording), bytes(&whole), "cut at {at_ns} ns");
    }
}

/// "What if the pool could have grown, or machines were dearer?" holds from the fork on; other machines are another run.
#[test]
fn a_what_if_changes_bounds_and_prices() {
    let mut setting = eventful();
    setting.faults = String::new();
    let plan = setting.plan();
    let snapshot = simulate_until(&plan, 42, 15 * S, &mut plan.recording(42)).expect("a sound simulation");
    let mut other = plan.clone();
    let pool = &mut other.environment.nodes.as_mut().expect("nodes").pools[0];
    (pool.most, pool.price) = (1, windtunnel_scenario::Price::per_hour(3.0));
    let mut recording = other.recording(42);
    resume(&other, snapshot.clone(), &mut recording).expect("a sound simulation");
    assert_eq!(values(&recording, "cost.per_hour", &[], &[16, 90]), [3.0, 3.0]);
    assert!(values(&recording, "pods.pending", &[("reason", "cpu")], &[90])[0] > 0.0);
    other.environment.nodes.as_mut().expect("nodes").pools[0].cpu_milli = 64_000;
    let error = resume(&other, snapshot, &mut plan.recording(42)).expect_err("other machines");
    assert!(error.to_string().contains("pools"), "{error}");
}
