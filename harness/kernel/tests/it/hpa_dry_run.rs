//! Decisions on paper.

use windtunnel_kernel::autoscale::hpa::{DryRun, HpaSpec, HpaStatus, MetricsFile, Options, dry_run};

fn spec(metrics: &str, more: &str) -> HpaSpec {
    let text = format!(
        r#"{{"scaleTargetRef": {{"kind": "Deployment", "name": "web"}}, "minReplicas": 2, "maxReplicas": 10, "metrics": [{metrics}]{more}}}"#
    );
    serde_json::from_str(&text).expect("a manifest")
}

fn run(spec: &HpaSpec, metrics: &str) -> DryRun {
    let metrics: MetricsFile = serde_json::from_str(metrics).expect("a metrics file");
    dry_run(spec, None, &Options::default(), &metrics).expect("a decision")
}

const CPU: &str = r#"{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}"#;
const QUEUE: &str = r#"{"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}}}"#;

/// If it fails, a team reads another decision on paper than its cluster makes, or is told the wrong number to watch.
///
/// By hand: 4 pods of 400m with requests of 500m are 80 %; 80/50 = 1.6; ceil(6.4) = 7. The eighth pod comes at the first
/// whole percent p with ceil(p/50 x 4) = 8, which is p = 88 (7.04): 440m. The sixth is enough below p = 76, that is at
/// 75 % (ceil(6.0)): below 380m.
#[test]
fn the_numbers_are_those_of_a_hand_calculation() {
    let run = run(
        &spec(CPU, ""),
        r#"{"replicas": 4, "pods": [{"count": 4, "usage": {"cpu": "400m"}, "requests": {"cpu": "500m"}}]}"#,
    );
    assert_eq!((run.current, run.replicas), (4, 7));
    let [up, down] = &run.flips[..] else { panic!("{:?}", run.flips) };
    assert_eq!((up.replicas, up.utilization, up.value_milli), (8, Some(88), 440));
    assert_eq!((down.replicas, down.utilization, down.value_milli), (6, Some(75), 379));
    let text = run.to_string();
    for line in [
        "Deployment web: 4 -> 7 replicas",
        "  replicas 4 in spec, 4 in status; between 2 and 10",
        "  Kubernetes 1.33; tolerance 0.1 down, 0.1 up",
        "  cpu resource utilization (percentage of request): 80 %, target 50 %",
        "    pods: 4 ready, 0 unready, 0 without metrics, 0 ignored; average 400m",
        "    ceil(1.6 x 4 ready) = 7",
        "  stabilisation (highest recommendation of 300 s): 7 stays",
        "  rate (the scale-up limit: 8): 7 stays",
        "  bounds (2 to 10): 7 stays",
        "decided by: cpu resource utilization (percentage of request)",
        "  8 replicas: cpu resource utilization (percentage of request) at 88 % (average 440m) or more",
        "  6 replicas: cpu resource utilization (percentage of request) at 75 % (average 379m) or less",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
    }
}

/// If it fails, a team is told that more load would bring more pods where a limit says no.
#[test]
fn a_limit_is_named_and_bounds_what_flips() {
    let rules =
        r#", "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}"#;
    let file =
        r#"{"replicas": 4, "status-replicas": 5, "external": [{"metric": "queue", "values": [40, 25]}]}"#;
    let run = run(&spec(QUEUE, rules), file);
    // ceil(65/10) = 7, one pod at a time: 5; no queue is long enough for a sixth.
    assert_eq!((run.replicas, run.decision.explanation.proposal), (5, Some(7)));
    assert_eq!(run.decision.explanation.winner, "rate");
    assert_eq!(
        run.decision.conditions.scaling_limited.as_ref().expect("limited").short(),
        (true, "ScaleUpLimit")
    );
    let text = run.to_string();
    assert!(text.contains("  rate (scaleUp 1 pods in 60 s: 5): 7 becomes 5"), "{text}");
    let [down] = &run.flips[..] else { panic!("{:?}", run.flips) };
    // Shared out over the 5 replicas of the status, 45 to 55 are within the tolerance, which stays at those 5; below 45,
    // ceil(44.999/10) is 5 too; 40 are 4 pods.
    assert_eq!((down.replicas, down.value_milli), (4, 40_000));
    assert_eq!(
        run.decision.explanation.to_string(),
        "external metric queue 13 (target 10 a pod): ceil(value / target) = 7; lowered to 5 by rate (scaleUp 1 pods in 60 s: 5)"
    );
}

