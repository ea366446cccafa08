//! Manifests: defaults, refusals, and back again.

use windtunnel_kernel::autoscale::hpa::{HpaSpec, Target};

fn read(text: &str) -> Result<HpaSpec, serde_json::Error> {
    serde_json::from_str(text)
}

const FULL: &str = r#"{
    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
    "minReplicas": 2, "maxReplicas": 10,
    "metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
        {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "app", "target": {"type": "AverageValue", "averageValue": "500Mi"}}},
        {"type": "Pods", "pods": {"metric": {"name": "qps"}, "target": {"type": "AverageValue", "averageValue": "1k"}}},
        {"type": "Object", "object": {"metric": {"name": "requests"}, "describedObject": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "main"}, "target": {"type": "Value", "value": "10k"}}},
        {"type": "External", "external": {"metric": {"name": "queue", "selector": {"matchLabels": {"queue": "jobs"}}}, "target": {"type": "AverageValue", "averageValue": 30}}}
    ],
    "behavior": {
        "scaleUp": {"tolerance": "0.05", "selectPolicy": "Min", "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]},
        "scaleDown": {"stabilizationWindowSeconds": 60}
    }
}"#;

/// If it fails, part of a team's manifest is lost on the way to the decision.
#[test]
fn a_full_manifest_is_read_and_written_whole() {
    let spec = read(FULL).expect("a manifest");
    spec.check().expect("allowed");
    assert_eq!(spec.metrics.len(), 5);
    let again: HpaSpec =
        serde_json::from_value(serde_json::to_value(&spec).expect("JSON")).expect("the same");
    assert_eq!(again, spec);
}

/// If it fails, a manifest that leaves things out is decided upon otherwise than in a cluster.
///
/// Source: `pkg/apis/autoscaling/v2/defaults.go`.
#[test]
fn what_is_left_out_is_filled_in_as_the_api_server_does() {
    let spec =
        read(r#"{"scaleTargetRef": {"name": "web"}, "maxReplicas": 4}"#).expect("a manifest").defaulted();
    assert_eq!((spec.min_replicas, spec.metrics.len(), spec.behavior.is_none()), (Some(1), 1, true));
    assert_eq!((spec.metrics[0].name(), spec.metrics[0].target()), ("cpu", Target::Utilization(80)));

    let spec = read(FULL).expect("a manifest").defaulted();
    let behavior = serde_json::to_value(spec.behavior).expect("JSON");
    assert_eq!(
        behavior,
        serde_json::json!({
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Min", "tolerance": "50m",
                        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]},
            "scaleDown": {"stabilizationWindowSeconds": 60, "selectPolicy": "Max",
                          "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
        })
    );
    let empty =
        read(r#"{"scaleTargetRef": {"name": "web"}, "maxReplicas": 4, "behavior": {}}"#).expect("a manifest");
    let behavior = serde_json::to_value(empty.defaulted().behavior).expect("JSON");
    assert_eq!(
        behavior,
        serde_json::json!({
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15},
                                     {"type": "Percent", "value": 100, "periodSeconds": 15}]},
            "scaleDown": {"selectPolicy": "Max",
                          "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
        })
    );
}

/// If it fails, a typo in a manifest is decided upon as if it were not there.
#[test]
fn what_the_api_server_refuses_is_refused() {
    for (from, to, message) in [
        (
            "\"maxReplicas\": 10",
            "\"maxReplicas\": 0",
            "spec.maxReplicas: 0 is not allowed, expected at least 1",
        ),
        ("\"minReplicas\": 2", "\"minReplicas\": 11", "spec.minReplicas: 11 is not allowed"),
        ("\"minReplicas\": 2", "\"minReplicas\": -1", "spec.minReplicas: -1 is not allowed"),
        ("60}}}", "0}}}", "spec.metrics[0].target: 0 % is not allowed, expected more than 0"),
        (
            "\"periodSeconds\": 60",
            "\"periodSeconds\": 1801",
            "policies[0].periodSeconds: 1801 is not allowed",
        ),
        ("\"value\": 50", "\"value\": 0", "behavior.scaleUp.policies[0].value: 0 is not allowed"),
        ("\"0.05\"", "\"-1\"", "behavior.scaleUp.tolerance: -1 is not allowed"),
        (
            "WindowSeconds\": 60",
            "WindowSeconds\": 3601",
            "behavior.scaleDown.stabilizationWindowSeconds: 3601",
        ),
        ("\"name\": \"qps\"", "\"name\": \"\"", "spec.metrics[2].name: \"\" is not allowed"),
    ] {
        let spec = read(&FULL.replacen(from, to, 1)).expect(message);
        let error = spec.check().expect_err(message).to_string();
        assert!(error.contains(message), "{error} should say {message}");
    }
    for (from, to, message) in [
        ("\"minReplicas\"", "\"minReplica\"", "unknown field `minReplica`"),
        ("\"type\": \"Pods\"", "\"type\": \"CheddarCheese\"", "\"CheddarCheese\" is not known"),
        ("\"type\": \"Pods\"", "\"type\": \"External\"", "under the name of its type"),
        ("\"type\": \"Value\"", "\"type\": \"AverageValue\"", "has averageValue and nothing else"),
        ("\"500Mi\"", "\"500Mib\"", "\"500Mib\" is no quantity"),
        ("\"Min\"", "\"Least\"", "unknown variant `Least`"),
    ] {
        let error = read(&FULL.replacen(from, to, 1)).expect_err(message).to_string();
        assert!(error.contains(message), "{error} should say {message}");
    }
    let total = r#"{"scaleTargetRef": {"name": "web"}, "maxReplicas": 4, "metrics": [{"type": "Pods", "pods": {"metric": {"name": "qps"}, "target": {"type": "Value", "value": 1}}}]}"#;
    let error = read(total).expect("readable").check().expect_err("Pods metrics have averages").to_string();
    assert!(error.contains("expected AverageValue"), "{error}");
}
