//! What kinds refuse, in Kubernetes' words.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use windtunnel_apiserver::ApiServer;

use crate::{call, server};

const CORE: &str = "/api/v1/namespaces/default";

/// The message of a refusal, without what it is about.
async fn refusal(server: &ApiServer, method: &str, path: &str, body: Value) -> String {
    let (code, answer) = call(server, method, path, Some(body)).await;
    assert_eq!((code, answer["reason"].as_str()), (422, Some("Invalid")), "{method} {path}: {answer}");
    let message = answer["message"].as_str().unwrap();
    message.split_once(" is invalid: ").expect(message).1.to_owned()
}

async fn accepted(server: &ApiServer, method: &str, path: &str, body: Value) -> Value {
    let (code, answer) = call(server, method, path, Some(body)).await;
    assert!(code < 300, "{method} {path}: {answer}");
    answer
}

fn claim(spec: &Value) -> Value {
    let mut all = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}});
    json_patch::merge(&mut all, spec);
    json!({"metadata": {"name": "c"}, "spec": all})
}

/// If this fails a claim is accepted here that a cluster refuses, or gets past its quota by an update.
#[tokio::test]
async fn claims() {
    let server = server();
    let claims = format!("{CORE}/persistentvolumeclaims");
    for (spec, why) in [
        (
            json!({"accessModes": null}),
            "spec.accessModes: Required value: at least 1 access mode is required",
        ),
        (
            json!({"accessModes": ["X"]}),
            "spec.accessModes: Unsupported value: \"X\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \
\"ReadWriteOnce\", \"ReadWriteOncePod\"",
        ),
        (
            json!({"accessModes": ["ReadWriteOnce", "ReadWriteOncePod"]}),
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ),
        (json!({"resources": null}), "spec.resources[storage]: Required value"),
        (
            json!({"resources": {"requests": {"storage": "0"}}}),
            "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
        ),
        (
            json!({"volumeMode": "Tape"}),
            "spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\"",
        ),
    ] {
        assert_eq!(refusal(&server, "POST", &claims, claim(&spec)).await, why);
    }
    accepted(&server, "POST", &claims, claim(&json!({"storageClassName": "a"}))).await;
    let path = format!("{claims}/c");
    for change in [
        json!({"storageClassName": "b"}),
        json!({"accessModes": ["ReadOnlyMany"]}),
        json!({"resources": {"requests": {"storage": "3Gi"}}}),
    ] {
        let why = refusal(&server, "PATCH", &path, json!({"spec": change})).await;
        let expected = "spec: Forbidden: spec is immutable after creation except resources.requests and \
volumeAttributesClassName for bound claims";
        assert_eq!(why, expected, "{change}");
    }
    // The controller binds it, and then it may grow.
    accepted(&server, "PATCH", &path, json!({"spec": {"volumeName": "v"}})).await;
    let status = json!({"status": {"phase": "Bound", "capacity": {"storage": "2Gi"}}});
    accepted(&server, "PATCH", &format!("{path}/status"), status).await;
    accepted(&server, "PATCH", &path, json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}})).await;
    let smaller = json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}});
    assert_eq!(
        refusal(&server, "PATCH", &path, smaller).await,
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    );
}

#[tokio::test]
async fn volumes_and_classes() {
    let server = server();
    let volumes = "/api/v1/persistentvolumes";
    assert_eq!(
        refusal(&server, "POST", volumes, json!({"metadata": {"name": "v"}, "spec": {}})).await,
        "[spec.accessModes: Required value, spec.capacity: Required value, spec: Required value: must specify a volume type]"
    );
    let volume = json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"}}});
    let created = accepted(&server, "POST", volumes, volume).await;
    assert_eq!(created["metadata"]["finalizers"], json!(["kubernetes.io/pv-protection"]));
    assert_eq!(created["spec"]["hostPath"], json!({"path": "/a", "type": ""}));
    let moved = json!({"spec": {"hostPath": {"path": "/b"}}});
    assert_eq!(
        refusal(&server, "PATCH", &format!("{volumes}/v"), moved).await,
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"
    );
    let classes = "/apis/storage.k8s.io/v1/storageclasses";
    let class = |provisioner: &str, policy: &str| json!({"metadata": {"name": "s"}, "provisioner": provisioner, "reclaimPolicy": policy});
    assert_eq!(refusal(&server, "POST", classes, class("", "Delete")).await, "provisioner: Required value");
    assert_eq!(
        refusal(&server, "POST", classes, class("a.b/c", "Recycle")).await,
        "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\""
    );
    accepted(&server, "POST", classes, class("a.b/c", "Delete")).await;
    let path = format!("{classes}/s");
    assert_eq!(
        refusal(&server, "PATCH", &path, json!({"provisioner": "d", "parameters": {"k": "v"}})).await,
        "[parameters: Forbidden: updates to parameters are forbidden., provisioner: Forbidden: updates to provisioner are \
forbidden.]"
    );
    assert_eq!(
        refusal(&server, "PATCH", &path, json!({"volumeBindingMode": "WaitForFirstConsumer"})).await,
        "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable"
    );
}

