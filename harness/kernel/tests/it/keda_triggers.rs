//! What KEDA's triggers make of a broker, a query or a calendar, and the HorizontalPodAutoscaler for them.

use std::collections::BTreeMap;

use windtunnel_kernel::autoscale::hpa::spec::MetricSpec;
use windtunnel_kernel::autoscale::keda::triggers::kafka::{Kafka, Offsets, Partition, even_factor};
use windtunnel_kernel::autoscale::keda::triggers::rabbitmq::{Queue, RabbitMq};
use windtunnel_kernel::autoscale::keda::triggers::{Scaler, thousandths};
use windtunnel_kernel::autoscale::keda::{Annotations, ScaleTrigger, ScaledObjectSpec, Trigger, hpa};

fn trigger(kind: &str, metadata: &[(&str, &str)]) -> Result<Scaler, String> {
    let metadata = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let trigger = ScaleTrigger { kind: kind.to_string(), metadata, ..ScaleTrigger::default() };
    Trigger::read(&trigger, 0).map(|trigger| trigger.scaler).map_err(|error| error.to_string())
}

fn rabbitmq(metadata: &[(&str, &str)]) -> RabbitMq {
    let all: Vec<(&str, &str)> = [("queueName", "sample"), ("host", "http://rabbit")]
        .into_iter()
        .chain(metadata.iter().copied())
        .collect();
    match trigger("rabbitmq", &all) {
        Ok(Scaler::RabbitMq(rabbitmq)) => rabbitmq,
        other => panic!("{other:?}"),
    }
}

fn kafka(metadata: &[(&str, &str)]) -> Kafka {
    let all: Vec<(&str, &str)> =
        [("consumerGroup", "group"), ("topic", "t")].into_iter().chain(metadata.iter().copied()).collect();
    match trigger("kafka", &all) {
        Ok(Scaler::Kafka(kafka)) => kafka,
        other => panic!("{other:?}"),
    }
}

fn queue(messages: i64, publish_rate: f64, deliver_get_rate: f64) -> Queue {
    Queue { messages, ready: messages, publish_rate, deliver_get_rate }
}

/// If it fails, workers of a queue are started without messages, or not started with them.
///
/// Source: kedacore/keda 8b4f083c `rabbitmq_scaler_test.go`, `testQueueInfoTestData` (activity), and the formulas of
/// `GetMetricsAndActivity` by hand (values).
#[test]
fn rabbitmq_modes_measure_as_upstream_does() {
    type Row<'a> = (&'a str, (i64, f64, f64), f64, bool);
    let rows: &[Row<'_>] = &[
        ("QueueLength", (4, 0.0, 1.3), 4.0, true),
        ("QueueLength", (0, 1.4, 0.0), 0.0, false),
        ("MessageRate", (4, 0.0, 1.3), 0.0, true),
        ("MessageRate", (1, 1.4, 1.0), 1.4, true),
        ("MessageRate", (0, 0.0, 0.0), 0.0, false),
        ("MessageRate", (0, 1.4, 0.0), 1.4, true),
        ("DeliverGetRate", (30, 5.0, 1.0), 1.0, true),
        ("DeliverGetRate", (10, 0.0, 12.5), 12.5, true),
        ("DeliverGetRate", (0, 0.0, 0.0), 0.0, false),
        ("DeliverGetRate", (22, 1.5, 23.0), 23.0, true),
        ("PublishedToDeliveredRatio", (5, 6.0, 4.0), 1.5, true),
        ("PublishedToDeliveredRatio", (5, 6.0, 0.0), 0.0, true),
        ("PublishedToDeliveredRatio", (5, 0.0, 4.0), 0.0, false),
        ("ExpectedQueueConsumptionTime", (0, 3.0, 0.0), 0.0, false),
        ("ExpectedQueueConsumptionTime", (7, 3.0, 0.0), 0.0, true),
        ("ExpectedQueueConsumptionTime", (10, 3.0, 2.0), 5.5, true),
    ];
    for &(mode, (messages, published, delivered), value, active) in rows {
        let found =
            rabbitmq(&[("mode", mode), ("value", "100")]).measure(&[queue(messages, published, delivered)]);
        assert_eq!((found.value, found.active), (value, active), "{mode} {messages} {published} {delivered}");
    }
    let stuck = rabbitmq(&[("mode", "PublishedToDeliveredRatio"), ("value", "1"), ("activationValue", "3")]);
    let found = stuck.measure(&[queue(5, 6.0, 0.0)]);
    assert_eq!(
        (found.value, found.active),
        (3.0, true),
        "nothing is delivered: the activation value, and active"
    );
    let above = rabbitmq(&[("mode", "QueueLength"), ("value", "1"), ("activationValue", "5")]);
    assert!(!above.measure(&[queue(5, 0.0, 0.0)]).active, "strictly above");
    assert!(above.measure(&[queue(6, 0.0, 0.0)]).active);
}

