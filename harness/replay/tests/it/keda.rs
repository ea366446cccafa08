//! ScaledObjects on the embedded platform: a real broker's queue, a real Prometheus, librdkafka's cluster and a scaler on
//! gRPC's own server scale a Deployment from zero to many and back.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use http::Request;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use windtunnel_api::keda::{ScaledObject, TriggerAuthentication};
use windtunnel_cluster::Image;
use windtunnel_replay::{EmbeddedStack, StackOptions};

use crate::brokers::{Kafka, Prometheus, RabbitMq, Scaler};

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
                    "containers": [{"name": "worker", "image": "test/worker", "env": [{"name": "SHARD", "value": "7"}]}]}}}}))
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
        let has_them = |found: Option<&Deployment>| {
            let counts = |worker: &Deployment| {
                let ready = worker.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
                worker.spec.as_ref().and_then(|spec| spec.replicas) == Some(wanted) && ready == wanted
            };
            found.is_some_and(counts)
        };
        let waiting = await_condition(self.api::<Deployment>(), "worker", has_them);
        let waited = tokio::time::timeout(DEADLINE, waiting).await;
        if let Ok(Ok(_)) = waited {
            return;
        }
        let worker = self.api::<Deployment>().get("worker").await.map(|found| json!(found.status));
        let scaled = self.api::<ScaledObject>().get("worker").await.map(|found| json!(found.status));
        let hpa = self.api::<HorizontalPodAutoscaler>().get_opt("keda-hpa-worker").await;
        let hpa = hpa.map(|found| json!(found));
        panic!("{wanted} replicas: not within {DEADLINE:?}; {waited:?}, {worker:#?}, {scaled:#?}, {hpa:#?}");
    }

    /// Waits until a condition of the ScaledObject has this status.
    async fn condition(&self, kind: &'static str, status: &'static str) {
        let holds = |found: Option<&ScaledObject>| {
            let conditions = found.and_then(|found| found.status.as_ref()).map(|status| &status.conditions);
            let mut conditions = conditions.into_iter().flatten().map(|condition| json!(condition));
            conditions.any(|condition| condition["type"] == kind && condition["status"] == status)
        };
        let waiting = await_condition(self.api::<ScaledObject>(), "worker", holds);
        if tokio::time::timeout(DEADLINE, waiting).await.is_err() {
            let scaled = self.api::<ScaledObject>().get("worker").await.map(|found| json!(found.status));
            panic!("{kind} {status}: not within {DEADLINE:?}; {scaled:#?}");
        }
    }

    /// Makes the ScaledObject `worker`, which is polled every second and cools down in one.
    async fn scale_by(&self, triggers: Value) {
        self.create::<ScaledObject>(json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": "worker"}, "spec": {"scaleTargetRef": {"name": "worker"}, "pollingInterval": 1,
                "cooldownPeriod": 1, "maxReplicaCount": 10, "triggers": triggers}}))
            .await;
    }

    /// Value of a metric as an autoscaler gets it.
    async fn metric(&self, name: &str) -> Value {
        let path = format!(
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/{name}\
             ?labelSelector=scaledobject.keda.sh%2Fname%3Dworker"
        );
        let request = Request::get(path).body(Vec::new()).expect("a request");
        let list: Value = self.stack.client().request(request).await.expect("an answer");
        assert_eq!(list["kind"], "ExternalMetricValueList");
        list["items"][0]["value"].clone()
    }

    /// Whether an event of this reason says this.
    async fn has_event(&self, reason: &str, part: &str) -> bool {
        let events = self.api::<Event>().list(&ListParams::default()).await.expect("events");
        let says = |event: &Event| event.message.as_deref().unwrap_or_default().contains(part);
        events.items.iter().any(|event| event.reason.as_deref() == Some(reason) && says(event))
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
    let groups = Request::get("/apis").body(Vec::new()).expect("a request");
    let groups: Value = platform.stack.client().request(groups).await.expect("the groups");
    let groups = groups["groups"].as_array().expect("groups");
    for group in ["keda.sh", "external.metrics.k8s.io"] {
        assert!(groups.iter().any(|found| found["name"] == group), "{group} is not among {groups:?}");
    }
    platform
        .scale_by(json!([{"type": "rabbitmq",
            "metadata": {"queueName": "jobs", "mode": "QueueLength", "value": "5"},
            "authenticationRef": {"name": "broker"}}]))
        .await;
    broker.publish("jobs", 12);
    // From 0 to 1 by KEDA, then ceil(12 / 5) by its autoscaler.
    platform.replicas(3).await;
    let scaled = json!(platform.api::<ScaledObject>().get("worker").await.expect("the ScaledObject"));
    assert_eq!(scaled["status"]["externalMetricNames"], json!(["s0-rabbitmq-jobs"]));
    assert_eq!(scaled["status"]["triggersActivity"]["s0-rabbitmq-jobs"]["isActive"], true);
    let hpa = platform.api::<HorizontalPodAutoscaler>().get("keda-hpa-worker").await.expect("its autoscaler");
    assert_eq!(hpa.owner_references()[0].kind, "ScaledObject");
    assert_eq!(platform.metric("s0-rabbitmq-jobs").await, "12");
    broker.purge("jobs");
    platform.replicas(0).await;
    let events = platform.api::<Event>().list(&ListParams::default()).await.expect("events");
    let reasons: Vec<String> = events.items.into_iter().filter_map(|event| event.reason).collect();
    for reason in
        ["KEDAScalersStarted", "ScaledObjectReady", "KEDAScaleTargetActivated", "KEDAScaleTargetDeactivated"]
    {
        assert!(reasons.iter().any(|found| found == reason), "{reason} is missing in {reasons:?}");
    }
    // The same queue by AMQP; the Secret is read at every poll.
    let secrets = platform.api::<Secret>();
    let say = async |address: String| {
        let patch = Patch::Merge(json!({"stringData": {"address": address}}));
        secrets.patch("broker", &PatchParams::default(), &patch).await.expect("a patch");
    };
    say(format!("amqp://guest:wrong@127.0.0.1:{}/%2F", broker.amqp)).await;
    platform.condition("Ready", "False").await;
    assert!(platform.has_event("KEDAScalerFailed", "ACCESS_REFUSED").await, "nobody says who refused");
    say(format!("amqp://127.0.0.1:{}", broker.amqp)).await;
    platform.condition("Ready", "True").await;
    // ceil(17 / 5); fewer than before would be kept at three for five minutes.
    broker.publish("jobs", 17);
    platform.replicas(4).await;
    broker.purge("jobs");
    platform.replicas(0).await;
    platform.stop().await;
}

