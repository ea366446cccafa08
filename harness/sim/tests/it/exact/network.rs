//! A network between gateway and pods: round trips of requests, and of the activator's probes on both sides of the cliff.

use windtunnel_record::Recording;
use windtunnel_sim::Plan;

use super::cold_start::asleep;
use super::{replicas, steps};
use crate::setting::{MS, S, Setting, fly_at, latencies};

/// Asleep soon, and 2 ms in front of a network with this round trip; see [`asleep`].
fn far_away(round_trip_ms: u64, late_connections: &str) -> Plan {
    let setting = Setting {
        gateway: format!("2ms, round-trip: {round_trip_ms}ms"),
        environment_keys: format!("control: {{activator: {{late-connections: {late_connections}}}}}"),
        ..asleep()
    };
    let mut plan = setting.plan();
    plan.phases.ticks = windtunnel_sim::Phase::Run(S / 2);
    plan
}

/// What was told of pods and the activator, as (milliseconds, text).
fn told(recording: &Recording) -> Vec<(u64, &str)> {
    let events = recording.events.iter().filter(|event| event.kind == "pod" || event.kind == "activation");
    events.map(|event| (event.t_ns / MS, event.text.as_str())).collect()
}

/// At 50 ms the first try to connect is just long enough: whoever waits pays three round trips, whoever comes later one.
///
/// The request of 10 s is at the gateway at 10.002 s, and its pod is ready at 15.002 s as in the cold start without a network.
/// The probe connects after 50 ms and is answered after 100 ms, at 15.102 s. Both requests start there, are computed at
/// 15.107 s and answered at 15.157 s. The one of 15.5 s: 2 + 5 + 50 ms. All is over at 15.557 s, in the report of 16 s, so the pod
/// goes as in the other test.
#[test]
fn a_probe_takes_two_round_trips_and_a_request_one() {
    let recording = fly_at(&far_away(50, "dropped"), &[10 * S, 11 * S + 500 * MS, 15 * S + 500 * MS]);
    assert_eq!(latencies(&recording), [5_157 * MS, 3_657 * MS, 57 * MS]);
    let held: Vec<u64> = recording.requests.iter().map(|request| request.held_ns / MS).collect();
    assert_eq!(held, [5_100, 3_600, 0]);
    assert!(recording.requests.iter().all(|request| request.status == 200));
    assert_eq!(replicas(&recording), [(5_005, 0), (10_002, 1), (22_505, 0)]);
    assert_eq!(
        told(&recording),
        [
            (5_005, "stopping"),
            (10_002, "a request waits: there is no ready pod"),
            (10_002, "created"),
            (15_002, "ready"),
            (15_102, "reached by the activator"),
            (15_102, "2 waiting requests released"),
            (22_505, "stopping"),
        ]
    );
}

/// At 70 ms no probe can be answered within 300 ms (50 + 30 + 50 + 30 + 2 x 70 ms), where each begins anew: the pod is ready and
/// counted as such, and everybody waits until patience ends after 30 s (knative/serving#14202).
#[test]
fn beyond_the_cliff_a_ready_pod_is_never_reached() {
    let at_ns = [10 * S, 11 * S + 500 * MS, 15 * S + 500 * MS];
    let recording = fly_at(&far_away(70, "dropped"), &at_ns);
    assert_eq!(latencies(&recording), [30 * S; 3]);
    assert!(recording.requests.iter().all(|request| request.status == 0));
    assert_eq!(steps(&recording, "replicas.ready")[..3], [(0, 1.0), (6, 0.0), (16, 1.0)]);
    let out_of_reach = "out of reach: no probe of the activator can be answered in time";
    assert_eq!(told(&recording)[3..5], [(15_002, "ready"), (15_002, out_of_reach)]);
}

/// Where connections that come too late are kept, 80 ms are no cliff: the third probe, 600 ms after the first, finds the
/// connection that the first one left and is answered 80 ms later, at 15.682 s; the request is answered at
/// 15.682 + 0.005 + 0.080 s.
#[test]
fn a_kept_connection_reaches_over_the_cliff() {
    let recording = fly_at(&far_away(80, "kept"), &[10 * S]);
    assert_eq!(latencies(&recording), [5_767 * MS]);
    assert_eq!(told(&recording)[4], (15_682, "reached by the activator"));
}

/// A place in the line is taken until the answer is back: with one place, the second request starts when the first one's answer
/// is at the gateway, 5 + 50 ms later, and the one after it another 55 ms later.
#[test]
fn a_place_is_taken_over_the_whole_round_trip() {
    let setting = Setting {
        predictor: "minReplicas: 1, maxReplicas: 1, containerConcurrency: 1".to_owned(),
        gateway: "0s, round-trip: 50ms".to_owned(),
        ..Setting::default()
    };
    let recording = fly_at(&setting.plan(), &[10 * S, 10 * S, 10 * S]);
    assert_eq!(latencies(&recording), [55 * MS, 110 * MS, 165 * MS]);
}

/// A client that gives up while its answer is on the way has given up, and its place is free at that moment: the second request
/// (sent 10 ms later) starts at 30 ms and gives up itself at 40 ms, 5 ms after it was computed.
#[test]
fn who_gives_up_frees_the_place_of_an_answer_on_its_way() {
    let setting = Setting {
        predictor: "minReplicas: 1, maxReplicas: 1, containerConcurrency: 1".to_owned(),
        gateway: "0s, round-trip: 50ms".to_owned(),
        timeout: "30ms".to_owned(),
        ..Setting::default()
    };
    let recording = fly_at(&setting.plan(), &[10 * S, 10 * S + 10 * MS, 10 * S + 60 * MS]);
    assert_eq!(latencies(&recording), [30 * MS; 3]);
    assert!(recording.requests.iter().all(|request| request.status == 0));
}

/// A network that gets quicker (what people did in the issue: they turned the latency down and were answered at once) reaches
/// the pod that waits. Stored at 20 s with a round trip of 70 ms; gone on with 40 ms: probed by 20.080 s, computed at 20.085 s,
/// answered at 20.125 s. Going on without a change changes nothing.
#[test]
fn a_quicker_network_reaches_a_pod_that_was_out_of_reach() {
    let plan = far_away(70, "dropped");
    let load = windtunnel_sim::simulate_until(&plan, 1, 20 * S, &mut plan.recording(1)).expect("a snapshot");
    let quicker = far_away(40, "dropped");
    let mut recording = quicker.recording(1);
    windtunnel_sim::resume(&quicker, load, &mut recording).expect("it goes on");
    assert_eq!(told(&recording)[0], (20_080, "reached by the activator"));
}