/// If it fails, queues found by a pattern count as another number than in a cluster.
///
/// Source: `getSum`, `getAverage` (whole messages) and `getMaximum` of the scaler.
#[test]
fn rabbitmq_queues_by_pattern_are_composed() {
    let queues = [Queue { ready: 3, ..queue(4, 1.0, 0.5) }, Queue { ready: 0, ..queue(3, 2.0, 0.0) }];
    for (operation, messages, rate) in [("sum", 7.0, 3.0), ("avg", 3.0, 1.5), ("max", 4.0, 2.0)] {
        let with = |mode| {
            rabbitmq(&[("mode", mode), ("value", "1"), ("useRegex", "true"), ("operation", operation)])
        };
        assert_eq!(with("QueueLength").measure(&queues).value, messages, "{operation}");
        assert_eq!(with("MessageRate").measure(&queues).value, rate, "{operation}");
        assert!(!with("QueueLength").measure(&[]).active, "no queue matches");
    }
    let ready = rabbitmq(&[("useRegex", "true"), ("excludeUnacknowledged", "true")]);
    assert_eq!(
        (ready.measure(&queues).value, ready.value),
        (3.0, 20.0),
        "ready messages only; 20 by default"
    );
}

/// If it fails, a trigger with a mistake in it is decided upon as if it were another one.
///
/// Sources: `Validate` of each scaler.
#[test]
fn triggers_that_keda_refuses_are_refused() {
    let rabbit = [("queueName", "q"), ("host", "amqp://rabbit")];
    let kafka = [("consumerGroup", "g"), ("topic", "t")];
    let cron =
        [("timezone", "UTC"), ("start", "30 * * * *"), ("end", "45 * * * *"), ("desiredReplicas", "10")];
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], &'a str);
    let rows: &[Row<'_>] = &[
        ("rabbitmq", &rabbit, &[("mode", "MessageRate"), ("value", "1")], "metadata.mode: \"MessageRate\""),
        (
            "rabbitmq",
            &rabbit,
            &[("mode", "Length"), ("value", "1")],
            "metadata.mode: \"Length\" is not allowed",
        ),
        ("rabbitmq", &rabbit, &[("mode", "QueueLength")], "metadata.value: nothing is not allowed"),
        ("rabbitmq", &rabbit, &[("value", "1")], "metadata.mode: nothing is not allowed"),
        ("rabbitmq", &rabbit, &[("queueLength", "5"), ("value", "1")], "metadata.queueLength: \"5\""),
        ("rabbitmq", &rabbit, &[("useRegex", "true")], "metadata.useRegex: \"true\""),
        (
            "rabbitmq",
            &rabbit,
            &[("value", "many")],
            "metadata.value: \"many\" is not allowed, expected a number",
        ),
        ("rabbitmq", &[("host", "http://r")], &[], "metadata.queueName: nothing is not allowed"),
        ("kafka", &kafka, &[("lagThreshold", "0")], "metadata.lagThreshold: \"0\""),
        ("kafka", &kafka, &[("activationLagThreshold", "-1")], "metadata.activationLagThreshold"),
        ("kafka", &kafka, &[("partitionLimitation", "1,2-x")], "metadata.partitionLimitation"),
        ("kafka", &kafka, &[("partitionLimitation", "0-2147483647")], "metadata.partitionLimitation"),
        (
            "kafka",
            &kafka,
            &[("allowIdleConsumers", "true"), ("limitToPartitionsWithLag", "true")],
            "metadata.allowIdleConsumers",
        ),
        (
            "kafka",
            &[("consumerGroup", "g")],
            &[("ensureEvenDistributionOfPartitions", "true")],
            "metadata.topic: nothing",
        ),
        ("prometheus", &[("query", "up")], &[], "metadata.threshold: nothing is not allowed"),
        ("cron", &cron[..3], &[], "metadata.desiredReplicas"),
        ("cron", &cron[1..], &[], "metadata.timezone"),
        (
            "cron",
            &cron[..1],
            &[("start", "-30 * * * *"), ("end", "45 * * * *"), ("desiredReplicas", "1")],
            "metadata.start",
        ),
        (
            "cron",
            &cron[..1],
            &[("start", "30 * * * *"), ("end", "50 * * -3 *"), ("desiredReplicas", "1")],
            "metadata.end",
        ),
        (
            "cron",
            &cron[..1],
            &[("start", "30 * * * *"), ("end", "30 * * * *"), ("desiredReplicas", "1")],
            "metadata.end",
        ),
        ("cpu", &[("value", "60")], &[], "a metricType of Utilization or AverageValue"),
        (
            "sqs",
            &[],
            &[],
            "type: \"sqs\" is not allowed, expected rabbitmq, kafka, prometheus, cron, cpu, memory, external or external-push",
        ),
    ];
    for (kind, base, more, message) in rows {
        let metadata: Vec<(&str, &str)> = base.iter().chain(*more).copied().collect();
        let error = trigger(kind, &metadata).expect_err(message);
        assert!(error.contains(message), "{error} should say {message}");
    }
}