/// If it fails, what a team has written down about pods, history and failures is not what is decided upon.
#[test]
fn every_key_of_the_file_counts() {
    let metrics = format!(
        r#"{CPU},
        {{"type": "ContainerResource", "containerResource": {{"name": "cpu", "container": "app", "target": {{"type": "Utilization", "averageUtilization": 50}}}}}},
        {{"type": "Pods", "pods": {{"metric": {{"name": "rps"}}, "target": {{"type": "AverageValue", "averageValue": "20"}}}}}},
        {{"type": "Object", "object": {{"describedObject": {{"kind": "Service", "name": "web"}}, "metric": {{"name": "depth"}}, "target": {{"type": "Value", "value": "15"}}}}}},
        {QUEUE}"#
    );
    let file = r#"{
        "pods": [
            {"name": "a", "containers": {"app": {"usage": {"cpu": "300m"}, "requests": {"cpu": "400m"}}, "proxy": {"usage": {"cpu": "20m"}, "requests": {"cpu": "100m"}}}, "metrics": {"rps": 20}},
            {"name": "b", "usage": {"cpu": "320m"}, "requests": {"cpu": "500m"}, "containers": {"app": {"usage": {"cpu": "300m"}, "requests": {"cpu": "400m"}}}, "metrics": {"rps": 22, "other": 1}},
            {"name": "c", "ready": false, "started": "20s", "measured": "5s", "window": "10s", "usage": {"cpu": "0"}, "requests": {"cpu": "500m"}, "containers": {"app": {"requests": {"cpu": "400m"}}}},
            {"name": "d", "phase": "Failed", "requests": {"cpu": "500m"}, "containers": {"app": {"requests": {"cpu": "400m"}}}},
            {"name": "e", "deleting": true, "ready-since": "1m", "requests": {"cpu": "500m"}, "containers": {"app": {"requests": {"cpu": "400m"}}}}
        ],
        "objects": [{"metric": "depth", "object": {"kind": "Ingress", "name": "web"}, "value": 900}, {"metric": "depth", "value": 16}],
        "failing": {"queue": "timed out"},
        "recommendations": [{"replicas": 5, "ago": "2m"}, {"replicas": 9, "ago": "10m"}],
        "scale-events": [{"change": 1, "ago": "30s"}, {"change": -2, "ago": "3m"}]
    }"#;
    let metrics_file: MetricsFile = serde_json::from_str(file).expect("a metrics file");
    let again = serde_json::to_string(&metrics_file).expect("JSON");
    assert_eq!(serde_json::from_str::<MetricsFile>(&again).expect("the same"), metrics_file);
    let status: HpaStatus =
        serde_json::from_str(r#"{"currentReplicas": 3, "desiredReplicas": 3, "conditions": []}"#)
            .expect("a status");
    let rules = r#", "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}}"#;
    let run = dry_run(&spec(&metrics, rules), Some(&status), &Options::default(), &metrics_file)
        .expect("a decision");
    let found: Vec<(i32, i64, i64)> = run
        .decision
        .explanation
        .metrics
        .iter()
        .filter_map(|metric| metric.outcome)
        .map(|outcome| (outcome.replicas, outcome.value_milli, outcome.pods.ready))
        .collect();
    // 64 % of the pods' requests with two ready pods and an unready one: dampened from 1.28 to 0.84, so it stays at 3.
    // 75 % of the container's: 1.5 with two pods, 1.0 with the third, which has no metrics of it. 21 of 20: tolerated.
    assert_eq!(found, [(3, 320, 2), (3, 300, 2), (3, 21_000, 2), (3, 16_000, 0)]);
    assert_eq!(run.decision.explanation.metrics[4].fault, "unable to get metrics: timed out");
    // All of them stay, and a failed metric alone does not scale down; nothing is stabilised upwards.
    assert_eq!(run.replicas, 3);
    assert_eq!(run.notes, ["Pods metric other is not asked for by this autoscaler"]);
}

/// If it fails, a history on paper is not remembered: the target of a busy hour scales down at once.
#[test]
fn a_history_on_paper_is_remembered() {
    let idle =
        r#"{"replicas": 6, "pods": [{"count": 6, "usage": {"cpu": "50m"}, "requests": {"cpu": "500m"}}]"#;
    assert_eq!(run(&spec(CPU, ""), &format!("{idle}}}")).replicas, 2);
    let busy = format!(r#"{idle}, "recommendations": [{{"replicas": 5, "ago": "2m"}}]}}"#);
    let held = run(&spec(CPU, ""), &busy);
    assert_eq!(held.replicas, 5);
    assert!(
        held.to_string().contains("stabilisation (highest recommendation of 300 s): 2 becomes 5"),
        "{held}"
    );
    let rules = r#", "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}"#;
    let changed = format!(r#"{idle}, "scale-events": [{{"change": -1, "ago": "30s"}}]}}"#);
    assert_eq!(run(&spec(CPU, rules), &changed).replicas, 5, "one of two pods a minute has gone already");
}

/// If it fails, a typo in a metrics file is a decision on nothing.
#[test]
fn a_wrong_file_is_refused_with_its_place() {
    for (file, message) in [
        (r#"{"replica": 4}"#, "unknown field `replica`"),
        (r#"{"pods": [{"usage": {"cpu": "4 cores"}}]}"#, "\"4 cores\" is no quantity"),
        (r#"{"pods": [{"phase": "Sleeping"}]}"#, "unknown variant `Sleeping`"),
        (r#"{"recommendations": [{"replicas": 3, "ago": "5"}]}"#, "\"5\" is no duration such as 90s or 5m"),
        (r#"{"recommendations": [{"replicas": 3}]}"#, "missing field `ago`"),
    ] {
        let error = serde_json::from_str::<MetricsFile>(file).expect_err(message).to_string();
        assert!(error.contains(message), "{error} should say {message}");
    }
    for (file, message) in [
        ("{}", "replicas: is missing: how many replicas does the target have?"),
        (r#"{"replicas": -4}"#, "replicas: -4 is not allowed"),
        (r#"{"replicas": 4, "pods": [{"count": 2000000}]}"#, "pods: 2000000 pods are too many"),
        (
            r#"{"replicas": 4, "external": [{"metric": "queue"}]}"#,
            "external[0]: expected either value or values",
        ),
        (
            r#"{"replicas": 4, "scale-events": [{"change": 0, "ago": "1s"}]}"#,
            "scale-events[0].change: 0 is no change",
        ),
    ] {
        let file: MetricsFile = serde_json::from_str(file).expect("readable");
        let error = dry_run(&spec(CPU, ""), None, &Options::default(), &file).expect_err(message).to_string();
        assert!(error.contains(message), "{error} should say {message}");
    }
}
