//! Several control planes on one API server: who leads, and who takes over when.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use windtunnel_apiserver::ApiServer;
use windtunnel_control_plane::metrics::Metrics;
use windtunnel_control_plane::{Health, LeaderElection, Options};

use crate::platform::{Platform, Running, controllers, eventually};
use crate::wait::until;

/// A control plane that can end as a process does: at once, in the middle of everything.
struct Replica {
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    stopped: Option<oneshot::Receiver<()>>,
    health: Health,
    metrics: Metrics,
}

impl Replica {
    async fn start(server: &ApiServer, identity: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (started, starting) = oneshot::channel();
        let (stop, stopping) = oneshot::channel();
        let (ended, stopped) = oneshot::channel();
        let (server, election) = (server.clone(), LeaderElection::new(identity));
        runtime.spawn(async move {
            let options = Options { install: false, leader_election: Some(election), ..Options::default() };
            let running = Running::start(controllers(&server), options).await;
            let plane = &running.control_plane;
            let _ = started.send((plane.health(), plane.metrics().clone()));
            let _ = stopping.await;
            running.stop().await;
            let _ = ended.send(());
        });
        let (health, metrics) = starting.await.expect("a control plane");
        Self { runtime: Some(runtime), stop: Some(stop), stopped: Some(stopped), health, metrics }
    }

    async fn leads(&self, within: Duration) {
        let what = "a leader that knows all objects";
        let look = || async { (self.health.leads(), self.health.is_ready()) };
        eventually(what, within, look, |seen| *seen == (true, true)).await;
    }

    /// Ends it with nothing finished and nothing given back.
    fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    async fn stop(mut self) {
        let _ = self.stop.take().expect("it runs").send(());
        self.stopped.take().expect("it runs").await.expect("a good end");
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Creates a service and waits for its Deployment.
async fn reconciled(platform: &Platform, name: &str) {
    platform.create(name).await;
    until(platform.api::<Deployment>(), &format!("{name}-predictor"), "a Deployment", |_| true).await;
}

/// Services that are created while the leader dies would wait for somebody to notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_takes_over_when_the_leader_stops_or_dies() {
    let platform = Platform::new().await;
    let first = Replica::start(&platform.server, "first").await;
    first.leads(Duration::from_secs(10)).await;
    let second = Replica::start(&platform.server, "second").await;
    let ready = || async { second.health.is_ready() };
    eventually("a second that stands by", Duration::from_secs(10), ready, |ready| *ready).await;
    reconciled(&platform, "one").await;
    assert!(!second.health.leads(), "only one leads");
    assert_eq!(second.metrics.writes(), 0, "who stands by writes nothing");
    assert!(
        second
            .metrics
            .text()
            .contains("leader_election_master_status{name=\"kserve-controller-manager-leader-lock\"} 0")
    );

    let began = Instant::now();
    first.stop().await;
    let stopped = began.elapsed();
    reconciled(&platform, "two").await;
    let graceful = began.elapsed();
    assert!(
        graceful < Duration::from_secs(2),
        "after a good end the next one begins at once, not in {graceful:?}"
    );
    second.leads(Duration::ZERO).await;

    let third = Replica::start(&platform.server, "third").await;
    let ready = || async { third.health.is_ready() };
    eventually("a third that stands by", Duration::from_secs(10), ready, |ready| *ready).await;
    let began = Instant::now();
    second.kill();
    reconciled(&platform, "three").await;
    let killed = began.elapsed();
    assert!(killed < Duration::from_secs(15), "a dead leader is replaced within 15 s, not {killed:?}");
    println!("fail-over: {graceful:?} after a good end (which took {stopped:?}), {killed:?} after a death");

    let leases = Api::<Lease>::namespaced(platform.client.clone(), "kserve");
    let spec = leases.get(LeaderElection::LEASE).await.expect("the Lease").spec.expect("its spec");
    assert_eq!(spec.holder_identity.as_deref(), Some("third"));
    assert_eq!(spec.lease_transitions, Some(2));
    third.stop().await;
    let spec = leases.get(LeaderElection::LEASE).await.expect("the Lease").spec.expect("its spec");
    assert_eq!(spec.holder_identity.as_deref(), Some(""), "the Lease is given back");
}
