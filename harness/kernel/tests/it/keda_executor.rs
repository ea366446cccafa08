//! KEDA's clock: to and from zero, cool-down, fallback, jobs.

use std::collections::BTreeMap;

use windtunnel_kernel::autoscale::keda::scaled_job::{Jobs, ScaledJobSpec, TriggerWork};
use windtunnel_kernel::autoscale::keda::{
    ActiveState, Answer, Decision, Executor, Measured, Observation, Reading, ReadyState, ScaledObjectSpec,
};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_700_000_000 * SECOND;

const QUEUE: &str = r#"{"type": "rabbitmq", "metadata": {"queueName": "jobs", "host": "http://r", "mode": "QueueLength", "value": "10"}}"#;

fn executor(more: &str, annotations: &[(&str, &str)]) -> Executor {
    let text = format!(r#"{{"scaleTargetRef": {{"name": "worker"}}, "triggers": [{QUEUE}]{more}}}"#);
    let spec: ScaledObjectSpec = serde_json::from_str(&text).expect("a ScaledObject");
    let annotations: BTreeMap<String, String> = annotations
        .iter()
        .map(|(key, value)| (format!("autoscaling.keda.sh/{key}"), value.to_string()))
        .collect();
    Executor::new(spec, &annotations, NOW).expect("allowed")
}

fn seen(at_s: u64, current_replicas: i32, messages: Option<f64>) -> Observation {
    let reading = match messages {
        Some(value) => Reading::Measured(Measured { value, active: value > 0.0 }),
        None => Reading::Failed { message: "connection refused".to_string() },
    };
    Observation {
        now_ns: NOW + at_s * SECOND,
        current_replicas,
        ready_replicas: current_replicas,
        readings: vec![reading],
        composite: None,
    }
}

fn short(decision: &Decision) -> (Option<i32>, ActiveState, ReadyState) {
    (decision.replicas, decision.active, decision.ready)
}

/// If it fails, a worker sleeps through messages, or is never switched off.
///
/// Source: `pkg/scaling/executor/scale_scaledobjects.go`; the step from any size to zero is what keda issue 7770 is about.
#[test]
fn from_zero_and_after_the_cooldown_back_in_one_step() {
    use ActiveState::{Active, Cooldown, NotActive};
    let mut executor = executor(r#", "cooldownPeriod": 60"#, &[]);
    assert_eq!(short(&executor.step(&seen(0, 0, Some(0.0)))), (None, NotActive, ReadyState::Ready));
    let woken = executor.step(&seen(30, 0, Some(25.0)));
    assert_eq!(short(&woken), (Some(1), Active, ReadyState::Ready));
    assert_eq!(woken.explanation.to_string(), "rabbitmq 25 (active); active: from 0 to 1");
    assert_eq!(woken.requeue_after_ns, 30 * SECOND);
    assert_eq!(short(&executor.step(&seen(60, 8, Some(1.0)))), (None, Active, ReadyState::Ready));
    let cooling = executor.step(&seen(120, 8, Some(0.0)));
    assert_eq!(
        short(&cooling),
        (None, Cooldown, ReadyState::Ready),
        "exactly the period is not more than it"
    );
    assert_eq!(short(&executor.step(&seen(121, 8, Some(0.0)))), (Some(0), NotActive, ReadyState::Ready));
}

/// If it fails, a failing broker scales a busy worker to zero.
#[test]
fn errors_hold_what_is_there() {
    use ActiveState::NotActive;
    let mut plain = executor("", &[]);
    assert_eq!(short(&plain.step(&seen(900, 8, None))), (None, NotActive, ReadyState::TriggerError));
    let mut with_fallback = executor(r#", "fallback": {"failureThreshold": 2, "replicas": 6}"#, &[]);
    for poll in 0..2 {
        let decision = with_fallback.step(&seen(900 + 30 * poll, 8, None));
        assert_eq!(short(&decision), (None, NotActive, ReadyState::Ready));
        assert!(!decision.fallback);
    }
    let fallen_back = with_fallback.step(&seen(960, 8, None));
    assert_eq!(
        short(&fallen_back),
        (None, ActiveState::Active, ReadyState::Ready),
        "a fallback counts as activity"
    );
    assert!(fallen_back.fallback);
    // 10 messages a replica, 6 replicas.
    assert_eq!(with_fallback.answer(0, &seen(975, 8, None)), Answer::Fallback { value_milli: 60_000 });
    let recovered = with_fallback.step(&seen(990, 8, Some(3.0)));
    assert!(!recovered.fallback);
    assert_eq!(
        with_fallback.answer(0, &seen(1000, 8, None)),
        Answer::Failed { message: "connection refused".to_string() }
    );
}

/// If it fails, an HPA that asks every 15 s reaches the fallback at another time than in a cluster, where asking and
/// polling count together; or a cached value is asked for anew.
#[test]
fn asking_counts_failures_as_polling_does() {
    let mut executor = executor(r#", "fallback": {"failureThreshold": 1, "replicas": 4}"#, &[]);
    let _first_failure = executor.step(&seen(0, 5, None));
    assert_eq!(executor.answer(0, &seen(15, 5, None)), Answer::Fallback { value_milli: 40_000 });

    let text = format!(
        r#"{{"scaleTargetRef": {{"name": "worker"}}, "triggers": [{}]}}"#,
        QUEUE.replacen('{', "{\"useCachedMetrics\": true, ", 1)
    );
    let spec: ScaledObjectSpec = serde_json::from_str(&text).expect("a ScaledObject");
    let mut cached = Executor::new(spec, &BTreeMap::new(), NOW).expect("allowed");
    let _poll = cached.step(&seen(0, 5, Some(7.0)));
    let answer = cached.answer(0, &seen(15, 5, Some(99.0)));
    assert_eq!(answer, Answer::Measured { value_milli: 7000, active: true }, "of the last poll");
}

/// If it fails, idle replicas, pauses or a forced activation do not do what their names say.
#[test]
fn idle_pauses_and_force_are_respected() {
    let idle = r#", "minReplicaCount": 5, "idleReplicaCount": 2"#;
    assert_eq!(executor(idle, &[]).step(&seen(900, 9, Some(0.0))).replicas, Some(2));
    assert_eq!(executor(idle, &[]).step(&seen(900, 2, Some(1.0))).replicas, Some(5));
    let minimum = r#", "minReplicaCount": 5"#;
    assert_eq!(executor(minimum, &[]).step(&seen(900, 2, Some(0.0))).replicas, Some(5));
    assert_eq!(executor(minimum, &[]).step(&seen(900, 9, Some(0.0))).replicas, None, "the HPA decides");
    assert_eq!(
        executor("", &[("force-activation", "true")]).step(&seen(900, 0, Some(0.0))).replicas,
        Some(1)
    );
    assert_eq!(executor("", &[("paused-scale-in", "true")]).step(&seen(900, 9, Some(0.0))).replicas, None);
    let out = executor("", &[("paused-scale-out", "")]).step(&seen(900, 0, Some(9.0)));
    assert_eq!((out.replicas, out.paused, out.has_hpa), (None, true, true), "no truth value counts as true");
    let paused = executor("", &[("paused-replicas", "3")]).step(&seen(900, 9, Some(0.0)));
    assert_eq!((paused.replicas, paused.paused, paused.has_hpa), (Some(3), true, false));
    assert_eq!(paused.active.status(), "Unknown");
    let not_paused = executor("", &[("paused", "false")]).step(&seen(900, 0, Some(9.0)));
    assert_eq!((not_paused.replicas, not_paused.paused), (Some(1), false));
}

/// If it fails, a formula over several triggers switches a worker on or off against its value.
///
/// Source: `getScaledObjectState` in `pkg/scaling/scale_handler.go`.
#[test]
fn with_modifiers_the_formula_decides_about_activity() {
    let modifiers = r#", "advanced": {"scalingModifiers": {"formula": "a", "target": "2", "activationTarget": "3"}}, "fallback": {"failureThreshold": 0, "replicas": 4}"#;
    let at = |composite, messages| Observation { composite, ..seen(900, 0, messages) };
    assert_eq!(executor(modifiers, &[]).step(&at(Some(3.0), Some(9.0))).replicas, None, "strictly above");
    assert_eq!(executor(modifiers, &[]).step(&at(Some(3.1), Some(0.0))).replicas, Some(1));
    assert_eq!(executor(modifiers, &[]).step(&at(None, Some(9.0))).replicas, None, "no value");
    // Four replicas of two each: 8, above 3.
    assert_eq!(executor(modifiers, &[]).step(&at(None, None)).replicas, Some(1));
    let without = r#", "advanced": {"scalingModifiers": {"formula": "a", "target": "2"}}"#;
    assert_eq!(
        executor(without, &[]).step(&at(Some(9.0), None)).replicas,
        None,
        "an error outweighs the formula"
    );
}

/// If it fails, an object with only cpu never leaves zero, because cpu needs a pod to be measured.
#[test]
fn only_resources_force_activity() {
    let spec: ScaledObjectSpec = serde_json::from_str(
        r#"{"scaleTargetRef": {"name": "worker"}, "triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}}]}"#,
    )
    .expect("a ScaledObject");
    let mut executor = Executor::new(spec, &BTreeMap::new(), NOW).expect("allowed");
    let empty = Observation { now_ns: NOW, ..Observation::default() };
    assert_eq!(executor.step(&empty).replicas, Some(1));
}

/// If it fails, a manifest with a mistake in it is decided upon.
#[test]
fn objects_that_keda_refuses_are_refused() {
    for (more, message) in [
        (r#", "minReplicaCount": 11, "maxReplicaCount": 10"#, "spec.minReplicaCount: 11 is not allowed"),
        (r#", "minReplicaCount": 2, "idleReplicaCount": 2"#, "spec.idleReplicaCount: 2 is not allowed"),
        (r#", "idleReplicaCount": 0"#, "spec.idleReplicaCount: 0 is not allowed"),
        (r#", "pollingInterval": 0"#, "spec.pollingInterval: 0 is not allowed, expected at least 1"),
        (r#", "fallback": {"failureThreshold": -3, "replicas": 1}"#, "spec.fallback.failureThreshold: -3"),
    ] {
        let text = format!(r#"{{"scaleTargetRef": {{"name": "worker"}}, "triggers": [{QUEUE}]{more}}}"#);
        let spec: ScaledObjectSpec = serde_json::from_str(&text).expect("readable");
        let error = Executor::new(spec, &BTreeMap::new(), 0).expect_err(message).to_string();
        assert!(error.contains(message), "{error} should say {message}");
    }
    let cpu = r#"{"scaleTargetRef": {"name": "w"}, "triggers": [{"type": "cpu", "metadata": {"value": "1"}}], "fallback": {"failureThreshold": 3, "replicas": 1}}"#;
    let spec: ScaledObjectSpec = serde_json::from_str(cpu).expect("readable");
    assert!(spec.check().is_err(), "cpu cannot fall back");
    assert!(
        serde_json::from_str::<ScaledObjectSpec>(r#"{"scaleTargetRef": {"name": "w"}, "trigers": []}"#)
            .is_err()
    );
}

fn job(text: &str) -> ScaledJobSpec {
    serde_json::from_str(text).expect("a ScaledJob")
}

/// If it fails, several queues of one job start another number of jobs than in a cluster.
///
/// Source: kedacore/keda 8b4f083c `pkg/scaling/scale_handler_test.go`, `TestIsScaledJobActive`: targets, lengths and results
/// of its rows.
#[test]
fn triggers_of_a_job_are_combined_as_upstream_combines_them() {
    type Queue = (f64, f64, bool);
    let queues: [Queue; 4] = [(20.0, 1.0, true), (10.0, 2.0, true), (5.0, 3.0, true), (7.0, 4.0, false)];
    for (maximum, calculation, expected) in [
        (100, "max", (true, 20, 20)),
        (100, "min", (true, 5, 2)),
        (100, "avg", (true, 12, 9)),
        (100, "sum", (true, 35, 27)),
        (25, "sum", (true, 35, 25)),
    ] {
        let spec = job(&format!(
            r#"{{"jobTargetRef": {{"template": {{}}}}, "maxReplicaCount": {maximum}, "scalingStrategy": {{"multipleScalersCalculation": "{calculation}"}}}}"#
        ));
        let work: Vec<TriggerWork> = queues
            .iter()
            .map(|&(length, target, active)| TriggerWork::of(length, target, active, spec.maximum()))
            .collect();
        let found = spec.combine(&work);
        assert_eq!((found.active, found.queue_length, found.jobs), expected, "{calculation} {queues:?}");
    }
}

/// If it fails, jobs are started twice for the same message, or not at all.
///
/// Source: `getScalingDecision` and `createJobs` in `pkg/scaling/executor/scale_jobs.go`, by hand.
#[test]
fn a_job_starts_what_is_missing() {
    let plain = job(r#"{"maxReplicaCount": 10, "pollingInterval": 10}"#);
    let work = |value: f64, spec: &ScaledJobSpec| {
        spec.combine(&[TriggerWork::of(value, 1.0, value > 0.0, spec.maximum())])
    };
    let started = |spec: &ScaledJobSpec, value: f64, running, pending| {
        spec.step(work(value, spec), Jobs { running, pending }).create
    };
    assert_eq!(started(&plain, 5.0, 2, 0), 3);
    assert_eq!(started(&plain, 50.0, 2, 0), 8, "at most ten at once");
    assert_eq!(started(&plain, 1.0, 4, 0), 0);
    assert_eq!(started(&plain, 0.0, 0, 0), 0);
    assert_eq!(plain.step(work(1.0, &plain), Jobs::default()).requeue_after_ns, 10 * SECOND);
    let minimum = job(r#"{"minReplicaCount": 3, "maxReplicaCount": 10}"#);
    assert_eq!(started(&minimum, 0.0, 1, 0), 2, "the minimum is filled up first");
    // Seven on top of three: 5 messages less the 1 that runs on top of the minimum.
    assert_eq!(started(&minimum, 5.0, 4, 0), 4);
    let accurate = job(r#"{"maxReplicaCount": 5, "scalingStrategy": {"strategy": "accurate"}}"#);
    assert_eq!(started(&accurate, 3.0, 2, 0), 3);
    assert_eq!(started(&accurate, 5.0, 2, 0), 3);
    let custom = job(
        r#"{"maxReplicaCount": 10, "scalingStrategy": {"strategy": "custom", "customScalingQueueLengthDeduction": 1, "customScalingRunningJobPercentage": "0.5"}}"#,
    );
    assert_eq!(started(&custom, 8.0, 4, 0), 5, "8 - 1 - 2");
}
