//! The way to zero and back, by hand.

use crate::setting::{MS, S, Setting, decisions, fly_at, latencies};

/// Windows and grace of six seconds: the service is at zero just after t=5 s.
///
/// Applied at -2 s, ready at -1 s. The first tick after (0 s) sees an empty window and wants none, but a
/// revision has to be active for a stable window before it may become inactive: until 5 s. By then the activator
/// has been in the path for longer than the grace period, so the last pod goes as soon as the autoscaler sees the
/// status that it wrote (5 ms later).
fn to_zero() -> Setting {
    Setting {
        autoscaler: "stable-window: 6s, scale-to-zero-grace-period: 6s".to_owned(),
        ..Setting::default()
    }
}

/// Users pay for idle replicas until exactly this moment.
#[test]
fn an_idle_service_is_at_zero_when_its_window_and_grace_have_passed() {
    let recording = fly_at(&to_zero().plan(), &[]);
    assert_eq!(decisions(&recording), [(5_005, 1, 0)], "{:?}", recording.decisions);
    let points = recording.points("replicas.ready", &[("revision", "digits-predictor-00001")]);
    let ready: Vec<f64> = points.iter().map(|point| point.value).collect();
    assert_eq!(ready.len(), 61, "one sample a second, both ends included");
    assert_eq!(&ready[4..9], [1.0, 1.0, 0.0, 0.0, 0.0], "the sample at 5 s comes before the status is back");
}

/// The first request after a quiet time waits for every phase of the pod's start and for nothing else.
#[test]
fn the_first_request_from_zero_waits_for_the_whole_start_of_a_pod() {
    let setting = Setting { gateway: "300us".to_owned(), ..to_zero() };
    let recording = fly_at(&setting.plan(), &[20 * S]);
    let request = &recording.requests[0];
    assert_eq!(request.status, 200);
    assert_eq!(request.held_ns, S, "100 + 200 + 300 + 300 + 60 + 40 ms");
    assert_eq!(request.latency_ns, 300_000 + S + 5 * MS);
    assert_eq!(decisions(&recording)[1], (20_000, 0, 1), "the request itself wakes the autoscaler");
    let start = &recording.cold_starts[0];
    assert!(start.activated, "{start:?}");
    assert_eq!(start.t_ns, 20 * S + 300_000);
    let phases: Vec<(&str, u64)> = start.phases.iter().map(|(name, ns)| (name.as_str(), ns / MS)).collect();
    assert_eq!(
        phases,
        [
            ("schedule", 100),
            ("image-pull", 200),
            ("download", 300),
            ("load", 300),
            ("probe", 60),
            ("propagate", 40)
        ]
    );
    assert_eq!(recording.cold_starts.len(), 1, "the pod from before t=0 is no cold start of the run");
}

/// Requests that come while the pod starts must all be answered, in parallel when the pod allows it.
#[test]
fn the_activator_holds_requests_and_releases_them_together() {
    let recording = fly_at(&to_zero().plan(), &[20 * S, 20 * S + 200 * MS, 20 * S + 999 * MS, 21 * S + MS]);
    assert_eq!(latencies(&recording), [1005 * MS, 805 * MS, 6 * MS, 5 * MS]);
    let held: Vec<u64> = recording.requests.iter().map(|request| request.held_ns / MS).collect();
    assert_eq!(held, [1000, 800, 1, 0]);
    let activations: Vec<&str> = recording
        .events
        .iter()
        .filter(|event| event.kind == "activation")
        .map(|event| event.text.as_str())
        .collect();
    assert_eq!(activations, ["a request waits: there is no ready pod", "3 waiting requests released"]);
}

/// With a concurrency limit the released requests must not all fall on one pod at once.
#[test]
fn a_limited_pod_takes_the_held_requests_one_after_the_other() {
    let setting = Setting {
        predictor: "minReplicas: 0, maxReplicas: 1, containerConcurrency: 1".to_owned(),
        ..to_zero()
    };
    let recording = fly_at(&setting.plan(), &[20 * S, 20 * S + 200 * MS, 20 * S + 400 * MS]);
    assert_eq!(latencies(&recording), [1005 * MS, 810 * MS, 615 * MS]);
}

/// A client that gave up must be counted as failed at its deadline, and the ones behind it must be served.
#[test]
fn a_client_whose_patience_ends_in_the_activator_fails_alone() {
    let setting = Setting { timeout: "500ms".to_owned(), ..to_zero() };
    let recording = fly_at(&setting.plan(), &[20 * S, 20 * S + 700 * MS]);
    let mut requests = recording.requests;
    requests.sort_by_key(|request| request.row);
    assert_eq!((requests[0].status, requests[0].latency_ns), (0, 500 * MS));
    assert!(requests[0].error.as_deref().is_some_and(|error| error.contains("client's timeout")));
    assert_eq!((requests[1].status, requests[1].latency_ns), (200, 305 * MS));
}

/// The gateway's own timeout answers 504, before a more patient client gives up.
#[test]
fn the_routes_timeout_answers_504() {
    let setting = Setting {
        predictor: "minReplicas: 0, timeout: 2".to_owned(),
        service_time: "distribution: constant, mean: 3s".to_owned(),
        ..to_zero()
    };
    let recording = fly_at(&setting.plan(), &[20 * S]);
    assert_eq!((recording.requests[0].status, recording.requests[0].latency_ns), (504, 2 * S));
}

/// An overload must show as 503 at once, not as a line that grows until the client gives up.
#[test]
fn the_activators_line_is_bounded() {
    let recording = fly_at(&to_zero().plan(), &vec![20 * S; 10_002]);
    let count = |status| recording.requests.iter().filter(|request| request.status == status).count();
    assert_eq!((count(200), count(503)), (10_000, 2));
    let refused = recording.requests.iter().find(|request| request.status == 503).expect("counted");
    assert_eq!(refused.latency_ns, 0);
    assert!(refused.error.as_deref().is_some_and(|error| error.contains("queue is full")));
}

/// Load must meet a service that is ready, however many pods it starts with.
#[test]
fn a_run_starts_one_second_after_every_pod_is_ready() {
    for (least, annotations, expected) in
        [(3, "", 3.0), (0, "autoscaling.knative.dev/initial-scale: '0'", 0.0)]
    {
        let setting = Setting {
            predictor: format!("minReplicas: {least}"),
            annotations: annotations.to_owned(),
            autoscaler: "allow-zero-initial-scale: 'true'".to_owned(),
            ..Setting::default()
        };
        let recording = fly_at(&setting.plan(), &[]);
        let ready = recording.points("replicas.ready", &[("revision", "digits-predictor-00001")]);
        assert_eq!((ready[0].t_ns, ready[0].value), (0, expected));
        assert!(recording.cold_starts.is_empty(), "what happens before t=0 is not part of the run");
        let share = recording.points("traffic.percent", &[("revision", "digits-predictor-00001")]);
        assert_eq!(share[0].value, 100.0);
    }
}
