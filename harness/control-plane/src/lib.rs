//! Controllers of the serving stack: KServe and Knative reconcilers and the autoscaler loop.
//!
//! Every area is a pure function from a [`World`] (the objects as last seen) to [`Effects`] (writes and a new
//! status): [`kserve`], [`knative`], [`autoscaler`], [`keda`], [`gateway_routes`]. The private `engine` watches the API
//! server with kube-runtime, keeps the world, calls the functions of what changed, and carries their effects
//! out; it waits for nothing but changes, so a chain of objects is made as fast as the API server answers.
//! [`local_model_agent`] works on the nodes. [`admission`] holds the webhooks, [`install`] what must be there first.
//!
//! A reconcile that finds everything as it should be has no effects: objects are compared before they are
//! written, so the controllers come to rest.
//!
//! ```no_run
//! # async fn example(
//! #     server: windtunnel_apiserver::ApiServer,
//! #     gateway: windtunnel_gateway::GatewayHandle,
//! # ) -> Result<(), windtunnel_control_plane::ControlPlaneError> {
//! use windtunnel_control_plane::{ControlPlane, Options};
//!
//! for reviewer in ControlPlane::admission() {
//!     server.add_admission(reviewer);
//! }
//! let control_plane = ControlPlane::start(server.client(), gateway, Options::default()).await?;
//! let mut decisions = control_plane.decisions();
//! while let Ok(decision) = decisions.recv().await {
//!     println!("{}: {} -> {} ({})", decision.revision, decision.from, decision.to, decision.text);
//! }
//! control_plane.stop().await;
//! # Ok(())
//! # }
//! ```

pub mod admission;
pub mod autoscaler;
pub mod gateway_routes;
pub mod install;
pub mod keda;
pub mod knative;
pub mod kserve;
pub mod local_model_agent;
pub mod metrics;

mod clock;
mod effect;
mod endpoint;
mod engine;
mod error;
mod health;
mod leader;
mod world;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windtunnel_apiserver::Admission;
use windtunnel_gateway::GatewayHandle;
pub use windtunnel_kernel::Profile;

pub use admission::LiveConfig;
pub use autoscaler::AutoscaleDecision;
pub use effect::{Effect, Effects, merge_difference};
pub use endpoint::{Endpoint, EndpointError, Pages};
pub use error::ControlPlaneError;
pub use health::Health;
pub use leader::LeaderElection;
pub use world::{Kept, Key, Kind, Need, Object, ObjectKey, Refusal, ScaleView, Store, Target, World};

/// How many decisions a slow receiver may fall behind before it loses the oldest.
const DECISIONS_KEPT: usize = 1024;
/// Wait before controllers that failed are started again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// How a control plane runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// End of every host name, written to the ConfigMaps when these are not there yet.
    pub domain: String,
    /// Whether to install definitions, namespaces, ConfigMaps and runtimes first.
    pub install: bool,
    /// The configuration that [`ControlPlane::admission_with`] shares with the webhooks.
    pub live_config: LiveConfig,
    /// Upstream as it is, or as it is meant, with our extensions.
    pub profile: Profile,
    /// Serves the metrics of ScaledObjects, where the API server has the other end of it.
    pub external_metrics: keda::Metrics,
    /// How it takes part in a leader election; absent works without one, for a control plane that is alone.
    pub leader_election: Option<LeaderElection>,
    /// Where it counts what it does.
    pub metrics: metrics::Metrics,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            domain: "example.com".to_owned(),
            install: true,
            live_config: LiveConfig::default(),
            profile: Profile::default(),
            external_metrics: keda::Metrics::default(),
            leader_election: None,
            metrics: metrics::Metrics::default(),
        }
    }
}

/// All controllers, running.
#[derive(Debug)]
pub struct ControlPlane {
    decisions: broadcast::Sender<AutoscaleDecision>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    health: Health,
    metrics: metrics::Metrics,
}

