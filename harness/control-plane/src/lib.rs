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

mod clock;
mod effect;
mod engine;
mod error;
mod leader;
mod world;

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windtunnel_apiserver::Admission;
use windtunnel_gateway::GatewayHandle;
pub use windtunnel_kernel::Profile;

pub use admission::LiveConfig;
pub use autoscaler::AutoscaleDecision;
pub use effect::{Effect, Effects, merge_difference};
pub use error::ControlPlaneError;
pub use leader::LeaderElection;
pub use world::{Kept, Key, Kind, Object, ObjectKey, ScaleView, Store, Target, World};

/// How many decisions a slow receiver may fall behind before it loses the oldest.
const DECISIONS_KEPT: usize = 1024;

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
        }
    }
}

/// All controllers, running.
#[derive(Debug)]
pub struct ControlPlane {
    decisions: broadcast::Sender<AutoscaleDecision>,
    stop: CancellationToken,
    task: JoinHandle<()>,
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
            // An address that stands for all of a machine's leads nowhere from inside the cluster.
            if !gateway.address().ip().is_unspecified() {
                install::local_gateway(&client, gateway.address()).await?;
            }
        }
        let (decisions, _) = broadcast::channel(DECISIONS_KEPT);
        let stop = CancellationToken::new();
        let task = tokio::spawn(lead(client, gateway, options, decisions.clone(), stop.clone()));
        Ok(Self { decisions, stop, task })
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
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            tracing::error!(%error, "the controllers' task failed");
        }
    }
}

/// Runs the controllers, as long as this control plane leads if there is an election.
async fn lead(
    client: kube::Client,
    gateway: GatewayHandle,
    options: Options,
    decisions: broadcast::Sender<AutoscaleDecision>,
    stop: CancellationToken,
) {
    let engine = || {
        let live_config = options.live_config.clone();
        engine::Engine::new(
            client.clone(),
            gateway.clone(),
            live_config,
            options.profile,
            options.external_metrics.clone(),
            decisions.clone(),
        )
    };
    let Some(election) = options.leader_election.clone() else { return engine().run(stop).await };
    let mut candidate = leader::Candidate::new(client.clone(), election);
    while !stop.is_cancelled() {
        tokio::select! {
            () = candidate.acquire() => {}
            () = stop.cancelled() => return,
        }
        let term = stop.child_token();
        let mut work = std::pin::pin!(engine().run(term.clone()));
        tokio::select! {
            () = &mut work => {}
            () = candidate.keep() => {
                term.cancel();
                work.await;
            }
        }
        if stop.is_cancelled() {
            candidate.release().await;
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
