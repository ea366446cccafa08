//! What can be wrong with a plan, or with the simulator itself.

use std::path::PathBuf;

use thiserror::Error;
use windtunnel_kernel::autoscale::kpa::ConfigError;
use windtunnel_scenario::trace::TraceError;

use crate::engine::Violation;
use crate::fleet::FleetError;

/// Why there is no simulation, or why one was ended.
#[derive(Debug, Error)]
pub enum SimError {
    /// The load has nothing to call.
    #[error(
        "{}: the load targets InferenceService {target:?}, but the manifests hold {known}; \
         name one of them in spec.load.target", scenario.display()
    )]
    UnknownTarget {
        /// The scenario file.
        scenario: PathBuf,
        /// What `spec.load.target` names.
        target: String,
        /// What there is.
        known: String,
    },
    /// Two manifests of one name.
    #[error("InferenceService {service:?} is in the manifests twice; the second would overwrite the first")]
    Duplicate {
        /// Its name.
        service: String,
    },
    /// The admission webhook would refuse the service.
    #[error("InferenceService {service:?}{after}: {message}")]
    Refused {
        /// Its name.
        service: String,
        /// ` after event "…" (file:line)`, or nothing.
        after: String,
        /// The webhook's words.
        message: String,
    },
    /// No runtime serves the model.
    #[error(
        "InferenceService {service:?}{after}: {message}; add a ServingRuntime for it to spec.manifests or \
         name one in spec.predictor.model.runtime"
    )]
    Runtime {
        /// Its name.
        service: String,
        /// ` after event "…" (file:line)`, or nothing.
        after: String,
        /// KServe's words.
        message: String,
    },
    /// An autoscaling annotation, or a key of `config-autoscaler`, that cannot be.
    #[error("{place}: {source}")]
    Autoscaling {
        /// Whose it is.
        place: String,
        /// Which, and what it may be.
        source: ConfigError,
    },
    /// An event that cannot be carried out.
    #[error("{place}: event {event:?}: {message}; {remedy}")]
    Event {
        /// `file:line`
        place: String,
        /// Its name.
        event: String,
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// Something that the simulator does not model.
    #[error("{place}: {what} is not simulated; {remedy}")]
    Unsupported {
        /// Where it is asked for.
        place: String,
        /// What it is.
        what: String,
        /// What to do instead.
        remedy: String,
    },
    /// A number of the environment that no simulation can use.
    #[error("{place}: {message}")]
    Environment {
        /// The field.
        place: String,
        /// What is wrong and what it may be.
        message: String,
    },
    /// A file that cannot be read.
    #[error("{}: can't be read: {message}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        message: String,
    },
    /// Files that are wrong, alone or with the settings of a study.
    #[error("{}", faults.join("\n"))]
    Faulty {
        /// One message a fault, each with its place and a remedy.
        faults: Vec<String>,
    },
    /// A setting that cannot be made.
    #[error("{setting}: {message}; {remedy}")]
    Setting {
        /// `PATH=VALUE`
        setting: String,
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// A study that cannot be made.
    #[error("{message}; {remedy}")]
    Study {
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// A stored state that cannot be gone on with.
    #[error("snapshot: {message}; {remedy}")]
    Snapshot {
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// Machines that cannot be, or something that they cannot do.
    #[error("spec.environment.nodes: {0}")]
    Fleet(#[from] FleetError),
    /// The load cannot be read.
    #[error(transparent)]
    Load(#[from] TraceError),
    /// A service whose status never settles: a defect of the rendering, not of the scenario.
    #[error("InferenceService {service:?} does not settle after {passes} reconciliations")]
    Unsettled {
        /// Its name.
        service: String,
        /// How many were tried.
        passes: u32,
    },
    /// The simulator broke a law of its own.
    #[error("{0}; this is a defect of the simulator, please report it with the scenario and its seed")]
    Violation(#[from] Violation),
    /// The bound on events was reached.
    #[error(
        "the simulation was ended after {events} events at {seconds} s of virtual time; raise `most_events` of \
         the plan, or simulate less"
    )]
    TooLong {
        /// How many events happened.
        events: u64,
        /// Virtual time since the start of the run.
        seconds: u64,
    },
}

impl SimError {
    /// All faults of some files.
    pub(crate) fn faulty<T: std::fmt::Display>(faults: impl IntoIterator<Item = T>) -> Self {
        Self::Faulty { faults: faults.into_iter().map(|fault| fault.to_string()).collect() }
    }
}