/// Messages of a topic would wait for ever, or consumers would go on without any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_scales_from_zero_to_many_and_back() {
    let Some(mut kafka) = Kafka::start() else {
        eprintln!("skipped: a_topic_scales_from_zero_to_many_and_back: no librdkafka; run ci/setup");
        return;
    };
    // Both brokers lead two of the four partitions. All that is there has been read.
    for partition in 0..4 {
        kafka.produce("jobs", partition, 3);
        kafka.commit("workers", "jobs", partition, 3);
    }
    let platform = Platform::start().await;
    platform
        .scale_by(json!([{"type": "kafka", "metadata": {"bootstrapServers": kafka.servers,
            "consumerGroup": "workers", "topic": "jobs", "lagThreshold": "5"}}]))
        .await;
    platform.condition("Active", "False").await;
    for (partition, count) in [(0, 4), (1, 3), (2, 5)] {
        kafka.produce("jobs", partition, count);
    }
    // ceil(12 / 5).
    platform.replicas(3).await;
    let scaled = json!(platform.api::<ScaledObject>().get("worker").await.expect("the ScaledObject"));
    assert_eq!(scaled["status"]["externalMetricNames"], json!(["s0-kafka-jobs"]));
    assert_eq!(platform.metric("s0-kafka-jobs").await, "12");
    // A partition that the group reads and has not committed to counts 1, and no more replicas than partitions: 4 x 5.
    kafka.produce("jobs", 3, 100);
    assert_eq!(platform.metric("s0-kafka-jobs").await, "20");
    for (partition, offset) in [(0, 7), (1, 6), (2, 8), (3, 103)] {
        kafka.commit("workers", "jobs", partition, offset);
    }
    platform.replicas(0).await;
    let patch = json!({"spec": {"triggers": [{"type": "kafka", "metadata": {"bootstrapServers": kafka.servers,
        "consumerGroup": "nobody", "topic": "jobs", "lagThreshold": "1", "limitToPartitionsWithLag": "true"}}]}});
    let objects = platform.api::<ScaledObject>();
    objects.patch("worker", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("a patch");
    // A group that has never committed: a lag of 1 a partition, so that a consumer comes.
    platform.replicas(4).await;
    platform.stop().await;
}

