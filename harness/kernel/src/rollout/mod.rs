//! Progressive delivery: how a new version gets its share of the traffic, and when it is taken back.
//!
//! | kernel | what it decides |
//! | --- | --- |
//! | [`flagger`] | a Flagger `Canary`: weights, checks, promotion and rollback, one decision an analysis interval |
//! | [`argo`] | an Argo `Rollout`: steps, replica counts, weights, pauses, and its `AnalysisRun`s |
//! | [`knative`] | Knative's gradual rollout of a new revision, and which old revisions are deleted |
//! | [`kserve`] | KServe's own canaries: `canaryTrafficPercent` on Knative, `canary[]` in Standard mode |
//!
//! [`value`] holds what manifests and metric providers say: numbers that may be written as texts, and data of any
//! form.

pub mod argo;
pub mod flagger;
pub mod knative;
pub mod kserve;
pub mod value;
