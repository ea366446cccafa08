//! What Deployments, StatefulSets and Jobs are refused for, in Kubernetes' words (pkg/apis/apps/validation and
//! pkg/apis/batch/validation of the real server), and what it fills in.

use serde_json::{Value, json};

use crate::{call, server};

/// The refusal of an object with this spec, over one that is accepted.
async fn refusal(group: &str, kind: &str, spec: &Value) -> String {
    let containers = json!([{"name": "c", "image": "i"}]);
    let mut all = match kind {
        "Job" => json!({"template": {"spec": {"restartPolicy": "Never", "containers": containers}}}),
        _ => json!({"selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}}}),
    };
    json_patch::merge(&mut all, spec);
    let plural = format!("{}s", kind.to_lowercase());
    let path = format!("/apis/{group}/v1/namespaces/default/{plural}");
    let object = json!({"metadata": {"name": "o"}, "spec": all});
    let (code, answer) = call(&server(), "POST", &path, Some(object)).await;
    assert_eq!((code, answer["reason"].as_str()), (422, Some("Invalid")), "{kind} {spec}: {answer}");
    let message = answer["message"].as_str().unwrap();
    message.strip_prefix(&format!("{kind}.{group} \"o\" is invalid: ")).unwrap_or(message).to_owned()
}

async fn refused(group: &str, kind: &str, table: &[(Value, &str)]) {
    for (spec, why) in table {
        assert_eq!(refusal(group, kind, spec).await, *why, "{kind} {spec}");
    }
}

const MISMATCH: &str = "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template \
`labels`";

/// If this fails a Deployment is accepted here that a cluster refuses, or refused in other words.
#[tokio::test]
async fn deployments() {
    let expression = |operator: &str| json!({"key": "a", "operator": operator, "values": []});
    let none = format!("[spec.selector: Required value, {MISMATCH}]");
    refused(
        "apps",
        "Deployment",
        &[
            (json!({"selector": null}), &none),
            (
                json!({"selector": {"matchLabels": null}}),
                "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
            ),
            (
                json!({"selector": {"matchExpressions": [expression("In")]}}),
                "[spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or \
'NotIn', spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"},\"matchExpressions\":[{\"key\":\"a\",\
\"operator\":\"In\"}]}: invalid label selector]",
            ),
            (
                json!({"template": {"spec": {"activeDeadlineSeconds": 5}}}),
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
            ),
            (
                json!({"template": {"metadata": {"labels": {"-x": "y"}}}}),
                "spec.template.labels: Invalid value: \"-x\": name part must consist of alphanumeric characters, '-', '_' \
or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ),
            (json!({"minReadySeconds": -1}), "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"),
        ],
    )
    .await;
}

/// If this fails a StatefulSet is accepted here that a cluster refuses, or refused in other words.
#[tokio::test]
async fn stateful_sets() {
    refused(
        "apps",
        "StatefulSet",
        &[
            (
                json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}),
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":1,\"MaxUnavailable\":null}: only allowed \
for updateStrategy 'RollingUpdate'",
            ),
            (
                json!({"updateStrategy": {"rollingUpdate": {"partition": -1}}}),
                "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"podManagementPolicy": "Chaos"}),
                "spec.podManagementPolicy: Invalid value: \"Chaos\": must be 'OrderedReady' or 'Parallel'",
            ),
            (
                json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Keep"}}),
                "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Keep\": supported values: \
\"Retain\", \"Delete\"",
            ),
            (json!({"ordinals": {"start": -1}}), "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"),
            (
                json!({"template": {"spec": {"activeDeadlineSeconds": 5}}}),
                "spec.template.spec.activeDeadlineSeconds: Invalid value: 5: must not be specified",
            ),
        ],
    )
    .await;
    let set = json!({"metadata": {"name": "o"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}]}});
    let (code, made) =
        call(&server(), "POST", "/apis/apps/v1/namespaces/default/statefulsets", Some(set)).await;
    assert_eq!(code, 201, "{made}");
    let claim = &made["spec"]["volumeClaimTemplates"][0];
    assert_eq!(
        (&claim["kind"], &claim["apiVersion"]),
        (&json!("PersistentVolumeClaim"), &json!("v1")),
        "{claim}"
    );
    assert_eq!(
        (&claim["spec"]["volumeMode"], &claim["status"]["phase"]),
        (&json!("Filesystem"), &json!("Pending"))
    );
}

