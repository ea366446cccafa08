//! Services that pass admission and can't run: who made them learns why, in a condition and an event, and nothing goes on
//! being written about it.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Event;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use windtunnel_api::condition::{self, Condition};
use windtunnel_api::knative::Revision;
use windtunnel_api::kserve::{InferenceGraph, InferenceService};

use crate::digits;
use crate::platform::{Platform, Running, at_rest, eventually, standard};
use crate::wait::until;

/// What the issue of a service must be told within.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// Requests above the limits, which only the API server's rules for pods refuse.
fn greedy() -> Value {
    json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})
}

fn named(name: &str, mode: &str, model: &Value) -> InferenceService {
    let mut service = digits("v1", json!({"minReplicas": 1, "model": model}));
    service.metadata.name = Some(name.to_owned());
    service.metadata.annotations =
        Some([("serving.kserve.io/deploymentMode".to_owned(), mode.to_owned())].into());
    service
}

fn model(change: &Value) -> Value {
    let mut model = json!({"modelFormat": {"name": "onnx"}, "storageUri": "s3://models/digits/v1"});
    for (field, value) in change.as_object().expect("fields") {
        model[field] = value.clone();
    }
    model
}

fn found<'a>(service: &'a InferenceService, type_: &str) -> Option<&'a Condition> {
    condition::find(&service.status.as_ref()?.conditions, type_)
}

/// How often each reason was told about an object or what is made for it, with the last message.
async fn events_about(platform: &Platform, name: &str) -> Vec<(String, String, i32)> {
    let events = platform.api::<Event>().list(&ListParams::default()).await.expect("events");
    let about = events
        .into_iter()
        .filter(|event| event.involved_object.name.as_deref().is_some_and(|found| found.starts_with(name)));
    about
        .map(|event| {
            (event.reason.unwrap_or_default(), event.message.unwrap_or_default(), event.count.unwrap_or(1))
        })
        .collect()
}

/// Waits for the warning about an object; there is one only, however often it is tried.
async fn warned(platform: &Platform, name: &str, part: &str) {
    let look = || async {
        let mut events = events_about(platform, name).await;
        events.retain(|(reason, message, _)| reason == "InternalError" && message.contains(part));
        events
    };
    let told = eventually("a warning", TOLD_WITHIN, look, |events| !events.is_empty()).await;
    assert_eq!((told.len(), told[0].2), (1, 1), "{told:?}");
}

async fn start() -> (Platform, Running) {
    let platform = Platform::new().await;
    let running = platform.start(platform.controllers()).await;
    (platform, running)
}

/// Who asks for more than the limit would wait for a server that never comes, with nothing to read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_deployment_is_told_and_corrected() {
    const SAYS: &str = "must be less than or equal to cpu limit";
    let (platform, running) = start().await;
    let _kubelet = platform.kubelet();
    let services = platform.api::<InferenceService>();
    let began = Instant::now();
    let service = named("plain", "Standard", &model(&json!({"resources": greedy()})));
    services.create(&PostParams::default(), &service).await.expect("admitted");
    let told = until(services.clone(), "plain", "told of the refusal", |service| {
        found(service, "PredictorReady").is_some_and(|ready| ready.reason() == "Invalid")
    })
    .await;
    assert!(began.elapsed() < TOLD_WITHIN, "{:?}", began.elapsed());
    for type_ in ["PredictorReady", "Ready"] {
        let condition = found(&told, type_).expect("a condition");
        assert_eq!((condition.status.as_str(), condition.reason()), ("False", "Invalid"), "{type_}");
        assert!(condition.message().contains(SAYS), "{type_}: {}", condition.message());
        assert!(
            condition.message().contains("Deployment default/plain-predictor"),
            "{}",
            condition.message()
        );
    }
    let settled = |service: &InferenceService| {
        service.status.as_ref().and_then(|status| status.observed_generation) == service.metadata.generation
    };
    until(services.clone(), "plain", "the generation that was looked at", settled).await;
    warned(&platform, "plain", SAYS).await;
    // Its other children are there: what is wrong with one is no reason to leave out the rest.
    platform.api::<k8s_openapi::api::core::v1::Service>().get("plain-predictor").await.expect("its Service");

    let enough = json!({"spec": {"predictor": {"model": {"resources": {"limits": {"cpu": "2"}}}}}});
    services.patch("plain", &PatchParams::default(), &Patch::Merge(&enough)).await.expect("corrected");
    until(services.clone(), "plain", "ready", |service| {
        service.status.as_ref().is_some_and(|status| status.is_ready()) && settled(service)
    })
    .await;

    // A running service whose change is refused goes on running, and says so.
    let more = json!({"spec": {"predictor": {"model": {"resources": {"requests": {"cpu": "3"}}}}}});
    services.patch("plain", &PatchParams::default(), &Patch::Merge(&more)).await.expect("admitted");
    until(services.clone(), "plain", "told of the refused change", |service| {
        found(service, "Ready").is_some_and(|ready| ready.is_false() && ready.message().contains(SAYS))
    })
    .await;
    let kept = platform.api::<Deployment>().get("plain-predictor").await.expect("its Deployment");
    assert_eq!(kept.status.and_then(|status| status.available_replicas), Some(1));
    running.stop().await;
}

