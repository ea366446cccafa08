//! Pods as processes: what they see, how they end, and what their statuses say.

use std::net::TcpListener;

use k8s_openapi::api::core::v1::{ConfigMap, ContainerState, Pod, Service};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::flight::{Flight, get, is_ready, phase, processes, shell, termination};

fn waiting(pod: &Pod) -> (String, String) {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    let state = status.and_then(|status| status.state.as_ref());
    let found = state.and_then(|state| state.waiting.as_ref());
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    (text(found.and_then(|f| f.reason.as_ref())), text(found.and_then(|f| f.message.as_ref())))
}

/// If this fails a server does not find its configuration, its name, or the files of its volumes.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_sees_its_configuration() {
    let flight = Flight::start().await;
    flight
        .create::<ConfigMap>(json!({"metadata": {"name": "cfg"}, "data": {"a.txt": "from-map", "key": "7"}}))
        .await;
    let mut main = shell(
        "c",
        "echo \"$(cat /etc/cfg/a.txt) $NAME $NS $LABEL $KEY $(cat /w/f) $(pwd)\" > /dev/termination-log",
    );
    main["env"] = json!([
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "key"}}},
    ]);
    main["volumeMounts"] =
        json!([{"name": "cfg", "mountPath": "/etc/cfg"}, {"name": "w", "mountPath": "/w"}]);
    main["workingDir"] = "/w".into();
    let mut first = shell("i1", "echo -n one > /w/f");
    first["volumeMounts"] = json!([{"name": "w", "mountPath": "/w"}]);
    let mut second = shell("i2", "echo -n two >> /w/f");
    second["volumeMounts"] = json!([{"name": "w", "mountPath": "/w"}]);
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [first, second],
        "containers": [main],
        "volumes": [{"name": "cfg", "configMap": {"name": "cfg"}}, {"name": "w", "emptyDir": {}}],
    });
    flight.pod("p", spec).await;
    let pod: Pod = flight.until("p", |pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
    let message = termination(&pod, "c")["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.starts_with("from-map p default p 7 onetwo /"), "{message}");
    let directory = if flight.cluster.isolation().has_mounts() { " /w" } else { "/volumes/w" };
    assert!(message.trim_end().ends_with(directory), "{message}");
    assert_eq!(termination(&pod, "i1")["reason"], "Completed");
    flight.cluster.stop().await;
}

/// If this fails the reason for a crash is missing from the status.
#[tokio::test(flavor = "multi_thread")]
async fn ends_are_told_with_code_and_message() {
    let flight = Flight::start().await;
    let mut from_log = shell("d", "echo from-log; exit 1");
    from_log["terminationMessagePolicy"] = "FallbackToLogsOnError".into();
    let mut success = shell("e", "echo out");
    success["terminationMessagePolicy"] = "FallbackToLogsOnError".into();
    let missing = json!({"name": "f", "image": "shell", "command": ["/nothing"]});
    let containers = json!([
        shell("c", "echo -n bye > /dev/termination-log; exit 2"),
        from_log,
        success,
        missing,
        shell("k", "kill -9 $$$$"),
    ]);
    flight.pod("p", json!({"restartPolicy": "Never", "containers": containers})).await;
    let pod: Pod = flight.until("p", |pod| phase(pod) == "Failed").await;
    for (name, code, reason, message) in [
        ("c", 2, "Error", Some("bye")),
        ("d", 1, "Error", Some("from-log\n")),
        ("e", 0, "Completed", None),
        ("k", 137, "Error", None),
    ] {
        let found = termination(&pod, name);
        assert_eq!((&found["exitCode"], &found["reason"]), (&json!(code), &json!(reason)), "{name}: {found}");
        assert_eq!(found.get("message").and_then(Value::as_str), message, "{name}");
    }
    let found = termination(&pod, "f");
    assert_eq!((&found["exitCode"], &found["reason"]), (&json!(128), &json!("StartError")));
    assert!(found["message"].as_str().is_some_and(|message| message.contains("/nothing")), "{found}");
    flight.cluster.stop().await;
}

/// If this fails a pod starts although its preparation failed, or hides why it does not start.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_init_container_fails_the_pod() {
    let flight = Flight::start().await;
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [shell("i1", "echo no model > /dev/termination-log; exit 5")],
        "containers": [shell("c", "true")],
    });
    flight.pod("p", spec).await;
    let pod: Pod = flight.until("p", |pod| phase(pod) == "Failed").await;
    let found = termination(&pod, "i1");
    assert_eq!((&found["exitCode"], &found["message"]), (&json!(5), &json!("no model\n")));
    assert_eq!(waiting(&pod).0, "PodInitializing");
    flight.cluster.stop().await;
}

