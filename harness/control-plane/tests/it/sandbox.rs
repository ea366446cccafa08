//! A world in memory that carries effects out as an API server would, without a server, tasks or time.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use windtunnel_api::kserve::InferenceService;
use windtunnel_api::runtimes;
use windtunnel_control_plane::autoscaler::{AutoscaleDecision, Loops, Step};
use windtunnel_control_plane::{
    Effect, Kept, Kind, Object, ObjectKey, Target, World, gateway_routes, install, knative, kserve,
};
use windtunnel_gateway::RevisionKey;
use windtunnel_kernel::autoscale::kpa::Stat;

/// The world, the autoscalers, and the time.
pub(crate) struct Sandbox {
    pub(crate) world: World,
    pub(crate) loops: Loops,
    pub(crate) now_ns: u64,
    pub(crate) decisions: Vec<AutoscaleDecision>,
    /// Every write since the last look.
    pub(crate) writes: Vec<Effect>,
    version: u64,
}

/// Rounds after which a world that still changes will never rest.
const ROUNDS: usize = 40;

impl Sandbox {
    /// A world with everything installed, at a whole second.
    pub(crate) fn new() -> Self {
        let mut sandbox = Self {
            world: World::default(),
            loops: Loops::default(),
            now_ns: 1_700_000_000_000_000_000,
            decisions: Vec::new(),
            writes: Vec::new(),
            version: 0,
        };
        sandbox.world.served = [
            Kind::Service,
            Kind::HttpRoute,
            Kind::ScaledObject,
            Kind::VirtualService,
            Kind::OpenTelemetryCollector,
        ]
        .into();
        for runtime in runtimes::shipped() {
            sandbox.put(runtime);
        }
        for map in install::config_maps("example.com") {
            sandbox.put(map);
        }
        sandbox
    }

    /// Creates or replaces an object as a user would.
    pub(crate) fn put<K: Kept>(&mut self, object: K) {
        let key = ObjectKey::of(&object);
        self.store(K::KIND, &key, serde_json::to_value(object).unwrap());
    }

    /// Changes an object by a merge patch as a user would.
    pub(crate) fn patch<K: Kept>(&mut self, key: &ObjectKey, patch: &Value) {
        self.merge(K::KIND, key, patch);
    }

    fn merge(&mut self, kind: Kind, key: &ObjectKey, patch: &Value) -> Object {
        let mut new = self.world.object(kind, key).map_or_else(|| json!({}), |old| old.to_json());
        json_patch::merge(&mut new, patch);
        self.store(kind, key, new)
    }

