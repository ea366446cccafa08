//! Workloads that take their work from a queue.

use windtunnel_record::{Recording, Request};

use crate::setting::{MS, S, Setting, fly, fly_at, latencies};

/// One pod, 5 ms a message.
fn queue(keys: &str) -> Setting {
    Setting {
        predictor: "minReplicas: 1, maxReplicas: 1".to_owned(),
        load_keys: format!("queue: {{broker: rabbitmq{keys}}}"),
        ..Setting::default()
    }
}

fn ends(recording: &Recording) -> Vec<(u16, u64)> {
    let mut requests: Vec<&Request> = recording.requests.iter().collect();
    requests.sort_by_key(|request| request.row);
    requests.iter().map(|request| (request.status, request.latency_ns / MS)).collect()
}

/// A message waits for a consumer, not in an activator.
#[test]
fn a_pod_takes_as_many_messages_as_its_prefetch() {
    let recording = fly_at(&queue(", prefetch: 1").plan(), &[S; 3]);
    assert_eq!(ends(&recording), [(200, 5), (200, 10), (200, 15)]);
    assert!(recording.requests.iter().all(|request| request.held_ns == 0 && request.revision == Some(0)));
    let recording = fly_at(&queue(", prefetch: 2").plan(), &[S; 3]);
    assert_eq!(ends(&recording), [(200, 5), (200, 5), (200, 10)]);
}

/// A consumer that is too slow gets the message again, and in the end the dead letters have it.
#[test]
fn a_message_that_is_never_acknowledged_in_time_is_a_dead_letter() {
    let mut setting = queue(", visibility-timeout: 400ms, deliveries: 2");
    setting.service_time = "distribution: constant, mean: 1s".to_owned();
    let recording = fly_at(&setting.plan(), &[S]);
    assert_eq!(ends(&recording), [(0, 800)]);
    assert!(recording.requests[0].error.as_deref().is_some_and(|error| error.contains("dead letter")));
    let dead = recording.points("queue.dead_letters", &[("queue", "digits")]);
    assert_eq!(dead.last().map(|point| point.value), Some(1.0));
}

/// A poison message is computed as often as it may be, and the one behind it is done all the same.
#[test]
fn a_message_that_fails_is_delivered_again_up_to_the_limit() {
    let mut setting = queue(", deliveries: 5");
    setting.environment_keys = "models: [{match: 's3://', error-rate: 100%}]".to_owned();
    assert_eq!(ends(&fly_at(&setting.plan(), &[S])), [(0, 25)]);
    setting.environment_keys = "models: [{match: 's3://', error-rate: 50%}]".to_owned();
    let (recording, summary) = {
        let mut setting = setting;
        setting.load = "process: constant, phases: [{for: 60s, rate: 20/s}]".to_owned();
        fly(&setting.plan(), 42)
    };
    // Five failures in a row have a probability of 1/32.
    let dead = recording.requests.iter().filter(|request| request.status == 0).count() as f64;
    let (expected, spread) = (1_200.0 / 32.0, (1_200.0_f64 / 32.0 * 31.0 / 32.0).sqrt());
    assert!((dead - expected).abs() < 4.0 * spread, "{dead} dead letters instead of {expected}");
    assert_eq!((summary.requests, summary.answered + summary.failed), (1_200, 1_200));
}

/// A pod that dies gives its messages back: nothing is lost, everything takes longer.
#[test]
fn messages_of_a_pod_that_dies_are_delivered_again() {
    let mut setting = queue(", prefetch: 3");
    // The default limit of 2 GiB holds two of them.
    setting.environment_keys =
        "models: [{match: 's3://', memory: {base: 1GiB, per-request: 500MiB}}]".to_owned();
    setting.service_time = "distribution: constant, mean: 100ms".to_owned();
    // Two are computed when the third comes and kills the pod; it takes them again 400 ms later, and dies again,
    // until all of them have been delivered five times.
    let recording = fly_at(&setting.plan(), &[S, S, S + 50 * MS]);
    let statuses: Vec<u16> = ends(&recording).iter().map(|(status, _)| *status).collect();
    assert!(statuses.iter().all(|status| *status == 0), "{statuses:?}");
    let deaths = recording.events.iter().filter(|event| event.text.starts_with("OOMKilled")).count();
    assert_eq!(deaths, 5, "1.05 s, 1.45 s, 11.85 s, 32.25 s, 72.65 s");
    assert_eq!(ends(&recording)[0].1, 71_650);
}

/// A queue in front of four consumers of one message each is M/M/4.
#[test]
fn four_consumers_wait_as_m_m_4() {
    let setting = Setting {
        predictor: "minReplicas: 4, maxReplicas: 4".to_owned(),
        load: "process: poisson, phases: [{for: 1000s, rate: 320/s}]".to_owned(),
        duration: "1000s".to_owned(),
        service_time: "distribution: exponential, mean: 10ms".to_owned(),
        timeout: "10m".to_owned(),
        ..queue("")
    };
    let plan = setting.plan();
    let means: Vec<f64> = (1..=8).map(|seed| fly(&plan, seed).1.mean_sojourn_ns / 1e6).collect();
    // Erlang C at 80 % of four servers is 0.5964, so 10 ms + 0.5964 * 10 ms / (4 * 0.2).
    let theory_ms = 10.0 + 0.596_4 * 10.0 / 0.8;
    let mean = means.iter().sum::<f64>() / 8.0;
    let variance = means.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 7.0;
    let half_width = 3.499 * (variance / 8.0).sqrt();
    assert!((mean - theory_ms).abs() < half_width, "{mean} ms +- {half_width}, theory {theory_ms}");
    assert!(half_width < 0.03 * theory_ms);
}

/// A partition has one consumer: more pods than partitions are paid for nothing.
#[test]
fn a_topic_with_one_partition_keeps_one_pod_busy() {
    let span_ms = |partitions: u32| {
        let mut setting = queue("");
        setting.predictor = "minReplicas: 2, maxReplicas: 2".to_owned();
        setting.load_keys = format!("queue: {{broker: kafka, partitions: {partitions}}}");
        let recording = fly_at(&setting.plan(), &[10 * S; 20]);
        recording.requests.iter().map(|request| request.latency_ns / MS).max()
    };
    assert_eq!(span_ms(1), Some(100));
    assert_eq!(span_ms(2), Some(50));
}

/// Without a pod nothing is consumed: the queue shows it, and the run ends all the same.
#[test]
fn messages_without_a_consumer_are_left_over() {
    let setting = Setting {
        predictor: "minReplicas: 0, maxReplicas: 1".to_owned(),
        annotations: "autoscaling.knative.dev/initial-scale: '0'".to_owned(),
        autoscaler: "allow-zero-initial-scale: 'true'".to_owned(),
        timeout: "5s".to_owned(),
        ..queue("")
    };
    let (recording, summary) = fly(&setting.plan(), 42);
    let depth = recording.points("queue.depth", &[("queue", "digits")]);
    assert_eq!(depth.last().map(|point| point.value), Some(60.0));
    assert_eq!((summary.requests, summary.failed), (60, 60));
    assert_eq!(latencies(&recording)[0], 65 * S, "the run and the patience after it");
}