/// If this fails a Job is accepted here that a cluster refuses, or refused in other words.
#[tokio::test]
async fn jobs() {
    let rule = |rule: Value| json!({"podFailurePolicy": {"rules": [rule]}});
    let codes = |codes: Value| rule(json!({"action": "FailJob", "onExitCodes": codes}));
    let success = |rule: Value| {
        json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3,
        "successPolicy": {"rules": [rule]}})
    };
    let at = "spec.podFailurePolicy.rules[0]";
    for (spec, why) in [
        (
            rule(json!({"onPodConditions": [{"type": "X", "status": "True"}]})),
            ".action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
        ),
        (
            rule(json!({"action": "FailIndex", "onPodConditions": [{"type": "X", "status": "True"}]})),
            ".action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
        ),
        (
            rule(json!({"action": "Stop", "onPodConditions": [{"type": "X", "status": "True"}]})),
            ".action: Unsupported value: \"Stop\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"",
        ),
        (
            rule(json!({"action": "Ignore"})),
            ": Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
        ),
        (
            codes(json!({"operator": "In", "values": [0]})),
            ".onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
        ),
        (
            codes(json!({"operator": "In", "values": [3, 2]})),
            ".onExitCodes.values: Invalid value: [3,2]: must be ordered",
        ),
        (codes(json!({"operator": "NotIn", "values": [2, 2]})), ".onExitCodes.values[1]: Duplicate value: 2"),
        (
            codes(json!({"operator": "In", "values": [1], "containerName": "other"})),
            ".onExitCodes.containerName: Invalid value: \"other\": must be one of the container or initContainer names in \
the pod template",
        ),
        (
            rule(json!({"action": "Count", "onPodConditions": [{"type": "X", "status": "Yes"}]})),
            ".onPodConditions[0].status: Unsupported value: \"Yes\": supported values: \"False\", \"True\", \"Unknown\"",
        ),
    ] {
        assert_eq!(refusal("batch", "Job", &spec).await, format!("{at}{why}"), "{spec}");
    }
    let at = "spec.successPolicy.rules[0]";
    for (rule, why) in [
        (json!({}), ": Required value: at least one of succeededCount or succeededIndexes must be specified"),
        (
            json!({"succeededIndexes": "1,0"}),
            ".succeededIndexes: Invalid value: \"1,0\": error parsing succeededIndexes: non-increasing order, previous: 1, \
current: 0",
        ),
        (
            json!({"succeededIndexes": "5"}),
            ".succeededIndexes: Invalid value: \"5\": error parsing succeededIndexes: too large index: \"5\"",
        ),
        (
            json!({"succeededCount": 4}),
            ".succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions)",
        ),
        (
            json!({"succeededIndexes": "0-1", "succeededCount": 3}),
            ".succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified \
succeededIndexes field)",
        ),
    ] {
        assert_eq!(refusal("batch", "Job", &success(rule.clone())).await, format!("{at}{why}"), "{rule}");
    }
    refused(
        "batch",
        "Job",
        &[
            (
                json!({"template": {"spec": {"restartPolicy": "OnFailure"}},
                    "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "X", "status": "True"}]}]}}),
                "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when \
podFailurePolicy is specified",
            ),
            (json!({"completionMode": "Indexed", "parallelism": 2}), "spec.completions: Required value: when completion mode is Indexed"),
            (
                json!({"completionMode": "Indexed", "completions": 1, "parallelism": 100_001}),
                "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is \
Indexed",
            ),
            (
                json!({"backoffLimitPerIndex": 1}),
                "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            ),
            (
                json!({"completionMode": "Indexed", "completions": 2, "maxFailedIndexes": 3, "backoffLimitPerIndex": 1}),
                "spec.maxFailedIndexes: Invalid value: 3: must be less than or equal to completions",
            ),
            (
                json!({"managedBy": "nobody"}),
                "spec.managedBy: Invalid value: \"nobody\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
            (
                json!({"podReplacementPolicy": "Never"}),
                "spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \
\"TerminatingOrFailed\"",
            ),
        ],
    )
    .await;
}
