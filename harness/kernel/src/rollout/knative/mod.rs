//! Knative Serving's own care for revisions, as of August 2026.
//!
//! | kernel | what it decides |
//! | --- | --- |
//! | [`gradual`] | how a new revision gets its traffic step by step (`rollout-duration`) |
//! | [`gc`] | which revisions that nobody routes to any more are deleted (`config-gc`) |

pub mod gc;
pub mod gradual;
