//! What clients see of running pods: logs, commands, forwarded ports, mounts, memory limits, names of Services.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};
use windtunnel_cluster::{EmbeddedCluster, node::Isolation};

use crate::flight::{Flight, get, options, phase, shell, termination, web, within};

/// A kubectl that talks to the flight's cluster.
fn kubectl(flight: &Flight, arguments: &[&str]) -> Command {
    let program = windtunnel_testkit::tool("kubectl").expect("kubectl is missing; run ci/setup");
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(flight.cluster.kubeconfig()).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn run(flight: &Flight, arguments: &[&str], input: &str) -> Output {
    let mut child = kubectl(flight, arguments).spawn().expect("kubectl");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(input.as_bytes()).await.expect("input");
    drop(stdin);
    within(child.wait_with_output(), "kubectl").await.expect("output")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// If this fails `kubectl exec` loses output, input or exit codes, or runs commands somewhere else than the container.
#[tokio::test(flavor = "multi_thread")]
async fn commands_run_beside_a_container() {
    let flight = Flight::start().await;
    let mut container = shell("c", "echo here > /scratch/mark; exec sleep 1000");
    container["volumeMounts"] = json!([{"name": "s", "mountPath": "/scratch"}]);
    container["env"] = json!([{"name": "COLOUR", "value": "teal"}]);
    let volumes = json!([{"name": "s", "emptyDir": {}}]);
    flight.pod("p", json!({"containers": [container], "volumes": volumes})).await;
    flight.until("p", |pod: &Pod| phase(pod) == "Running").await;
    let script = "until test -s /scratch/mark; do :; done; echo out $COLOUR $(cat /scratch/mark); echo err >&2; exit 3";
    let output = run(&flight, &["exec", "p", "--", "sh", "-c", script], "").await;
    assert_eq!(text(&output.stdout), "out teal here\n", "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "err\ncommand terminated with exit code 3\n");
    assert_eq!(output.status.code(), Some(3));
    let long = "line of input\n".repeat(20_000);
    let output = run(&flight, &["exec", "-i", "p", "--", "cat"], &long).await;
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(0), long.len()),
        "{}",
        text(&output.stderr)
    );
    let output = run(&flight, &["exec", "p", "--", "/nothing"], "").await;
    assert_eq!(output.status.code(), Some(1));
    flight.cluster.stop().await;
}

/// If this fails `kubectl logs -f` does not end with its container, or shows other lines than were written.
#[tokio::test(flavor = "multi_thread")]
async fn logs_are_followed_to_the_end_and_kept_for_one_run_before() {
    let flight = Flight::start().await;
    let gate = flight.folder.path().join("gate");
    let script = format!("echo one; until test -e {}; do sleep 0.02; done; echo two; exit 1", gate.display());
    flight.pod("p", json!({"containers": [shell("c", &script)]})).await;
    flight.until("p", |pod: &Pod| phase(pod) == "Running").await;
    let mut child = kubectl(&flight, &["logs", "-f", "p"]).spawn().expect("kubectl");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let first = within(lines.next_line(), "the first line").await.expect("a line");
    assert_eq!(first.as_deref(), Some("one"));
    std::fs::write(&gate, "").expect("the gate opens");
    let second = within(lines.next_line(), "the second line").await.expect("a line");
    assert_eq!(second.as_deref(), Some("two"));
    assert_eq!(within(lines.next_line(), "the end").await.expect("the end"), None);
    within(child.wait(), "kubectl to end").await.expect("its end");
    flight.until_event("BackOff", "Back-off restarting failed container c in pod p_default(").await;
    let output = run(&flight, &["logs", "--previous", "p"], "").await;
    assert_eq!(text(&output.stdout), "one\ntwo\n", "{}", text(&output.stderr));
    flight.cluster.stop().await;
}

async fn forward(flight: &Flight, port: &str) -> (Child, String) {
    let mut child = kubectl(flight, &["port-forward", "p", port]).spawn().expect("kubectl");
    let mut lines = BufReader::new(child.stdout.as_mut().expect("stdout")).lines();
    let line = within(lines.next_line(), "the port to be forwarded").await.expect("a line").expect("a line");
    let address = line.split_whitespace().nth(2).expect("an address").to_owned();
    (child, address)
}

/// If this fails `kubectl port-forward` breaks off, carries one connection only, or hides that a port refuses.
#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded() {
    let flight = Flight::start().await;
    flight.pod("p", json!({"terminationGracePeriodSeconds": 1, "containers": [web(8080)]})).await;
    flight.until("p", crate::flight::is_ready).await;
    let (mut child, address) = forward(&flight, ":8080").await;
    let answers = futures::future::join_all((0..8).map(|_| get(&address, "/"))).await;
    for answer in answers {
        assert!(answer.expect("an answer").starts_with("HTTP/1.0 200"));
    }
    child.kill().await.expect("ended");
    let (mut child, address) = forward(&flight, ":9").await;
    // The connection is taken by kubectl and then closed.
    let _ = get(&address, "/").await;
    let mut told = String::new();
    let mut stderr = child.stderr.take().expect("stderr");
    within(stderr.read_to_string(&mut told), "kubectl to tell").await.expect("text");
    assert!(told.contains("error forwarding port 9 to pod p"), "{told}");
    child.kill().await.expect("ended");
    flight.cluster.stop().await;
}

