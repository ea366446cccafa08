//! What goes wrong, and when it is over.

use super::{fixed, scaled, told, values};
use crate::setting::{MS, S, Setting, decisions, fly};

/// A machine takes its pods with it. The other one has room, so the pod that was lost serves again a second later, on the
/// machine that is left; the requests that it computed are lost.
#[test]
fn a_lost_node_is_survived() {
    let mut setting = fixed(2, "nodes: {pools: [{name: cpu, count: 2, cpu: 0.2, memory: 64GiB}]}");
    setting.faults = "{at: 20s, fault: node-loss, pool: cpu, count: 1, for: 30s}".to_owned();
    setting.load = "process: constant, phases: [{for: 60s, rate: 100/s}]".to_owned();
    setting.service_time = "distribution: constant, mean: 100ms".to_owned();
    setting.objectives = "[recovery<10s]".to_owned();
    let plan = setting.plan();
    let (recording, summary) = fly(&plan, 1);
    let fault = &told(&recording, "fault");
    assert_eq!(fault.len(), 1);
    assert_eq!((fault[0].0, fault[0].1), (20_000, "cpu"));
    assert!(fault[0].2.starts_with("node-loss for 30s: cpu-"), "{fault:?}");
    let back: Vec<(u64, &str)> =
        told(&recording, "node").into_iter().map(|(at, _, text)| (at, text)).collect();
    assert_eq!(back, [(50_000, "back")]);
    let ready =
        values(&recording, "replicas.ready", &[("revision", "digits-predictor-00001")], &[19, 21, 22]);
    assert_eq!(ready, [2.0, 1.0, 2.0], "lost at 20 s, ready at 21 s just after the sample");
    assert_eq!(values(&recording, "nodes.ready", &[("pool", "cpu")], &[19, 21, 51]), [2.0, 1.0, 2.0]);
    assert_eq!(recording.cold_starts.len(), 1);
    assert_eq!(recording.cold_starts[0].t_ns, 20 * S);
    let lost = recording.requests.iter().filter(|request| request.status == 502).count();
    assert!((3..=7).contains(&lost), "half of the ten that are computed at a time: {lost}");
    assert_eq!(summary.failed, lost as u64);
    let judged = windtunnel_record::judge::judge(&plan.scenario, &recording);
    assert_eq!(judged[0].verdict, windtunnel_record::judge::Verdict::Pass, "{judged:?}");
}

/// The kubelet's back-off decides how long a service with a broken image is away: 0, 10, 20, 40 s, ….
///
/// The container crashes at 10 s, starts at once and dies when it has loaded, at 10.3; starts at 20.3, dies at 20.6; starts
/// at 40.6, dies at 40.9; starts at 80.9, when the fault is over, and serves 400 ms later.
#[test]
fn a_crash_loop_backs_off() {
    let mut setting = fixed(1, "");
    setting.duration = "120s".to_owned();
    setting.faults = "{at: 10s, fault: crash-loop, target: digits, for: 60s}".to_owned();
    let (recording, _) = fly(&setting.plan(), 1);
    let pods: Vec<(u64, &str)> =
        told(&recording, "pod").into_iter().map(|(at, _, text)| (at, text)).collect();
    let expected = [
        (10_000, "crashed; the container restarts after 0s"),
        (10_300, "crashed; the container restarts after 10s"),
        (20_600, "crashed; the container restarts after 20s"),
        (40_900, "crashed; the container restarts after 40s"),
        (81_300, "ready"),
    ];
    assert_eq!(pods, expected);
    assert_eq!(told(&recording, "fault"), [(10_000, "digits", "crash-loop for 1m: 1 pods")]);
    assert!(recording.cold_starts.is_empty(), "a restart is no cold start");
}

/// A crash hits as many pods as it says, and they are back after load, probe and propagation.
#[test]
fn a_crash_is_a_restart() {
    let mut setting = fixed(3, "");
    setting.faults = "{at: 10s, fault: pod-crash, target: digits, count: 2}".to_owned();
    let (recording, _) = fly(&setting.plan(), 1);
    let pods: Vec<(u64, &str)> =
        told(&recording, "pod").into_iter().map(|(at, _, text)| (at, text)).collect();
    let crashed = (10_000, "crashed; the container restarts after 0s");
    assert_eq!(pods, [crashed, crashed, (10_400, "ready"), (10_400, "ready")]);
}