/// If this fails a crashing server is restarted without pause, or nobody can see that it crashes.
#[tokio::test(flavor = "multi_thread")]
async fn a_crashing_container_backs_off() {
    let flight = Flight::start().await;
    flight.pod("p", json!({"containers": [shell("c", "exit 7")]})).await;
    let pod: Pod = flight.until("p", |pod| waiting(pod).0 == "CrashLoopBackOff").await;
    let (_, message) = waiting(&pod);
    assert!(message.starts_with("back-off 10s restarting failed container=c pod=p_default("), "{message}");
    let status =
        &pod.status.as_ref().and_then(|status| status.container_statuses.clone()).expect("statuses")[0];
    assert_eq!(status.restart_count, 1, "the first restart comes at once");
    let last: ContainerState = status.last_state.clone().unwrap_or_default();
    assert_eq!(last.terminated.map(|last| last.exit_code), Some(7));
    assert_eq!(phase(&pod), "Running");
    flight.until_event("BackOff", "Back-off restarting failed container c in pod p_default(").await;
    flight.cluster.stop().await;
}

/// If this fails a typing error in an image leads to a pod that waits without a word.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_image_is_told_with_a_hint() {
    let flight = Flight::start().await;
    flight.pod("p", json!({"containers": [{"name": "c", "image": "webb:1"}]})).await;
    let pod: Pod = flight.until("p", |pod| waiting(pod).0 == "ErrImagePull").await;
    let (_, message) = waiting(&pod);
    assert!(message.contains("webb:1") && message.contains("known images: shell, web"), "{message}");
    assert_eq!(phase(&pod), "Pending");
    flight.until_event("Failed", "Failed to pull image \"webb:1\"").await;
    flight.cluster.stop().await;
}

