//! The local KServe, used with an unmodified kubectl.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use windtunnel_testkit::{tool, workspace};

use super::{file, processes_under, stderr, stdout, windtunnel};

/// A local KServe that is taken down with the test, also when the test fails.
pub(crate) struct Local {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) kubeconfig: PathBuf,
}

impl Local {
    pub(super) fn start() -> Self {
        let storage = format!("s3://models/={}", workspace("fixtures/models").display());
        Self::start_in(tempfile::tempdir().unwrap(), &["--storage", &storage])
    }

    pub(crate) fn start_in(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        let output = windtunnel(folder.path()).args(["up", "--detach"]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        let printed = stdout(&output);
        let kubeconfig = PathBuf::from(printed.lines().last().unwrap());
        assert!(kubeconfig.is_file(), "the last line is not the kubeconfig's path:\n{printed}");
        Self { folder, kubeconfig }
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with(arguments, "")
    }

    pub(super) fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        let kubectl = tool("kubectl").expect("kubectl is missing; run ci/setup");
        let mut child = Command::new(kubectl)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = windtunnel(self.folder.path()).arg("down").output();
    }
}

pub(crate) fn gateway(folder: &Path) -> String {
    let output = windtunnel(folder).args(["status", "--output", "json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    status["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned()
}

/// One HTTP exchange by hand: what curl would send.
pub(crate) fn post(address: &str, host: &str, path: &str, body: &str) -> String {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Without this, "KServe in one binary" is a claim: their tool, their manifest, our cluster.
#[test]
fn kubectl_sees_a_ready_service_and_its_url_answers() {
    let local = Local::start();
    let applied = local.kubectl(&["apply", "-f", &file("scenarios/quickstart/inferenceservice.yaml")]);
    assert!(applied.status.success(), "{}", stderr(&applied));
    assert_eq!(stdout(&applied), "inferenceservice.serving.kserve.io/digits created\n");
    let waited = local.kubectl(&["wait", "--for=condition=Ready", "isvc/digits", "--timeout=60s"]);
    assert!(
        waited.status.success(),
        "{}{}",
        stderr(&waited),
        stdout(&local.kubectl(&["get", "isvc,pods,revisions", "-o", "yaml"]))
    );

    let listed = stdout(&local.kubectl(&["get", "isvc"]));
    let header: Vec<&str> = listed.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        header,
        ["NAME", "URL", "READY", "PREV", "LATEST", "PREVROLLEDOUTREVISION", "LATESTREADYREVISION", "AGE"]
    );
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], ["digits", "http://digits-default.example.com", "True"], "{listed}");

    let body = r#"{"instances": [[0,0,0,15,12,1,0,0,0,0,5,16,16,6,0,0,0,0,2,16,16,3,0,0,0,0,2,16,16,1,0,0,0,0,6,16,13,0,0,0,0,0,1,16,16,2,0,0,0,0,3,16,15,3,0,0,0,0,0,15,16,1,0,0]]}"#;
    let answer =
        post(&gateway(local.folder.path()), "digits-default.example.com", "/v1/models/digits:predict", body);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"label\":1"), "{answer}");

    let folder = local.folder.path().to_path_buf();
    let down = windtunnel(&folder).arg("down").output().unwrap();
    assert_eq!(down.status.code(), Some(0), "{}", stderr(&down));
    assert_eq!(processes_under(&folder), Vec::<String>::new(), "processes were left behind");
    assert!(!folder.join(".windtunnel").exists(), "state was left behind");
}

/// KServe's webhook has words for it; tools and people look for these.
#[test]
fn an_invalid_service_is_rejected_in_kserves_words() {
    let local = Local::start();
    let manifest = std::fs::read_to_string(workspace("scenarios/quickstart/inferenceservice.yaml")).unwrap();
    let output =
        local.kubectl_with(&["apply", "-f", "-"], &manifest.replace("minReplicas: 0", "minReplicas: 5"));
    assert!(!output.status.success());
    let told = stderr(&output);
    assert!(told.contains(r#"admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: 'MinReplicas' cannot be greater than MaxReplicas"#), "{told}");
}

/// Images of this machine's shell.
const IMAGES: &str = "
images:
- image: example.com/greeter
  command: [/bin/sh, -c, 'echo \"$GREETING\"; exec sleep 600']
  env: {GREETING: hello}
";

/// Without this a test environment with several nodes, other people's images or a state to keep can't be had from the
/// command line.
#[test]
fn nodes_images_and_data_are_as_the_flags_say() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("images.yaml"), IMAGES).unwrap();
    let arguments = ["--nodes", "2", "--images", "images.yaml", "--data-dir", "kept"];
    let local = Local::start_in(folder, &arguments);
    let path = local.folder.path().to_path_buf();

    let nodes = stdout(&local.kubectl(&["get", "nodes", "--no-headers"]));
    let ready: Vec<&str> =
        nodes.lines().filter(|line| line.split_whitespace().nth(1) == Some("Ready")).collect();
    assert_eq!(ready.len(), 2, "{nodes}");

    let run = local.kubectl(&["run", "greeter", "--image=example.com/greeter:v1"]);
    assert!(run.status.success(), "{}", stderr(&run));
    let waited = local.kubectl(&["wait", "--for=condition=Ready", "pod/greeter", "--timeout=60s"]);
    assert!(waited.status.success(), "{}", stdout(&local.kubectl(&["describe", "pod", "greeter"])));
    // The container says it first thing; following the log waits for it.
    let log = local.kubectl(&["logs", "greeter", "--follow", "--limit-bytes=6"]);
    assert_eq!(stdout(&log), "hello\n");

    let run = local.kubectl(&["run", "stranger", "--image=example.com/stranger"]);
    assert!(run.status.success(), "{}", stderr(&run));
    let reason = "{.status.containerStatuses[0].state.waiting.reason}";
    let condition = format!("--for=jsonpath={reason}=ImagePullBackOff");
    let waited = local.kubectl(&["wait", &condition, "pod/stranger", "--timeout=60s"]);
    let told = stdout(&local.kubectl(&["get", "pod", "stranger", "-o", "yaml"]));
    assert!(waited.status.success() && told.contains("--images"), "{told}");

    let status = windtunnel(&path).args(["status", "--output", "json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["running"], true);
    let isolation = status["isolation"].as_str().unwrap();
    assert!(isolation.contains("loopback addresses"), "{isolation}");
    assert!(stdout(&windtunnel(&path).arg("status").output().unwrap()).contains(isolation));

    let made = local.kubectl(&["create", "configmap", "note", "--from-literal=k=v"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let down = windtunnel(&path).arg("down").output().unwrap();
    assert_eq!(down.status.code(), Some(0), "{}", stderr(&down));
    let again = windtunnel(&path).args(["up", "--detach"]).args(arguments).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    let kept = stdout(&local.kubectl(&["get", "configmap", "note", "-o", "jsonpath={.data.k}"]));
    assert_eq!(kept, "v");
}

/// Without this a typing error in a flag ends in a minute of waiting and a log to be searched.
#[test]
fn mistakes_in_flags_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.yaml"), "images: [{image: a, comand: [x]}]").unwrap();
    for (arguments, words) in [
        (["--images", "bad.yaml"], "bad.yaml"),
        (["--images", "absent.yaml"], "absent.yaml"),
        (["--nodes", "0"], "--nodes"),
        (["--nodes", "many"], "--nodes"),
    ] {
        let output = windtunnel(folder.path()).args(["up", "--detach"]).args(arguments).output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
        assert!(!folder.path().join(".windtunnel/state.json").exists());
    }
}
