//! KServe's own canaries, as of August 2026.
//!
//! | mode | what decides |
//! | --- | --- |
//! | Knative | [`knative`]: `canaryTrafficPercent`, and pointers to the revisions that were rolled out |
//! | Standard | [`standard`]: `spec.canary[]`, each a predictor of its own with a percentage |
//!
//! In Standard mode `canaryTrafficPercent` is ignored.

pub mod knative;
pub mod standard;
