//! The plan of a simulation: everything that it needs, read and checked before it starts.

mod revision;
mod services;

use std::collections::BTreeMap;

use windtunnel_api::kserve::KserveConfig;
use windtunnel_api::manifest::Manifest;
use windtunnel_kernel::autoscale::kpa::{GlobalConfig, TICK_OFFSET_NS};
use windtunnel_record::{Meta, Recording, Source};
use windtunnel_scenario::load::Flight;
use windtunnel_scenario::{Environment, Scenario};

pub use revision::RevisionPlan;
pub use services::{ServicePlan, Version};

use crate::error::SimError;
use crate::model::ServiceTime;

/// Unix time of t=0 unless a plan says otherwise: 2026-01-01T00:00:00Z, a whole even second.
pub const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

/// Load starts this long after the services are ready, as in a live flight.
pub const LEAD_NS: u64 = 1_000_000_000;

/// Everything that a simulation needs. The fields are public: a what-if changes one and simulates again.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scenario; its load is read from it, with the seed of the simulation.
    pub scenario: Scenario,
    /// Which part of it is flown.
    pub flight: Flight,
    /// How long it takes.
    pub duration_ns: u64,
    /// Unix time of t=0. The autoscaler's buckets are aligned to it.
    pub epoch_ns: u64,
    /// From the moment in which the services are ready to t=0.
    pub lead_ns: u64,
    /// Where the periods of the control plane lie.
    pub phases: Phases,
    /// The InferenceServices, in the order of the manifests.
    pub services: Vec<ServicePlan>,
    /// The service that the load calls, an index into `services`.
    pub target: usize,
    /// What changes during the run, in order of time.
    pub changes: Vec<Change>,
    /// How long a client waits.
    pub client_timeout_ns: u64,
    /// Latencies and pod lives.
    pub environment: Environment,
    /// How long the model computes for a request.
    pub service_time: ServiceTime,
    /// Cores of a pod that its requests share; `None` gives each request a core of its own.
    pub cores: Option<f64>,
    /// KServe's own configuration.
    pub kserve: KserveConfig,
    /// `config-autoscaler` of Knative Serving.
    pub autoscaler: GlobalConfig,
    /// More requests than this in the system at once are turned away: the bound of every queue.
    pub most_in_flight: u64,
    /// After so many events the simulation is ended with an error.
    pub most_events: u64,
}

/// A change of a service during the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When, from the start of the run.
    pub at_ns: u64,
    /// What people call it.
    pub name: String,
    /// Whose, an index into [`Plan::services`].
    pub service: usize,
    /// To what, an index into [`ServicePlan::versions`].
    pub version: usize,
}

/// Where the periods of the control plane lie. The autoscaler's results depend on it, because its buckets are whole
/// seconds of the clock. By default they are tied to the clock, as they are live (see
/// [`windtunnel_kernel::autoscale::kpa::next_tick_ns`]); upstream's begin whenever something happened to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// The autoscaler's evaluation, every 2 s.
    pub ticks: Phase,
    /// The gateway's reports, every second.
    pub reports: Phase,
}

impl Default for Phases {
    fn default() -> Self {
        Self { ticks: Phase::Clock(TICK_OFFSET_NS), reports: Phase::Clock(0) }
    }
}

/// From where a period is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From this long after whole periods of the clock.
    Clock(u64),
    /// From the start of the thing itself, as upstream does: the revision is created, the gateway starts.
    Own,
    /// From this long after t=0 (and from whole periods before).
    Run(u64),
}

impl Phase {
    /// An instant on the grid, for something that starts at `own_ns` in a run with t=0 at `epoch_ns`.
    pub(crate) fn grid_from_ns(self, own_ns: u64, epoch_ns: u64) -> u64 {
        match self {
            Self::Clock(offset_ns) => offset_ns,
            Self::Own => own_ns,
            Self::Run(offset_ns) => epoch_ns.saturating_add(offset_ns),
        }
    }
}

impl Plan {
    /// Reads a scenario and its manifests.
    ///
    /// `manifests` are those that [`Scenario::manifests`] names, already parsed. Every event is applied and
    /// rendered here, so that nothing is left that could be wrong while the simulation runs.
    ///
    /// # Errors
    /// The first thing that is wrong or that the simulator does not model, with its place and a remedy.
    pub fn new(scenario: &Scenario, manifests: &[Manifest], flight: Flight) -> Result<Self, SimError> {
        let kserve = KserveConfig::default();
        let autoscaler = autoscaler_of(&scenario.environment)?;
        let (services, changes) = services::read(scenario, manifests, flight, &kserve, &autoscaler)?;
        let wanted = &scenario.load.target;
        let Some(target) = services.iter().position(|service| service.name == *wanted) else {
            let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
            return Err(SimError::UnknownTarget {
                scenario: scenario.path.clone(),
                target: wanted.clone(),
                known: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
            });
        };
        // A trace that cannot be read is found now.
        drop(windtunnel_scenario::load::arrivals(scenario, flight)?);
        Ok(Self {
            flight,
            duration_ns: scenario.duration_of(flight).as_ns(),
            epoch_ns: EPOCH_NS,
            lead_ns: LEAD_NS,
            phases: Phases::default(),
            services,
            target,
            changes,
            client_timeout_ns: scenario.load.timeout.as_ns(),
            environment: scenario.environment.clone(),
            service_time: service_time_of(&scenario.environment),
            cores: None,
            kserve,
            autoscaler,
            most_in_flight: 1_000_000,
            most_events: 1_000_000_000_000,
            scenario: scenario.clone(),
        })
    }

    /// An empty recording for a simulation with `seed`.
    pub fn recording(&self, seed: u64) -> Recording {
        let mut meta = Meta::new(&self.scenario.name, Source::Simulated, seed, self.duration_ns);
        meta.flight = self.flight;
        meta.versions.insert("windtunnel".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        Recording::new(meta)
    }

    /// When the manifests are applied: early enough for every service to be ready `lead_ns` before t=0.
    pub(crate) fn start_ns(&self) -> u64 {
        let has_pods = |service: &ServicePlan| {
            let first = &service.versions[0].autoscaler;
            first.initial_scale.max(first.min_scale) > 0
        };
        let settle_ns =
            if self.services.iter().any(has_pods) { self.environment.pod_start.total().as_ns() } else { 0 };
        self.epoch_ns.saturating_sub(self.lead_ns).saturating_sub(settle_ns)
    }
}

fn autoscaler_of(environment: &Environment) -> Result<GlobalConfig, SimError> {
    let empty = BTreeMap::new();
    let data = environment.knative.get("config-autoscaler").unwrap_or(&empty);
    GlobalConfig::from_config_map(data).map_err(|source| SimError::Autoscaling {
        place: "spec.environment.knative.config-autoscaler".to_owned(),
        source,
    })
}

fn service_time_of(environment: &Environment) -> ServiceTime {
    use windtunnel_scenario::ServiceTime as Given;
    match environment.service_time {
        Given::Constant { mean } => ServiceTime::constant(mean.as_ns() as f64),
        Given::Exponential { mean } => ServiceTime::exponential(mean.as_ns() as f64),
        Given::Lognormal { mean, cv } => ServiceTime::lognormal(mean.as_ns() as f64, cv),
    }
}