fn partition(committed: Option<i64>, latest: Option<i64>) -> Partition {
    Partition { topic: "t".to_string(), id: 0, committed, latest }
}

/// If it fails, consumers of a new group never start, or a broker's lapse counts as work.
///
/// Source: kedacore/keda 8b4f083c `kafka_scaler_test.go`, `TestGetLagForPartition_MissingPartition`; the last rows from the
/// scaler by hand.
#[test]
fn kafka_lag_of_a_partition_is_upstreams() {
    let earliest = ("offsetResetPolicy", "earliest");
    let zero = ("scaleToZeroOnInvalidOffset", "true");
    type Row<'a> = (&'a [(&'a str, &'a str)], Option<i64>, Option<i64>, i64);
    let rows: &[Row<'_>] = &[
        (&[earliest, zero], Some(-1), None, 0),
        (&[earliest], Some(-1), None, 0),
        (&[earliest], Some(100), None, 0),
        (&[earliest], Some(100), Some(150), 50),
        (&[zero], Some(-1), Some(150), 0),
        (&[], None, Some(150), 1),
        (&[earliest], None, Some(150), 150),
    ];
    for &(metadata, committed, latest, lag) in rows {
        let found = kafka(metadata).lag(&partition(committed, latest), &mut Offsets::default());
        assert_eq!((found.lag, found.with_persistent), (lag, lag), "{metadata:?} {committed:?} {latest:?}");
    }
}

/// If it fails, a team pays for consumers that have no partition, or its consumers share partitions unevenly.
///
/// Sources: `TestGetNextFactor`, `TestFindFactors` (13 and 17 have no divisor between), and `getTotalLag` by hand.
#[test]
fn kafka_lag_is_limited_as_upstream_limits_it() {
    for (lag, factor) in [(10, 1), (20, 2), (40, 4), (50, 5), (99, 10), (100, 10), (101, 20)] {
        assert_eq!(even_factor(lag, 100, 10), factor, "{lag}");
    }
    assert_eq!(even_factor(11, 13, 10), 13);
    assert_eq!(even_factor(i64::MAX, i64::MAX, 1), i64::MAX, "without end");
    assert_eq!(even_factor(5, 0, 10), 0);

    let partitions: Vec<Partition> = [(0, 50), (0, 0), (10, 10), (0, 7)]
        .iter()
        .enumerate()
        .map(|(id, &(committed, latest))| Partition {
            topic: "t".to_string(),
            id: i32::try_from(id).expect("small"),
            committed: Some(committed),
            latest: Some(latest),
        })
        .collect();
    let value =
        |metadata: &[(&str, &str)]| kafka(metadata).measure(&partitions, &mut Offsets::default()).value;
    // 57 messages at 10 a replica are 5 replicas, of which 4 have a partition; 2 partitions lag.
    assert_eq!(value(&[]), 40.0);
    assert_eq!(value(&[("allowIdleConsumers", "true")]), 57.0);
    assert_eq!(value(&[("limitToPartitionsWithLag", "true")]), 20.0);
    // 57/25: three replicas, and the next divisor of four partitions is four.
    assert_eq!(value(&[("ensureEvenDistributionOfPartitions", "true"), ("lagThreshold", "25")]), 100.0);
    assert_eq!(value(&[("partitionLimitation", "1, 3-3")]), 7.0);
    assert_eq!(value(&[("topic", "other")]), 0.0);

    let stuck = kafka(&[("excludePersistentLag", "true")]);
    let mut offsets = Offsets::default();
    let first = stuck.measure(&partitions, &mut offsets);
    let again = stuck.measure(&partitions, &mut offsets);
    assert_eq!((first.value, first.active), (40.0, true));
    assert_eq!(
        (again.value, again.active),
        (0.0, true),
        "nothing has moved: no more replicas, but none fewer than one"
    );
}

