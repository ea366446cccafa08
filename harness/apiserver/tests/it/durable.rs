//! A server whose state lies in a folder: restarts, killed servers, folders that cannot be used.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use windtunnel_apiserver::{ApiServer, Options, StorageError};

use crate::{DEADLINE, call};

/// Folder of the server that the test binary runs as a child.
const CHILD_FOLDER: &str = "WINDTUNNEL_TEST_DATA_DIR";
/// How often the server is killed; [`KILLS`] in the environment says another number.
const ROUNDS: u64 = 10;
const KILLS: &str = "WINDTUNNEL_TEST_KILLS";
const WRITERS: usize = 8;
/// Objects of each writer, over which it goes again and again.
const NAMES: usize = 6;

fn folder(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(name).tempdir().unwrap()
}

fn open(folder: &Path, event_log_capacity: usize) -> ApiServer {
    ApiServer::open(Options { event_log_capacity, seed: Some(1), ..Options::default() }, folder).unwrap()
}

/// Opens a folder again. The clients of the server before may still be ending: their tasks hold it open.
async fn reopen(folder: &Path, event_log_capacity: usize) -> ApiServer {
    let opened = async {
        loop {
            let options = Options { event_log_capacity, seed: Some(1), ..Options::default() };
            match ApiServer::open(options, folder) {
                Err(StorageError::InUse { .. }) => tokio::task::yield_now().await,
                other => return other.unwrap(),
            }
        }
    };
    timeout(DEADLINE, opened).await.expect("the server before does not let go")
}

fn map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(
        json!({"metadata": {"name": name, "labels": {"written": "yes"}}, "data": {"k": value}}),
    )
    .unwrap()
}

async fn set(maps: &Api<ConfigMap>, name: &str, value: &str) -> kube::Result<ConfigMap> {
    maps.patch(name, &PatchParams::default(), &Patch::Merge(json!({"data": {"k": value}}))).await
}