/// If this fails a program that has a path written inside does not find its volume, a change of a ConfigMap never
/// arrives, or a container can change what is mounted read-only.
#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_at_their_paths_and_follow_changes() {
    let flight = Flight::start().await;
    if let Isolation::Folders { why } = flight.cluster.isolation() {
        eprintln!("skipped: {why}");
        return flight.cluster.stop().await;
    }
    flight.create::<ConfigMap>(json!({"metadata": {"name": "cfg"}, "data": {"k": "old", "gone": "x"}})).await;
    // The path is put together by the program, so that no rewriting could help.
    let script = "d=/et; d=${d}c/conf; cat $d/k; touch $d/k && echo wrote; \
                  until test \"$(cat $d/k)\" = new; do sleep 0.05; done; test -e $d/gone || echo gone; \
                  cat /one/file; ls /models >&2 && echo new > /models/made; hostname";
    let mut container = shell("c", script);
    container["volumeMounts"] = json!([
        {"name": "cfg", "mountPath": "/etc/conf"},
        {"name": "cfg", "mountPath": "/one/file", "subPath": "k"},
        {"name": "models", "mountPath": "/models"},
    ]);
    let models = flight.folder.path().join("models");
    std::fs::create_dir(&models).expect("a folder");
    let volumes = json!([
        {"name": "cfg", "configMap": {"name": "cfg"}},
        {"name": "models", "hostPath": {"path": models}},
    ]);
    flight.pod("p", json!({"restartPolicy": "Never", "containers": [container], "volumes": volumes})).await;
    flight.until("p", |pod: &Pod| phase(pod) == "Running").await;
    let change = json!({"data": {"k": "new", "gone": null}});
    flight
        .api::<ConfigMap>()
        .patch("cfg", &PatchParams::default(), &Patch::Merge(&change))
        .await
        .expect("changed");
    flight.until("p", |pod: &Pod| phase(pod) == "Succeeded").await;
    let output = run(&flight, &["logs", "p"], "").await;
    // A subPath keeps what it was when the container started, as in Kubernetes.
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert!(lines.iter().any(|line| line.contains("Read-only file system")), "{lines:?}");
    let said: Vec<&str> = lines.iter().filter(|line| !line.contains("touch")).map(String::as_str).collect();
    assert_eq!(said, ["oldgone", "oldp"], "{lines:?}");
    assert!(models.join("made").exists(), "a hostPath is the host's");
    flight.cluster.stop().await;
}

/// If this fails a container that grows without bound takes the machine with it, or its status hides why it ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_exceeds_its_memory_limit_is_killed() {
    let flight = Flight::start().await;
    let script = "import time; block = bytearray(200 << 20); print(len(block), flush=True); time.sleep(1000)";
    let container = json!({
        "name": "c", "image": "shell", "command": ["python3", "-c", script],
        "resources": {"limits": {"memory": "64Mi"}},
    });
    flight.pod("p", json!({"restartPolicy": "Never", "containers": [container]})).await;
    let pod: Pod = flight.until("p", |pod| phase(pod) == "Failed").await;
    let found = termination(&pod, "c");
    assert_eq!((&found["reason"], &found["exitCode"]), (&json!("OOMKilled"), &json!(137)));
    assert!(flight.processes().is_empty());
    flight.cluster.stop().await;
}