/// If it fails, a query without an answer scales down, or one with a wrong answer scales to the maximum.
///
/// Source: kedacore/keda 8b4f083c `prometheus_scaler_test.go`, `testPromQueryResult`.
#[test]
fn prometheus_answers_count_as_upstream_counts_them() {
    let with = |ignore: &str| match trigger(
        "prometheus",
        &[("query", "up"), ("threshold", "5"), ("activationThreshold", "2"), ("ignoreNullValues", ignore)],
    ) {
        Ok(Scaler::Prometheus(prometheus)) => prometheus,
        other => panic!("{other:?}"),
    };
    for odd in [&[][..], &[f64::INFINITY], &[f64::NEG_INFINITY], &[f64::NAN]] {
        assert_eq!(with("true").measure(odd).expect("ignored").value, 0.0);
        assert!(with("false").measure(odd).is_err(), "{odd:?}");
    }
    assert!(!with("true").measure(&[2.0]).expect("a value").active, "strictly above");
    assert!(with("true").measure(&[2.1]).expect("a value").active);
    assert!(with("true").measure(&[1.0, 2.0]).is_err(), "several series");
    for (value, milli) in
        [(1.2344, 1234), (1.2346, 1235), (-3.0, 0), (f64::NAN, 0), (f64::INFINITY, 0), (1e30, i64::MAX)]
    {
        assert_eq!(thousandths(value), milli, "{value}");
    }
}

/// If it fails, a team's office hours begin or end at another time than in its cluster.
///
/// Source: kedacore/keda 8b4f083c `cron_scaler_test.go` (`TestIsActive`, `TestIsActiveRange`, metric names); the epoch was a
/// Thursday at midnight.
#[test]
fn cron_is_active_between_start_and_end() {
    let cron = |start: &str, end: &str| match trigger(
        "cron",
        &[("timezone", "Etc/UTC"), ("start", start), ("end", end), ("desiredReplicas", "10")],
    ) {
        Ok(Scaler::Cron(cron)) => cron,
        other => panic!("{other:?}"),
    };
    const HOUR: u64 = 3_600_000_000_000;
    let thursday = cron("0 0 * * Thu", "59 23 * * Thu");
    for (hours, value) in
        [(0, 10.0), (12, 10.0), (24, 0.0), (6 * 24, 0.0), (7 * 24, 10.0), (7 * 24 + 23, 10.0)]
    {
        let found = thursday.measure(hours * HOUR, 0);
        assert_eq!((found.value, found.active), (value, value > 0.0), "{hours} h");
    }
    // An hour before midnight in Greenwich is Thursday already further east.
    let wednesday_night = (7 * 24 - 1) * HOUR;
    assert!(!thursday.measure(wednesday_night, 0).active);
    assert!(thursday.measure(wednesday_night, 2 * 3600).active);
    let even = cron("0 */2 * * *", "0 1-23/2 * * *");
    for hour in 0..24 {
        assert_eq!(even.measure(hour * HOUR + 1, 0).active, hour % 2 == 0, "{hour} h");
    }
    let quarters = cron("0,30 * * * *", "15,45 * * * *");
    for minute in 0..60 {
        let found = quarters.measure(minute * 60_000_000_000, 0);
        assert_eq!(found.active, minute % 30 < 15, "{minute} min");
    }
    // Day of the month and day of the week: either is enough. 1970-01-13 was a Tuesday, the 16th a Friday.
    let either = cron("0 0 13 * Fri", "0 12 13 * Fri");
    for (day, active) in [(13, true), (14, false), (16, true)] {
        assert_eq!(either.measure((day - 1) * 24 * HOUR + HOUR, 0).active, active, "January {day}");
    }
    // 1972 had a 29th of February.
    let leap = cron("0 0 29 2 *", "0 12 29 2 *");
    assert!(leap.measure((365 + 365 + 31 + 28) * 24 * HOUR + HOUR, 0).active);
    assert!(!leap.measure(0, 0).active);
}

