//! What goes wrong around the controllers: crashes between two writes, others who write the same fields, services that
//! cannot be made, and reconciles without a reason.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Service as CoreService};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Notify;
use windtunnel_api::gateway_api::HttpRoute;
use windtunnel_api::knative::{Configuration, Revision, Route, Service};
use windtunnel_api::kserve::{InferenceService, InferenceServiceStatus};
use windtunnel_apiserver::{Admission, Attributes, Denial, Operation};

use crate::digits;
use crate::platform::{Platform, at_rest, eventually};
use crate::wait::until;

const DEADLINE: Duration = Duration::from_secs(15);
/// So long nothing is written when everything is done.
const REST: Duration = Duration::from_millis(300);

fn is_ready(service: &InferenceService) -> bool {
    service.status.as_ref().is_some_and(InferenceServiceStatus::is_ready)
}

/// A client that gets no answer to its n-th write, and nothing through after it: the process is as good as dead.
fn dying(client: Client, dies_at: usize, dead: Arc<Notify>) -> (Client, Arc<AtomicUsize>) {
    let writes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&writes);
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (client, dead) = (client.clone(), Arc::clone(&dead));
        let number = match request.method().as_str() {
            "GET" => 0,
            _ => count.fetch_add(1, Ordering::SeqCst) + 1,
        };
        async move {
            if number > dies_at {
                return std::future::pending().await;
            }
            let answer = client.send(request).await;
            if number == dies_at {
                dead.notify_one();
                return std::future::pending().await;
            }
            answer
        }
    });
    (Client::new(service, "default"), writes)
}

/// All objects of a kind, without what differs from run to run.
async fn stored<K>(platform: &Platform, all: &mut BTreeMap<String, Value>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    for object in platform.api::<K>().list(&ListParams::default()).await.expect("objects") {
        let name = format!("{} {}", K::kind(&()), object.name_any());
        let mut value = serde_json::to_value(&object).expect("JSON");
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"] {
            value["metadata"].as_object_mut().expect("metadata").shift_remove(field);
        }
        for field in ["clusterIP", "clusterIPs"] {
            value["spec"].as_object_mut().map(|spec| spec.shift_remove(field));
        }
        without_times(&mut value);
        all.insert(name, value);
    }
}

fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                !matches!(
                    name.as_str(),
                    "lastTransitionTime"
                        | "lastUpdateTime"
                        | "time"
                        | "uid"
                        | "serving.knative.dev/routingStateModified"
                ) && !name.ends_with("UID")
            });
            fields.values_mut().for_each(without_times);
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

async fn state(platform: &Platform) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    stored::<InferenceService>(platform, &mut all).await;
    stored::<Service>(platform, &mut all).await;
    stored::<Configuration>(platform, &mut all).await;
    stored::<Revision>(platform, &mut all).await;
    stored::<Route>(platform, &mut all).await;
    stored::<Deployment>(platform, &mut all).await;
    stored::<CoreService>(platform, &mut all).await;
    stored::<HorizontalPodAutoscaler>(platform, &mut all).await;
    stored::<HttpRoute>(platform, &mut all).await;
    all
}

