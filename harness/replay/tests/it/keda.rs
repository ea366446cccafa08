//! ScaledObjects on the embedded platform: a real broker's queue and a real Prometheus scale a Deployment from zero to
//! many and back.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::time::Instant;
use windtunnel_api::keda::{ScaledObject, TriggerAuthentication};
use windtunnel_cluster::Image;
use windtunnel_replay::{EmbeddedStack, StackOptions};

use crate::brokers::{Prometheus, RabbitMq};

/// The HorizontalPodAutoscaler looks every 15 s.
const DEADLINE: Duration = Duration::from_secs(60);

struct Platform {
    stack: EmbeddedStack,
    _folder: tempfile::TempDir,
}

impl Platform {
    /// A platform with a Deployment `worker` of no replicas.
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = StackOptions::new(folder.path().join("stack"), PathBuf::from("/bin/false"));
        options.images.push(Image::new("test/worker", ["sleep", "600"]));
        let stack = EmbeddedStack::start(options).await.expect("a platform");
        let platform = Self { stack, _folder: folder };
        let labels = json!({"app": "worker"});
        platform
            .create::<Deployment>(json!({"metadata": {"name": "worker"}, "spec": {"replicas": 0,
                "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "worker", "image": "test/worker"}]}}}}))
            .await;
        platform
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.stack.client(), "default")
    }

    async fn create<K>(&self, object: Value)
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let object: K = serde_json::from_value(object).expect("an object");
        self.api::<K>().create(&PostParams::default(), &object).await.expect("created");
    }

    /// Waits until the Deployment has so many ready replicas.
    async fn replicas(&self, wanted: i32) {
        let end = Instant::now() + DEADLINE;
        loop {
            let worker = self.api::<Deployment>().get("worker").await.expect("the Deployment");
            let ready = worker.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
            if worker.spec.as_ref().and_then(|spec| spec.replicas) == Some(wanted) && ready == wanted {
                return;
            }
            if Instant::now() > end {
                let scaled = self.api::<ScaledObject>().get("worker").await.map(|found| json!(found.status));
                let hpa = self.api::<HorizontalPodAutoscaler>().get_opt("keda-hpa-worker").await;
                panic!(
                    "{wanted} replicas: not within {DEADLINE:?}; {ready} are ready, {scaled:#?}, {hpa:#?}"
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(self) {
        self.stack.stop().await;
    }
}

/// Messages would wait for ever, or workers would go on without any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_scales_from_zero_to_many_and_back() {
    let started = tokio::task::spawn_blocking(RabbitMq::start).await.expect("started");
    let Some(broker) = started else {
        eprintln!("skipped: a_queue_scales_from_zero_to_many_and_back: no RabbitMQ; run ci/setup");
        return;
    };
    broker.declare("jobs");
    let platform = Platform::start().await;
    let host = format!("http://guest:guest@127.0.0.1:{}", broker.port);
    platform.create::<Secret>(json!({"metadata": {"name": "broker"}, "stringData": {"address": host}})).await;
    platform
        .create::<TriggerAuthentication>(
            json!({"apiVersion": "keda.sh/v1alpha1", "kind": "TriggerAuthentication",
            "metadata": {"name": "broker"}, "spec": {"secretTargetRef":
                [{"parameter": "host", "name": "broker", "key": "address"}]}}),
        )
        .await;
    platform
        .create::<ScaledObject>(json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": "worker"}, "spec": {"scaleTargetRef": {"name": "worker"}, "pollingInterval": 1,
                "cooldownPeriod": 1, "maxReplicaCount": 10, "triggers": [{"type": "rabbitmq",
                    "metadata": {"queueName": "jobs", "mode": "QueueLength", "value": "5"},
                    "authenticationRef": {"name": "broker"}}]}}))
        .await;
    broker.publish("jobs", 12);
    // From 0 to 1 by KEDA, then ceil(12 / 5) by its autoscaler.
    platform.replicas(3).await;
    let scaled = json!(platform.api::<ScaledObject>().get("worker").await.expect("the ScaledObject"));
    assert_eq!(scaled["status"]["externalMetricNames"], json!(["s0-rabbitmq-jobs"]));
    assert_eq!(scaled["status"]["triggersActivity"]["s0-rabbitmq-jobs"]["isActive"], true);
    let hpa = platform.api::<HorizontalPodAutoscaler>().get("keda-hpa-worker").await.expect("its autoscaler");
    assert_eq!(hpa.owner_references()[0].kind, "ScaledObject");
    let path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/s0-rabbitmq-jobs\
        ?labelSelector=scaledobject.keda.sh%2Fname%3Dworker";
    let request = http::Request::get(path).body(Vec::new()).expect("a request");
    let list: Value = platform.stack.client().request(request).await.expect("an answer");
    assert_eq!(
        (&list["kind"], &list["items"][0]["value"]),
        (&json!("ExternalMetricValueList"), &json!("12"))
    );
    broker.purge("jobs");
    platform.replicas(0).await;
    let events = platform.api::<Event>().list(&ListParams::default()).await.expect("events");
    let reasons: Vec<String> = events.items.into_iter().filter_map(|event| event.reason).collect();
    for reason in
        ["KEDAScalersStarted", "ScaledObjectReady", "KEDAScaleTargetActivated", "KEDAScaleTargetDeactivated"]
    {
        assert!(reasons.iter().any(|found| found == reason), "{reason} is missing in {reasons:?}");
    }
    platform.stop().await;
}

/// A query would be asked and its answer lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_scales_from_zero_to_many_and_back() {
    let started = tokio::task::spawn_blocking(Prometheus::start).await.expect("started");
    let Some(prometheus) = started else {
        eprintln!("skipped: a_query_scales_from_zero_to_many_and_back: no Prometheus; run ci/setup");
        return;
    };
    let platform = Platform::start().await;
    let triggers = |query: &str| {
        json!([{"type": "prometheus", "metadata": {"serverAddress": format!("http://127.0.0.1:{}", prometheus.port),
            "query": query, "threshold": "5"}}])
    };
    platform
        .create::<ScaledObject>(json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": "worker"}, "spec": {"scaleTargetRef": {"name": "worker"}, "pollingInterval": 1,
                "cooldownPeriod": 1, "triggers": triggers("sum(up{job=\"self\"}) * 9")}}))
        .await;
    // ceil(9 / 5).
    platform.replicas(2).await;
    let patch = json!({"spec": {"triggers": triggers("sum(up{job=\"self\"}) - 1")}});
    let objects = platform.api::<ScaledObject>();
    objects.patch("worker", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("a patch");
    platform.replicas(0).await;
    platform.stop().await;
}
