//! Decision vectors of the Kubernetes HorizontalPodAutoscaler and of KEDA.

use serde_json::{Value, json};
use windtunnel_conformance::vectors::{Options, run, run_selected};

use crate::vectors::{PATH, shipped};

/// If it fails, the simulator scales differently from the Kubernetes or KEDA that a team runs.
#[test]
fn every_hpa_and_keda_vector_of_the_shipped_file_passes() {
    for (only, count) in [("hpa.*", 57), ("keda.*", 21)] {
        let options = Options { only: vec![only.to_string()] };
        let report = run_selected(&shipped(), "decision-vectors.yaml", &options).expect("a vector file");
        assert_eq!(report.failures().collect::<Vec<_>>(), Vec::<&str>::new());
        assert_eq!(report.passed(), count, "vectors of {only} in the file");
    }
}

/// If it fails, part of what a vector expects is never looked at, and a kernel may get it wrong.
#[test]
fn every_expectation_of_the_shipped_file_counts() {
    let file: Value = serde_saphyr::from_str(&shipped()).expect("YAML");
    let mut changed = 0;
    for vector in file["vectors"].as_array().expect("a list") {
        let kernel = vector["kernel"].as_str().expect("a name");
        if !kernel.starts_with("hpa.") && !kernel.starts_with("keda.") {
            continue;
        }
        for key in vector["expect"].as_object().expect("a mapping").keys() {
            let mut wrong = vector.clone();
            wrong["expect"][key] = match &vector["expect"][key] {
                Value::Number(number) => json!(number.as_f64().expect("a number") as i64 + 1),
                Value::String(text) if text == "True" => json!("False"),
                Value::String(text) if text == "False" => json!("True"),
                Value::String(text) if text == "ready" => json!("unready"),
                Value::String(text) if text == "unready" => json!("ready"),
                Value::String(text) => json!(format!("{text}s")),
                Value::Null => json!(1.0),
                Value::Array(items) => json!(items[1..]),
                other => panic!("{other}"),
            };
            changed += 1;
            let report = run(&json!({"vectors": [wrong]}).to_string(), PATH).expect("a vector file");
            assert_eq!(report.failed(), 1, "{wrong}");
            assert!(!report.failures().any(|failure| failure.contains("malformed")), "{wrong}");
        }
    }
    assert_eq!(changed, 148, "expectations of the shipped vectors");
}

/// If it fails, a vector with a typo in it passes without having been tested.
#[test]
fn malformed_vectors_fail_with_their_place() {
    let utilization = "hpa.resource_utilization";
    let good = "current_replicas: 3, target_utilization: 30, tolerance: 0.1, metrics_for_unknown_pods_m: []";
    let pods = "pods: [{request_m: 2000, usage_m: 600}]";
    let with = |text: &str| format!("{{{good}, {pods}, {text}}}");
    for (kernel, inputs, expect, message) in [
        (utilization, with("targets: 1"), "{replicas: 3}", "inputs.targets: is not known here"),
        (
            utilization,
            with("tolerance_up: x"),
            "{replicas: 3}",
            "inputs.tolerance_up: expected a finite number",
        ),
        (utilization, format!("{{{good}}}"), "{replicas: 3}", "inputs.pods: is missing"),
        (
            utilization,
            format!("{{{good}, pods: [{{request: 1}}]}}"),
            "{replicas: 3}",
            "inputs.pods[0].request: is not known here",
        ),
        (
            utilization,
            format!("{{{good}, pods: [{{request_m: 1, phase: Runing}}]}}"),
            "{replicas: 3}",
            "inputs.pods[0].phase: \"Runing\" is no phase",
        ),
        (utilization, with("resource: cpu"), "{replica: 3}", "expect.replica: is not known here"),
        (
            utilization,
            format!("{{{}, {pods}}}", good.replace("30", "0")),
            "{replicas: 3}",
            "inputs.target_utilization: expected more than 0",
        ),
        (
            "hpa.object_value",
            "{current_replicas: 3, target_m: 15000, tolerance: 0.1, ready_pods: 3}".to_string(),
            "{replicas: 4}",
            "inputs.value_m: is missing",
        ),
        (
            "hpa.group_pod_cpu",
            "{start: -60, ready: true}".to_string(),
            "{cls: reddy}",
            "expect.cls: \"reddy\" is no class",
        ),
        (
            "hpa.behaviour_rate",
            "{current: 1, desired: 2, min: 1, max: 3, up_events: [[1]]}".to_string(),
            "{replicas: 2}",
            "inputs.up_events[0]: expected a number and seconds",
        ),
        (
            "hpa.behaviour_rate",
            "{current: 1, desired: 2, min: 1, max: 3, up_rules: {select: Most}}".to_string(),
            "{replicas: 2}",
            "inputs.up_rules.select: \"Most\" is not known",
        ),
        (
            "hpa.scale_up_limit",
            "{current: 1, rules: {policies: [{type: Pod, value: 1, period_s: 1}]}}".to_string(),
            "{limit: 2}",
            "inputs.rules.policies[0].type: \"Pod\" is not known",
        ),
        (
            "hpa.stabilize_legacy",
            "{window_s: 300, recommendations: [[1.5, -3]], desired: 5}".to_string(),
            "{replicas: 5}",
            "inputs.recommendations[0]: expected a whole number, found 1.5",
        ),
        (
            "keda.scaledobject",
            "{current: 1, min: 0}".to_string(),
            "{replicas: 1}",
            "inputs.active: is missing",
        ),
        (
            "keda.fallback",
            "{threshold: 3, fallback_replicas: 10, behaviour: dynamic, target_average: 10}".to_string(),
            "{failures_after: 1}",
            "inputs.behaviour: \"dynamic\" is not known",
        ),
        (
            "keda.scaledjob.strategy",
            "{strategy: lazy, max_scale: 1, running: 0, max_replica_count: 5}".to_string(),
            "{effective_max_scale: 1}",
            "inputs.strategy: \"lazy\" is not known",
        ),
        (
            "keda.kafka.even_factor",
            "{total_lag: 10, partitions: many, lag_threshold: 10}".to_string(),
            "{factor: 1}",
            "inputs.partitions: expected a whole number",
        ),
    ] {
        let file = format!(
            "vectors:\n- id: a\n  kernel: {kernel}\n  source: {{repo: r, commit: c, file: f}}\n  inputs: {inputs}\n  \
             expect: {expect}\n"
        );
        let report = run(&file, PATH).expect("a vector file");
        let failures: Vec<&str> = report.failures().collect();
        assert_eq!(failures.len(), 1, "{kernel} {inputs} {expect}");
        assert!(failures[0].contains("malformed"), "{failures:?}");
        assert!(failures[0].contains(message), "{failures:?} should say {message}");
    }
}

