//! What a node does as a kubelet does: hooks, deadlines, configuration that is missing, volumes that change.

use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::api::{ListParams, LogParams, Patch, PatchParams};
use serde_json::json;

use crate::flight::{Flight, phase, shell, termination};

/// Reasons of a pod's events, each once, in the order in which they came first.
async fn reasons(flight: &Flight, pod: &str) -> Vec<String> {
    let params = ListParams::default().fields(&format!("involvedObject.name={pod}"));
    let mut events = flight.api::<Event>().list(&params).await.expect("events").items;
    events.sort_by_key(|event| event.metadata.resource_version.as_ref().and_then(|v| v.parse::<u64>().ok()));
    events.into_iter().filter_map(|event| event.reason).collect()
}

/// If this fails a pod with a missing key says something else than Kubernetes, floods its events, or does not start when
/// the key comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_waits_for_its_configuration() {
    let flight = Flight::start().await;
    flight.create::<ConfigMap>(json!({"metadata": {"name": "cfg"}, "data": {"other": "x"}})).await;
    let mut container = shell("c", "echo $KEY ${NONE:-none}");
    container["env"] = json!([
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": true}}},
        {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "k"}}},
    ]);
    flight.pod("p", json!({"restartPolicy": "Never", "containers": [container]})).await;
    let waits = |pod: &Pod| {
        let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
        let waiting = status.and_then(|status| status.state.as_ref()?.waiting.as_ref());
        waiting.is_some_and(|waiting| {
            waiting.reason.as_deref() == Some("CreateContainerConfigError")
                && waiting.message.as_deref() == Some("couldn't find key k in ConfigMap default/cfg")
        })
    };
    flight.until("p", waits).await;
    flight.until_event("Failed", "Error: couldn't find key k in ConfigMap default/cfg").await;
    let reasons = reasons(&flight, "p").await;
    let at = |reason: &str| reasons.iter().position(|found| found == reason);
    assert!(at("Pulled").is_some() && at("Pulled") < at("Failed"), "{reasons:?}");
    let change = Patch::Merge(json!({"data": {"k": "value"}}));
    flight.api::<ConfigMap>().patch("cfg", &PatchParams::default(), &change).await.expect("changed");
    flight.until("p", |pod: &Pod| phase(pod) == "Succeeded").await;
    let log = flight.api::<Pod>().logs("p", &LogParams::default()).await.expect("its log");
    assert_eq!(log, "value none\n");
    flight.cluster.stop().await;
}

/// If this fails a program that is restarted for its probe is not told to put its things in order.
#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_when_a_probe_ends_a_container() {
    let flight = Flight::start().await;
    let mark = flight.folder.path().join("stopped");
    let mut container = shell("c", "exec sleep 1000");
    container["livenessProbe"] =
        json!({"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1});
    let stop = format!("echo stopped >> {}; exit 1", mark.display());
    container["lifecycle"] = json!({"preStop": {"exec": {"command": ["/bin/sh", "-c", stop]}}});
    flight.pod("p", json!({"terminationGracePeriodSeconds": 5, "containers": [container]})).await;
    flight.until_event("FailedPreStopHook", "PreStopHook failed").await;
    let restarted = |pod: &Pod| {
        let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
        status.is_some_and(|status| status.restart_count >= 1)
    };
    flight.until("p", restarted).await;
    assert!(std::fs::read_to_string(&mark).expect("the mark").starts_with("stopped\n"));
    flight.cluster.stop().await;
}

/// If this fails a pod over its deadline counts as failed while its program still works, or hides why it was ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_over_its_deadline_fails_when_it_has_ended() {
    let flight = Flight::start().await;
    // It takes a while to end, so that the status in between can be seen.
    let script = "trap 'sleep 1; exit 3' TERM; while :; do sleep 0.05; done";
    let spec = json!({
        "activeDeadlineSeconds": 1, "restartPolicy": "Never", "terminationGracePeriodSeconds": 20,
        "containers": [shell("c", script)],
    });
    flight.pod("p", spec).await;
    flight
        .until_event("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
        .await;
    let pod = flight.until("p", |pod: &Pod| phase(pod) == "Failed").await;
    assert_eq!(termination(&pod, "c")["exitCode"], 3, "it had ended by then");
    let status = pod.status.expect("a status");
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    flight.cluster.stop().await;
}

/// If this fails a program that watches its labels works with those that its pod had at its start.
#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_labels_follow_the_pod() {
    let flight = Flight::start().await;
    let mut container =
        shell("c", "until grep -q tier=.new. /info/labels; do sleep 0.05; done; cat /info/labels");
    container["volumeMounts"] = json!([{"name": "info", "mountPath": "/info"}]);
    let items = json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]);
    let volumes = json!([{"name": "info", "downwardAPI": {"items": items}}]);
    flight.pod("p", json!({"restartPolicy": "Never", "containers": [container], "volumes": volumes})).await;
    flight.until("p", |pod: &Pod| phase(pod) == "Running").await;
    let change = Patch::Merge(json!({"metadata": {"labels": {"tier": "new"}}}));
    flight.api::<Pod>().patch("p", &PatchParams::default(), &change).await.expect("changed");
    flight.until("p", |pod: &Pod| phase(pod) == "Succeeded").await;
    let log = flight.api::<Pod>().logs("p", &LogParams::default()).await.expect("its log");
    assert_eq!(log.trim_end(), "app=\"p\"\ntier=\"new\"");
    flight.cluster.stop().await;
}