fn written() -> ListParams {
    ListParams::default().labels("written=yes")
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let folder = folder("restart");
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 3}}}}}}}]}});
    let role = json!({"metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]});
    let binding = json!({"metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]});
    let roles = "/apis/rbac.authorization.k8s.io/v1";
    let things = "/apis/example.com/v1/namespaces/default/things";
    let (uid, token, authority, before) = {
        let server = open(folder.path(), 100);
        for (path, body) in [
            ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition),
            (
                things,
                json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {}}),
            ),
            (&*format!("{roles}/clusterroles"), role),
            (&*format!("{roles}/clusterrolebindings"), binding),
        ] {
            let (code, answer) = call(&server, "POST", path, Some(body)).await;
            assert_eq!(code, 201, "{answer}");
        }
        let (_, thing) = call(&server, "GET", &format!("{things}/a"), None).await;
        let review = json!({"spec": {"expirationSeconds": 3600}});
        let account = "/api/v1/namespaces/default/serviceaccounts/default/token";
        let (code, token) = call(&server, "POST", account, Some(review)).await;
        assert_eq!(code, 201, "{token}");
        let (_, list) = call(&server, "GET", "/api/v1/namespaces", None).await;
        (
            thing["metadata"]["uid"].clone(),
            token["status"]["token"].as_str().unwrap().to_owned(),
            server.pki().certificate_pem().to_owned(),
            list,
        )
    };
    let server = reopen(folder.path(), 100).await;
    assert_eq!(server.pki().certificate_pem(), authority, "kubeconfigs would be worthless");
    let (code, thing) = call(&server, "GET", &format!("{things}/a"), None).await;
    assert_eq!((code, &thing["metadata"]["uid"], &thing["spec"]["size"]), (200, &uid, &json!(3)));
    let (_, after) = call(&server, "GET", "/api/v1/namespaces", None).await;
    assert_eq!(after, before, "the namespaces and the revision");
    let more =
        json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "b"}, "spec": {}});
    let (code, created) = call(&server, "POST", things, Some(more)).await;
    assert_eq!(code, 201, "{created}");
    assert_ne!(created["metadata"]["uid"], uid, "the same seed must not give the same uid again");
    let revision =
        |value: &Value| value["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(revision(&created) > revision(&before), "revisions go on");
    // The token still speaks for its account, and the roles still let it.
    let review = json!({"spec": {"token": token}});
    let (_, answer) =
        call(&server, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", Some(review)).await;
    assert_eq!(answer["status"]["user"]["username"], "system:serviceaccount:default:default", "{answer}");
    let review = json!({"spec": {"user": "system:serviceaccount:default:default",
        "resourceAttributes": {"verb": "get", "resource": "configmaps", "namespace": "default"}}});
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let (_, answer) = call(&server, "POST", reviews, Some(review)).await;
    assert_eq!(answer["status"]["allowed"], true, "{answer}");
}

/// The events after a revision until one of an object named `last`: what kind, and of which object.
async fn told(maps: &Api<ConfigMap>, from: &str, last: &str) -> Result<Vec<String>, u16> {
    let params = WatchParams::default().labels("written=yes").disable_bookmarks();
    let mut watch = maps.watch(&params, from).await.unwrap().boxed();
    let mut events = Vec::new();
    loop {
        let event = timeout(DEADLINE, watch.try_next()).await.unwrap().unwrap().expect("the watch has ended");
        let (kind, map) = match event {
            WatchEvent::Added(map) => ("added", map),
            WatchEvent::Modified(map) => ("modified", map),
            WatchEvent::Deleted(map) => ("deleted", map),
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(status) => return Err(status.code),
        };
        events.push(format!("{kind} {}", map.name_any()));
        if map.name_any() == last {
            return Ok(events);
        }
    }
}

#[tokio::test]
async fn watchers_go_on_after_a_restart_or_are_told_gone() {
    let folder = folder("watchers");
    let (start, oldest) = {
        let maps: Api<ConfigMap> = Api::namespaced(open(folder.path(), 8).client(), "default");
        let start = maps.create(&PostParams::default(), &map("a", "0")).await.unwrap();
        for value in 0..8 {
            set(&maps, "a", &value.to_string()).await.unwrap();
        }
        let late = maps.create(&PostParams::default(), &map("b", "0")).await.unwrap();
        set(&maps, "a", "last").await.unwrap();
        maps.delete("b", &DeleteParams::default()).await.unwrap();
        (start.resource_version().unwrap(), late.resource_version().unwrap())
    };
    let server = reopen(folder.path(), 8).await;
    let maps: Api<ConfigMap> = Api::namespaced(server.client(), "default");
    maps.create(&PostParams::default(), &map("c", "0")).await.unwrap();
    assert_eq!(
        told(&maps, &oldest, "c").await,
        Ok(vec!["modified a".to_owned(), "deleted b".into(), "added c".into()]),
        "what happened on both sides of the restart"
    );
    assert_eq!(told(&maps, &start, "c").await, Err(410), "too old before the restart, and after it");
    let old = ListParams::default().match_any().at(&oldest);
    let old =
        maps.list(&ListParams { version_match: Some(kube::api::VersionMatch::Exact), ..old }).await.unwrap();
    let names: Vec<String> = old.items.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["a", "b", "kube-root-ca.crt"], "a list of a moment before the restart");
}

