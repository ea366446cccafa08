//! The plan of a simulation: everything that it needs, read and checked before it starts.

mod cluster;
mod kserve;
mod loads;
mod model_profile;
pub(crate) mod objects;
pub(crate) mod query;
mod revision;
pub(crate) mod rollouts;
mod services;
pub(crate) mod standard;
mod template;
mod toleration;

use std::collections::BTreeMap;

use windtunnel_api::manifest::Manifest;
use windtunnel_kernel::autoscale::hpa;
use windtunnel_kernel::autoscale::kpa::{GlobalConfig, TICK_OFFSET_NS};
use windtunnel_record::{Meta, Recording, Source};
use windtunnel_scenario::load::Flight;
use windtunnel_scenario::{Disturbance, Duration, Environment, Scenario, Verb};

pub(crate) use cluster::{ClusterPlan, is_all_local};
pub use kserve::Kserve;
pub(crate) use kserve::{accepted, refusal};
pub use loads::{LoadPlan, UsersPlan};
pub(crate) use loads::{MILLION, broker_of};
pub(crate) use model_profile::{ModelProfile, draw_of, environment_error};
pub use revision::{ControlPlan, RevisionPlan};
pub use rollouts::measure::{Measure, Operator, Reading, Side, Signal};
pub use rollouts::{AnalysisPlan, ArgoPlan, DeliveryPlan, FlaggerPlan, HookPlan};
pub use services::{ServicePlan, Version};
pub use standard::strategy::{Amount, Strategy};
pub(crate) use standard::{Counts, deployments};
pub use standard::{DeploymentPlan, KedaPlan, ScalerPlan, StandardPlan};
pub use template::{Resources, Template};
pub use toleration::Toleration;

use crate::error::SimError;

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
    /// What calls them; at least one.
    pub loads: Vec<LoadPlan>,
    /// What changes during the run, in order of time.
    pub changes: Vec<Change>,
    /// What goes wrong during the run.
    pub faults: Vec<Disturbance>,
    /// Latencies and pod lives.
    pub environment: Environment,
    /// KServe: its configuration and what its controller looks at.
    pub kserve: Kserve,
    /// Autoscalers that are objects of their own in the manifests.
    pub(crate) objects: Vec<objects::Object>,
    /// `config-autoscaler` of Knative Serving.
    pub autoscaler: GlobalConfig,
    /// The release of Kubernetes whose HorizontalPodAutoscaler decides.
    pub hpa_version: hpa::Version,
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
    /// What it is.
    pub kind: ChangeKind,
}

/// What a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Another version of the manifest: an index into [`ServicePlan::versions`].
    Version(usize),
    /// A command to the controller of the service's canaries.
    Command(Verb),
}

impl Change {
    /// The version that it brings.
    pub(crate) fn version(&self) -> Option<usize> {
        match self.kind {
            ChangeKind::Version(version) => Some(version),
            ChangeKind::Command(_) => None,
        }
    }
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
        let autoscaler = autoscaler_of(&scenario.environment)?;
        let profile = kernel_profile(scenario.environment.profile);
        let kserve = Kserve::of(manifests, profile, autoscaler.allow_zero_initial_scale)?;
        let objects = objects::read(manifests)?;
        let (services, changes) =
            services::read(scenario, manifests, flight, (&kserve, &objects), &autoscaler)?;
        let loads = loads::read(scenario, flight, &services)?;
        let plan = Self {
            flight,
            duration_ns: scenario.duration_of(flight).as_ns(),
            epoch_ns: EPOCH_NS,
            lead_ns: LEAD_NS,
            phases: phases_of(&scenario.environment),
            services,
            loads,
            changes,
            faults: scenario.faults_in(flight),
            environment: scenario.environment.clone(),
            kserve,
            objects,
            autoscaler,
            hpa_version: scenario.environment.control.hpa.version,
            most_in_flight: 1_000_000,
            most_events: 1_000_000_000_000,
            scenario: scenario.clone(),
        };
        cluster::check(&plan)?;
        Ok(plan)
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
        let has_pods = |service: &ServicePlan| service.versions[0].first_scale() > 0;
        let settle_ns =
            if self.services.iter().any(has_pods) { self.environment.pod_start.total().as_ns() } else { 0 };
        self.epoch_ns.saturating_sub(self.lead_ns).saturating_sub(settle_ns)
    }
}

fn autoscaler_of(environment: &Environment) -> Result<GlobalConfig, SimError> {
    let empty = BTreeMap::new();
    let data = environment.knative.get("config-autoscaler").unwrap_or(&empty);
    let config = GlobalConfig::from_config_map(data).map_err(|source| SimError::Autoscaling {
        place: "spec.environment.knative.config-autoscaler".to_owned(),
        source,
    })?;
    Ok(GlobalConfig { profile: kernel_profile(environment.profile), ..config })
}

/// Where the scenario wants the control plane's periods.
fn phases_of(environment: &Environment) -> Phases {
    let default = Phases::default();
    let of = |phase: Option<Duration>| phase.map(|phase| Phase::Run(phase.as_ns()));
    let phases = environment.control.phases;
    Phases {
        ticks: of(phases.kpa).unwrap_or(default.ticks),
        reports: of(phases.scrape).unwrap_or(default.reports),
    }
}

/// Whose rules the kernels follow.
pub(crate) fn kernel_profile(profile: windtunnel_scenario::Profile) -> windtunnel_kernel::Profile {
    match profile {
        windtunnel_scenario::Profile::Windtunnel => windtunnel_kernel::Profile::Windtunnel,
        windtunnel_scenario::Profile::Upstream => windtunnel_kernel::Profile::Upstream,
    }
}