impl ControlPlane {
    /// Installs what is needed and starts the controllers. They stop with [`ControlPlane::stop`] or when the
    /// value is dropped.
    ///
    /// # Errors
    /// What could not be installed, and why.
    pub async fn start(
        client: kube::Client,
        gateway: GatewayHandle,
        options: Options,
    ) -> Result<Self, ControlPlaneError> {
        if options.install {
            install::install(&client, &options.domain).await?;
            install::local_gateway(&client, gateway.address()).await?;
        }
        let (decisions, _) = broadcast::channel(DECISIONS_KEPT);
        let stop = CancellationToken::new();
        let (health, metrics) = (Health::default(), options.metrics.clone());
        let client = metrics::counted(client, &metrics);
        let leading = lead(client, gateway, options, decisions.clone(), health.clone(), stop.clone());
        let ended = health.clone();
        let task = tokio::spawn(async move {
            // Told also when the task is cut off or panics.
            let _ended = Ended(ended);
            leading.await;
        });
        Ok(Self { decisions, stop, task, health, metrics })
    }

    /// How it is, for probes.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &metrics::Metrics {
        &self.metrics
    }

    /// The webhooks with the default configuration; those of [`ControlPlane::admission_with`] follow the
    /// ConfigMap.
    #[must_use]
    pub fn admission() -> Vec<Arc<dyn Admission>> {
        Self::admission_with(&LiveConfig::default())
    }

    /// The webhooks, following what [`Options::live_config`] shares, in upstream's order: InferenceService
    /// defaulter, pod mutator, then the validators.
    #[must_use]
    pub fn admission_with(config: &LiveConfig) -> Vec<Arc<dyn Admission>> {
        admission::reviewers(config)
    }

    /// Every change of replicas by an autoscaler from now on, with its explanation.
    #[must_use]
    pub fn decisions(&self) -> broadcast::Receiver<AutoscaleDecision> {
        self.decisions.subscribe()
    }

    /// Stops the controllers; writes that are under way are finished.
    pub async fn stop(mut self) {
        self.health.set_stopping();
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            tracing::error!(%error, "the controllers' task failed");
        }
    }
}

/// Runs the controllers. With an election they only watch until this control plane leads, and begin anew when it has
/// lost the lead.
async fn lead(
    client: kube::Client,
    gateway: GatewayHandle,
    options: Options,
    decisions: broadcast::Sender<AutoscaleDecision>,
    health: Health,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let term = stop.child_token();
        let (leads, leadership) = watch::channel(options.leader_election.is_none());
        let engine =
            engine::Engine::new(client.clone(), gateway.clone(), &options, decisions.clone(), health.clone());
        // A task of its own: the Lease is renewed also while the engine thinks.
        let mut work = AbortOnDrop(Some(tokio::spawn(engine.run(term.clone(), leadership))));
        let Some(election) = &options.leader_election else {
            health.set_leads(true);
            work.ended().await;
            health.set_leads(false);
            continue;
        };
        let tell = |is_leader: bool| {
            options.metrics.leads(&election.name, is_leader);
            health.set_leads(is_leader);
            leads.send_replace(is_leader);
        };
        tell(false);
        let mut candidate = leader::Candidate::new(client.clone(), election.clone());
        tokio::select! {
            () = candidate.acquire() => {}
            () = work.ended() => continue,
        }
        tell(true);
        tokio::select! {
            () = work.ended() => {}
            () = candidate.keep() => {
                tell(false);
                term.cancel();
                // What is not written by then must not be written at all.
                let _ = tokio::time::timeout(election.grace(), work.ended()).await;
            }
        }
        tell(false);
        if stop.is_cancelled() {
            candidate.release().await;
        }
    }
}

/// A task that ends with this value.
struct AbortOnDrop(Option<JoinHandle<()>>);

impl AbortOnDrop {
    /// Waits for the task's end; after one that was not asked for a moment longer, so that a fault does not fill the log.
    async fn ended(&mut self) {
        let Some(task) = &mut self.0 else { return };
        let ended = task.await;
        self.0 = None;
        if let Err(error) = ended {
            tracing::error!(%error, "the controllers' task failed and is started again");
            tokio::time::sleep(RESTART_AFTER).await;
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Tells that the control plane has ended.
struct Ended(Health);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.set_leads(false);
        self.0.set_ended();
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
