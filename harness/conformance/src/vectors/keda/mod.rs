//! The kernels of KEDA.

mod jobs;
mod objects;

use super::Kernel;

/// Every kernel with its name.
pub(crate) const KERNELS: &[(&str, Kernel)] = &[
    ("keda.fallback", objects::fallback),
    ("keda.kafka.even_factor", jobs::even_factor),
    ("keda.scaledjob.strategy", jobs::strategy),
    ("keda.scaledobject", objects::scaled_object),
];