fn spec(text: &str) -> ScaledObjectSpec {
    serde_json::from_str(text).expect("a ScaledObject")
}

/// If it fails, the HorizontalPodAutoscaler that is simulated is not the one that KEDA makes.
///
/// Sources: `controllers/keda/hpa.go`, `GetMetricSpecForScaling` of each scaler; metric names as in
/// `kafka_scaler_test.go`, `rabbitmq_scaler_test.go` and `cron_scaler_test.go`.
#[test]
fn the_autoscaler_is_the_one_that_keda_makes() {
    let object = spec(
        r#"{"scaleTargetRef": {"name": "worker"}, "maxReplicaCount": 30, "triggers": [
            {"type": "rabbitmq", "metadata": {"queueName": "name/ü%", "host": "http://r", "mode": "MessageRate", "value": "5.5"}},
            {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}},
            {"type": "kafka", "metricType": "Value", "metadata": {"consumerGroup": "my-group", "lagThreshold": "7"}},
            {"type": "cron", "metadata": {"timezone": "Etc/UTC", "start": "0 */2 * * *", "end": "0 1-23/2 * * *", "desiredReplicas": "10"}},
            {"type": "memory", "metricType": "AverageValue", "metadata": {"value": "500Mi", "containerName": "app"}}
        ], "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}}}"#,
    );
    let made = hpa::render(&object, "orders", &Annotations::default()).expect("an autoscaler");
    made.check().expect("allowed");
    assert_eq!((made.min_replicas, made.max_replicas), (Some(1), 30), "at least 1, whatever the minimum");
    assert_eq!(
        (made.scale_target_ref.kind.as_str(), made.scale_target_ref.name.as_str()),
        ("Deployment", "worker")
    );
    let found: Vec<(&str, &str, String)> = made
        .metrics
        .iter()
        .map(|metric| (metric.kind(), metric.name(), metric.target().to_string()))
        .collect();
    let expected = [
        ("ContainerResource", "memory", "500Mi a pod"),
        ("External", "s0-rabbitmq-name-2F-C3-BC-25", "5500m a pod"),
        ("External", "s2-kafka-my-group-topics", "7"),
        ("External", "s3-cron-Etc-UTC-0xSl2xxx-01-23Sl2xxx", "1 a pod"),
        ("Resource", "cpu", "60 %"),
    ];
    assert_eq!(found, expected.map(|(kind, name, target)| (kind, name, target.to_string())));
    let MetricSpec::External { metric, .. } = &made.metrics[1] else { panic!("{made:?}") };
    let labels = &metric.selector.as_ref().expect("a selector").match_labels;
    assert_eq!(labels["scaledobject.keda.sh/name"], "orders");
    assert_eq!(hpa::name(&object, "orders"), "keda-hpa-orders");

    let paused = BTreeMap::from([("autoscaling.keda.sh/paused-scale-in".to_string(), "true".to_string())]);
    let paused =
        hpa::render(&object, "orders", &Annotations::read(&paused).expect("annotations")).expect("one");
    let rules = serde_json::to_value(paused.behavior).expect("JSON");
    assert_eq!(rules["scaleDown"]["selectPolicy"], "Disabled");
    assert_eq!(rules["scaleDown"]["stabilizationWindowSeconds"], 60);

    let mut modified = object;
    modified.advanced = serde_json::from_str(
        r#"{"scalingModifiers": {"formula": "a + b", "target": "2.5", "metricType": "Value"}}"#,
    )
    .expect("modifiers");
    let made = hpa::render(&modified, "orders", &Annotations::default()).expect("an autoscaler");
    let found: Vec<(&str, String)> =
        made.metrics.iter().map(|metric| (metric.name(), metric.target().to_string())).collect();
    assert_eq!(found, [("cpu", "60 %".to_string()), ("composite-metric", "2500m".to_string())]);
}