#[tokio::test]
async fn schedules_budgets_ranges_and_leases() {
    let server = server();
    let cron = |spec: Value| {
        let mut all = json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}});
        json_patch::merge(&mut all, &spec);
        json!({"metadata": {"name": "j"}, "spec": all})
    };
    let template = |spec: Value| json!({"jobTemplate": {"spec": spec}});
    let (crons, budgets) = (
        "/apis/batch/v1/namespaces/default/cronjobs",
        "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
    );
    let (ranges, leases) =
        (format!("{CORE}/limitranges"), "/apis/coordination.k8s.io/v1/namespaces/default/leases");
    let budget = |spec: Value| json!({"metadata": {"name": "b"}, "spec": spec});
    let range = |limit: Value| json!({"metadata": {"name": "l"}, "spec": {"limits": [limit]}});
    let lease = |spec: Value| json!({"metadata": {"name": "l"}, "spec": spec});
    for (path, body, why) in [
        (
            crons,
            cron(json!({"schedule": "x"})),
            "spec.schedule: Invalid value: \"x\": expected exactly 5 fields, found 1: [x]",
        ),
        (
            crons,
            cron(json!({"schedule": "TZ=UTC * * * * *"})),
            "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field \
instead",
        ),
        (
            crons,
            cron(json!({"timeZone": "Mars/Base", "concurrencyPolicy": "Maybe"})),
            "[spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone Mars/Base, spec.concurrencyPolicy: Unsupported \
value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\"]",
        ),
        (
            crons,
            cron(template(json!({"template": {"spec": {"restartPolicy": "Always"}}}))),
            "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ),
        (
            crons,
            cron(json!({"failedJobsHistoryLimit": -1})),
            "spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            budgets,
            budget(json!({"minAvailable": 1, "maxUnavailable": "50%"})),
            "spec: Invalid value: {\"MinAvailable\":1,\"Selector\":null,\"MaxUnavailable\":\"50%\",\
\"UnhealthyPodEvictionPolicy\":null}: minAvailable and maxUnavailable cannot be both set",
        ),
        (
            budgets,
            budget(json!({"maxUnavailable": "101%"})),
            "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
        ),
        (
            budgets,
            budget(json!({"minAvailable": -1})),
            "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            &*ranges,
            range(
                json!({"type": "PersistentVolumeClaim", "min": {"storage": "2Gi"}, "max": {"storage": "1Gi"}}),
            ),
            "spec.limits[0].min[storage]: Invalid value: \"2Gi\": min value 2Gi is greater than max value 1Gi",
        ),
        (
            &*ranges,
            range(json!({"type": "Pod", "default": {"cpu": "1"}})),
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
        ),
        (
            leases,
            lease(json!({"leaseDurationSeconds": 0, "leaseTransitions": -1})),
            "[spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0, spec.leaseTransitions: Invalid value: -1: \
must be greater than or equal to 0]",
        ),
    ] {
        let found = refusal(&server, "POST", path, body).await;
        assert_eq!(found, why, "{path}");
    }
    accepted(&server, "POST", crons, cron(json!({"timeZone": "Europe/Berlin"}))).await;
}

#[tokio::test]
async fn ingresses() {
    let server = server();
    let ingresses = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
    let service = json!({"service": {"name": "s", "port": {"number": 80}}});
    let rule = |host: &str, path: Value| json!({"rules": [{"host": host, "http": {"paths": [path]}}]});
    for (spec, why) in [
        (json!({}), "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"),
        (
            rule("1.2.3.4", json!({"path": "/", "pathType": "Prefix", "backend": service})),
            "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
        ),
        (
            rule("a.b", json!({"path": "x", "pathType": "Exact", "backend": service})),
            "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
        ),
        (
            json!({"defaultBackend": {"service": {"name": "s"}}}),
            "spec.defaultBackend: Required value: port name or number is required",
        ),
    ] {
        let body = json!({"metadata": {"name": "i"}, "spec": spec});
        assert_eq!(refusal(&server, "POST", ingresses, body).await, why);
    }
    let good = rule("*.a.b", json!({"path": "/x", "pathType": "Prefix", "backend": service}));
    accepted(&server, "POST", ingresses, json!({"metadata": {"name": "i"}, "spec": good})).await;
}

