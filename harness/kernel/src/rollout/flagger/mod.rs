//! Flagger's canary analysis, as Flagger of July 2026 decides.
//!
//! [`Canary`] is one `Canary` object: each analysis interval [`Canary::step`] looks at the two workloads, the answers
//! of its webhooks and its metrics, and says what to do. Its parts are public:
//!
//! | part | what it does |
//! | --- | --- |
//! | [`spec`] | the manifest's `spec`, with upstream's defaults |
//! | [`options`] | upstream's version and likely bugs |
//! | [`workload`] | whether the primary and the canary are ready, and whether waiting can help |
//! | [`weights`] | the next weight of the walk, the shift back to the primary |
//! | [`checks`] | metrics against their thresholds |
//! | [`hooks`] | webhooks: what is asked, what counts as yes |
//! | [`machine`] | the tick |
//! | [`decision`] | what is seen and what comes out |

pub mod checks;
pub mod decision;
pub mod hooks;
pub mod machine;
pub mod options;
pub mod spec;
mod strategy;
mod tick;
pub mod weights;
pub mod workload;

pub use decision::{Decision, Effect, Event, Explanation, Observation, Outcome, Severity};
pub use hooks::HookAnswer;
pub use machine::{Canary, Phase, Status};
pub use options::{Options, PromotionFailure};
pub use spec::CanarySpec;
pub use weights::Routes;
pub use workload::{Readiness, Workload};
