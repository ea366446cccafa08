//! `windtunnel serve controller` as an operator runs it: its manifests applied with kubectl to a cluster that knows nothing of
//! KServe, two replicas as pods with the ServiceAccount and its roles, webhooks behind their Service, one that leads.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Runtime;
use windtunnel_cluster::node::Isolation;
use windtunnel_cluster::{EmbeddedCluster, Image, Options};
use windtunnel_replay::StackOptions;
use windtunnel_testkit::{tool, workspace};

use super::{file, stderr, stdout, windtunnel};

const NAMESPACE: &str = "kserve";
const LEASE: &str = "kserve-controller-manager-leader-lock";
/// What fail-over after a death may take.
const FAIL_OVER: Duration = Duration::from_secs(15);

/// A cluster without KServe, which ends with the value.
struct Bare {
    runtime: Runtime,
    cluster: Option<EmbeddedCluster>,
    folder: tempfile::TempDir,
}

impl Bare {
    /// `None`, with a word about it, where containers have no root folders of their own: tokens of service accounts are read
    /// at a fixed path.
    fn start(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let executable = PathBuf::from(env!("CARGO_BIN_EXE_windtunnel"));
        let storage = ("s3://models/".to_owned(), workspace("fixtures/models"));
        let stack = StackOptions {
            storage: [storage].into(),
            ..StackOptions::new(folder.path().join("stack"), executable.clone())
        };
        let mut images = stack.images();
        images.push(Image::new("windtunnel/windtunnel", [executable.display().to_string()]));
        let runtime = Runtime::new().unwrap();
        let options = Options { directory: folder.path().join("cluster"), images, ..Options::default() };
        let cluster = runtime.block_on(EmbeddedCluster::start(options)).expect("a cluster");
        if !matches!(cluster.isolation(), Isolation::Mounts(_)) {
            eprintln!("skipped: {test}: {}", cluster.isolation());
            return None;
        }
        Some(Self { runtime, cluster: Some(cluster), folder })
    }

    fn kubectl(&self, arguments: &[&str]) -> Output {
        kubectl(self.cluster.as_ref().expect("running").kubeconfig(), arguments)
    }

    /// What kubectl prints; it must succeed.
    fn printed(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments);
        assert!(output.status.success(), "kubectl {arguments:?}: {}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    /// Applies manifests as the documentation says.
    fn apply(&self, manifests: &str) -> Output {
        let file = self.folder.path().join("manifests.yaml");
        std::fs::write(&file, manifests).unwrap();
        self.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()])
    }

    fn install(&self, part: &str, more: &[&str]) {
        let output = windtunnel(self.folder.path())
            .args(["serve", "controller", "--print-manifests", part])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let applied = self.apply(&stdout(&output));
        assert!(applied.status.success(), "{part}: {}", stderr(&applied));
    }

    /// The pod that holds the Lease.
    fn leader(&self) -> String {
        let holder = ["-n", NAMESPACE, "get", "lease", LEASE, "-o", "jsonpath={.spec.holderIdentity}"];
        self.printed(&holder).split('_').next().unwrap_or_default().to_owned()
    }

    fn ready(&self, name: &str, within: Duration) {
        let timeout = format!("--timeout={}s", within.as_secs());
        let waited = self.kubectl(&["wait", "--for=condition=Ready", &format!("isvc/{name}"), &timeout]);
        assert!(
            waited.status.success(),
            "{}\n{}\n{}",
            stderr(&waited),
            self.printed(&["get", "isvc,deploy,pods", "-o", "yaml"]),
            self.logs()
        );
    }

    fn logs(&self) -> String {
        let selector = "control-plane=kserve-controller-manager";
        stdout(&self.kubectl(&["-n", NAMESPACE, "logs", "-l", selector, "--tail=100", "--prefix"]))
    }

    /// Waits until the rollout of the controllers is complete.
    fn rolled_out(&self) {
        let status = self.kubectl(&[
            "-n",
            NAMESPACE,
            "rollout",
            "status",
            "deployment/kserve-controller-manager",
            "--timeout=60s",
        ]);
        assert!(
            status.status.success(),
            "{}{}\n{}\n{}",
            stdout(&status),
            stderr(&status),
            stdout(&self.kubectl(&["-n", NAMESPACE, "describe", "pods"])),
            self.logs()
        );
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if let Some(cluster) = self.cluster.take() {
            self.runtime.block_on(cluster.stop());
        }
    }
}

fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(tool("kubectl").expect("kubectl is missing; run ci/setup"));
    command.arg("--kubeconfig").arg(kubeconfig).args(arguments);
    command.output().unwrap()
}

