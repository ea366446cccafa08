//! Laws of KEDA that hold for any reading.

use std::collections::BTreeMap;

use proptest::prelude::*;
use windtunnel_kernel::autoscale::keda::scaled_job::{Jobs, Strategy as JobStrategy};
use windtunnel_kernel::autoscale::keda::triggers::Scaler;
use windtunnel_kernel::autoscale::keda::triggers::kafka::{Offsets, Partition};
use windtunnel_kernel::autoscale::keda::triggers::rabbitmq::Queue;
use windtunnel_kernel::autoscale::keda::{
    Decision, Executor, Measured, Observation, Reading, ScaleTrigger, ScaledObjectSpec, Trigger,
};

const SECOND: u64 = 1_000_000_000;

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => 0.0..500.0_f64,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, -0.0]),
    ]
}

fn any_reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        4 => (any_number(), any::<bool>()).prop_map(|(value, active)| Reading::Measured(Measured { value, active })),
        2 => Just(Reading::Failed { message: "refused".to_string() }),
        1 => Just(Reading::Resource),
    ]
}

prop_compose! {
    fn any_observation()(
        after_s in 0..400_u64,
        outside in prop::option::weighted(0.2, 0..40_i32),
        ready_replicas in 0..40_i32,
        readings in prop::collection::vec(any_reading(), 0..3),
        composite in prop::option::of(any_number()),
    ) -> (u64, Option<i32>, Observation) {
        (after_s, outside, Observation { now_ns: 0, current_replicas: 0, ready_replicas, readings, composite })
    }
}

prop_compose! {
    fn any_object()(
        minimum in prop::option::of(0..6_i32),
        maximum in 6..40_i32,
        has_idle in any::<bool>(),
        cooldown in prop::option::of(0..600_i32),
        fallback in prop::option::of((0..4_i32, 0..10_i32)),
        has_modifiers in any::<bool>(),
    ) -> ScaledObjectSpec {
        let mut object = serde_json::json!({
            "scaleTargetRef": {"name": "worker"},
            "minReplicaCount": minimum, "maxReplicaCount": maximum, "cooldownPeriod": cooldown,
            "idleReplicaCount": if has_idle && minimum.is_some_and(|minimum| minimum > 0) { Some(0) } else { None },
            "triggers": [
                {"type": "rabbitmq", "metadata": {"queueName": "a", "host": "http://r", "mode": "QueueLength", "value": "10"}},
                {"type": "prometheus", "metricType": "Value", "metadata": {"query": "up", "threshold": "2.5"}}
            ],
        });
        if let Some((threshold, replicas)) = fallback {
            object["fallback"] = serde_json::json!({"failureThreshold": threshold, "replicas": replicas});
        }
        if has_modifiers {
            object["advanced"] = serde_json::json!({"scalingModifiers": {"formula": "a", "target": "3"}});
        }
        serde_json::from_value(object).expect("a ScaledObject")
    }
}

