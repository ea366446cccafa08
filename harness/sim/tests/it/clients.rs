//! Clients that try again, and users in a closed loop.

use windtunnel_record::Recording;

use crate::setting::{MS, S, Setting, fly, fly_at};

fn total(recording: &Recording, name: &str, labels: &[(&str, &str)]) -> f64 {
    recording.points(name, labels).iter().map(|point| point.value).sum()
}

const DIGITS: [(&str, &str); 1] = [("service", "digits")];

/// A request that is tried four times is one request of its user, as slow as all tries together.
#[test]
fn tries_are_one_request_from_the_first_to_the_last() {
    let setting = Setting {
        predictor: "minReplicas: 1".to_owned(),
        load: "process: constant, phases: [{for: 1s, rate: 1/s}]".to_owned(),
        load_keys: "retries: {attempts: 3, backoff: 100ms, factor: 2, most: 10s, jitter: 0%, on: [500]}"
            .to_owned(),
        environment_keys: "models: [{match: 's3://', error-rate: 100%}]".to_owned(),
        ..Setting::default()
    };
    let (recording, summary) = fly(&setting.plan(), 42);
    assert_eq!(recording.requests.len(), 1);
    let request = &recording.requests[0];
    // Four times 5 ms, and 100 + 200 + 400 ms.
    assert_eq!((request.status, request.latency_ns), (500, 720 * MS));
    assert_eq!((summary.requests, summary.failed, summary.retries), (1, 1, 3));
    assert_eq!(total(&recording, "client.retries", &DIGITS), 3.0);
}

/// A client that tries again meets the pod that its first try has woken.
#[test]
fn a_retry_meets_the_pod_that_the_first_try_woke() {
    let setting = Setting {
        autoscaler: "stable-window: 6s, scale-to-zero-grace-period: 6s".to_owned(),
        timeout: "300ms".to_owned(),
        load_keys:
            "retries: {attempts: 5, backoff: 250ms, factor: 1, most: 250ms, jitter: 0%, on: [timeout]}"
                .to_owned(),
        ..Setting::default()
    };
    let recording = fly_at(&setting.plan(), &[20 * S]);
    let request = &recording.requests[0];
    // Tries at 0 and 550 ms end after 300 ms each; the third comes at 1.1 s, the pod is ready at 1 s.
    assert_eq!((request.status, request.latency_ns, request.held_ns), (200, 1_105 * MS, 0));
}

/// A status that is not listed is final.
#[test]
fn only_listed_failures_are_tried_again() {
    let setting = Setting {
        predictor: "minReplicas: 1".to_owned(),
        load_keys: "retries: {attempts: 3, backoff: 100ms, on: [503]}".to_owned(),
        environment_keys: "models: [{match: 's3://', error-rate: 100%}]".to_owned(),
        ..Setting::default()
    };
    let (_, summary) = fly(&setting.plan(), 42);
    assert_eq!((summary.requests, summary.failed, summary.retries), (60, 60, 0));
}

/// One server for 100 requests a second, which gets twice as many for ten seconds.
fn storm(retries: &str) -> Setting {
    Setting {
        predictor: "minReplicas: 1, maxReplicas: 1, containerConcurrency: 1".to_owned(),
        load: "process: poisson, phases: [{for: 10s, rate: 50/s}, {for: 10s, rate: 200/s}, {for: 20s, rate: 50/s}]"
            .to_owned(),
        duration: "40s".to_owned(),
        service_time: "distribution: constant, mean: 10ms".to_owned(),
        timeout: "200ms".to_owned(),
        load_keys: retries.to_owned(),
        ..Setting::default()
    }
}

/// Every try is accounted for, and no intended request is lost or recorded twice.
#[test]
fn a_retry_storm_conserves_requests() {
    let (alone, before) = fly(&storm("").plan(), 42);
    let policy = "retries: {attempts: 4, backoff: 100ms, factor: 1, most: 1s, jitter: 50%, on: [timeout]}";
    let (recording, summary) = fly(&storm(policy).plan(), 42);
    let rows = |recording: &Recording| {
        let mut rows: Vec<(u32, u64)> =
            recording.requests.iter().map(|request| (request.row, request.intended_ns)).collect();
        rows.sort_unstable();
        rows
    };
    assert_eq!(rows(&recording), rows(&alone), "the same requests, each once");
    assert_eq!(summary.requests, before.requests);
    assert_eq!(summary.answered + summary.failed, summary.requests);
    assert_eq!(
        summary.answered,
        recording.requests.iter().filter(|request| request.succeeded()).count() as u64
    );
    assert!(summary.retries > summary.requests / 4, "{} retries", summary.retries);
    assert_eq!(total(&recording, "client.retries", &DIGITS), summary.retries as f64);
    // At most four more for each, and those that failed in the end had all of theirs.
    assert!(summary.retries <= 4 * summary.requests && summary.retries >= 4 * summary.failed);
    let longest_ns = recording.requests.iter().map(|request| request.latency_ns).max();
    assert!(longest_ns <= Some(5 * 200 * MS + 4 * 100 * MS), "{longest_ns:?}");
}

