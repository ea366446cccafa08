//! What pods are refused for, in Kubernetes' words (pkg/apis/core/validation of the real server).

use serde_json::{Value, json};

use crate::{call, server};

/// The message of the refusal of a pod whose only container and spec are changed like this.
async fn refusal(container: &Value, spec: &Value) -> String {
    let mut one = json!({"name": "c", "image": "i"});
    json_patch::merge(&mut one, container);
    let mut all = json!({"containers": [one], "volumes": [{"name": "v", "emptyDir": {}}]});
    json_patch::merge(&mut all, spec);
    let pod = json!({"metadata": {"name": "p"}, "spec": all});
    let (code, answer) = call(&server(), "POST", "/api/v1/namespaces/default/pods", Some(pod)).await;
    assert_eq!((code, answer["reason"].as_str()), (422, Some("Invalid")), "{container} {spec}: {answer}");
    answer["message"].as_str().unwrap().split_once(" is invalid: ").unwrap().1.to_owned()
}

/// If this fails a container is accepted here that a cluster refuses, or refused in other words.
#[tokio::test]
async fn containers() {
    let at = "spec.containers[0]";
    for (container, why) in [
        (json!({"ports": [{"containerPort": 0}]}), "ports[0].containerPort: Required value"),
        (
            json!({"ports": [{"containerPort": 1, "hostPort": 70_000}]}),
            "ports[0].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            "env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {}}]}),
            "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, \
`configMapKeyRef` or `secretKeyRef`",
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]}),
            "env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \
\"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \
\"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "7"}}}]}),
            "env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 \
are supported with the cpu resource",
        ),
        (
            json!({"envFrom": [{}]}),
            "envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
        ),
        // The real server leaves the mount's index out of these two.
        (
            json!({"volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "../x"}]}),
            "volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'",
        ),
        (
            json!({"volumeMounts": [{"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"}]}),
            "volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to \
privileged containers",
        ),
        (json!({"readinessProbe": {"exec": {}}}), "readinessProbe.exec.command: Required value"),
        (
            json!({"readinessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 5}}),
            "readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes",
        ),
        (
            json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}),
            "lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than \
terminationGracePeriodSeconds (30)",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Localhost"}}}),
            "securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is \
Localhost",
        ),
    ] {
        assert_eq!(refusal(&container, &json!({})).await, format!("{at}.{why}"));
    }
}

/// If this fails a volume is accepted here that a cluster refuses, or refused in other words.
#[tokio::test]
async fn volumes() {
    for (source, why) in [
        (
            json!({"emptyDir": {}, "hostPath": {"path": "/x"}}),
            ".hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            json!({"hostPath": {"path": "/a/../b"}}),
            ".hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        ),
        (
            json!({"persistentVolumeClaim": {"claimName": ""}}),
            ".persistentVolumeClaim.claimName: Required value",
        ),
        (
            json!({"configMap": {"name": "x", "defaultMode": 1000}}),
            ".configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            json!({"secret": {"secretName": "x", "items": [{"key": "k", "path": "..a"}]}}),
            ".secret.items[0].path: Invalid value: \"..a\": must not start with '..'",
        ),
        (
            json!({"downwardAPI": {"items": [{"path": "a"}]}}),
            ".downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
        ),
        (
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 10}}]}}),
            ".projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 10: may not specify a duration \
less than 10 minutes",
        ),
        (
            json!({"projected": {"sources": [
                {"configMap": {"name": "a", "items": [{"key": "k", "path": "p"}]}},
                {"secret": {"name": "b", "items": [{"key": "k", "path": "p"}]}}]}}),
            ".projected: Invalid value: \"b\": conflicting duplicate paths",
        ),
    ] {
        let mut volume = json!({"name": "w"});
        json_patch::merge(&mut volume, &source);
        let found = refusal(&json!({}), &json!({"volumes": [volume]})).await;
        assert_eq!(found, format!("spec.volumes[0]{why}"));
    }
}

/// If this fails a pod is accepted here that no node could be chosen for, or that could not end.
#[tokio::test]
async fn pods() {
    let affinity = "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]";
    for (spec, why) in [
        (
            json!({"activeDeadlineSeconds": 0}),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive".to_owned(),
        ),
        (
            json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 0, "podAffinityTerm": {"topologyKey": "zone"}}]}}}),
            format!("{affinity}.weight: Invalid value: 0: must be in the range 1-100"),
        ),
        (
            json!({"hostAliases": [{"ip": "x"}]}),
            "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                .to_owned(),
        ),
    ] {
        assert_eq!(refusal(&json!({}), &spec).await, why);
    }
}
