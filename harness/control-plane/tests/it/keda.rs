//! The loops of ScaledObjects on a world in memory, in virtual time: the test plays RabbitMQ, an external scaler and the API
//! server.

use serde_json::{Value, json};
use windtunnel_api::keda::ScaledObject;
use windtunnel_control_plane::keda::{Loops, Polled, Question, Sample, Target};
use windtunnel_control_plane::{Effect, Kept, Kind, Object, ObjectKey, World};
use windtunnel_kernel::autoscale::keda::Trigger;
use windtunnel_kernel::autoscale::keda::triggers::Scaler;
use windtunnel_kernel::autoscale::keda::triggers::external::ExternalMetric;
use windtunnel_kernel::autoscale::keda::triggers::rabbitmq::Queue;

const SECOND_NS: u64 = 1_000_000_000;
/// 2026-01-01T00:00:00Z.
const START_NS: u64 = 1_767_225_600 * SECOND_NS;

/// Name, target and value.
type Metric = (&'static str, f64, f64);

/// A ScaledObject, its Deployment's replicas, and a queue.
struct Stage {
    world: World,
    loops: Loops,
    key: ObjectKey,
    now_ns: u64,
    replicas: i32,
    queue: Result<i64, String>,
    /// The metrics of an external scaler, and whether it says that it is active.
    external: Result<(Vec<Metric>, bool), String>,
    events: Vec<String>,
    has_autoscaler: bool,
    finalizers: Vec<String>,
}

impl Stage {
    fn new(spec: &Value) -> Self {
        let mut stage = Self {
            world: World::default(),
            loops: Loops::default(),
            key: ObjectKey::new("ns", "worker"),
            now_ns: START_NS,
            replicas: 1,
            queue: Ok(0),
            external: Ok((Vec::new(), false)),
            events: Vec::new(),
            has_autoscaler: false,
            finalizers: Vec::new(),
        };
        stage.world.has_own_keda = true;
        let mut full = json!({"scaleTargetRef": {"name": "worker"}, "cooldownPeriod": 60, "pollingInterval": 10,
            "triggers": [{"type": "rabbitmq", "metadata": {"host": "http://r", "queueName": "jobs",
                "mode": "QueueLength", "value": "5", "activationValue": "2"}}]});
        for (field, value) in spec.as_object().expect("fields") {
            full[field] = value.clone();
        }
        stage.store(json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "spec": full,
            "metadata": {"name": "worker", "namespace": "ns", "uid": "u", "generation": 1,
                "creationTimestamp": "2025-12-31T23:59:59Z"}}));
        stage.changed();
        stage
    }

    fn store(&mut self, object: Value) {
        let object: ScaledObject = serde_json::from_value(object).expect("a ScaledObject");
        self.world.apply(object.wrap());
    }

    fn object(&self) -> Value {
        self.world.object(Kind::ScaledObject, &self.key).expect("the object").to_json()
    }

    fn annotate(&mut self, annotations: Value) {
        let mut object = self.object();
        object["metadata"]["annotations"] = annotations;
        self.store(object);
        self.changed();
    }

    fn changed(&mut self) {
        let effects = self.loops.changed(&self.world, &self.key, self.now_ns);
        self.carry_out(effects);
    }

    /// Polls what is due during so many seconds.
    fn advance(&mut self, seconds: u64) {
        let end_ns = self.now_ns + seconds * SECOND_NS;
        while let Some(due_ns) = self.loops.next_due_ns().filter(|due_ns| *due_ns <= end_ns) {
            self.now_ns = self.now_ns.max(due_ns);
            for question in self.loops.due(self.now_ns) {
                let polled = self.polled(&question);
                let effects = self.loops.polled(&self.world, &question.key, &polled, self.now_ns);
                self.carry_out(effects);
            }
        }
        self.now_ns = end_ns;
    }

    /// What a source says about a trigger.
    fn asked(&self, trigger: &Trigger) -> Vec<(Trigger, Sample)> {
        let Scaler::External(settings) = &trigger.scaler else {
            let sample = match &self.queue {
                Ok(messages) => {
                    Sample::Queues(vec![Queue { messages: *messages, ready: *messages, ..Queue::default() }])
                }
                Err(why) => Sample::Failed(why.clone()),
            };
            return vec![(trigger.clone(), sample)];
        };
        match &self.external {
            Ok((metrics, is_active)) => metrics
                .iter()
                .map(|(name, target, value)| {
                    let metric = ExternalMetric { name: (*name).to_owned(), target: *target };
                    let trigger =
                        Trigger { scaler: Scaler::External(settings.with(metric)), ..trigger.clone() };
                    (trigger, Sample::External { values: vec![*value], is_active: *is_active })
                })
                .collect(),
            Err(why) => vec![(trigger.clone(), Sample::Failed(why.clone()))],
        }
    }

    fn polled(&self, question: &Question) -> Polled {
        let mut found = Vec::new();
        for index in 0..question.spec.triggers.len() {
            let known: Vec<&Trigger> =
                question.triggers.iter().filter(|trigger| trigger.index == index).collect();
            if !question.asked[index] {
                found.extend(known.into_iter().map(|trigger| (trigger.clone(), Sample::NotAsked)));
            } else if let (Scaler::External(_), Err(why)) = (&known[0].scaler, &self.external) {
                let failed = |trigger: &Trigger| (trigger.clone(), Sample::Failed(why.clone()));
                found.extend(known.into_iter().map(failed));
            } else {
                found.extend(self.asked(known[0]));
            }
        }
        let (triggers, samples) = found.into_iter().unzip();
        let target = Target {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            kind: "Deployment".to_owned(),
            resource: "deployments".to_owned(),
            replicas: self.replicas,
            ready_replicas: self.replicas,
        };
        let (stamp, pushed) = (question.stamp.clone(), question.pushed);
        Polled { stamp, target: Ok(target), triggers, samples, pushed }
    }

    /// What an autoscaler gets for a metric.
    fn ask(&mut self, metric: &str) -> Result<i64, String> {
        let question = self.loops.question(&self.key, metric)?;
        let polled = self.polled(&question);
        self.loops.answer(&self.key, metric, &polled, self.now_ns)
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Patch { kind: Kind::ScaledObject, patch, .. } => {
                    let mut object = self.object();
                    merge(&mut object, &patch);
                    if let Some(list) = patch["metadata"]["finalizers"].as_array() {
                        self.finalizers =
                            list.iter().map(|name| name.as_str().unwrap_or("?").to_owned()).collect();
                    }
                    self.store(object);
                }
                Effect::Scale { path, replicas } => {
                    assert_eq!(path, "/apis/apps/v1/namespaces/ns/deployments/worker/scale");
                    self.replicas = replicas;
                }
                Effect::Apply(Object::HorizontalPodAutoscaler(mut autoscaler)) => {
                    autoscaler.metadata.uid = Some("h".to_owned());
                    self.has_autoscaler = true;
                    self.world.apply(autoscaler.wrap());
                }
                Effect::Delete { kind: Kind::HorizontalPodAutoscaler, key } => {
                    self.has_autoscaler = false;
                    self.world.remove(Kind::HorizontalPodAutoscaler, &key);
                }
                Effect::Event { reason, message, .. } => self.events.push(format!("{reason}: {message}")),
                other => panic!("nobody expects {other:?}"),
            }
        }
    }

    fn condition(&self, kind: &str) -> (String, String) {
        let object = self.object();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"))
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else { return };
    for (field, value) in fields {
        match value {
            Value::Null => {
                target.as_object_mut().expect("an object").remove(field);
            }
            Value::Object(_) => {
                if !target[field].is_object() {
                    target[field] = json!({});
                }
                merge(&mut target[field], value);
            }
            other => target[field] = other.clone(),
        }
    }
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

/// Idle workers would cost money for ever, or messages would wait for ever.
#[test]
fn to_zero_and_back() {
    let mut stage = Stage::new(&json!({}));
    assert_eq!(stage.finalizers, ["finalizer.keda.sh"]);
    // Never active: no cool-down, one step to zero.
    stage.advance(1);
    assert_eq!((stage.replicas, stage.has_autoscaler), (0, true));
    assert_eq!(stage.condition("Ready"), pair("True", "ScaledObjectReady"));
    assert_eq!(stage.condition("Active"), pair("False", "ScalerNotActive"));
    assert_eq!(stage.condition("Paused"), pair("False", ""));
    assert_eq!(
        stage.events,
        [
            "KEDAScaleTargetDeactivated: Deactivated apps/v1.Deployment ns/worker from 1 to 0",
            "KEDAScalersStarted: Scaler rabbitmq is built",
            "KEDAScalersStarted: Started scalers watch",
            "ScaledObjectReady: ScaledObject is ready for scaling",
        ]
    );
    let object = stage.object();
    assert_eq!(object["metadata"]["labels"]["scaledobject.keda.sh/name"], "worker");
    let status = &object["status"];
    assert_eq!(status["scaleTargetKind"], "apps/v1.Deployment");
    assert_eq!(status["originalReplicaCount"], 1);
    assert_eq!(status["externalMetricNames"], json!(["s0-rabbitmq-jobs"]));
    assert_eq!(status["hpaName"], "keda-hpa-worker");
    assert_eq!(status["lastActiveTime"], Value::Null);

    // As many messages as the activation value are not enough: strictly more.
    stage.queue = Ok(2);
    stage.advance(20);
    assert_eq!(stage.replicas, 0);
    stage.queue = Ok(23);
    stage.events.clear();
    stage.advance(10);
    assert_eq!((stage.replicas, stage.condition("Active")), (1, pair("True", "ScalerActive")));
    assert_eq!(
        stage.events,
        [
            "KEDAScaleTargetActivated: Scaled apps/v1.Deployment ns/worker from 0 to 1, triggered by s0-rabbitmq-jobs"
        ]
    );
    assert_eq!(stage.ask("s0-rabbitmq-jobs"), Ok(23_000));
    assert_eq!(stage.ask("s0-other"), Err("no matching metrics found for s0-other".to_owned()));
    // The autoscaler makes five of it.
    stage.replicas = 5;
    stage.advance(10);
    let last = stage.object()["status"]["lastActiveTime"].clone();
    assert_eq!(last, "2026-01-01T00:00:40Z", "polled at 0, 10, 20, 30 and 40 s");

    stage.queue = Ok(0);
    stage.advance(59);
    assert_eq!((stage.replicas, stage.condition("Active")), (5, pair("False", "ScalerCooldown")));
    assert_eq!(stage.object()["status"]["lastActiveTime"], last);
    stage.advance(11);
    assert_eq!(stage.replicas, 0, "70 s after the last activity, from five in one step");
}

/// A broker that is gone would take the workers with it.
#[test]
fn failing_triggers_fall_back() {
    let mut stage = Stage::new(&json!({"fallback": {"failureThreshold": 2, "replicas": 6}}));
    stage.queue = Ok(10);
    stage.advance(1);
    assert_eq!(stage.condition("Fallback"), pair("False", "NoFallbackFound"));
    stage.queue = Err("connection refused".to_owned());
    stage.events.clear();
    stage.advance(20);
    assert_eq!(stage.condition("Fallback").0, "False", "two failures are not more than two");
    assert_eq!(stage.events, ["KEDAScalerFailed: rabbitmq: connection refused"], "said once");
    assert_eq!(stage.ask("s0-rabbitmq-jobs"), Ok(30_000), "the third failure: target 5 times 6 replicas");
    stage.advance(10);
    assert_eq!(stage.condition("Fallback"), pair("True", "FallbackExists"));
    assert_eq!(
        stage.object()["status"]["health"]["s0-rabbitmq-jobs"],
        json!({"numberOfFailures": 4, "status": "Failing"})
    );
    stage.queue = Ok(10);
    stage.advance(10);
    assert_eq!(stage.condition("Fallback").0, "False");
    let health = &stage.object()["status"]["health"]["s0-rabbitmq-jobs"];
    assert_eq!(*health, json!({"numberOfFailures": 0, "status": "Happy"}));
    assert!(
        stage.events.iter().any(|event| event.starts_with("ScaledObjectFallbackDeactivated")),
        "{:?}",
        stage.events
    );
}

/// Without a fallback the target must stay as it is, and somebody must be told.
#[test]
fn failing_triggers_without_fallback_change_nothing() {
    let mut stage = Stage::new(&json!({}));
    stage.replicas = 4;
    stage.queue = Err("connection refused".to_owned());
    stage.advance(300);
    assert_eq!((stage.replicas, stage.condition("Ready")), (4, pair("False", "TriggerError")));
}

/// A workload that somebody has stopped by hand would come back at night.
#[test]
fn paused_objects_leave_the_target_alone() {
    let mut stage = Stage::new(&json!({}));
    stage.queue = Ok(9);
    stage.advance(10);
    stage.annotate(json!({"autoscaling.keda.sh/paused-replicas": "3"}));
    stage.events.clear();
    stage.advance(10);
    assert_eq!((stage.replicas, stage.has_autoscaler), (3, false));
    assert_eq!(stage.condition("Paused"), pair("True", "ScaledObjectPaused"));
    assert_eq!(stage.object()["status"]["pausedReplicaCount"], 3);
    assert_eq!(
        stage.events,
        ["KEDAScalersStopped: Stopped scalers watch", "ScaledObjectPaused: ScaledObject is paused"]
    );
    assert_eq!(stage.ask("s0-rabbitmq-jobs"), Err("ScaledObject is paused".to_owned()));
    stage.annotate(json!({}));
    stage.advance(10);
    assert_eq!(
        (stage.has_autoscaler, stage.condition("Paused")),
        (true, pair("False", "ScaledObjectUnpaused"))
    );
    assert_eq!(stage.object()["status"]["pausedReplicaCount"], Value::Null);
}

/// Two that scale one Deployment undo each other's work; nobody would know why.
#[test]
fn what_cannot_work_says_why() {
    let ready = |stage: &Stage| {
        let object = stage.object();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default();
        assert_eq!(ready["reason"], "ScaledObjectCheckFailed", "{ready}");
        ready["message"].as_str().unwrap_or_default().to_owned()
    };
    let cpu =
        json!({"triggers": [{"type": "cpu", "metricType": "Utilization", "metadata": {"value": "50"}}]});
    let twin = json!({"type": "rabbitmq", "name": "twin", "metadata":
        {"host": "http://r", "queueName": "jobs", "mode": "QueueLength", "value": "5"}});
    let cached = json!({"type": "cron", "useCachedMetrics": true, "metadata":
        {"timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *", "desiredReplicas": "1"}});
    for (spec, part) in [
        (cpu, "scaledobject has only cpu/memory triggers AND minReplica is 0"),
        (json!({"minReplicaCount": 5, "maxReplicaCount": 3}), "minReplicaCount"),
        (json!({"triggers": [{"type": "kafka", "metadata": {}}]}), "triggers[0].metadata.consumerGroup"),
        (json!({"triggers": [{"type": "external", "metadata": {}}]}), "triggers[0].metadata.scalerAddress"),
        (json!({"triggers": [{"type": "redis", "metadata": {}}]}), "redis"),
        (json!({"scaleTargetRef": {"name": ""}}), "ScaledObject.spec.scaleTargetRef.name is missing"),
        (json!({"triggers": [twin, twin]}), "spec.triggers[1].name"),
        (json!({"triggers": [cached]}), "spec.triggers[0].useCachedMetrics"),
    ] {
        let mut stage = Stage::new(&spec);
        stage.advance(5);
        assert!(ready(&stage).contains(part), "{part}: {}", ready(&stage));
        assert_eq!(stage.condition("Active"), pair("Unknown", "UnknownState"));
        assert_eq!(stage.events.len(), 1, "said once: {:?}", stage.events);
        assert_eq!(stage.replicas, 1, "nothing is scaled");
    }
    let mut stage = Stage::new(&json!({}));
    let other = json!({"metadata": {"name": "own", "namespace": "ns", "uid": "x"}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"}}});
    stage.world.apply(Object::from_json(Kind::HorizontalPodAutoscaler, other).expect("an autoscaler"));
    stage.advance(1);
    let expected = "the workload 'worker' of type 'apps/v1.Deployment' is already managed by the hpa 'own'";
    assert!(ready(&stage).ends_with(expected), "{}", ready(&stage));
    // Who takes it over says by name which.
    let mut object = stage.object();
    object["metadata"]["annotations"] = json!({"scaledobject.keda.sh/transfer-hpa-ownership": "true"});
    stage.store(object);
    stage.advance(3);
    let expected = "must be specified by name in advanced settings to enable ownership transfer";
    assert!(ready(&stage).ends_with(expected), "{}", ready(&stage));
    // It works as soon as the other one is gone.
    stage.world.remove(Kind::HorizontalPodAutoscaler, &ObjectKey::new("ns", "own"));
    stage.advance(3);
    assert_eq!(stage.condition("Ready"), pair("True", "ScaledObjectReady"));
    // Or as soon as its owner says that it is nobody's business.
    let mut stage = Stage::new(&json!({}));
    let other = json!({"metadata": {"name": "own", "namespace": "ns", "uid": "x",
        "annotations": {"validations.keda.sh/hpa-ownership": "false"}}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"}}});
    stage.world.apply(Object::from_json(Kind::HorizontalPodAutoscaler, other).expect("an autoscaler"));
    stage.advance(1);
    assert_eq!(stage.condition("Ready"), pair("True", "ScaledObjectReady"));
}

/// A target would keep the size that it had by chance, or the object would never go.
#[test]
fn deletion_gives_the_old_size_back() {
    let mut stage = Stage::new(&json!({"advanced": {"restoreToOriginalReplicaCount": true}}));
    stage.replicas = 7;
    stage.advance(1);
    assert_eq!(stage.replicas, 0);
    let mut object = stage.object();
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z".into();
    stage.store(object);
    stage.changed();
    assert_eq!((stage.replicas, stage.finalizers.len()), (7, 0));
    assert_eq!(
        stage.events.last().map(String::as_str),
        Some("ScaledObjectDeleted: ScaledObject was deleted")
    );
    assert_eq!(stage.loops.next_due_ns(), None);
}

fn external(kind: &str) -> Stage {
    Stage::new(&json!({"triggers": [{"type": kind, "metadata": {"scalerAddress": "scaler:9000"}}]}))
}

/// Metrics would have other names than those that the scaler is asked for, or none would count.
#[test]
fn external_scalers_name_their_metrics() {
    let mut stage = external("external");
    stage.external = Err("connection refused".to_owned());
    stage.advance(1);
    // Without a metric an autoscaler would go by cpu.
    assert_eq!((stage.replicas, stage.has_autoscaler), (1, false));
    assert_eq!(stage.condition("Ready"), pair("False", "TriggerError"));
    stage.external = Ok((vec![("waiting", 5.0, 12.0), ("running", 2.5, 1.0)], true));
    stage.advance(10);
    assert!(stage.has_autoscaler);
    let status = stage.object()["status"].clone();
    assert_eq!(status["externalMetricNames"], json!(["s0-waiting", "s0-running"]));
    assert_eq!(status["triggersActivity"]["s0-running"], json!({"isActive": true}));
    let autoscaler =
        stage.world.object(Kind::HorizontalPodAutoscaler, &ObjectKey::new("ns", "keda-hpa-worker"));
    let metrics = autoscaler.expect("an autoscaler").to_json()["spec"]["metrics"].clone();
    let of = |at: usize| {
        (metrics[at]["external"]["metric"]["name"].clone(), metrics[at]["external"]["target"].clone())
    };
    let target = |value: &str| json!({"type": "AverageValue", "averageValue": value});
    assert_eq!(of(0), (json!("s0-waiting"), target("5")));
    assert_eq!(of(1), (json!("s0-running"), target("2500m")));
    assert_eq!(stage.ask("s0-waiting"), Ok(12_000));
    assert_eq!(stage.ask("s0-running"), Ok(1_000));
    // The autoscaler keeps what it asks for while the scaler is away.
    stage.external = Err("connection refused".to_owned());
    stage.advance(10);
    assert_eq!(stage.ask("s0-waiting"), Err("connection refused".to_owned()));
    assert!(stage.has_autoscaler);
    // It names another metric, and no longer the first.
    stage.external = Ok((vec![("running", 2.5, 1.0)], false));
    stage.advance(10);
    assert_eq!(stage.ask("s0-waiting"), Err("no matching metrics found for s0-waiting".to_owned()));
    assert_eq!(stage.object()["status"]["externalMetricNames"], json!(["s0-running"]));
}

/// A request that wakes a target would wait for the next poll, up to half a minute.
#[test]
fn external_scalers_push() {
    let mut stage = external("external-push");
    stage.external = Ok((vec![("requests", 5.0, 0.0)], false));
    stage.advance(1);
    assert_eq!(stage.replicas, 0);
    let listening = stage.loops.listening();
    assert_eq!(listening.iter().map(|question| question.pushed).collect::<Vec<_>>(), [Some(0)]);
    stage.events.clear();
    stage.advance(2);
    let polled = stage.polled(&listening[0]);
    let effects = stage.loops.polled(&stage.world, &listening[0].key, &polled, stage.now_ns);
    stage.carry_out(effects);
    assert_eq!((stage.replicas, stage.condition("Active")), (1, pair("True", "ScalerActive")));
    let expected =
        "KEDAScaleTargetActivated: Scaled apps/v1.Deployment ns/worker from 0 to 1, triggered by s0-requests";
    assert_eq!(stage.events, [expected]);
    assert_eq!(stage.object()["status"]["lastActiveTime"], "2026-01-01T00:00:03Z");
    // Polls go on as they were, and find out that nothing is to do; the cool-down is from the push on.
    stage.advance(58);
    assert_eq!((stage.replicas, stage.condition("Active")), (1, pair("False", "ScalerCooldown")));
    stage.advance(12);
    assert_eq!(stage.replicas, 0);
    stage.annotate(json!({"autoscaling.keda.sh/paused": "true"}));
    assert!(stage.loops.listening().is_empty(), "a paused object listens to nobody");
}

/// Two controllers would fight where upstream's operator is.
#[test]
fn upstreams_operator_has_the_field() {
    let mut stage = Stage::new(&json!({}));
    let operator = json!({"metadata": {"name": "keda-operator", "namespace": "keda"}});
    stage.world.apply(Object::from_json(Kind::Deployment, operator).expect("a Deployment"));
    stage.changed();
    assert_eq!(stage.loops.next_due_ns(), None);
}
