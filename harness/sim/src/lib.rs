//! Discrete-event simulator of a serving platform in virtual time.
//!
//! It flies a scenario as a live cluster would, days of traffic in seconds: open-loop clients, a gateway with
//! activator and exact traffic split, revisions with Knative's autoscaler, pods with the phases of a cold
//! start, and canary rollouts. Every decision is taken by the kernels and every object rendered by the
//! functions that the live control plane uses; what is simulated is only the world around them.
//!
//! | role | types |
//! | --- | --- |
//! | what to simulate, checked | [`Plan`] with [`ServicePlan`], [`RevisionPlan`], [`Change`], [`Phases`] |
//! | run it | [`simulate`], [`simulate_arrivals`], [`Summary`] |
//! | what can be wrong | [`SimError`] |
//! | the machinery, for models of one's own | [`engine`] |
//!
//! The same plan and seed give the same recording, byte for byte. Time is `u64` nanoseconds since the Unix
//! epoch inside (the autoscaler's buckets depend on it) and since the start of the run in recordings.
//! What happens before t=0, while manifests are applied and services become ready, is simulated but not
//! recorded.
//!
//! ```no_run
//! use windtunnel_scenario::{load::Flight, Scenario};
//! use windtunnel_sim::{simulate, Plan};
//!
//! let scenario = Scenario::load("scenarios/quickstart.yaml".as_ref())?;
//! let mut manifests = Vec::new();
//! for path in &scenario.manifests {
//!     let text = std::fs::read_to_string(path)?;
//!     manifests.extend(windtunnel_api::manifest::parse(&text, &path.display().to_string()).unwrap());
//! }
//! let plan = Plan::new(&scenario, &manifests, Flight::Whole)?;
//! let mut recording = plan.recording(scenario.seed);
//! let summary = simulate(&plan, scenario.seed, &mut recording)?;
//! println!("{} requests, {} failed", summary.requests, summary.failed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod engine;

mod error;
mod model;
mod plan;
mod simulate;

pub use error::SimError;
pub use model::ServiceTime;
pub use plan::{Change, EPOCH_NS, LEAD_NS, Phase, Phases, Plan, RevisionPlan, ServicePlan, Version};
pub use simulate::{Summary, simulate, simulate_arrivals};
