//! Snapshots in the middle of things: retries that wait, users that think, messages under way, servers of all kinds.

use windtunnel_sim::{Snapshot, resume, simulate_until};

use crate::setting::{MS, S, Setting, bytes, fly};

fn busy(name: &str) -> Setting {
    let base = Setting {
        predictor: "minReplicas: 1, maxReplicas: 4, scaleTarget: 4".to_owned(),
        load: "process: poisson, phases: [{for: 20s, rate: 60/s}]".to_owned(),
        duration: "20s".to_owned(),
        service_time: "distribution: gamma, mean: 30ms, cv: 1.2".to_owned(),
        timeout: "250ms".to_owned(),
        ..Setting::default()
    };
    let server = |keys: &str| Setting { environment_keys: format!("server: {{{keys}}}"), ..base.clone() };
    match name {
        "retries" => Setting {
            load_keys: "retries: {attempts: 3, backoff: 50ms, on: [timeout, 503, 500]}".to_owned(),
            environment_keys: "server: {workers: 3}\nmodels: [{match: 's3://', error-rate: 10%, different: 5%}]"
                .to_owned(),
            ..base
        },
        "users" => Setting {
            load: "users: [{for: 10s, count: 5, to: 30}, {for: 10s, count: 8}], think-time: {distribution: exponential, \
                   mean: 200ms}"
                .to_owned(),
            load_keys: "retries: {attempts: 2, backoff: 50ms, on: [timeout]}".to_owned(),
            ..server("cores: 1")
        },
        "queue" => Setting {
            load_keys: "queue: {broker: rabbitmq, prefetch: 2, visibility-timeout: 150ms, deliveries: 3}".to_owned(),
            timeout: "5s".to_owned(),
            ..base
        },
        "topic" => Setting {
            predictor: "minReplicas: 2, maxReplicas: 2".to_owned(),
            load_keys: "queue: {broker: kafka, partitions: 3, prefetch: 2, visibility-timeout: 150ms, deliveries: 0}"
                .replace("deliveries: 0", "deliveries: 9"),
            timeout: "5s".to_owned(),
            ..base
        },
        "batching" => server("batching: {size: 4, delay: 10ms, base: 20ms, per-item: 4ms}"),
        "llm" => server(
            "llm: {prefill: 8000/s, decode: 400/s, slots: 4, slowdown: 2%, kv-tokens: 400, context: 80, generated: 15}, \
             warm-up: {requests: 5, factor: 3}",
        ),
        _ => Setting {
            environment_keys: "models: [{match: 's3://', memory: {base: 1GiB, per-request: 200MiB}}]".to_owned(),
            ..base
        },
    }
}

/// A fork in the middle of a storm, a rebalance or a crash loop must go on as if nothing had been.
#[test]
fn two_parts_are_the_whole_whatever_is_under_way() {
    for name in ["retries", "users", "queue", "topic", "batching", "llm", "memory"] {
        let plan = busy(name).plan();
        let (whole, summary) = fly(&plan, 7);
        assert!(summary.answered > 40 && summary.failed > 0 || name == "topic", "{name}: {summary:?}");
        for at_ns in [0, 3 * S + 7 * MS, 9_999 * MS, 12_345_678_901, 20 * S] {
            let mut recording = plan.recording(7);
            let snapshot = simulate_until(&plan, 7, at_ns, &mut recording).expect("a sound simulation");
            let stored =
                Snapshot::from_json(&snapshot.to_json().expect("storable")).expect("what was stored");
            assert_eq!(stored, snapshot, "{name}");
            let rest = resume(&plan, stored, &mut recording).expect("a sound simulation");
            assert_eq!(bytes(&recording), bytes(&whole), "{name} cut at {at_ns} ns");
            assert_eq!(
                (rest.requests, rest.failed, rest.retries),
                (summary.requests, summary.failed, summary.retries)
            );
        }
    }
}

/// "What if there were more users, or patient ones?" must begin at the fork and leave the past alone.
#[test]
fn other_users_come_at_the_fork() {
    let plan = busy("users").plan();
    let mut more = busy("users");
    more.load = more.load.replace("count: 8", "count: 50");
    let more = more.plan();
    let mut recording = plan.recording(7);
    let snapshot = simulate_until(&plan, 7, 12 * S, &mut recording).expect("a sound simulation");
    resume(&more, snapshot, &mut recording).expect("a sound simulation");
    let active: Vec<f64> =
        recording.points("users.active", &[("service", "digits")]).iter().map(|point| point.value).collect();
    // The sample of the fork's own instant is of before.
    assert_eq!((active[11], active[12], active[13], active[20]), (8.0, 8.0, 50.0, 0.0));
}

/// What cannot be gone on with is said, not guessed.
#[test]
fn another_kind_of_load_is_refused() {
    let refused = |from: &str, to: &str| {
        let plan = busy(from).plan();
        let snapshot = simulate_until(&plan, 7, 5 * S, &mut plan.recording(7)).expect("a sound simulation");
        let error = resume(&busy(to).plan(), snapshot, &mut plan.recording(7)).expect_err("another kind");
        error.to_string()
    };
    assert!(refused("retries", "users").contains("users"));
    assert!(refused("queue", "topic").contains("spec.load.queue"));
    assert!(refused("batching", "queue").contains("spec.load.queue"));
}