    fn store(&mut self, kind: Kind, key: &ObjectKey, mut new: Value) -> Object {
        if let Some(old) = self.world.object(kind, key) {
            let json = old.to_json();
            for field in ["uid", "generation", "resourceVersion"] {
                new["metadata"][field] = json["metadata"][field].clone();
            }
            for field in ["apiVersion", "kind"] {
                new[field] = json[field].clone();
            }
            if new["status"].is_null() && !json["status"].is_null() {
                new["status"] = json["status"].clone();
            }
            if new == json {
                return old;
            }
            if new["spec"] != json["spec"] {
                new["metadata"]["generation"] =
                    json!(json["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
            }
        } else {
            new["metadata"]["uid"] = json!(format!("uid-{}", self.version + 1));
            new["metadata"]["generation"] = json!(1);
        }
        self.version += 1;
        new["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Object::from_json(kind, new).unwrap();
        assert!(self.world.apply(object.clone()));
        object
    }

    /// Deletes an object and everything that it controls.
    pub(crate) fn delete<K: Kept>(&mut self, key: &ObjectKey) {
        self.delete_any(K::KIND, key);
    }

    fn delete_any(&mut self, kind: Kind, key: &ObjectKey) {
        let Some(gone) = self.world.object(kind, key) else { return };
        self.world.remove(kind, key);
        let uid = gone.metadata().uid.clone().unwrap_or_default();
        let children: Vec<_> =
            self.world.all_controlled_by(&uid).map(|(kind, key)| (kind, key.clone())).collect();
        for (kind, key) in children {
            self.delete_any(kind, &key);
        }
    }

    /// Carries an effect out.
    fn carry_out(&mut self, effect: Effect) {
        match &effect {
            Effect::Create(object) => {
                if self.world.object(object.kind(), &object.key()).is_none() {
                    self.store(object.kind(), &object.key(), object.to_json());
                }
            }
            Effect::Apply(object) if self.world.is_applied(object) => return,
            Effect::Apply(object) => {
                let result = self.merge(object.kind(), &object.key(), &object.to_json());
                self.world.note_applied(object, &result);
            }
            Effect::Patch { kind, key, patch, .. } => {
                self.merge(*kind, key, patch);
            }
            Effect::Delete { kind, key } => self.delete_any(*kind, key),
            Effect::Event { .. } | Effect::Scale { .. } => {}
            Effect::Requeue { .. } => return,
        }
        self.writes.push(effect);
    }

    /// Reconciles everything until nothing changes any more; returns how many writes that took.
    pub(crate) fn settle(&mut self) -> usize {
        let before = self.writes.len();
        for _ in 0..ROUNDS {
            let count = self.writes.len();
            self.round();
            if self.writes.len() == count {
                return self.writes.len() - before;
            }
        }
        panic!(
            "still writing after {ROUNDS} rounds: {:#?}",
            self.writes.iter().rev().take(5).collect::<Vec<_>>()
        );
    }

    fn round(&mut self) {
        let now_ns = self.now_ns;
        type Reconcile = fn(&World, &ObjectKey, u64) -> Vec<Effect>;
        let areas: [(Kind, Reconcile); 10] = [
            (Kind::InferenceService, kserve::reconcile),
            (Kind::Service, knative::service::reconcile),
            (Kind::Configuration, knative::configuration::reconcile),
            (Kind::Revision, knative::revision::reconcile),
            (Kind::Route, knative::route::reconcile),
            (Kind::HttpRoute, gateway_routes::reconcile_route),
            (Kind::LocalModelCache, |world, key, _| kserve::reconcile_local_model(world, key)),
            (Kind::LocalModelNamespaceCache, |world, key, _| kserve::reconcile_local_model(world, key)),
            (Kind::Node, |world, key, _| kserve::reconcile_local_model_node(world, key)),
            (Kind::LocalModelNode, |world, key, _| kserve::reconcile_local_model_node(world, key)),
        ];
        for (kind, reconcile) in areas {
            for key in self.world.keys(kind) {
                for effect in reconcile(&self.world, &key, now_ns) {
                    self.carry_out(effect);
                }
            }
        }
        let revisions = self.world.keys(Kind::Revision).into_iter().map(Target::Revision);
        let components = self.world.keys(Kind::Deployment).into_iter().map(Target::Component);
        for target in revisions.chain(components) {
            let step = self.loops.changed(&self.world, &target, now_ns);
            self.follow(&target, step);
        }
    }

    fn follow(&mut self, target: &Target, step: Step) {
        self.decisions.extend(step.decision);
        for effect in step.effects {
            self.carry_out(effect);
        }
        if let Some(view) = self.loops.view(target) {
            self.world.scales.insert(target.clone(), view);
        }
    }

    /// Lets time pass second by second, doing what comes due; pods follow the Deployments at once.
    pub(crate) fn advance(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now_ns += 1_000_000_000;
            self.tick();
            self.kubelet();
            self.settle();
        }
    }

    /// Does what is due now.
    pub(crate) fn tick(&mut self) {
        for target in self.loops.due(self.now_ns) {
            let step = self.loops.run_due(&self.world, &target, self.now_ns);
            self.follow(&target, step);
        }
    }

    /// A report of the gateway.
    pub(crate) fn report(&mut self, revision: &str, concurrency: f64) {
        let stat = Stat {
            at_ns: self.now_ns,
            average_concurrency: concurrency,
            average_proxied_concurrency: 0.0,
            request_count: concurrency,
            proxied_request_count: 0.0,
        };
        let revision = RevisionKey { namespace: "default".to_owned(), name: revision.to_owned() };
        for (target, step) in self.loops.record(&self.world, &revision, &stat, self.now_ns) {
            self.follow(&target, step);
        }
    }

    /// Makes every Deployment's pods ready.
    pub(crate) fn kubelet(&mut self) {
        let deployments: Vec<(String, i32)> = self
            .world
            .deployments
            .iter()
            .map(|(key, deployment)| {
                (key.name.clone(), deployment.spec.as_ref().unwrap().replicas.unwrap_or(1))
            })
            .collect();
        for (name, replicas) in deployments {
            match name.strip_suffix("-deployment") {
                Some(revision) => self.pods(revision, replicas),
                None => self.component_pods(&name, replicas),
            }
        }
    }

    /// Gives a component so many ready pods, and its Deployment the status that goes with them.
    pub(crate) fn component_pods(&mut self, name: &str, count: i32) {
        let first = name.bytes().fold(0_u8, u8::wrapping_add);
        self.endpoints(name, &format!("127.65.{first}"), count);
        let key = ObjectKey::new("default", name);
        let deployment = &self.world.deployments[&key];
        let generation = deployment.metadata.generation;
        let wanted = deployment.spec.as_ref().unwrap().replicas.unwrap_or(1);
        let available = if count >= wanted { "True" } else { "False" };
        let status = json!({"status": {"observedGeneration": generation, "availableReplicas": count,
            "readyReplicas": count, "replicas": wanted, "updatedReplicas": wanted, "conditions": [
                {"type": "Available", "status": available, "reason": "MinimumReplicas"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]}});
        self.patch::<k8s_openapi::api::apps::v1::Deployment>(&key, &status);
    }

    /// Gives a revision so many ready pods.
    pub(crate) fn pods(&mut self, revision: &str, count: i32) {
        let number = revision.rsplit('-').next().unwrap().trim_start_matches('0').to_owned();
        self.endpoints(&format!("{revision}-private"), &format!("127.64.{number}"), count);
    }

    fn endpoints(&mut self, name: &str, network: &str, count: i32) {
        let addresses = (1..=count)
            .map(|pod| EndpointAddress { ip: format!("{network}.{pod}"), ..EndpointAddress::default() })
            .collect();
        self.put(Endpoints {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("default".to_owned()),
                ..ObjectMeta::default()
            },
            subsets: (count > 0).then(|| {
                vec![EndpointSubset {
                    addresses: Some(addresses),
                    ports: Some(vec![EndpointPort { port: 8080, ..EndpointPort::default() }]),
                    ..EndpointSubset::default()
                }]
            }),
        });
    }

    /// The InferenceService `digits`.
    pub(crate) fn digits(&self) -> &InferenceService {
        &self.world.inference_services[&ObjectKey::new("default", "digits")]
    }

    /// The shares of the InferenceService's host in the gateway's table, by revision.
    pub(crate) fn shares(&self) -> Vec<(String, u32)> {
        let table = gateway_routes::table(&self.world);
        let mut routes = table
            .routes
            .iter()
            .filter(|route| route.hosts.iter().any(|host| host == "digits-default.example.com"));
        let route = routes.next();
        assert!(routes.next().is_none(), "two routes for one host");
        let backends = route.into_iter().flat_map(|route| &route.rules).flat_map(|rule| &rule.backends);
        backends.map(|backend| (backend.revision.name.clone(), backend.percent)).collect()
    }

    /// Replicas of a revision's Deployment.
    pub(crate) fn replicas(&self, revision: &str) -> i32 {
        let key = ObjectKey::new("default", format!("{revision}-deployment"));
        self.world.deployments[&key].spec.as_ref().unwrap().replicas.unwrap()
    }

    /// The kinds that have been written since the last look, once each.
    pub(crate) fn written_kinds(&mut self) -> BTreeSet<Kind> {
        std::mem::take(&mut self.writes)
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Create(object) | Effect::Apply(object) => Some(object.kind()),
                Effect::Patch { kind, .. } | Effect::Delete { kind, .. } => Some(kind),
                Effect::Event { .. } | Effect::Scale { .. } | Effect::Requeue { .. } => None,
            })
            .collect()
    }
}