fn loop_of(users: &str, think: &str, duration: &str) -> Setting {
    Setting {
        predictor: "minReplicas: 1, maxReplicas: 1, containerConcurrency: 1".to_owned(),
        load: format!("users: {users}, think-time: {{{think}}}"),
        duration: duration.to_owned(),
        timeout: "10m".to_owned(),
        ..Setting::default()
    }
}

/// A user that did not wait for the answer would be an open loop.
#[test]
fn a_user_sends_waits_and_thinks() {
    let setting = loop_of("[{for: 1s, count: 1}]", "distribution: constant, mean: 100ms", "2s");
    let (recording, _) = fly(&setting.plan(), 42);
    let sent: Vec<u64> = recording.requests.iter().map(|request| request.intended_ns / MS).collect();
    assert_eq!(sent, [0, 105, 210, 315, 420, 525, 630, 735, 840, 945]);
    assert_eq!(
        recording.requests.iter().map(|request| request.row).collect::<Vec<_>>(),
        (0..10).collect::<Vec<_>>()
    );
    let active: Vec<f64> =
        recording.points("users.active", &DIGITS).iter().map(|point| point.value).collect();
    assert_eq!(active, [1.0, 0.0, 0.0], "at 0, 1 and 2 s");
}

/// Throughput and response time of N users and one server, by mean value analysis (Reiser and Lavenberg, 1980),
/// which is exact for exponential times.
#[test]
fn a_closed_loop_is_the_machine_repairman() {
    let (users, think_s, service_s) = (10_u32, 0.1, 0.02);
    let (mut response_s, mut queue, mut rate) = (0.0, 0.0, 0.0);
    for count in 1..=users {
        response_s = service_s * (1.0 + queue);
        rate = f64::from(count) / (think_s + response_s);
        queue = rate * response_s;
    }
    let mut setting = loop_of("[{for: 1000s, count: 10}]", "distribution: exponential, mean: 100ms", "1000s");
    setting.service_time = "distribution: exponential, mean: 20ms".to_owned();
    let plan = setting.plan();
    let runs: Vec<(f64, f64)> = (1..=8)
        .map(|seed| {
            let (_, summary) = fly(&plan, seed);
            (summary.mean_sojourn_ns / 1e9, summary.requests as f64 / 1_000.0)
        })
        .collect();
    for (label, theory, values) in [
        ("response", response_s, runs.iter().map(|run| run.0).collect::<Vec<_>>()),
        ("throughput", rate, runs.iter().map(|run| run.1).collect()),
    ] {
        let mean = values.iter().sum::<f64>() / 8.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 7.0;
        // Student, 7 degrees, 99 %.
        let half_width = 3.499 * (variance / 8.0).sqrt();
        assert!((mean - theory).abs() < half_width, "{label}: {mean} +- {half_width}, theory {theory}");
        assert!(half_width < 0.03 * theory, "{label}: +- {half_width} proves nothing");
    }
}

/// Users ramp up and down as the file says, and those that left send nothing more.
#[test]
fn users_come_and_go() {
    let setting = loop_of(
        "[{for: 10s, count: 0, to: 10}, {for: 10s, count: 10}, {for: 10s, count: 2}]",
        "distribution: constant, mean: 1s",
        "40s",
    );
    let (recording, summary) = fly(&setting.plan(), 42);
    let active: Vec<f64> =
        recording.points("users.active", &DIGITS).iter().map(|point| point.value).collect();
    assert_eq!(active[..12], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 10.0]);
    assert_eq!((active[19], active[20], active[29], active[30]), (10.0, 2.0, 2.0, 0.0));
    let late = recording.requests.iter().filter(|request| request.intended_ns >= 30 * S).count();
    assert_eq!(late, 0);
    assert_eq!(summary.answered, summary.requests);
}