/// A Standard and a Knative service, on a cluster where their pods are ready at once. The controllers die at the n-th
/// write and others go on; what is there in the end, and how many writes it took.
async fn after_a_crash(
    dies_at: usize,
    expected: Option<&BTreeMap<String, Value>>,
) -> (BTreeMap<String, Value>, usize) {
    let platform = Platform::new().await;
    let _kubelet = platform.kubelet();
    let endpoints: Endpoints = serde_json::from_value(json!({
        "metadata": {"name": "digits-predictor-00001-private", "namespace": "default"},
        "subsets": [{"addresses": [{"ip": "127.64.1.1"}], "ports": [{"port": 8080}]}],
    }))
    .expect("Endpoints");
    platform.api().create(&PostParams::default(), &endpoints).await.expect("Endpoints");
    let dead = Arc::new(Notify::new());
    let (client, writes) = dying(platform.controllers(), dies_at, Arc::clone(&dead));
    let first = platform.start(client).await;
    let knative = digits("v1", json!({"minReplicas": 1}));
    platform.api().create(&PostParams::default(), &knative).await.expect("a service");
    platform.create("plain").await;
    let running = if expected.is_some() {
        let done = async {
            for name in ["digits", "plain"] {
                until(platform.api::<InferenceService>(), name, "a ready service", is_ready).await;
            }
            // Events are written beside everything else: their number differs from run to run.
            at_rest(&first, REST).await;
        };
        tokio::select! {
            biased;
            () = dead.notified() => {}
            () = done => return (expected.cloned().unwrap_or_default(), writes.load(Ordering::SeqCst)),
        }
        // It can write no more; dropping it does not wait for anything.
        drop(first);
        platform.start(platform.controllers()).await
    } else {
        first
    };
    for name in ["digits", "plain"] {
        until(platform.api::<InferenceService>(), name, "a ready service", is_ready).await;
    }
    let found = match expected {
        None => {
            at_rest(&running, REST).await;
            state(&platform).await
        }
        Some(expected) => {
            let what = format!("the state after a death at write {dies_at}");
            let differences = || async {
                let found = state(&platform).await;
                let names = found.keys().chain(expected.keys());
                let differ = names.filter(|name| found.get(*name) != expected.get(*name));
                differ
                    .map(|name| (name.clone(), found.get(name).cloned(), expected.get(name).cloned()))
                    .collect::<Vec<_>>()
            };
            eventually(&what, DEADLINE, differences, Vec::is_empty).await;
            expected.clone()
        }
    };
    running.stop().await;
    (found, writes.load(Ordering::SeqCst))
}

/// A process can end between any two writes; whoever comes next must find its way from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_after_any_write_heals() {
    let (undisturbed, writes) = after_a_crash(usize::MAX, None).await;
    assert!(undisturbed.len() >= 14, "{:?}", undisturbed.keys());
    assert!(writes >= 20, "{writes} writes");
    for dies_at in 1..=writes {
        // The number of writes may differ by events and by what is told in one write or two.
        if dies_at + 2 > writes {
            break;
        }
        after_a_crash(dies_at, Some(&undisturbed)).await;
    }
    println!("{} objects, {writes} writes, a crash after each", undisturbed.len());
}

/// Every needless write wakes all watchers of the cluster.
#[tokio::test]
async fn reconciles_without_a_reason_write_nothing() {
    const SERVICES: u64 = 10;
    const ROUNDS: u64 = 5;
    let platform = Platform::new().await;
    let _kubelet = platform.kubelet();
    let running = platform.start(platform.controllers()).await;
    for number in 0..SERVICES {
        platform.create(&format!("s{number}")).await;
    }
    for number in 0..SERVICES {
        let name = format!("s{number}");
        until(platform.api::<InferenceService>(), &name, "a ready service", is_ready).await;
    }
    let metrics = running.control_plane.metrics().clone();
    let maps = Api::<ConfigMap>::namespaced(platform.client.clone(), "kserve");
    let mut writes = 0;
    for round in 0..=ROUNDS {
        let before = metrics.reconciles();
        let note = json!({"metadata": {"annotations": {"round": round.to_string()}}});
        let patched =
            maps.patch("inferenceservice-config", &PatchParams::default(), &Patch::Merge(&note)).await;
        patched.expect("a note");
        let look = || async { metrics.reconciles() - before };
        eventually("every service reconciled again", DEADLINE, look, |count| *count >= SERVICES).await;
        if round == 0 {
            // What was on its way is done now.
            writes = metrics.writes();
        }
    }
    assert_eq!(metrics.writes(), writes, "needless writes:\n{}", metrics.text());
    let page = metrics.text();
    let ready = format!("windtunnel_time_to_ready_seconds_count{{kind=\"InferenceService\"}} {SERVICES}");
    assert!(page.lines().any(|line| line == ready), "{ready} is not in\n{page}");
    running.stop().await;
}