/// If this fails a Service's address or name does not lead to its pods, from a pod or from the host.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_answers_at_its_address_and_name() {
    let flight = Flight::start().await;
    flight.pod("web", json!({"terminationGracePeriodSeconds": 1, "containers": [web(8080)]})).await;
    let service = json!({
        "metadata": {"name": "front"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 18080, "targetPort": "http"}]},
    });
    let service: Service = flight.create(service).await;
    flight.until_ready("front", 1).await;
    let address = service.spec.and_then(|spec| spec.cluster_ip).expect("an address");
    let answered = async {
        // Endpoints come first, the listener a moment later.
        loop {
            if let Ok(answer) = get(&format!("{address}:18080"), "/").await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(within(answered, "the Service to answer").await.starts_with("HTTP/1.0 200"));
    if flight.cluster.isolation().has_mounts() {
        let script = "import urllib.request\n\
                      for name in ['front', 'front.default', 'front.default.svc.cluster.local']:\n\
                      \x20   print(urllib.request.urlopen(f'http://{name}:18080/').status)";
        let client = json!({"name": "c", "image": "shell", "command": ["python3", "-c", script]});
        flight.pod("client", json!({"restartPolicy": "Never", "containers": [client]})).await;
        flight.until("client", |pod: &Pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
        let output = run(&flight, &["logs", "client"], "").await;
        assert_eq!(text(&output.stdout), "200\n200\n200\n");
    }
    flight.cluster.stop().await;
}

/// If this fails nothing works on machines that forbid namespaces.
#[tokio::test(flavor = "multi_thread")]
async fn without_namespaces_paths_are_rewritten() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = format!("{}-{}", std::process::id(), folder.path().display());
    let mut options = options(folder.path().join("cluster"), &token);
    options.namespaces = false;
    let cluster = EmbeddedCluster::start(options).await.expect("a cluster");
    assert!(!cluster.isolation().has_mounts());
    let flight = Flight { cluster, folder, token };
    flight.create::<ConfigMap>(json!({"metadata": {"name": "cfg"}, "data": {"k": "v"}})).await;
    let mut container = shell("c", "cat /etc/conf/k; echo; exec sleep 1000");
    container["volumeMounts"] = json!([{"name": "cfg", "mountPath": "/etc/conf"}]);
    let volumes = json!([{"name": "cfg", "configMap": {"name": "cfg"}}]);
    flight.pod("p", json!({"containers": [container], "volumes": volumes})).await;
    flight.until("p", |pod: &Pod| phase(pod) == "Running").await;
    let output = run(&flight, &["exec", "p", "--", "cat", "/etc/conf/k"], "").await;
    assert_eq!(text(&output.stdout), "v", "{}", text(&output.stderr));
    flight.cluster.stop().await;
}

/// If this fails an interactive program (a shell, a debugger) sees no terminal, or hears nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_may_have_a_terminal() {
    let flight = Flight::start().await;
    let script = "test -t 0 && test -t 1 && echo a $TERM; read line; echo got $line; exit 3";
    let mut container = shell("c", script);
    container["tty"] = json!(true);
    container["stdin"] = json!(true);
    flight.pod("p", json!({"restartPolicy": "Never", "containers": [container]})).await;
    flight.until("p", |pod: &Pod| phase(pod) == "Running").await;
    let output = run(&flight, &["attach", "-i", "p"], "hello\n").await;
    let shown = text(&output.stdout);
    assert!(shown.contains("got hello\r\n"), "{shown:?} {}", text(&output.stderr));
    let pod = flight.until("p", |pod: &Pod| phase(pod) == "Failed").await;
    assert_eq!(termination(&pod, "c")["exitCode"], 3);
    let log = text(&run(&flight, &["logs", "p"], "").await.stdout);
    // The terminal may show what was typed before the program says anything.
    assert!(log.contains("a xterm\r\n") && log.ends_with("got hello\r\n"), "{log:?}");
    flight.cluster.stop().await;
}

/// If this fails a program on a terminal that reads to the end of its input waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn input_that_is_given_once_ends_on_a_terminal() {
    let flight = Flight::start().await;
    let mut container = shell("c", "cat; exit 7");
    for field in ["tty", "stdin", "stdinOnce"] {
        container[field] = json!(true);
    }
    flight.pod("p", json!({"restartPolicy": "Never", "containers": [container]})).await;
    flight.until("p", |pod: &Pod| phase(pod) == "Running").await;
    let output = run(&flight, &["attach", "-i", "p"], "hello\n").await;
    assert!(text(&output.stdout).contains("hello\r\n"), "{output:?}");
    let pod = flight.until("p", |pod: &Pod| phase(pod) == "Failed").await;
    assert_eq!(termination(&pod, "c")["exitCode"], 7);
    flight.cluster.stop().await;
}

/// If this fails a server behind TLS never becomes ready, or one without it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_be_probed_by_https() {
    let flight = Flight::start().await;
    let folder = flight.write_credentials().display().to_string();
    let server = |wrap: &str| {
        format!(
            "exec python3 -c 'import http.server, os, ssl\n\
             server = http.server.HTTPServer((os.environ[\"WINDTUNNEL_BIND\"], 8443), \
             http.server.SimpleHTTPRequestHandler)\n{wrap}server.serve_forever()'"
        )
    };
    let tls = format!(
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
         context.load_cert_chain(\"{folder}/certificate\", \"{folder}/key\")\n\
         server.socket = context.wrap_socket(server.socket, server_side=True)\n"
    );
    for (name, wrap) in [("plain", ""), ("tls", tls.as_str())] {
        let mut container = shell("c", &server(wrap));
        container["readinessProbe"] =
            json!({"httpGet": {"path": "/", "port": 8443, "scheme": "HTTPS"}, "periodSeconds": 1});
        flight.pod(name, json!({"containers": [container]})).await;
    }
    flight.until("tls", windtunnel_cluster::controllers::pods::is_ready).await;
    flight.until_event("Unhealthy", "http: server gave HTTP response to HTTPS client").await;
    let plain = flight.api::<Pod>().get("plain").await.expect("the pod");
    assert!(!windtunnel_cluster::controllers::pods::is_ready(&plain));
    flight.cluster.stop().await;
}
