//! The scenario itself: what a file says, with every path resolved and every default filled in.

mod control;
mod distribution;
mod environment;
mod happening;
mod load;
mod nodes;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::fault::Faults;
use crate::load::Flight;
use crate::objective::Objective;
use crate::quantity::Duration;

pub use control::{
    Activator, Control, ControlPhases, Drift, DriftDetector, DriftShift, DriftTest, FlaggerControl,
    FlaggerVersion, HpaTiming, KedaTiming, KpaTiming, LateConnections, Profile,
};
pub use distribution::Distribution;
pub use environment::{Environment, ImageSize, ModelLoad, Network, PodStart, PodStop, Probe, Transfer};
pub use happening::{Action, Command, Disturbance, DisturbanceKind, Event, Patch, Verb, When};
pub use load::{
    Arrivals, Broker, Burst, DEFAULT_TIMEOUT, Load, Phase, Process, Protocol, Queue, Retries, RetryOn, Shape,
    Trace, TraceFormat, UserPhase,
};
pub use nodes::{NodeAutoscaler, Nodes, Pool, Scheduling, SharedBandwidth};
pub use server::{Batching, Cores, Llm, MemoryUse, ModelProfile, Server, WarmUp};

/// The `apiVersion` of scenario files.
pub const API_VERSION: &str = "windtunnel.dev/v1alpha1";

/// The seed of a scenario that names none.
pub const DEFAULT_SEED: u64 = 42;

/// A scenario, checked: its quantities are possible and its files exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The file that it was read from, as the user named it.
    pub path: PathBuf,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.description`; empty when there is none.
    pub description: String,
    /// How long the whole scenario lasts.
    pub duration: Duration,
    /// Where every random stream is derived from.
    pub seed: u64,
    /// Kubernetes manifests to apply, in order.
    pub manifests: Vec<PathBuf>,
    /// Storage URI prefix to local folder.
    pub storage: BTreeMap<String, PathBuf>,
    /// What arrives: one load a service, at least one. The first is the one that is flown live.
    pub loads: Vec<Load>,
    /// The slice that is flown live; `None` flies the whole scenario as it is.
    pub flight: Option<FlightPlan>,
    /// What happens on the way, in order of time.
    pub events: Vec<Event>,
    /// What breaks, in the order of the file.
    pub faults: Vec<Disturbance>,
    /// What must hold.
    pub objectives: Vec<Objective>,
    /// What manifests cannot say.
    pub environment: Environment,
}

/// The slice of a scenario that is flown live, and how it is compressed in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlightPlan {
    /// Where the slice begins, in scenario time.
    pub from: Duration,
    /// Where it ends, in scenario time.
    pub to: Duration,
    /// Arrival times, event times and durations are divided by this; at least 1.
    pub compress: f64,
}

impl FlightPlan {
    /// How long the flight takes.
    pub fn duration(&self) -> Duration {
        Duration::from_ns(self.to.as_ns() - self.from.as_ns()).compressed(self.compress)
    }

    /// Where an instant of the scenario lies in the flight; instants outside the slice go to its ends.
    pub fn flight_time(&self, scenario_time: Duration) -> Duration {
        let clamped = scenario_time.clamp(self.from, self.to);
        Duration::from_ns(clamped.as_ns() - self.from.as_ns()).compressed(self.compress)
    }
}

impl Scenario {
    /// Reads and checks a scenario file.
    ///
    /// Paths in the file are taken relative to its folder. Environment variables are not expanded.
    ///
    /// # Errors
    /// All faults of the file at once, each with its place and a hint. A missing trace that is marked
    /// `optional` is no fault: see [`Scenario::skip_reason`].
    pub fn read(path: &Path) -> Result<Self, Faults> {
        crate::decode::read(path)
    }

    /// Like [`Scenario::read`], for a text that is already in memory; `path` gives the folder and the name.
    ///
    /// # Errors
    /// As [`Scenario::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, Faults> {
        crate::decode::parse(text, path)
    }

    /// The JSON Schema of scenario files, for editors.
    pub fn json_schema() -> serde_json::Value {
        crate::schema::json_schema()
    }

    /// The first load: the one that is flown live.
    ///
    /// # Panics
    /// When [`Scenario::loads`] was emptied; a scenario that was read has one.
    pub fn load(&self) -> &Load {
        &self.loads[0]
    }

    /// Why this scenario cannot run here, when that is not the user's mistake: an optional trace is absent.
    pub fn skip_reason(&self) -> Option<String> {
        let traces = self.loads.iter().flat_map(|load| match &load.arrivals {
            Arrivals::Trace(traces) => traces.as_slice(),
            Arrivals::Phases { .. } | Arrivals::Users { .. } => &[],
        });
        let absent = traces.into_iter().find(|trace| trace.optional && !trace.file.is_file())?;
        Some(format!(
            "skipped {}: its trace {} is not on this machine (optional: true)",
            self.name,
            absent.file.display()
        ))
    }

    /// How long a flight takes: the whole scenario, or the compressed slice.
    pub fn duration_of(&self, flight: Flight) -> Duration {
        match self.slice(flight) {
            Some(plan) => plan.duration(),
            None => self.duration,
        }
    }

    /// The events of a flight at flight time, in order.
    ///
    /// Of a slice, events before its start happen at t=0 (the slice begins in the state that they leave)
    /// and events at or after its end are left out. So are commands before its start that leave no state, such as a
    /// promotion: what they were about is over.
    pub fn events_in(&self, flight: Flight) -> Vec<Event> {
        let Some(plan) = self.slice(flight) else { return self.events.clone() };
        self.events
            .iter()
            .filter(|event| event.at < plan.to && (event.at >= plan.from || event.action.leaves_state()))
            .map(|event| Event { at: plan.flight_time(event.at), ..event.clone() })
            .collect()
    }

    /// What breaks in a flight, at flight time.
    ///
    /// Of a slice, what broke before its start and lasts into it breaks at t=0 for the rest of its time, and what
    /// breaks at or after its end is left out. What breaks again and again does so as many times as fast as the
    /// flight is.
    pub fn faults_in(&self, flight: Flight) -> Vec<Disturbance> {
        let Some(plan) = self.slice(flight) else { return self.faults.clone() };
        self.faults.iter().filter_map(|disturbance| disturbance.sliced(*plan)).collect()
    }

    /// A window of scenario time as nanoseconds of flight time, `from..to`; `None` when the flight has
    /// nothing of it.
    pub fn window_in(
        &self,
        flight: Flight,
        from: Option<Duration>,
        to: Option<Duration>,
    ) -> Option<(u64, u64)> {
        let from = from.unwrap_or(Duration::ZERO);
        let to = to.unwrap_or(self.duration).min(self.duration);
        let window = match self.slice(flight) {
            Some(plan) => (plan.flight_time(from), plan.flight_time(to)),
            None => (from, to),
        };
        (window.0 < window.1).then_some((window.0.as_ns(), window.1.as_ns()))
    }

    /// The factor by which a flight is compressed in time.
    pub fn compression_of(&self, flight: Flight) -> f64 {
        self.slice(flight).map_or(1.0, |plan| plan.compress)
    }

    fn slice(&self, flight: Flight) -> Option<&FlightPlan> {
        match flight {
            Flight::Whole => None,
            Flight::Slice => self.flight.as_ref(),
        }
    }
}
