//! The scenario itself: what a file says, with every path resolved and every default filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::Faults;
use crate::load::Flight;
use crate::objective::Objective;
use crate::quantity::{Duration, Rate};

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
    /// What arrives.
    pub load: Load,
    /// The slice that is flown live; `None` flies the whole scenario as it is.
    pub flight: Option<FlightPlan>,
    /// What happens on the way, in order of time.
    pub events: Vec<Event>,
    /// What must hold.
    pub objectives: Vec<Objective>,
    /// What manifests cannot say.
    pub environment: Environment,
}

/// The load: which service is called, with what, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Name of the InferenceService.
    pub target: String,
    /// Which inference protocol the requests speak.
    pub protocol: Protocol,
    /// The request rows, see [`crate::requests::RequestSet`].
    pub requests: PathBuf,
    /// How long a client waits before it gives up.
    pub timeout: Duration,
    /// When requests are sent.
    pub arrivals: Arrivals,
}

/// Inference protocols that a load can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// `POST /v1/models/NAME:predict`
    V1,
    /// `POST /v2/models/NAME/infer`
    V2,
}

/// When requests are sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// One phase after the other, from the start of the scenario.
    Phases {
        /// How arrivals are spread around the rate.
        process: Process,
        /// At least one; together not longer than the scenario.
        phases: Vec<Phase>,
    },
    /// Recorded arrivals.
    Trace(Trace),
}

/// How arrivals are spread around a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Process {
    /// Evenly.
    Constant,
    /// Independently of each other (exponential gaps).
    Poisson,
}

/// A stretch of load with one rate, or a linear ramp between two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase {
    /// How long it lasts.
    pub length: Duration,
    /// The rate at its start.
    pub rate: Rate,
    /// The rate at its end, when it is a ramp.
    pub to: Option<Rate>,
}

/// A slice of a file of recorded arrivals.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// The file.
    pub file: PathBuf,
    /// How it is written.
    pub format: TraceFormat,
    /// Where the slice begins, from the start of the trace. It is the scenario's t=0.
    pub from: Duration,
    /// Where the slice ends; `None` runs on to the end of the trace or of the scenario.
    pub to: Option<Duration>,
    /// Whether the scenario is skipped, not wrong, when the file is absent.
    pub optional: bool,
}

/// Trace file formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TraceFormat {
    /// CSV with columns `TIMESTAMP,ContextTokens,GeneratedTokens` (Azure Public Dataset, LLM inference).
    /// The first row is the start of the trace.
    #[serde(rename = "azure-llm-2023")]
    AzureLlm2023,
    /// One arrival a line: seconds since the start of the trace, or an RFC 3339 instant (the first one is
    /// the start). A first line `timestamp` is taken for a header.
    Timestamps,
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

/// Something that happens while the load runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, from the start of the scenario (or of the flight, see [`Scenario::events_in`]).
    pub at: Duration,
    /// What people call it.
    pub name: String,
    /// What it does.
    pub action: Action,
    /// Where the file says so.
    pub line: u32,
}

/// What an event does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Changes an object.
    Patch(Patch),
}

/// A JSON merge patch (RFC 7386) of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Kind of the object, such as `InferenceService`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The patch, an object.
    pub merge: serde_json::Value,
}

/// What manifests cannot say about the place where the service runs.
///
/// The simulator reads all of it; `knative` is also installed on a live cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environment {
    /// ConfigMaps of Knative Serving by name (`config-autoscaler`), each with the keys to set.
    pub knative: BTreeMap<String, BTreeMap<String, String>>,
    /// The way of a request.
    pub network: Network,
    /// How long the model computes.
    pub service_time: ServiceTime,
    /// What a starting pod waits for.
    pub pod_start: PodStart,
    /// What a stopping pod waits for.
    pub pod_stop: PodStop,
}

/// Latency on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Added to every request, gateway and network together.
    pub gateway: Duration,
}

impl Default for Network {
    fn default() -> Self {
        Self { gateway: Duration::from_ns(300_000) }
    }
}

/// How long the model computes for one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ServiceTime {
    /// Always the same.
    Constant {
        /// The time.
        mean: Duration,
    },
    /// Exponentially distributed.
    Exponential {
        /// The mean.
        mean: Duration,
    },
    /// Lognormally distributed.
    Lognormal {
        /// The mean (not the median).
        mean: Duration,
        /// Standard deviation divided by mean.
        cv: f64,
    },
}

impl Default for ServiceTime {
    fn default() -> Self {
        Self::Lognormal { mean: Duration::from_ms(1), cv: 0.2 }
    }
}

/// The phases of a pod's start, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodStart {
    /// Until a node is chosen and told.
    pub schedule: Duration,
    /// Until the image is on the node.
    pub image_pull: Duration,
    /// Until the model's files are there.
    pub download: Duration,
    /// Until the server has loaded the model.
    pub load: Duration,
    /// Until the readiness probe has noticed.
    pub probe: Duration,
    /// Until the gateway knows the address.
    pub propagate: Duration,
}

impl Default for PodStart {
    fn default() -> Self {
        Self {
            schedule: Duration::from_ms(5),
            image_pull: Duration::ZERO,
            download: Duration::from_ms(40),
            load: Duration::from_ms(250),
            probe: Duration::from_ms(50),
            propagate: Duration::from_ms(10),
        }
    }
}

impl PodStart {
    /// The phases by name in the order in which they happen.
    pub fn phases(&self) -> [(&'static str, Duration); 6] {
        [
            ("schedule", self.schedule),
            ("image-pull", self.image_pull),
            ("download", self.download),
            ("load", self.load),
            ("probe", self.probe),
            ("propagate", self.propagate),
        ]
    }

    /// All phases together.
    pub fn total(&self) -> Duration {
        Duration::from_ns(self.phases().iter().map(|(_, length)| length.as_ns()).sum())
    }
}

/// The stop of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodStop {
    /// How long it stays up after it was told to stop.
    pub grace: Duration,
}

impl Default for PodStop {
    fn default() -> Self {
        Self { grace: Duration::from_ms(500) }
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
    pub fn load(path: &Path) -> Result<Self, Faults> {
        crate::decode::load(path)
    }

    /// Like [`Scenario::load`], for a text that is already in memory; `path` gives the folder and the name.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, Faults> {
        crate::decode::parse(text, path)
    }

    /// The JSON Schema of scenario files, for editors.
    pub fn json_schema() -> serde_json::Value {
        crate::schema::json_schema()
    }

    /// Why this scenario cannot run here, when that is not the user's mistake: its optional trace is absent.
    pub fn skip_reason(&self) -> Option<String> {
        match &self.load.arrivals {
            Arrivals::Trace(trace) if trace.optional && !trace.file.is_file() => Some(format!(
                "skipped {}: its trace {} is not on this machine (optional: true)",
                self.name,
                trace.file.display()
            )),
            _ => None,
        }
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
    /// and events at or after its end are left out.
    pub fn events_in(&self, flight: Flight) -> Vec<Event> {
        let Some(plan) = self.slice(flight) else { return self.events.clone() };
        self.events
            .iter()
            .filter(|event| event.at < plan.to)
            .map(|event| Event { at: plan.flight_time(event.at), ..event.clone() })
            .collect()
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