/// Faults at random times come as often as they say, and at other times with another seed.
#[test]
fn random_faults_have_their_rate() {
    let mut setting = fixed(1, "");
    setting.duration = "4h".to_owned();
    setting.load = "process: constant, phases: [{for: 4h, rate: 1/h}]".to_owned();
    setting.faults = "{every: 60s, fault: pod-crash, target: digits}".to_owned();
    let plan = setting.plan();
    let times = |seed| -> Vec<u64> {
        let (recording, _) = fly(&plan, seed);
        told(&recording, "fault").into_iter().map(|(at, ..)| at).collect()
    };
    let one = times(1);
    // 240 expected, a standard deviation of 15.5.
    assert!((180..=300).contains(&one.len()), "{}", one.len());
    assert_eq!(one, times(1));
    assert_ne!(one, times(2));
}

/// While the API server is out nothing changes: what is applied at 15 s happens at 30 s.
#[test]
fn an_api_outage_puts_changes_off() {
    let mut setting = fixed(1, "");
    setting.faults = "{at: 10s, fault: api-outage, for: 20s}".to_owned();
    setting.events = format!("[{}]", scaled(15, 2));
    let (recording, summary) = fly(&setting.plan(), 1);
    assert_eq!(summary.failed, 0, "requests need no API server");
    let pods: Vec<(u64, &str)> =
        told(&recording, "pod").into_iter().map(|(at, _, text)| (at, text)).collect();
    assert_eq!(pods, [(30_000, "created"), (31_000, "ready")]);
}

/// A pod that becomes ready in an outage gets requests only after it: its endpoint cannot be written.
#[test]
fn an_api_outage_holds_endpoints_back() {
    let mut setting = fixed(1, "");
    setting.faults = "{at: 15500ms, fault: api-outage, for: 10s}".to_owned();
    setting.events = format!("[{}]", scaled(15, 2));
    let (recording, _) = fly(&setting.plan(), 1);
    assert_eq!(recording.cold_starts[0].phases[5], ("propagate".to_owned(), 25_500 * MS - 15_960 * MS));
}

/// Knative's autoscaler decides nothing in an outage, and at once after it.
#[test]
fn no_autoscaler_decides_in_an_api_outage() {
    let setting = Setting {
        predictor: "minReplicas: 1, maxReplicas: 10, scaleTarget: 2".to_owned(),
        load: "process: constant, phases: [{for: 5s, rate: 1/s}, {for: 55s, rate: 10/s}]".to_owned(),
        service_time: "distribution: constant, mean: 1s".to_owned(),
        faults: "{at: 5s, fault: api-outage, for: 20s}".to_owned(),
        ..Setting::default()
    };
    let (recording, _) = fly(&setting.plan(), 1);
    let first = decisions(&recording)[0];
    assert!((25_000..27_001).contains(&first.0), "{first:?}");
    assert!(first.2 >= 5, "ten at a time: {first:?}");
}

/// Without metrics autoscalers stay where they are: a surge in the gap is answered after it.
#[test]
fn no_metric_no_scale_up() {
    let setting = Setting {
        predictor: "minReplicas: 1, maxReplicas: 10, scaleTarget: 2".to_owned(),
        load: "process: constant, phases: [{for: 5s, rate: 1/s}, {for: 55s, rate: 10/s}]".to_owned(),
        service_time: "distribution: constant, mean: 1s".to_owned(),
        faults: "{at: 4s, fault: metrics-gap, for: 20s}".to_owned(),
        ..Setting::default()
    };
    let (recording, _) = fly(&setting.plan(), 1);
    let first = decisions(&recording)[0];
    assert!(first.0 >= 24_000, "{first:?}");
}

/// Control loops that come later see, and do, everything later.
#[test]
fn shifted_loops_come_later() {
    let setting = Setting {
        predictor: "minReplicas: 1, maxReplicas: 10, scaleTarget: 2".to_owned(),
        load: "process: constant, phases: [{for: 60s, rate: 10/s}]".to_owned(),
        service_time: "distribution: constant, mean: 1s".to_owned(),
        faults: "{at: 1s, fault: clock-phase, shift: 700ms}".to_owned(),
        ..Setting::default()
    };
    let (recording, _) = fly(&setting.plan(), 1);
    assert!(
        decisions(&recording).iter().all(|(at_ms, ..)| at_ms % 2_000 == 700),
        "{:?}",
        decisions(&recording)
    );
}