/// Others may write beside us; who writes over us is corrected, and two who disagree don't keep the cluster busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn field_managers_do_not_fight() {
    let platform = Platform::new().await;
    let _kubelet = platform.kubelet();
    let running = platform.start(platform.controllers()).await;
    platform.create("a").await;
    until(platform.api::<InferenceService>(), "a", "a ready service", is_ready).await;
    let metrics = running.control_plane.metrics().clone();
    let deployments = platform.api::<Deployment>();
    let apply = |manager: &'static str, fields: Value| {
        let deployments = deployments.clone();
        async move {
            let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
            object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let params = PatchParams::apply(manager).force();
            deployments.patch("a-predictor", &params, &Patch::Apply(object)).await.expect("applied")
        }
    };
    let drifted = |page: &str| {
        let series = "windtunnel_writes_total{kind=\"Deployment\",operation=\"apply\",reason=\"drifted\"} ";
        page.lines().find_map(|line| line.strip_prefix(series)?.parse::<u64>().ok()).unwrap_or(0)
    };

    // Fields of theirs.
    let reconciles = metrics.reconciles();
    apply("note-taker", json!({"metadata": {"annotations": {"theirs": "x"}}})).await;
    let look = || async { metrics.reconciles() };
    eventually("a reconcile", DEADLINE, look, |count| *count > reconciles).await;
    assert_eq!(drifted(&metrics.text()), 0);

    // Fields of ours.
    let theirs = json!({"spec": {"template": {"spec": {"containers": [{"name": "kserve-container", "image": "evil:1"}]}}}});
    let image = |found: &Deployment| {
        let pod = found.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        pod.and_then(|pod| pod.containers[0].image.clone()).unwrap_or_default()
    };
    apply("attacker", theirs.clone()).await;
    until(deployments.clone(), "a-predictor", "our image again", |found| image(found) != "evil:1").await;
    assert_eq!(drifted(&metrics.text()), 1);
    let kept = deployments.get("a-predictor").await.expect("the Deployment");
    assert_eq!(kept.annotations().get("theirs").map(String::as_str), Some("x"), "theirs stays");

    // Somebody who never gives up.
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < Duration::from_secs(3) {
        apply("attacker", theirs.clone()).await;
        rounds += 1;
        tokio::task::yield_now().await;
    }
    let corrections = drifted(&metrics.text());
    assert!((5..=8).contains(&corrections), "{corrections} corrections against {rounds} attacks in 3 s");
    // Nobody else has to wait for that.
    platform.create("b").await;
    until(platform.api::<InferenceService>(), "b", "a ready service", is_ready).await;
    until(deployments, "a-predictor", "our image in the end", |found| image(found) != "evil:1").await;
    println!("{corrections} corrections against {rounds} attacks in 3 s");
    running.stop().await;
}

/// Refuses Deployments of services that are called `broken`.
struct Policy;

impl Admission for Policy {
    fn name(&self) -> &str {
        "policy.example.com"
    }

    fn matches(&self, attributes: &Attributes) -> bool {
        attributes.resource == "deployments" && attributes.operation == Operation::Create
    }

    fn review(&self, attributes: &Attributes, _: &mut Value, _: Option<&Value>) -> Result<(), Denial> {
        let broken = attributes.name.starts_with("broken");
        if broken { Err(Denial::new("no such image is allowed here")) } else { Ok(()) }
    }
}

/// One team's mistake must not stop the others' services, and they must be told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_services_delay_nobody_and_say_why() {
    const BROKEN: usize = 100;
    let platform = Platform::with(&[Arc::new(Policy)]).await;
    let _kubelet = platform.kubelet();
    let running = platform.start(platform.controllers()).await;
    let began = Instant::now();
    for number in 0..BROKEN {
        platform.create(&format!("broken{number}")).await;
    }
    let events = platform.api::<Event>();
    let told = || async {
        let events = events.list(&ListParams::default()).await.expect("events");
        let mut told: Vec<(String, String)> = events
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some("InternalError"))
            .map(|event| (event.involved_object.name.unwrap_or_default(), event.message.unwrap_or_default()))
            .collect();
        told.sort();
        told
    };
    let told =
        eventually("an event about each", Duration::from_secs(10), told, |told| told.len() >= BROKEN).await;
    let told_in = began.elapsed();
    assert_eq!(told.len(), BROKEN, "each is told once");
    assert!(told[0].1.contains("no such image is allowed here"), "{}", told[0].1);

    let began = Instant::now();
    platform.create("good").await;
    until(platform.api::<InferenceService>(), "good", "a ready service", is_ready).await;
    let took = began.elapsed();
    println!("ready in {took:?} beside {BROKEN} broken services, which were told in {told_in:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    running.stop().await;
}