/// If it fails, vectors of further rows of the same upstream tests cannot be told apart from right ones: rows without
/// metrics, without requests, with pods that end or are deleted, with rules left to their defaults.
///
/// Sources: kubernetes/kubernetes 00067268 `replica_calculator_test.go` and 003e8629 `horizontal_test.go`; kedacore/keda
/// 8b4f083c `scale_scaledobjects_test.go`, `fallback_test.go` and `scale_jobs_test.go`.
#[test]
fn further_rows_of_the_same_tests_pass() {
    let rules = "select: Max, stabilization_s: 300";
    let rows = [
        // TestReplicaCalcDisjointResourcesMetrics
        (
            "hpa.resource_utilization",
            "{current_replicas: 1, target_utilization: 100, pods: [{request_m: 2000}], metrics_for_unknown_pods_m: [200]}".to_string(),
            "{error: no metrics returned matched known pods}",
        ),
        // TestReplicaCalcEmptyMetrics
        (
            "hpa.resource_utilization",
            "{current_replicas: 4, target_utilization: 100, pods: [{request_m: 2000}, {}], metrics_for_unknown_pods_m: []}".to_string(),
            "{error: 'unable to get metrics for resource cpu: no metrics returned from resource metrics API'}",
        ),
        // TestReplicaCalcEmptyCPURequest
        (
            "hpa.resource_utilization",
            "{current_replicas: 1, target_utilization: 100, pods: [{usage_m: 400}]}".to_string(),
            "{error: missing request for}",
        ),
        // TestReplicaCalcScaleUpIgnoresDeletionPods
        (
            "hpa.resource_utilization",
            "{current_replicas: 2, target_utilization: 30, pods: [{request_m: 2000, usage_m: 1000}, {request_m: 2000, usage_m: 1400}, {request_m: 2000, deleted: true, unready: true}, {request_m: 2000, deleted: true}]}".to_string(),
            "{replicas: 4, utilization: 60, raw_average_m: 1200}",
        ),
        // TestReplicaCalcScaleDownExcludeUnscheduledPods
        (
            "hpa.resource_utilization",
            "{current_replicas: 5, target_utilization: 50, pods: [{request_m: 2000, usage_m: 200}, {request_m: 2000, phase: Pending}, {request_m: 2000, phase: Pending}, {request_m: 2000, phase: Pending}, {request_m: 2000, phase: Pending}]}".to_string(),
            "{replicas: 1, utilization: 10, raw_average_m: 200}",
        ),
        // TestReplicaCalcMissingMetricsUnreadyScaleUp
        (
            "hpa.resource_utilization",
            "{current_replicas: 3, target_utilization: 50, pods: [{request_m: 2000, usage_m: 200, unready: true}, {request_m: 2000, usage_m: 4000}, {request_m: 2000}]}".to_string(),
            "{replicas: 4, utilization: 200, raw_average_m: 4000}",
        ),
        // TestReplicaCalcDuringRollingUpdateWithMaxSurge
        (
            "hpa.resource_utilization",
            "{current_replicas: 2, target_utilization: 50, pods: [{request_m: 2000, usage_m: 200}, {request_m: 2000, usage_m: 200}, {request_m: 2000}]}".to_string(),
            "{replicas: 2, utilization: 10, raw_average_m: 200}",
        ),
        // TestReplicaCalcTolerance
        (
            "hpa.resource_utilization",
            "{current_replicas: 3, target_utilization: 100, pods: [{request_m: 1800, usage_m: 2020}, {request_m: 2000, usage_m: 2060}, {request_m: 2200, usage_m: 2040}]}".to_string(),
            "{replicas: 3, utilization: 102, raw_average_m: 2040}",
        ),
        // TestReplicaCalcScaleUpCMUnreadyHotCpuScaleWouldScaleDown
        (
            "hpa.pods_metric",
            "{current_replicas: 3, target_m: 15000, levels_m: [50000, 15000, 30000], unready: [true, false, true]}".to_string(),
            "{replicas: 7, usage_m: 31666}",
        ),
        // TestReplicaCalcScaleUpCMExternal: run as a Pods metric, with one level for one pod
        (
            "hpa.pods_metric",
            "{current_replicas: 1, target_m: 4400, levels_m: [8600]}".to_string(),
            "{replicas: 2, usage_m: 8600}",
        ),
        // TestReplicaCalcScaleUpCMObjectIgnoresUnreadyPods
        (
            "hpa.object_value",
            "{current_replicas: 3, target_m: 10000, value_m: 50000, ready_pods: 1}".to_string(),
            "{replicas: 5, usage_m: 50000}",
        ),
        // TestReplicaCalcTolerancePerPodCMExternal
        (
            "hpa.per_pod_value",
            "{current_replicas: 3, target_m: 2900, values_m: [8000, 600], ready_pods: 3}".to_string(),
            "{replicas: 3, usage_m: 2867}",
        ),
        // TestGroupPods: without ready condition; missing; pending; deleted
        ("hpa.group_pod_cpu", "{start: 0, ready: null, metric_t: null, window: 0}".to_string(), "{cls: unready}"),
        ("hpa.group_pod_cpu", "{start: -180, ready: null, has_metric: false}".to_string(), "{cls: missing}"),
        ("hpa.group_pod_cpu", "{start: null, ready: null, phase: Pending}".to_string(), "{cls: unready}"),
        ("hpa.group_pod_cpu", "{start: -180, ready: true, trans: -180, deleted: true}".to_string(), "{cls: ignored}"),
        (
            "hpa.group_pod_cpu",
            "{start: -600, ready: false, trans: -594, metric_t: null, window: 0}".to_string(),
            "{cls: unready}",
        ),
        // TestScalingWithRules: rules of one side only, the others by default
        (
            "hpa.behaviour_rate",
            "{current: 10, desired: 50, min: 1, max: 1000, up_rules: null, down_rules: null}".to_string(),
            "{replicas: 20, reason: ScaleUpLimit}",
        ),
        (
            "hpa.behaviour_rate",
            format!("{{current: 10, desired: 1, min: 1, max: 1000, up_events: [[2, -60]], down_events: [[4, -60]], down_rules: {{{rules}, policies: [{{type: Percent, value: 50, period_s: 180}}]}}}}"),
            "{replicas: 6, reason: ScaleDownLimit}",
        ),
        (
            "hpa.behaviour_rate",
            format!("{{current: 10, desired: 5, min: 1, max: 1000, down_events: [[10, -100], [10, -60], [10, -20]], down_rules: {{{rules}, policies: [{{type: Percent, value: 1000, period_s: 120}}]}}}}"),
            "{replicas: 5, reason: DesiredWithinRange}",
        ),
        // TestCalculateScaleUpLimitWithScalingRules: no policies of its own
        ("hpa.scale_up_limit", "{current: 1, rules: {select: Disabled}}".to_string(), "{limit: 1}"),
        // TestNormalizeDesiredReplicasWithBehavior: "…, do not scale up when prenormalized rec goes down"
        (
            "hpa.stabilize_behaviour",
            "{recommendations: [[2, -6000], [3, -180]], current: 2, desired: 1, up_window_s: 300, down_window_s: 300}".to_string(),
            "{replicas: 2}",
        ),
        // TestScaleToMinReplicasWhenNotActive, TestScaleToIdleReplicasWhenNotActive, TestScaleToPausedReplicasCount
        ("keda.scaledobject", "{current: 10, min: 0, active: false, created_s_ago: 1}".to_string(), "{replicas: 0, active_condition: 'False'}"),
        ("keda.scaledobject", "{current: 10, min: 5, idle: 0, active: false, created_s_ago: 1}".to_string(), "{replicas: 0, active_condition: 'False'}"),
        ("keda.scaledobject", "{current: 2, paused_replicas: 0, active: true}".to_string(), "{replicas: 2, active_condition: Unknown, paused: true}"),
        // cool-down: strictly more than its period
        ("keda.scaledobject", "{current: 3, min: 0, active: false, cooldown_s: 300, last_active_s_ago: 300}".to_string(), "{replicas: 3, active_condition: 'False', active_reason: ScalerCooldown}"),
        ("keda.scaledobject", "{current: 3, min: 0, active: false, cooldown_s: 300, last_active_s_ago: 301}".to_string(), "{replicas: 0, active_reason: ScalerNotActive}"),
        ("keda.scaledobject", "{current: 3, min: 0, active: false, error: true}".to_string(), "{replicas: 3, ready_condition: 'False'}"),
        ("keda.scaledobject", "{current: 3, min: 0, active: false, error: true, fallback_replicas: 2}".to_string(), "{replicas: 3, ready_condition: 'True'}"),
        ("keda.scaledobject", "{current: 3, min: 0, active: true, error: true}".to_string(), "{replicas: 3, ready_condition: Unknown, last_active_set: false}"),
        // fallback suite
        ("keda.fallback", "{failures_before: 5, threshold: 3, fallback_replicas: 10, target_average: 3, value: 6}".to_string(), "{metric: 6.0, failures_after: 0}"),
        ("keda.fallback", "{failures_before: 5, threshold: null, fallback_replicas: null, target_average: 3, value: 6}".to_string(), "{metric: 6.0, failures_after: 5}"),
        ("keda.fallback", "{failures_before: 3, threshold: 3, fallback_replicas: 10, behaviour: currentReplicasIfHigher, target_average: 10, current: 4}".to_string(), "{metric: 100.0, failures_after: 4, fallback_active: true}"),
        ("keda.fallback", "{failures_before: 3, threshold: -3, fallback_replicas: 10, target_average: 10, current: 5}".to_string(), "{metric: null, failures_after: 3}"),
        ("keda.fallback", "{failures_before: 3, threshold: 3, fallback_replicas: 10, target_value: 10, current: 5, ready: 0}".to_string(), "{metric: null, failures_after: 4}"),
        // TestCustomScalingStrategy, TestEagerScalingStrategy, TestAccurateScalingStrategy
        ("keda.scaledjob.strategy", "{strategy: custom, queue_length_deduction: 1, running_job_percentage: 0.5, max_scale: 10, running: 0, pending: 0, max_replica_count: 10, scale_to: 1}".to_string(), "{effective_max_scale: 9, scale_to: 1}"),
        ("keda.scaledjob.strategy", "{strategy: custom, queue_length_deduction: -2, running_job_percentage: 0, max_scale: 3, running: 2, pending: 0, max_replica_count: 4, scale_to: 1}".to_string(), "{effective_max_scale: 4}"),
        ("keda.scaledjob.strategy", "{strategy: custom, queue_length_deduction: null, running_job_percentage: 0.5, max_scale: 10, running: 2, pending: 0, max_replica_count: 100, scale_to: 1}".to_string(), "{effective_max_scale: 9}"),
        ("keda.scaledjob.strategy", "{strategy: eager, max_scale: 4, running: 0, pending: 3, max_replica_count: 10, scale_to: 1}".to_string(), "{effective_max_scale: 4, scale_to: 10}"),
        ("keda.kafka.even_factor", "{total_lag: 99, partitions: 100, lag_threshold: 10}".to_string(), "{factor: 10}"),
    ];
    for (kernel, inputs, expect) in rows {
        let file = format!(
            "vectors:\n- id: a\n  kernel: {kernel}\n  source: {{repo: r, commit: c, file: f}}\n  inputs: {inputs}\n  \
             expect: {expect}\n"
        );
        let report = run(&file, PATH).expect("a vector file");
        assert_eq!(report.failures().collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
