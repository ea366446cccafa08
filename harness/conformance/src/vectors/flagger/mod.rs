//! The kernels of Flagger.

mod readiness;
mod tick;

use super::Kernel;

/// Every kernel with its name.
pub(crate) const KERNELS: &[(&str, Kernel)] = &[
    ("flagger.canary_walk", tick::canary_walk),
    ("flagger.canary_walk_mirror", tick::canary_walk_mirror),
    ("flagger.deployment_ready", readiness::deployment_ready),
    ("flagger.phase_trace", tick::phase_trace),
    ("flagger.promotion_failure", tick::promotion_failure),
    ("flagger.reset", tick::reset),
    ("flagger.rollback", tick::rollback),
];