#[tokio::test]
async fn folders_that_cannot_be_used_are_refused_with_the_reason() {
    let folder = folder("refused");
    let server = open(folder.path(), 100);
    let refusal = ApiServer::open(Options::default(), folder.path()).map(drop).unwrap_err();
    assert!(matches!(refusal, StorageError::InUse { .. }), "{refusal}");
    drop(server);
    let file = folder.path().join("apiserver.redb");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "it holds the authority's key");
    let whole = std::fs::read(&file).unwrap();
    let mut random = Pcg64::seed_from_u64(3);
    let mut refused = 0;
    for round in 0..60 {
        let mut damaged = whole.clone();
        match round % 3 {
            0 => damaged.truncate(random.random_range(1..whole.len())),
            1 => damaged[random.random_range(0..512)] ^= 1 << random.random_range(0..8),
            _ => {
                let at = random.random_range(0..whole.len() - 4096);
                damaged[at..at + 4096].fill(0x5a);
            }
        }
        std::fs::write(&file, damaged).unwrap();
        match ApiServer::open(Options::default(), folder.path()) {
            // The damage has hit nothing that is in use.
            Ok(server) => {
                let (code, list) = call(&server, "GET", "/api/v1/namespaces", None).await;
                assert_eq!((code, list["items"].as_array().unwrap().len()), (200, 4));
                drop(server);
                // Writes what it has, so that the next round starts from a closed file.
                drop(reopen(folder.path(), 100).await);
            }
            Err(StorageError::Unreadable { path, reason }) => {
                assert!(path.ends_with("apiserver.redb") && !reason.is_empty());
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 15, "damage goes unnoticed: {refused} of 60 refused");
    std::fs::write(&file, whole).unwrap();
    drop(open(folder.path(), 100));
}

/// The server of [`a_killed_server_keeps_every_acknowledged_write`]; it ends with its standard input.
#[tokio::test]
#[ignore = "the child of another test"]
async fn child() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let folder = Path::new(&folder);
    let server = ApiServer::open(Options::default(), &folder.join("data")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let kubeconfig = folder.join("kubeconfig");
    if !kubeconfig.exists() {
        std::fs::write(kubeconfig, server.admin_kubeconfig(&url).unwrap()).unwrap();
    }
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(server.serve(listener, shutdown.clone()).unwrap());
    println!("\nready {url}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    shutdown.cancel();
    serving.await.unwrap();
}

/// A server in a process of its own; killed when it is dropped.
struct Victim {
    child: Child,
    url: String,
}

impl Victim {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durable::child", "--ignored", "--nocapture"])
            .env(CHILD_FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url =
            lines.map_while(Result::ok).find_map(|line| line.strip_prefix("ready ").map(ToOwned::to_owned));
        let Some(url) = url else {
            let _ = child.kill();
            panic!("the server did not start: {:?}", child.wait());
        };
        Self { child, url }
    }

    async fn maps(&self, folder: &Path) -> Api<ConfigMap> {
        // The first server's kubeconfig, at the address of this one.
        let mut config = Kubeconfig::read_from(folder.join("kubeconfig")).unwrap();
        config.clusters[0].cluster.as_mut().unwrap().server = Some(self.url.clone());
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        Api::namespaced(Client::try_from(config).unwrap(), "default")
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the clients know of an object: its value, `None` when it is gone.
type Known = BTreeMap<String, Option<String>>;

/// What one writer knows: what was acknowledged, and what the write that broke off would have made of which object.
#[derive(Default)]
struct Journal {
    acknowledged: Known,
    broken_off: Option<(String, Option<String>)>,
    newest: u64,
}

/// Writes until the server is gone.
async fn write(
    maps: Api<ConfigMap>,
    name: String,
    round: u64,
    counter: Arc<AtomicUsize>,
    enough: Arc<Notify>,
    stop_at: usize,
    known: Known,
) -> Journal {
    let mut journal = Journal { acknowledged: known, ..Journal::default() };
    for number in 0.. {
        let object = format!("{name}-{}", number % NAMES);
        let value = format!("{round}.{number}");
        let is_there = journal.acknowledged.get(&object).is_some_and(Option::is_some);
        let (wanted, result) = match (is_there, number % 5) {
            (false, _) => {
                (Some(value.clone()), maps.create(&PostParams::default(), &map(&object, &value)).await)
            }
            (true, 4) => {
                let deleted = maps.delete(&object, &DeleteParams::default()).await;
                (None, deleted.map(|_| ConfigMap::default()))
            }
            (true, _) => (Some(value.clone()), set(&maps, &object, &value).await),
        };
        match result {
            Ok(answer) => {
                let revision = answer.resource_version().and_then(|text| text.parse().ok()).unwrap_or(0);
                journal.newest = journal.newest.max(revision);
                journal.acknowledged.insert(object, wanted);
                if counter.fetch_add(1, Ordering::Relaxed) + 1 == stop_at {
                    enough.notify_one();
                }
            }
            Err(kube::Error::Api(status)) => panic!("{object} {is_there}: {status:?}"),
            Err(_) => {
                journal.broken_off = Some((object, wanted));
                break;
            }
        }
    }
    journal
}

/// If this fails a crash of the machine's owner's making loses what `kubectl` has said was created.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_keeps_every_acknowledged_write() {
    let folder = folder("killed");
    let mut random = Pcg64::seed_from_u64(11);
    let mut known = Known::new();
    let mut broken_off: Vec<(String, Option<String>)> = Vec::new();
    let (mut newest, mut seen, mut total, mut torn) = (0, String::new(), 0, 0);
    let mut mirror: BTreeMap<String, String> = BTreeMap::new();
    let rounds = std::env::var(KILLS).map_or(ROUNDS, |text| text.parse().expect("a number of kills"));
    for round in 0..=rounds {
        let victim = Victim::start(folder.path());
        let maps = victim.maps(folder.path()).await;
        let list = timeout(DEADLINE, maps.list(&written())).await.unwrap().unwrap();
        let stored: BTreeMap<String, String> =
            list.items.iter().map(|map| (map.name_any(), map.data.as_ref().unwrap()["k"].clone())).collect();
        for (name, value) in &known {
            let found = stored.get(name).cloned();
            let maybe = broken_off.iter().find(|(object, _)| object == name).map(|(_, value)| value);
            let is_maybe = maybe == Some(&found) && found != *value;
            assert!(
                found == *value || is_maybe,
                "round {round}, {name}: acknowledged {value:?}, found {found:?}"
            );
            torn += usize::from(is_maybe);
        }
        let revision: u64 = list.metadata.resource_version.as_ref().unwrap().parse().unwrap();
        assert!(revision >= newest, "round {round}: revision {revision} after {newest}");
        // The watcher of the round before goes on where it stopped, and comes to the same state.
        if round > 0 {
            let params = WatchParams::default().labels("written=yes");
            let mut watch = maps.watch(&params, &seen).await.unwrap().boxed();
            while mirror != stored {
                match timeout(DEADLINE, watch.try_next())
                    .await
                    .expect("a watcher has lost events")
                    .unwrap()
                    .unwrap()
                {
                    WatchEvent::Added(map) | WatchEvent::Modified(map) => {
                        mirror.insert(map.name_any(), map.data.unwrap()["k"].clone());
                    }
                    WatchEvent::Deleted(map) => drop(mirror.remove(&map.name_any())),
                    WatchEvent::Bookmark(_) => {}
                    WatchEvent::Error(status) => panic!("round {round}: {status:?}"),
                }
            }
        }
        (seen, mirror) = (revision.to_string(), stored.clone());
        if round == rounds {
            break;
        }
        let (counter, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let stop_at = random.random_range(10..150);
        let journals = Arc::new(Mutex::new(Vec::new()));
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..WRITERS {
            let name = format!("w{number}");
            let own = format!("{name}-");
            let known = stored
                .iter()
                .filter(|(object, _)| object.starts_with(&own))
                .map(|(object, value)| (object.clone(), Some(value.clone())))
                .collect();
            let writing = write(maps.clone(), name, round, counter.clone(), enough.clone(), stop_at, known);
            let journals = journals.clone();
            writers.spawn(async move {
                let journal = writing.await;
                journals.lock().unwrap().push(journal);
            });
        }
        timeout(DEADLINE, enough.notified()).await.expect("the storm has stopped");
        drop(victim);
        while let Some(writer) = timeout(DEADLINE, writers.join_next()).await.expect("a writer hangs") {
            writer.unwrap();
        }
        (known, broken_off) = (Known::new(), Vec::new());
        for journal in std::mem::take(&mut *journals.lock().unwrap()) {
            newest = newest.max(journal.newest);
            known.extend(journal.acknowledged);
            broken_off.extend(journal.broken_off);
        }
        newest = newest.max(revision);
        total += counter.load(Ordering::Relaxed);
    }
    let enough = usize::try_from(rounds).unwrap() * 40;
    assert!(total > enough, "that was no storm: {total} writes");
    println!("{total} acknowledged writes, {torn} stored but not acknowledged");
}