fn play(
    spec: &ScaledObjectSpec,
    flight: &[(u64, Option<i32>, Observation)],
    store: bool,
) -> Vec<(i32, Decision)> {
    let mut executor = Executor::new(spec.clone(), &BTreeMap::new(), 0).expect("an allowed object");
    let (mut now_ns, mut replicas) = (0, 0);
    let mut decisions = Vec::new();
    for (after_s, outside, observation) in flight {
        now_ns += after_s * SECOND;
        replicas = outside.unwrap_or(replicas);
        let seen = Observation { now_ns, current_replicas: replicas, ..observation.clone() };
        let decision = executor.step(&seen);
        decisions.push((replicas, decision.clone()));
        replicas = decision.replicas.unwrap_or(replicas);
        let _asked = executor.answer(0, &seen);
        if store {
            let text = serde_json::to_string(&executor).expect("an executor is JSON");
            executor = serde_json::from_str(&text).expect("the same executor");
        }
    }
    decisions
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// If it fails, a worker gets a size that nobody wrote down.
    #[test]
    fn only_zero_idle_and_minimum_are_set(spec in any_object(), flight in prop::collection::vec(any_observation(), 1..30)) {
        for (before, decision) in play(&spec, &flight, false) {
            if let Some(replicas) = decision.replicas {
                prop_assert!(replicas != before, "a change that changes nothing: {decision:?}");
                let idle = spec.idle_replica_count.unwrap_or(0);
                let known = [spec.minimum(), spec.minimum().max(1), idle];
                prop_assert!(known.contains(&replicas), "{replicas} is none of {known:?}");
            }
            prop_assert!(!decision.explanation.to_string().contains("NaN"));
        }
    }

    /// If it fails, a control plane that restarts, or a simulation that resumes, decides differently.
    #[test]
    fn a_stored_executor_goes_on_the_same(spec in any_object(), flight in prop::collection::vec(any_observation(), 1..30)) {
        prop_assert_eq!(play(&spec, &flight, false), play(&spec, &flight, true));
    }

    /// If it fails, a broker that answers nonsense stops the operator.
    #[test]
    fn triggers_take_any_answer(
        mode in prop::sample::select(vec!["QueueLength", "MessageRate", "DeliverGetRate", "PublishedToDeliveredRatio", "ExpectedQueueConsumptionTime"]),
        operation in prop::sample::select(vec!["sum", "avg", "max"]),
        queues in prop::collection::vec((any::<i64>(), any::<i64>(), any_number(), any_number()), 0..4),
        partitions in prop::collection::vec((0..4_i32, prop::option::of(any::<i64>()), prop::option::of(any::<i64>())), 0..5),
        threshold in 1..=i64::MAX,
        even in any::<bool>(),
        now_ns in any::<u64>(),
        offset_s in any::<i32>(),
    ) {
        let read = |kind: &str, metadata: &[(&str, &str)]| {
            let metadata = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            let trigger = ScaleTrigger { kind: kind.to_string(), metadata, ..ScaleTrigger::default() };
            Trigger::read(&trigger, 0).expect("a trigger").scaler
        };
        let queues: Vec<Queue> = queues
            .into_iter()
            .map(|(messages, ready, publish_rate, deliver_get_rate)| Queue { messages, ready, publish_rate, deliver_get_rate })
            .collect();
        let metadata = [("queueName", "a"), ("host", "http://r"), ("mode", mode), ("value", "1"), ("useRegex", "true"), ("operation", operation)];
        if let Scaler::RabbitMq(rabbitmq) = read("rabbitmq", &metadata) {
            let _measured = rabbitmq.measure(&queues);
        }
        let threshold = threshold.to_string();
        let even = even.to_string();
        let metadata = [("consumerGroup", "g"), ("topic", "t"), ("lagThreshold", threshold.as_str()), ("ensureEvenDistributionOfPartitions", even.as_str()), ("excludePersistentLag", "true")];
        if let Scaler::Kafka(kafka) = read("kafka", &metadata) {
            let partitions: Vec<Partition> = partitions
                .into_iter()
                .map(|(id, committed, latest)| Partition { topic: "t".to_string(), id, committed, latest })
                .collect();
            let mut offsets = Offsets::default();
            for _poll in 0..2 {
                let measured = kafka.measure(&partitions, &mut offsets);
                prop_assert!(measured.value.is_finite());
            }
        }
        let metadata = [("timezone", "UTC"), ("start", "0 8 * * mon-fri"), ("end", "0 18 * * mon-fri"), ("desiredReplicas", "3")];
        if let Scaler::Cron(cron) = read("cron", &metadata) {
            let measured = cron.measure(now_ns, offset_s);
            prop_assert_eq!(measured.active, measured.value > 0.0);
        }
    }

    /// If it fails, more jobs run at once than were allowed.
    #[test]
    fn strategies_never_ask_for_more_than_fits(
        maximum in 0..1000_i64,
        running in 0..1000_i64,
        pending in 0..1000_i64,
        queue in 0..1000_i64,
    ) {
        let jobs = Jobs { running, pending: pending.min(running) };
        // As KEDA hands it in: work for no more jobs than may run.
        let work = queue.min(maximum);
        for strategy in [JobStrategy::Default, JobStrategy::Accurate, JobStrategy::Eager] {
            let (effective, scale_to) = strategy.effective(work, jobs, maximum, queue);
            let started = scale_to.min(effective).max(0);
            prop_assert!(started == 0 || running + started <= maximum, "{strategy:?} starts {started}");
        }
    }
}
