//! Argo's analyses: what is measured when, what a measurement means, and what comes of it.
//!
//! [`Run`] is one `AnalysisRun`. Its parts:
//!
//! | part | what it does |
//! | --- | --- |
//! | [`spec`] | the `AnalysisTemplate`'s `spec`, with upstream's defaults |
//! | [`condition`] | `successCondition` and `failureCondition`: expressions over a metric's result |
//! | [`assess`] | measurement, metric and run phases |
//! | [`run`] | the schedule, and what is kept |
//! | [`pattern`] | names of metrics that do not count |

pub mod assess;
pub mod condition;
mod evaluator;
mod functions;
mod parser;
pub mod pattern;
pub mod run;
pub mod spec;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use run::{Decision, Measured, Run};
pub use spec::AnalysisSpec;

/// How a measurement, a metric or a run stands. In order from the best to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Good.
    Successful,
    /// On its way.
    Running,
    /// Not begun.
    #[default]
    Pending,
    /// Neither good nor bad.
    Inconclusive,
    /// Could not be measured.
    Error,
    /// Bad.
    Failed,
}

impl Phase {
    /// Whether nothing more will come of it.
    #[must_use]
    pub fn is_completed(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Whether it is worse than `other`.
    #[must_use]
    pub fn is_worse_than(self, other: Self) -> bool {
        self > other
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