/// If this fails a container that hangs is never restarted.
#[tokio::test(flavor = "multi_thread")]
async fn a_failing_liveness_probe_restarts_the_container() {
    let flight = Flight::start().await;
    let mut container = shell("c", "trap 'exit 0' TERM; while true; do sleep 0.05; done");
    container["livenessProbe"] = json!({"exec": {"command": ["false"]}, "initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 1});
    flight.pod("p", json!({"containers": [container]})).await;
    let restarts = |pod: &Pod| {
        pod.status.as_ref().and_then(|s| Some(s.container_statuses.as_ref()?[0].restart_count)).unwrap_or(0)
    };
    let pod: Pod = flight.until("p", |pod| restarts(pod) >= 1).await;
    let status =
        &pod.status.as_ref().and_then(|status| status.container_statuses.clone()).expect("statuses")[0];
    let last = status.last_state.clone().and_then(|last| last.terminated).expect("an end");
    assert_eq!(last.reason.as_deref(), Some("Completed"));
    flight.until_event("Killing", "Container c failed liveness probe, will be restarted").await;
    flight.until_event("Unhealthy", "Liveness probe failed").await;
    flight.cluster.stop().await;
}

/// If this fails a server gets requests before it can answer, or goes on getting them after it said no.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_its_probe() {
    let flight = Flight::start().await;
    let flag = flight.folder.path().join("ok");
    let mut container = shell("c", "exec sleep 1000");
    container["readinessProbe"] = json!({"exec": {"command": ["ls", flag.to_string_lossy()]}, "periodSeconds": 1, "failureThreshold": 1});
    flight.pod("p", json!({"containers": [container]})).await;
    let pod: Pod = flight.until("p", |pod| phase(pod) == "Running").await;
    assert!(!is_ready(&pod));
    std::fs::write(&flag, "").expect("a file");
    flight.until("p", is_ready).await;
    std::fs::remove_file(&flag).expect("removed");
    flight.until("p", |pod| !is_ready(pod)).await;
    flight.until_event("Unhealthy", "Readiness probe failed").await;
    flight.cluster.stop().await;
}

/// If this fails a developer's own server on a port keeps pods with that port from starting.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_taken_on_all_addresses_is_remapped() {
    let flight = Flight::start().await;
    let everywhere = TcpListener::bind("0.0.0.0:0").expect("a listener");
    let port = everywhere.local_addr().expect("an address").port();
    let mut container =
        shell("c", "exec python3 -m http.server ${WINDTUNNEL_PORTS#*=} --bind $WINDTUNNEL_BIND");
    container["ports"] = json!([{"containerPort": port}]);
    container["readinessProbe"] = json!({"tcpSocket": {"port": port}, "periodSeconds": 1});
    flight
        .create::<Service>(json!({"metadata": {"name": "s"},
            "spec": {"selector": {"app": "p"}, "ports": [{"port": 80, "targetPort": port}]}}))
        .await;
    flight.pod("p", json!({"containers": [container]})).await;
    let addresses = flight.until_ready("s", 1).await;
    assert!(!addresses[0].ends_with(&format!(":{port}")), "{addresses:?}");
    assert!(get(&addresses[0], "/").await.expect("an answer").contains("200 OK"));
    let pod: Pod = flight.until("p", |_| true).await;
    let annotation =
        pod.metadata.annotations.as_ref().and_then(|all| all.get("cluster.windtunnel.dev/ports"));
    assert!(annotation.is_some_and(|text| text.starts_with(&format!("{{\"{port}\":"))), "{annotation:?}");
    flight.cluster.stop().await;
}

/// If this fails requests are lost at each scale-down: the server ends while routers still send to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_leaves_its_endpoints_before_it_is_told_to_end() {
    let flight = Flight::start().await;
    let seen = flight.folder.path().join("seen");
    let folder = flight.write_credentials().display();
    let script = format!(
        "import os, signal, ssl, sys, threading, urllib.request\n\
         trust = ssl.create_default_context(cafile='{folder}/ca')\n\
         trust.load_cert_chain('{folder}/certificate', '{folder}/key')\n\
         def end(*_):\n\
         \x20   url = '{}/api/v1/namespaces/default/endpoints/p'\n\
         \x20   open('{}', 'w').write(urllib.request.urlopen(url, context=trust).read().decode())\n\
         \x20   os._exit(0)\n\
         signal.signal(signal.SIGTERM, end)\n\
         open('{}.up', 'w')\n\
         threading.Event().wait()\n",
        flight.cluster.server_url(),
        seen.display(),
        seen.display(),
    );
    let ready = json!({"exec": {"command": ["ls", format!("{}.up", seen.display())]}, "periodSeconds": 1});
    let container =
        json!({"name": "c", "image": "shell", "command": ["python3", "-c", script], "readinessProbe": ready});
    flight
        .create::<Service>(
            json!({"metadata": {"name": "p"}, "spec": {"selector": {"app": "p"}, "ports": [{"port": 80}]}}),
        )
        .await;
    flight.pod("p", json!({"terminationGracePeriodSeconds": 20, "containers": [container]})).await;
    let address = flight.until_ready("p", 1).await.remove(0);
    flight.api::<Pod>().delete("p", &DeleteParams::default()).await.expect("deleted");
    flight.until_gone::<Pod>("p").await;
    let endpoints = std::fs::read_to_string(&seen).expect("what the process saw at SIGTERM");
    let ip = address.split(':').next().unwrap_or_default();
    assert!(endpoints.contains("\"Endpoints\"") && !endpoints.contains(ip), "{endpoints}");
    flight.cluster.stop().await;
}

