//! What Services are refused for, in Kubernetes' words (pkg/apis/core/validation of the real server), and what goes with a
//! type that changes.

use serde_json::{Value, json};

use crate::{call, server};

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(spec: &Value) -> Value {
    let mut all = json!({"selector": {"a": "b"}, "ports": [{"port": 80}]});
    json_patch::merge(&mut all, spec);
    json!({"metadata": {"name": "s"}, "spec": all})
}

/// If this fails a Service is accepted here that a cluster refuses, or refused in other words.
#[tokio::test]
async fn what_is_refused() {
    for (spec, why) in [
        (
            json!({"sessionAffinity": "Cookie"}),
            "spec.sessionAffinity: Unsupported value: \"Cookie\": supported values: \"ClientIP\", \"None\"",
        ),
        (
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90_000}}}),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 and less \
than 86400",
        ),
        (
            json!({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}),
            "spec.sessionAffinityConfig: Forbidden: must not be set when session affinity is None",
        ),
        (
            json!({"externalTrafficPolicy": "Local"}),
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
        ),
        (
            json!({"type": "NodePort", "externalTrafficPolicy": "Near"}),
            "spec.externalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \"Local\"",
        ),
        (
            json!({"internalTrafficPolicy": "Near"}),
            "spec.internalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \"Local\"",
        ),
        (
            json!({"ports": [{"port": 80, "nodePort": 30_080}]}),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            json!({"ports": [{"port": 80, "targetPort": 70_000}]}),
            "spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"externalIPs": ["here"]}),
            "spec.externalIPs[0]: Invalid value: \"here\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            json!({"ipFamilies": ["IPv5"]}),
            "spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\"",
        ),
        (json!({"ipFamilies": ["IPv4", "IPv4"]}), "spec.ipFamilies[1]: Duplicate value: \"IPv4\""),
        (
            json!({"ipFamilyPolicy": "Both"}),
            "spec.ipFamilyPolicy: Unsupported value: \"Both\": supported values: \"PreferDualStack\", \
\"RequireDualStack\", \"SingleStack\"",
        ),
        (
            json!({"loadBalancerClass": "example.com/x"}),
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            json!({"healthCheckNodePort": 30_081}),
            "spec.healthCheckNodePort: Invalid value: 30081: may only be set when `type` is 'LoadBalancer' and \
`externalTrafficPolicy` is 'Local'",
        ),
    ] {
        let (code, answer) = call(&server(), "POST", SERVICES, Some(service(&spec))).await;
        assert_eq!((code, answer["reason"].as_str()), (422, Some("Invalid")), "{spec}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert_eq!(message, format!("Service \"s\" is invalid: {why}"), "{spec}");
    }
}

/// Who exposes a Service for a while takes it back by its type alone.
#[tokio::test]
async fn what_goes_with_a_type() {
    let server = server();
    let exposed = service(&json!({"type": "NodePort"}));
    let (code, made) = call(&server, "POST", SERVICES, Some(exposed)).await;
    assert_eq!(code, 201, "{made}");
    assert!(
        made["spec"]["ports"][0]["nodePort"].is_number()
            && made["spec"]["externalTrafficPolicy"] == "Cluster"
    );
    let mut inside = made.clone();
    inside["spec"]["type"] = "ClusterIP".into();
    let (code, changed) = call(&server, "PUT", &format!("{SERVICES}/s"), Some(inside)).await;
    assert_eq!(code, 200, "{changed}");
    assert_eq!(changed["spec"]["ports"][0].get("nodePort"), None, "{changed}");
    assert_eq!(changed["spec"].get("externalTrafficPolicy"), None, "{changed}");
    assert_eq!(changed["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    // What is asked for anew is not silently forgotten.
    let mut wrong = changed.clone();
    wrong["spec"]["ports"][0]["nodePort"] = 30_090.into();
    let (code, answer) = call(&server, "PUT", &format!("{SERVICES}/s"), Some(wrong)).await;
    assert_eq!(code, 422, "{answer}");
}
