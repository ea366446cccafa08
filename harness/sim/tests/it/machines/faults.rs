//! What goes wrong, and when it is over.

use super::{fixed, scaled, told, values};
use crate::setting::{MS, Setting, decisions, fly};

/// One pod on machine a; machine b is empty. Machine a is lost at 20.05 s, 50 ms into a request.
fn lost(length: &str) -> Setting {
    let mut setting = fixed(
        1,
        "nodes: {pools: [{name: a, count: 1, cpu: 0.2, memory: 64GiB}, {name: b, count: 1, cpu: 0.2, memory: 64GiB}], \
         monitor-grace-period: 20s, unreachable-toleration: 30s}",
    );
    setting.duration = "120s".to_owned();
    setting.gateway = "0s, connect-timeout: 3s".to_owned();
    setting.timeout = "30s".to_owned();
    setting.faults = format!("{{at: 20050ms, fault: node-loss, pool: a{length}}}");
    setting.load = "process: constant, phases: [{for: 120s, rate: 1/s}]".to_owned();
    setting.service_time = "distribution: constant, mean: 100ms".to_owned();
    setting
}

/// (status, latency in milliseconds) of the requests of each second.
fn answers(recording: &windtunnel_record::Recording) -> Vec<(u64, u16, u64)> {
    let requests = recording.requests.iter();
    let mut answers: Vec<(u64, u16, u64)> =
        requests.map(|request| (request.intended_ns / MS, request.status, request.latency_ns / MS)).collect();
    answers.sort_unstable();
    answers
}

/// Who thinks that a lost machine's pods are replaced at once plans for a second where Kubernetes takes minutes. By hand:
/// nobody knows until 40.05 s, so connections are tried for 3 s each; then there is no endpoint until the pod is evicted at
/// 70.05 s and another one, on machine b, is ready a second later. What was computed at the loss is never answered.
#[test]
fn a_lost_node_is_noticed_then_tolerated_then_replaced() {
    let (recording, summary) = fly(&lost("").plan(), 1);
    for (sent_ms, status, latency_ms) in answers(&recording) {
        let expected = match sent_ms {
            ..=19_950 => (200, 100),
            ..=20_050 => (0, 30_000),
            ..=40_050 => (503, 3_000),
            ..=71_050 => (503, 0),
            _ => (200, 100),
        };
        assert_eq!((status, latency_ms), expected, "sent at {sent_ms} ms");
    }
    assert_eq!(summary.failed, 52, "20 to 71 s");
    let pods: Vec<(u64, &str)> =
        told(&recording, "pod").into_iter().map(|(at, _, text)| (at, text)).collect();
    let expected = [
        (70_050, "TaintManagerEviction: its node is out of reach"),
        (70_050, "stopping"),
        (70_050, "created"),
        (71_050, "ready"),
    ];
    assert_eq!(pods, expected);
    assert_eq!(told(&recording, "node"), [(40_050, "a-0", "NotReady: no heartbeat for 20s")]);
    assert_eq!(told(&recording, "fault")[0].2, "node-loss: a-0");
    let ready =
        values(&recording, "replicas.ready", &[("revision", "digits-predictor-00001")], &[40, 41, 71, 72]);
    assert_eq!(ready, [1.0, 0.0, 0.0, 1.0]);
    assert_eq!(values(&recording, "nodes.ready", &[("pool", "a")], &[40, 41, 119]), [1.0, 0.0, 0.0]);
    assert_eq!(recording.cold_starts.len(), 1);
}

/// A machine that is back before its pods are evicted keeps them: they start anew where they are, without the scheduler.
/// The client of the request that hung is told when the machine's kernel is asked for a connection that it does not know.
#[test]
fn a_node_that_is_back_in_time_keeps_its_pods() {
    let (recording, _) = fly(&lost(", for: 25s").plan(), 1);
    for (sent_ms, status, latency_ms) in answers(&recording) {
        let expected = match sent_ms {
            ..=19_950 => (200, 100),
            ..=20_050 => (502, 25_050),
            ..=40_050 => (503, 3_000),
            ..=45_950 => (503, 0),
            _ => (200, 100),
        };
        assert_eq!((status, latency_ms), expected, "sent at {sent_ms} ms");
    }
    let pods: Vec<(u64, &str)> =
        told(&recording, "pod").into_iter().map(|(at, _, text)| (at, text)).collect();
    assert_eq!(pods, [(45_050, "its node is back; it starts anew"), (45_950, "ready")]);
    let nodes: Vec<(u64, &str)> =
        told(&recording, "node").into_iter().map(|(at, _, text)| (at, text)).collect();
    assert_eq!(nodes, [(40_050, "NotReady: no heartbeat for 20s"), (45_050, "back")]);
    assert!(recording.cold_starts.is_empty(), "no pod was made");
}

