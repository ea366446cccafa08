//! What a real Kubernetes answered, replayed against a started cluster with the kubectl that others wrote: the cases are
//! data (`fixtures/kubernetes`), the replayer is `ci/kubernetes/replay.py`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;
use windtunnel_cluster::{EmbeddedCluster, Image, Options};

use crate::flight::{Flight, shell};

/// A busybox without libraries, and the image that stands for it.
const BUSYBOX: &str = "/usr/bin/busybox";
const IMAGE: &str = "rig.local/web";
/// Longest time for all cases together.
const LIMIT: Duration = Duration::from_secs(240);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where `ci/setup` puts kubectl and the Python packages.
pub(crate) fn test_tools() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .expect("XDG_CACHE_HOME or HOME names a folder");
    let tools = cache.join("windtunnel/test-tools");
    assert!(
        tools.join("bin/kubectl").exists() && tools.join("yaml").exists(),
        "run ci/setup: no tools in {tools:?}"
    );
    tools
}

/// If this fails a client that works with Kubernetes gets another answer from the embedded cluster.
#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_answers_as_kubernetes_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Options::new(folder.path().join("cluster"));
    // Recorded pods run a busybox; without one their cases can't be replayed.
    let busybox = Path::new(BUSYBOX);
    if busybox.exists() {
        options.images.push(Image::busybox(IMAGE, busybox, &folder.path().join("image")).unwrap());
    } else {
        println!("SKIPPED the cases that start pods: {BUSYBOX} is missing; run ci/setup");
    }
    let cluster = EmbeddedCluster::start(options).await.unwrap();
    // Without mount namespaces a pod has the machine's files, not the image's.
    let has_pods = busybox.exists() && cluster.isolation().has_mounts();
    let tools = test_tools();
    let fixtures = root().join("fixtures/kubernetes");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(fixtures.join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    let mut replayer = Command::new("python3");
    replayer
        .arg(root().join("ci/kubernetes/replay.py"))
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .arg("--kubectl")
        .arg(tools.join("bin/kubectl"))
        .arg("--differences")
        .arg(fixtures.join("differences.yaml"))
        .args(["--jobs", "6", "--image", &format!("{IMAGE}:1"), "--node", "windtunnel"])
        .args(if has_pods { &[][..] } else { &["--without", "node"][..] })
        .args(&cases)
        .env("PYTHONPATH", &tools)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut replayer = tokio::process::Command::from(replayer);
    replayer.kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, replayer.output())
        .await
        .expect("the cases take less time than the limit")
        .expect("python3 can be started");
    let (text, faults) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{text}");
    assert!(output.status.success(), "{text}\n{faults}");
    cluster.stop().await;
}

/// If this fails programs written with the Python client lose events, overwrite each other or elect two leaders.
#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_works() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = EmbeddedCluster::start(Options::new(folder.path().join("cluster"))).await.unwrap();
    let mut program = tokio::process::Command::new("python3");
    program
        .arg(root().join("ci/kubernetes/python_client.py"))
        .arg(cluster.kubeconfig())
        .env("PYTHONPATH", test_tools())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, program.output()).await.expect("it takes less time").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    cluster.stop().await;
}

/// If this fails `kubectl top` has nothing to show, or shows pods that are gone.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_top_shows_pods_and_nodes() {
    let flight = Flight::start_with(|options| options.metrics_resolution = Duration::from_millis(200)).await;
    flight
        .pod("busy", json!({"containers": [shell("a", "while :; do :; done"), shell("b", "sleep 600")]}))
        .await;
    let mut top = Table::default();
    let shown = tokio::time::timeout(LIMIT, async {
        loop {
            top = kubectl_table(&flight, &["top", "pods", "--containers", "--no-headers"]).await;
            // Half a core, so that a slow machine may have other things to do.
            let uses = |name: &str| {
                top.iter().find(|row| row[0] == "busy" && row[1] == name).map(|row| milli(&row[2]))
            };
            if uses("a").is_some_and(|used| used > 500) && uses("b").is_some_and(|used| used < 100) {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    shown.await.unwrap_or_else(|_| panic!("{top:?}"));
    let nodes = kubectl_table(&flight, &["top", "nodes", "--no-headers"]).await;
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    assert!(milli(&nodes[0][1]) > 0, "{nodes:?}");
    flight.cluster.stop().await;
}

type Table = Vec<Vec<String>>;

/// Rows and cells of what kubectl prints; nothing when it fails.
async fn kubectl_table(flight: &Flight, arguments: &[&str]) -> Table {
    let output = tokio::process::Command::new(test_tools().join("bin/kubectl"))
        .arg("--kubeconfig")
        .arg(flight.cluster.kubeconfig())
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| line.split_whitespace().map(ToOwned::to_owned).collect()).collect()
}

/// Thousandths of a core: `250m`.
fn milli(cell: &str) -> u64 {
    cell.strip_suffix('m').and_then(|digits| digits.parse().ok()).unwrap_or_default()
}