fn service(name: &str) -> String {
    format!(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: {name}, namespace: default, \
         annotations: {{serving.kserve.io/deploymentMode: Standard}}}}\nspec: {{predictor: {{minReplicas: 1, model: \
         {{modelFormat: {{name: onnx}}, storageUri: \"s3://models/digits/v1\"}}}}}}\n"
    )
}

/// Whoever installs the control plane on a cluster of their own follows these steps; an outage of a node is one of them.
#[test]
fn two_replicas_on_a_cluster_of_somebodys_own() {
    let Some(bare) = Bare::start("two_replicas_on_a_cluster_of_somebodys_own") else { return };
    bare.install("definitions", &["--all-kinds"]);
    bare.install("controllers", &[]);
    bare.rolled_out();
    bare.install("resources", &["--all-kinds"]);
    bare.install("local-model-agent", &[]);

    // Webhooks over HTTPS behind their Service: upstream's words come through.
    let refused = bare.apply(&service("digits").replace("minReplicas: 1", "minReplicas: -1"));
    assert!(!refused.status.success());
    assert!(stderr(&refused).contains("admission webhook"), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("'MinReplicas' cannot be less than 0"), "{}", stderr(&refused));
    let applied = bare.apply(&service("digits"));
    assert!(applied.status.success(), "{}", stderr(&applied));
    bare.ready("digits", Duration::from_secs(60));

    // Deleted, the certificates are made anew, and callers follow.
    bare.printed(&["-n", NAMESPACE, "delete", "secret", "kserve-webhook-server-cert"]);
    let made = bare.kubectl(&[
        "-n",
        NAMESPACE,
        "wait",
        "--for=create",
        "secret/kserve-webhook-server-cert",
        "--timeout=30s",
    ]);
    assert!(made.status.success(), "{}{}", stderr(&made), bare.logs());
    let applied = bare.apply(&service("after-rotation"));
    assert!(applied.status.success(), "{}\n{}", stderr(&applied), bare.logs());

    // A leader that dies with its node: nothing is given back.
    let leader = bare.leader();
    bare.printed(&["-n", NAMESPACE, "delete", "pod", &leader, "--grace-period=0", "--force"]);
    let began = Instant::now();
    let applied = bare.apply(&service("after-a-death"));
    assert!(applied.status.success(), "{}\n{}", stderr(&applied), bare.logs());
    bare.printed(&[
        "wait",
        "--for=jsonpath={.status.conditions}",
        "isvc/after-a-death",
        &format!("--timeout={}s", FAIL_OVER.as_secs()),
    ]);
    let after_death = began.elapsed();
    assert!(after_death < FAIL_OVER, "{after_death:?}");
    assert_ne!(bare.leader(), leader);
    bare.ready("after-a-death", Duration::from_secs(60));

    // A leader that is asked to stop gives the Lease back.
    bare.rolled_out();
    let leader = bare.leader();
    let began = Instant::now();
    bare.printed(&["-n", NAMESPACE, "delete", "pod", &leader, "--wait=false"]);
    let applied = bare.apply(&service("after-a-stop"));
    assert!(applied.status.success(), "{}\n{}", stderr(&applied), bare.logs());
    bare.printed(&["wait", "--for=jsonpath={.status.conditions}", "isvc/after-a-stop", "--timeout=15s"]);
    let after_stop = began.elapsed();
    println!("fail-over in {after_death:?} after a death, in {after_stop:?} after a stop");

    // What the API server refuses is told to its user, and in the log, for machines, with the object that it is about.
    let greedy = service("greedy")
        .replace("storageUri", "resources: {requests: {cpu: 2}, limits: {cpu: 1}}, storageUri");
    let applied = bare.apply(&greedy);
    assert!(applied.status.success(), "{}", stderr(&applied));
    let reason = r#"--for=jsonpath={.status.conditions[?(@.type=="PredictorReady")].reason}=Invalid"#;
    bare.printed(&["wait", reason, "isvc/greedy", "--timeout=5s"]);
    let lines = bare.logs();
    let parsed =
        lines.lines().filter_map(|line| serde_json::from_str::<Value>(&line[line.find('{')?..]).ok());
    let about: Vec<Value> = parsed.filter(|line| line["level"] == "warn").collect();
    let names = |line: &&Value| line["kind"] == "InferenceService" && line["name"] == "greedy";
    let told = about.iter().find(names).unwrap_or_else(|| panic!("{about:#?}"));
    assert_eq!(
        (&told["namespace"], &told["controller"]),
        (&"default".into(), &"inferenceservice".into()),
        "{told}"
    );
    // Nobody was refused what they asked for.
    assert!(!lines.contains("Forbidden"), "{lines}");
}

/// The suite is for clusters that are not ours: it must find its way by a kubeconfig alone, judge by upstream's rules, and
/// write the report that says so.
#[test]
fn conformance_of_a_cluster_of_somebodys_own() {
    let Some(bare) = Bare::start("conformance_of_a_cluster_of_somebodys_own") else { return };
    bare.install("definitions", &["--all-kinds"]);
    bare.install("controllers", &["--profile", "upstream"]);
    bare.rolled_out();
    bare.install("resources", &["--all-kinds"]);
    let output = windtunnel(bare.folder.path())
        .args(["conform", &file("scenarios/conformance"), "--cluster", "context:windtunnel"])
        .args(["--profile", "upstream-0.20", "--jobs", "4"])
        // One area of each kind: admission, pods, status, canaries, local models, stopping.
        .args(["ADM-0*", "MUT-*", "STA-*", "CAN-*", "LMC-*", "STP-*"].map(|glob| format!("--include={glob}")))
        .args(["--report", "report.yaml", "--report", "report.json"])
        .env("KUBECONFIG", bare.cluster.as_ref().expect("running").kubeconfig())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}\n{}", stdout(&output), stderr(&output), bare.logs());
    let report = std::fs::read_to_string(bare.folder.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let cases = report["cases"].as_array().expect("cases");
    let count = |verdict: &str| cases.iter().filter(|case| case["verdict"] == verdict).count();
    println!("{} passed, {} unsupported", count("passed"), count("unsupported"));
    assert!(count("passed") >= 80 && count("failed") == 0, "{}", stdout(&output));
    // What is not upstream's is not asked of it, and said to be so.
    let ours = cases.iter().find(|case| case["id"] == "CAN-W01").expect("the case");
    assert_eq!(
        (&ours["verdict"], &ours["reason"]),
        (&"unsupported".into(), &"not part of the profile upstream-0.20".into())
    );
    // Nor what it has no means for.
    let split = cases.iter().find(|case| case["id"] == "CAN-T01").expect("the case");
    let reason = split["reason"].as_str().expect("a reason");
    assert!(reason.contains("no gateway: give its address with --gateway"), "{split}");
}
