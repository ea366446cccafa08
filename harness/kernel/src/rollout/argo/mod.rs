//! Argo Rollouts, as of August 2026.
//!
//! [`Rollout`] is one `Rollout` object: each reconcile ([`Rollout::step`]) looks at its ReplicaSets and at the
//! analyses that it asked for, and says what to scale, where traffic goes and which analyses to start or to end.
//! [`analysis::Run`] is one `AnalysisRun`. Parts:
//!
//! | part | what it does |
//! | --- | --- |
//! | [`spec`] | the manifest's `spec`, with upstream's defaults |
//! | [`replicas`] | how many canary and stable replicas: basic, and with a traffic router |
//! | [`weights`] | where the steps stand: set weights, the way back after an abort |
//! | [`status`] | what is kept between reconciles |
//! | [`rollout`] | abort, retry, promotion, and the reconcile |
//! | [`decision`] | what is seen and what comes out |
//! | [`analysis`] | measurements, conditions, metric and run phases, schedule |

mod analyses;
pub mod analysis;
mod bluegreen;
mod canary;
pub mod decision;
mod pause;
mod reconcile;
pub mod replicas;
pub mod rollout;
mod scaling;
pub mod spec;
pub mod status;
mod steps;
mod traffic;
pub mod weights;

pub use analysis::Phase as AnalysisPhase;
pub use decision::{Decision, Effect, Explanation, Observation};
pub use replicas::ReplicaSet;
pub use rollout::Rollout;
pub use spec::RolloutSpec;
pub use status::{RolloutPhase, Status};
