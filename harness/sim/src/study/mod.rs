//! Studies: one scenario, many simulations.
//!
//! A [`Source`] keeps a scenario and its manifests as the files that they are, so that any field of them can be
//! [set](Setting) before they are read. On top of it stand
//!
//! | question | answer |
//! | --- | --- |
//! | how sure is a figure? | [`replicate`]: the same plan with other seeds, on all cores |
//! | which configurations meet the objectives? | [`plan`]: a grid of [`Axis`], one of them searched by bisection |
//! | what if this had been different at 14:05? | [`fork`]: two futures of one past |
//!
//! Every variant is simulated with the same seeds, and what happens to a request by chance depends on its seed and
//! number alone: variants differ by their settings, not by their luck.

mod axis;
mod fork;
mod jobs;
mod options;
mod patch;
mod replicate;
mod source;

pub use axis::{Axis, AxisError, Values};
pub use fork::{Fork, fork};
pub use options::{Candidate, Question, plan};
pub use patch::patches;
pub use replicate::{Replication, replicate, seed_of};
pub use source::{Setting, Source};