/// A machine that is lost while the activator probes its pod: the probe is never answered, and the pod that starts anew is
/// probed anew. By hand: ready at 45.95 s, to be reached at 46.03 s (two round trips), lost at 46 s, `NotReady` at 66 s,
/// back at 71 s, ready 0.9 s later and reached two round trips after that.
#[test]
fn a_pod_that_is_lost_while_it_is_probed_is_probed_again() {
    let mut setting = lost(", for: 25s}, {at: 46s, fault: node-loss, pool: a, for: 25s");
    setting.predictor = "minReplicas: 1, maxReplicas: 1".to_owned();
    setting.annotations = "unused: ''".to_owned();
    setting.gateway = "0s, connect-timeout: 3s, round-trip: 40ms".to_owned();
    let (recording, _) = fly(&setting.plan(), 1);
    let pods: Vec<(u64, &str)> =
        told(&recording, "pod").into_iter().map(|(at, _, text)| (at, text)).collect();
    let expected = [
        (45_050, "its node is back; it starts anew"),
        (45_950, "ready"),
        (71_000, "its node is back; it starts anew"),
        (71_900, "ready"),
        (71_980, "reached by the activator"),
    ];
    assert_eq!(pods, expected);
    let last = answers(&recording).into_iter().filter(|(sent_ms, ..)| *sent_ms >= 72_000);
    assert!(last.clone().count() > 40);
    assert!(
        last.clone().all(|(_, status, latency_ms)| (status, latency_ms) == (200, 140)),
        "{:?}",
        last.collect::<Vec<_>>()
    );
}

/// A pod's own tolerations say how long it stays: without an end it is never replaced.
#[test]
fn a_pods_own_tolerations_win() {
    for (seconds, created) in [("tolerationSeconds: 5, ", Some(45_050)), ("", None)] {
        let mut setting = lost("");
        setting.predictor = format!(
            "minReplicas: 1, tolerations: [{{key: node.kubernetes.io/unreachable, operator: Exists, {seconds}effect: \
             NoExecute}}]"
        );
        let (recording, _) = fly(&setting.plan(), 1);
        let made =
            told(&recording, "pod").into_iter().find(|(_, _, text)| *text == "created").map(|(at, ..)| at);
        assert_eq!(made, created, "{seconds:?}");
    }
}

/// Requests that hang on a machine that is gone must not keep the places of those that could be served: one of two pods
/// with one place each is lost, and the other serves all that comes.
#[test]
fn a_lost_pod_gives_its_places_back() {
    let setting = Setting {
        predictor: "minReplicas: 2, maxReplicas: 2, containerConcurrency: 1".to_owned(),
        duration: "120s".to_owned(),
        gateway: "0s, connect-timeout: 3s".to_owned(),
        timeout: "10s".to_owned(),
        load: "process: constant, phases: [{for: 120s, rate: 5/s}]".to_owned(),
        service_time: "distribution: constant, mean: 100ms".to_owned(),
        environment_keys:
            "nodes: {pools: [{name: a, count: 1, cpu: 2, memory: 64GiB}, {name: b, count: 1, cpu: 2, \
                           memory: 64GiB}], monitor-grace-period: 20s}"
                .to_owned(),
        faults: "{at: 20050ms, fault: node-loss, pool: a}".to_owned(),
        ..Setting::default()
    };
    let (recording, _) = fly(&setting.plan(), 1);
    let failed: Vec<u64> = answers(&recording)
        .into_iter()
        .filter(|(_, status, _)| *status != 200)
        .map(|(sent_ms, ..)| sent_ms)
        .collect();
    // What was computed keeps the pod's one place until its client gives up; then one after the other tries for 3 s.
    assert_eq!(failed, [20_000, 30_000, 33_000, 36_000, 39_000]);
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