/// On Knative the refusal is about a revision's Deployment, three objects below the service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_revision_is_told_up_to_the_service() {
    const SAYS: &str = "must be less than or equal to cpu limit";
    let (platform, running) = start().await;
    let services = platform.api::<InferenceService>();
    let began = Instant::now();
    let service = named("digits", "Knative", &model(&json!({"resources": greedy()})));
    services.create(&PostParams::default(), &service).await.expect("admitted");
    let told = until(services.clone(), "digits", "told of the refusal", |service| {
        found(service, "PredictorReady").is_some_and(Condition::is_false)
    })
    .await;
    assert!(began.elapsed() < TOLD_WITHIN, "{:?}", began.elapsed());
    let condition = found(&told, "PredictorReady").expect("a condition");
    assert!(condition.message().contains(SAYS), "{condition:?}");
    let revision = platform.api::<Revision>().get("digits-predictor-00001").await.expect("the revision");
    let conditions = revision.status.expect("a status").conditions;
    let ready = condition::find(&conditions, "Ready").expect("Ready");
    assert_eq!((ready.status.as_str(), ready.reason()), ("False", "Invalid"), "{conditions:?}");
    warned(&platform, "digits-predictor-00001", SAYS).await;
    running.stop().await;
}

/// A graph whose router is refused would look as if it were still starting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_router_is_told() {
    let (platform, running) = start().await;
    let graphs = platform.api::<InferenceGraph>();
    let graph: InferenceGraph = serde_json::from_value(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "InferenceGraph",
        "metadata": {"name": "chain", "annotations": {"serving.kserve.io/deploymentMode": "Standard"}},
        "spec": {"resources": greedy(), "nodes": {"root": {"routerType": "Sequence",
            "steps": [{"serviceUrl": "http://example.com/a"}]}}}}))
    .expect("a graph");
    graphs.create(&PostParams::default(), &graph).await.expect("admitted");
    let told = until(graphs.clone(), "chain", "told of the refusal", |graph: &InferenceGraph| {
        let conditions = graph.status.as_ref().map(|status| &status.conditions);
        conditions
            .and_then(|found| condition::find(found, "Ready"))
            .is_some_and(|ready| ready.reason() == "Invalid")
    })
    .await;
    let conditions = told.status.expect("a status").conditions;
    let ready = condition::find(&conditions, "Ready").expect("Ready");
    assert!(ready.is_false() && ready.message().contains("Deployment default/chain"), "{ready:?}");
    warned(&platform, "chain", "cpu limit").await;
    running.stop().await;
}

/// Each reason why a service that was admitted can't run: told in time, and then there is rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_run_says_so_and_rests() {
    // What is wrong with the model, and what the service says.
    let wrong = [
        ("scheme", json!({"storageUri": "gopher://models/digits"}), "gopher://models/digits"),
        ("runtime", json!({"runtime": "nowhere"}), "runtime"),
        ("format", json!({"modelFormat": {"name": "unheard-of"}}), "runtime"),
    ];
    let (platform, running) = start().await;
    let services = platform.api::<InferenceService>();
    let mut told = Vec::new();
    for mode in ["Standard", "Knative"] {
        for (what, change, says) in &wrong {
            let name = format!("{what}-{}", mode.to_lowercase());
            let service = named(&name, mode, &model(change));
            match services.create(&PostParams::default(), &service).await {
                Ok(_) => told.push((name, *says)),
                // Refused at once is better still.
                Err(kube::Error::Api(answer)) => {
                    assert!(answer.message.contains(says), "{name}: {}", answer.message);
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
        let long = format!("{}-{}", "n".repeat(50), mode.to_lowercase());
        let service = named(&long, mode, &model(&json!({})));
        match services.create(&PostParams::default(), &service).await {
            Ok(_) => told.push((long, "")),
            Err(kube::Error::Api(answer)) => assert!(answer.message.contains("name"), "{}", answer.message),
            Err(error) => panic!("{long}: {error}"),
        }
    }
    assert!(told.len() >= 4, "{told:?}");
    for (name, says) in &told {
        let look = || async {
            let service = services.get(name).await.expect("the service");
            let events = events_about(&platform, name).await;
            let false_ones: Vec<String> = service
                .status
                .iter()
                .flat_map(|status| &status.conditions)
                .filter(|condition| condition.is_false())
                .map(|condition| {
                    format!("{} {}: {}", condition.type_, condition.reason(), condition.message())
                })
                .collect();
            (false_ones, events)
        };
        let is_told = |(conditions, events): &(Vec<String>, Vec<(String, String, i32)>)| {
            conditions.iter().any(|text| text.contains(says))
                && events.iter().any(|(_, text, _)| text.contains(says))
        };
        eventually(&format!("{name}: a condition and an event"), TOLD_WITHIN, look, is_told).await;
    }
    // The wait before a new try grows to ten seconds; what is no refusal needs no new try at all.
    at_rest(&running, Duration::from_secs(1)).await;
    running.stop().await;
}

/// A quota that is freed, or a policy that is changed: nobody touches the service again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_is_freed_lets_it_in() {
    use k8s_openapi::api::core::v1::ResourceQuota;
    let (platform, running) = start().await;
    let _kubelet = platform.kubelet();
    let quotas = platform.api::<ResourceQuota>();
    let none: ResourceQuota = serde_json::from_value(
        json!({"metadata": {"name": "none"}, "spec": {"hard": {"count/deployments.apps": "0"}}}),
    )
    .expect("a quota");
    quotas.create(&PostParams::default(), &none).await.expect("a quota");
    let services = platform.api::<InferenceService>();
    services.create(&PostParams::default(), &standard("waiting")).await.expect("admitted");
    until(services.clone(), "waiting", "told of the quota", |service| {
        found(service, "PredictorReady").is_some_and(|ready| ready.reason() == "Forbidden")
    })
    .await;
    quotas.delete("none", &kube::api::DeleteParams::default()).await.expect("freed");
    until(services, "waiting", "ready", |service| {
        service.status.as_ref().is_some_and(|status| status.is_ready())
    })
    .await;
    running.stop().await;
}
