//! The kernels of Argo Rollouts.

mod analysis;
mod replicas;

use super::Kernel;

/// Every kernel with its name.
pub(crate) const KERNELS: &[(&str, Kernel)] = &[
    ("argo.approx_weighted_counts", replicas::approx_weighted_counts),
    ("argo.assess_metric", analysis::assess_metric),
    ("argo.canary_counts", replicas::canary_counts),
    ("argo.evaluate_result", analysis::evaluate_result),
    ("argo.traffic_weight_to_replicas", replicas::traffic_weight_to_replicas),
];
