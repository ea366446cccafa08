//! Scenario files, load shapes, traces and objectives, with source positions.
//!
//! A scenario says what a serving set-up must withstand: the Kubernetes manifests to serve, the load that
//! arrives, what happens on the way and the objectives that must hold. This crate reads such a file, finds
//! **every** fault in it at once, and turns its load into a reproducible sequence of arrivals. It runs nothing.
//!
//! | role | types |
//! | --- | --- |
//! | the file | [`Scenario`], [`Load`], [`Event`], [`Disturbance`], [`Environment`], [`FlightPlan`] |
//! | what is wrong with it | [`Faults`], [`Fault`], each with file, line, column and a hint |
//! | quantities as people write them | [`Duration`], [`Rate`], [`Bytes`], [`Bandwidth`], [`Price`] |
//! | what must hold | [`objective::Objective`] |
//! | when requests arrive | [`load::arrivals`], [`load::Flight`], [`trace`] |
//! | what they carry | [`requests::RequestSet`] |
//! | values that replace those of a file | [`overrides`] |
//! | reading other files of ours in the same way | [`yaml`], [`reader`], [`suggest`] |
//!
//! ```
//! use windtunnel_scenario::objective::{Metric, Objective, Operator};
//!
//! let objective = Objective::parse("p99<300ms")?;
//! assert_eq!(objective.metric, Metric::Percentile(99.0));
//! assert_eq!(objective.operator, Operator::Less);
//! assert_eq!(objective.limit, 300e6, "latency limits are nanoseconds");
//!
//! let mistyped = Objective::parse("error-rat<1%").unwrap_err();
//! assert_eq!(mistyped.hint, "did you mean \"error-rate\"?");
//! # Ok::<(), windtunnel_scenario::objective::ObjectiveError>(())
//! ```

pub mod fault;
pub mod load;
pub mod objective;
pub mod overrides;
pub mod quantity;
pub mod reader;
pub mod requests;
pub mod scenario;
pub mod suggest;
pub mod trace;
pub mod yaml;

mod decode;
mod manifests;
mod recorded;
mod schema;

pub use fault::{Fault, Faults};
pub use quantity::{Bandwidth, Bytes, Duration, Price, Rate};
pub use scenario::{
    Action, Activator, Arrivals, Batching, Broker, Burst, Command, Control, ControlPhases, Cores,
    Distribution, Disturbance, DisturbanceKind, Drift, DriftDetector, DriftShift, DriftTest, Environment,
    Event, FlaggerControl, FlaggerVersion, FlightPlan, HpaTiming, ImageSize, KedaTiming, KpaTiming,
    LateConnections, Llm, Load, MemoryUse, ModelLoad, ModelProfile, Network, NodeAutoscaler, Nodes, Patch,
    Phase, PodStart, PodStop, Pool, Probe, Process, Profile, Protocol, Queue, Retries, RetryOn, Scenario,
    Scheduling, Server, Shape, SharedBandwidth, Trace, TraceFormat, Transfer, UserPhase, Verb, WarmUp, When,
};