/// If this fails deleting a pod hangs on a server that ignores SIGTERM, or leaves its children running.
#[tokio::test(flavor = "multi_thread")]
async fn what_ignores_sigterm_is_killed_after_the_grace() {
    let flight = Flight::start().await;
    let flag = flight.folder.path().join("deaf");
    let script = format!("trap '' TERM; touch {}; sleep 1000 & sleep 1000 & wait; wait", flag.display());
    let mut container = shell("c", &script);
    // Only from then on it ignores the signal.
    container["readinessProbe"] =
        json!({"exec": {"command": ["ls", flag.to_string_lossy()]}, "periodSeconds": 1});
    flight.pod("p", json!({"terminationGracePeriodSeconds": 1, "containers": [container]})).await;
    flight.until("p", is_ready).await;
    assert!(!processes(&flight.token).is_empty());
    flight.api::<Pod>().delete("p", &DeleteParams::default()).await.expect("deleted");
    flight.until_gone::<Pod>("p").await;
    assert_eq!(flight.processes(), [0_u32; 0], "no process is left");
    flight.until_event("Killing", "Stopping container c").await;
    flight.cluster.stop().await;
}

/// If this fails connections are cut that a preStop hook was to let finish, or a container runs on whose start failed.
#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_after_the_start_and_before_the_end() {
    let flight = Flight::start().await;
    let trace = flight.folder.path().join("trace");
    let say = |word: &str| json!({"exec": {"command": ["/bin/sh", "-c", format!("echo {word} >> {}", trace.display())]}});
    let mut container = shell(
        "c",
        &format!("trap 'echo term >> {}; exit 0' TERM; while true; do sleep 0.05; done", trace.display()),
    );
    container["lifecycle"] = json!({"postStart": say("start"), "preStop": say("stop")});
    container["readinessProbe"] =
        json!({"exec": {"command": ["ls", trace.to_string_lossy()]}, "periodSeconds": 1});
    flight.pod("p", json!({"containers": [container]})).await;
    flight.until("p", is_ready).await;
    flight.api::<Pod>().delete("p", &DeleteParams::default()).await.expect("deleted");
    flight.until_gone::<Pod>("p").await;
    assert_eq!(std::fs::read_to_string(&trace).expect("a trace"), "start\nstop\nterm\n");

    let mut broken = shell("c", "exec sleep 1000");
    broken["lifecycle"] = json!({"postStart": {"exec": {"command": ["false"]}}});
    flight.pod("q", json!({"restartPolicy": "Never", "containers": [broken]})).await;
    flight.until("q", |pod: &Pod| phase(pod) == "Failed").await;
    flight.until_event("FailedPostStartHook", "PostStartHook failed").await;
    flight.cluster.stop().await;
}

/// If this fails a proxy or logger beside a server does not run, or keeps a finished pod alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_starts_before_and_ends_after_its_pod() {
    let flight = Flight::start().await;
    let trace = flight.folder.path().join("trace");
    let mut sidecar = shell(
        "s",
        &format!(
            "trap 'echo end >> {0}; exit 0' TERM; echo up >> {0}; while true; do sleep 0.05; done",
            trace.display()
        ),
    );
    sidecar["restartPolicy"] = "Always".into();
    sidecar["startupProbe"] =
        json!({"exec": {"command": ["ls", trace.to_string_lossy()]}, "periodSeconds": 1});
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [sidecar],
        "containers": [shell("c", &format!("echo main >> {}", trace.display()))],
    });
    flight.pod("p", spec).await;
    flight.until("p", |pod: &Pod| phase(pod) == "Succeeded").await;
    flight.until("p", |pod: &Pod| !termination(pod, "s").is_null()).await;
    assert_eq!(std::fs::read_to_string(&trace).expect("a trace"), "up\nmain\nend\n");
    flight.cluster.stop().await;
}