/// If this fails a StatefulSet's pods and claims are given another shape than those that are there.
#[tokio::test]
async fn a_stateful_set_keeps_its_shape() {
    let server = server();
    let sets = "/apis/apps/v1/namespaces/default/statefulsets";
    let set = json!({"metadata": {"name": "s"}, "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    accepted(&server, "POST", sets, set).await;
    let path = format!("{sets}/s");
    assert_eq!(
        refusal(&server, "PATCH", &path, json!({"spec": {"serviceName": "t"}})).await,
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
    );
    accepted(&server, "PATCH", &path, json!({"spec": {"replicas": 2, "minReadySeconds": 1}})).await;
}

/// If this fails what a cluster refuses is found out only there.
#[tokio::test]
async fn quotas_endpoints_priorities_and_secrets() {
    let server = server();
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
    for (path, mut body, why) in [
        (
            &*format!("{CORE}/resourcequotas"),
            json!({"spec": {"hard": {"pods": "-1"}}}),
            "spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            &*format!("{CORE}/resourcequotas"),
            json!({"spec": {"hard": {"planes": "1"}}}),
            "spec.hard[planes]: Invalid value: \"planes\": must be a standard resource for quota",
        ),
        (
            &*format!("{CORE}/endpoints"),
            json!({"subsets": [{"addresses": [{"ip": "x"}], "ports": [{"port": 0}]}]}),
            "[subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
2001:db8::ffff), subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive]",
        ),
        (
            slices,
            json!({"addressType": "X", "endpoints": []}),
            "addressType: Unsupported value: \"X\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
        ),
        (
            classes,
            json!({"value": 1_000_000_001}),
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
        ),
        (
            &*format!("{CORE}/secrets"),
            json!({"type": "kubernetes.io/basic-auth"}),
            "[data[username]: Required value, data[password]: Required value]",
        ),
    ] {
        body["metadata"] = json!({"name": "x"});
        assert_eq!(refusal(&server, "POST", path, body).await, why, "{path}");
    }
    let both = json!({"kind": "DeleteOptions", "apiVersion": "v1", "orphanDependents": true, "propagationPolicy": "Orphan"});
    let path = format!("{CORE}/configmaps/kube-root-ca.crt");
    assert_eq!(
        refusal(&server, "DELETE", &path, both).await,
        "propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set"
    );
}

/// If this fails a ConfigMap or a Secret is accepted here that a cluster refuses, or a secret is repeated in a message
/// (`ValidateConfigMap` and `ValidateSecret` of the real server).
#[tokio::test]
async fn configuration() {
    let large = "x".repeat(1_048_577);
    let json = |text: &str| STANDARD.encode(text);
    for (kind, object, why) in [
        ("ConfigMap", json!({"data": {"a": large}}), "[]: Too long: may not be more than 1048576 bytes"),
        (
            "ConfigMap",
            json!({"data": {"a": "b"}, "binaryData": {"a": "Yg=="}}),
            "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
        ),
        ("Secret", json!({"stringData": {"a": large}}), "data: Too long: may not be more than 1048576 bytes"),
        (
            "Secret",
            json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": json("secret")}}),
            "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 's' looking for \
beginning of value",
        ),
        (
            "Secret",
            json!({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": json("[]")}}),
            "data[.dockercfg]: Invalid value: \"<secret contents redacted>\": json: cannot unmarshal array into Go value of \
type map[string]interface {}",
        ),
        (
            "Secret",
            json!({"type": "kubernetes.io/ssh-auth", "data": {"ssh-privatekey": ""}}),
            "data[ssh-privatekey]: Required value",
        ),
    ] {
        let mut object = object;
        object["metadata"] = json!({"name": "o"});
        let path = format!("/api/v1/namespaces/default/{}s", kind.to_lowercase());
        let (code, answer) = call(&server(), "POST", &path, Some(object)).await;
        let message = format!("{kind} \"o\" is invalid: {why}");
        assert_eq!((code, answer["message"].as_str()), (422, Some(&*message)));
    }
}