/// Nothing but what we know would ever scale anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_scaler_scales_from_zero_to_many_and_back() {
    let Some(mut scaler) = Scaler::start(false) else {
        eprintln!("skipped: an_external_scaler_scales_from_zero_to_many_and_back: no grpcio; run ci/setup");
        return;
    };
    scaler.set("waiting", "2.5", "9", true);
    let platform = Platform::start().await;
    platform
        .scale_by(json!([{"type": "external", "metadata":
            {"scalerAddress": format!("127.0.0.1:{}", scaler.port), "team": "vision", "shardFromEnv": "SHARD"}}]))
        .await;
    // ceil(9 / 2.5).
    platform.replicas(4).await;
    assert_eq!(platform.metric("s0-waiting").await, "9");
    let seen = scaler.seen();
    let metadata = &seen["default/worker"];
    assert_eq!((&metadata["team"], &metadata["shardFromEnv"]), (&json!("vision"), &json!("7")), "{seen}");
    // ceil(14 / 2.5); down to zero KEDA goes by itself, without the five minutes for which autoscalers wait.
    scaler.set("waiting", "2.5", "14", true);
    platform.replicas(6).await;
    scaler.set("waiting", "2.5", "0", false);
    platform.replicas(0).await;
    platform.stop().await;
}

/// A target at zero would wake up only at the next poll, here after an hour; or passwords would go over the wire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_scaler_wakes_its_target_by_itself() {
    let Some(mut scaler) = Scaler::start(true) else {
        eprintln!("skipped: an_external_scaler_wakes_its_target_by_itself: no grpcio; run ci/setup");
        return;
    };
    scaler.set("requests", "1", "0", false);
    let platform = Platform::start().await;
    platform
        .create::<Secret>(
            json!({"metadata": {"name": "scaler"}, "stringData": {"ca.crt": scaler.certificate}}),
        )
        .await;
    platform
        .create::<TriggerAuthentication>(
            json!({"apiVersion": "keda.sh/v1alpha1", "kind": "TriggerAuthentication",
            "metadata": {"name": "scaler"}, "spec": {"secretTargetRef":
                [{"parameter": "caCert", "name": "scaler", "key": "ca.crt"}]}}),
        )
        .await;
    platform
        .create::<ScaledObject>(json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": "worker"}, "spec": {"scaleTargetRef": {"name": "worker"}, "pollingInterval": 3600,
                "triggers": [{"type": "external-push", "metadata": {"scalerAddress": format!("localhost:{}", scaler.port)},
                    "authenticationRef": {"name": "scaler"}}]}}))
        .await;
    platform.condition("Active", "False").await;
    scaler.wait_for_a_stream();
    scaler.set("requests", "1", "3", true);
    platform.replicas(3).await;
    let expected = "from 0 to 1, triggered by s0-requests";
    assert!(platform.has_event("KEDAScaleTargetActivated", expected).await, "nobody says who woke it");
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
    platform.scale_by(triggers("sum(up{job=\"self\"}) * 9")).await;
    // ceil(9 / 5).
    platform.replicas(2).await;
    let patch = json!({"spec": {"triggers": triggers("sum(up{job=\"self\"}) - 1")}});
    let objects = platform.api::<ScaledObject>();
    objects.patch("worker", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("a patch");
    platform.replicas(0).await;
    platform.stop().await;
}
