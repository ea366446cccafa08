//! An API server with everything installed, and control planes on it that are who they are on a cluster: their own
//! ServiceAccount with its roles.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde_json::json;
use tokio::task::JoinHandle;
use windtunnel_api::kserve::InferenceService;
use windtunnel_apiserver::{Admission, ApiServer, User};
use windtunnel_control_plane::install::{self, rbac};
use windtunnel_control_plane::{ControlPlane, Options};
use windtunnel_gateway::Gateway;

use crate::digits;

/// Namespace of the controllers.
const NAMESPACE: &str = "kserve";

pub(crate) struct Platform {
    pub(crate) server: ApiServer,
    /// As an administrator.
    pub(crate) client: Client,
}

impl Platform {
    /// Everything installed, with webhooks in process.
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// As [`Platform::new`], with further reviewers.
    pub(crate) async fn with(reviewers: &[Arc<dyn Admission>]) -> Self {
        let server = ApiServer::new(windtunnel_apiserver::Options::default());
        for reviewer in ControlPlane::admission().iter().chain(reviewers) {
            server.add_admission(Arc::clone(reviewer));
        }
        let client = server.client();
        install::install(&client, "example.com").await.expect("what the controllers need");
        let parts = rbac::Parts { election: true, webhooks: true };
        install::install_access(&client, rbac::controllers(NAMESPACE, parts))
            .await
            .expect("the controllers' roles");
        Self { server, client }
    }

    /// The controllers' client.
    pub(crate) fn controllers(&self) -> Client {
        controllers(&self.server)
    }

    /// A control plane with this client.
    pub(crate) async fn start(&self, client: Client) -> Running {
        Running::start(client, Options { install: false, ..Options::default() }).await
    }

    pub(crate) fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates an InferenceService in Standard mode.
    pub(crate) async fn create(&self, name: &str) {
        let service = standard(name);
        self.api::<InferenceService>().create(&PostParams::default(), &service).await.expect("a service");
    }

    /// Says of every Deployment that its pods are ready, as a cluster would, until it is dropped.
    pub(crate) fn kubelet(&self) -> Kubelet {
        use futures::StreamExt as _;
        let api = self.api::<Deployment>();
        Kubelet(tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher::watcher(api.clone(), watcher::Config::default()));
            while let Some(event) = events.next().await {
                let (Ok(Event::Apply(found)) | Ok(Event::InitApply(found))) = event else { continue };
                let observed = found.status.as_ref().and_then(|status| status.observed_generation);
                if observed == found.metadata.generation {
                    continue;
                }
                let replicas = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                let condition = |kind: &str, reason: &str| {
                    json!({"type": kind, "status": "True", "reason": reason,
                    "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"})
                };
                let status = json!({"status": {
                    "observedGeneration": found.metadata.generation, "replicas": replicas, "readyReplicas": replicas,
                    "availableReplicas": replicas, "updatedReplicas": replicas,
                    "conditions": [condition("Available", "MinimumReplicasAvailable"),
                        condition("Progressing", "NewReplicaSetAvailable")],
                }});
                let name = found.metadata.name.unwrap_or_default();
                // One that is gone meanwhile needs no status.
                let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await;
            }
        }))
    }
}

/// Plays the cluster's own controllers.
pub(crate) struct Kubelet(JoinHandle<()>);

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The controllers' client, for the runtime that this is called in.
pub(crate) fn controllers(server: &ApiServer) -> Client {
    server.client_as(User::service_account(NAMESPACE, rbac::SERVICE_ACCOUNT), "windtunnel")
}

/// A control plane with its gateway.
pub(crate) struct Running {
    pub(crate) control_plane: ControlPlane,
    gateway: Gateway,
}

impl Running {
    pub(crate) async fn start(client: Client, options: Options) -> Self {
        let gateway = Gateway::bind("127.0.0.1:0".parse().unwrap(), windtunnel_gateway::Options::default())
            .await
            .expect("a gateway");
        let control_plane =
            ControlPlane::start(client, gateway.handle(), options).await.expect("a control plane");
        Self { control_plane, gateway }
    }

    pub(crate) async fn stop(self) {
        self.control_plane.stop().await;
        self.gateway.shutdown().await;
    }
}

/// An InferenceService in Standard mode.
pub(crate) fn standard(name: &str) -> InferenceService {
    let mut service = digits("v1", json!({"minReplicas": 1}));
    service.metadata.name = Some(name.to_owned());
    service.metadata.annotations =
        Some([("serving.kserve.io/deploymentMode".to_owned(), "Standard".to_owned())].into());
    service
}

/// Waits until the controllers have written nothing for so long.
pub(crate) async fn at_rest(running: &Running, rest: Duration) {
    let metrics = running.control_plane.metrics();
    let mut last = (metrics.writes(), Instant::now());
    let look = || {
        let now = metrics.writes();
        if now != last.0 {
            last = (now, Instant::now());
        }
        let quiet = last.1.elapsed();
        async move { quiet }
    };
    eventually("rest", Duration::from_secs(20), look, |quiet| *quiet > rest).await;
}

/// Looks until something holds, where nothing announces it.
pub(crate) async fn eventually<T: std::fmt::Debug, F: Future<Output = T>>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> F,
    holds: impl Fn(&T) -> bool,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        let seen = look().await;
        if holds(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "{what}: not within {deadline:?}; last seen: {seen:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
