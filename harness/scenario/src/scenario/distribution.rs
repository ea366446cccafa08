//! Distributions of times: how long a model computes, how long a user thinks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::quantity::Duration;

/// A distribution of times with a finite mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Always the same.
    Constant {
        /// The time.
        mean: Duration,
    },
    /// Exponentially distributed.
    Exponential {
        /// The mean.
        mean: Duration,
    },
    /// Lognormally distributed.
    Lognormal {
        /// The mean (not the median).
        mean: Duration,
        /// Standard deviation divided by mean, above 0.
        cv: f64,
    },
    /// Gamma distributed; Erlang-k when `cv` is `1/√k`.
    Gamma {
        /// The mean.
        mean: Duration,
        /// Standard deviation divided by mean, above 0.
        cv: f64,
    },
    /// Pareto distributed: `P[T > t] = (minimum / t)^shape`.
    Pareto {
        /// The shortest time, above 0.
        minimum: Duration,
        /// The exponent of the tail, above 1 so that there is a mean.
        shape: f64,
    },
    /// One of recorded times, each as likely as any other.
    Empirical {
        /// The times in nanoseconds, sorted; at least one.
        values: Arc<[u64]>,
    },
}

impl Default for Distribution {
    fn default() -> Self {
        Self::Lognormal { mean: Duration::from_ms(1), cv: 0.2 }
    }
}

impl Distribution {
    /// The mean in nanoseconds.
    pub fn mean_ns(&self) -> f64 {
        match self {
            Self::Constant { mean }
            | Self::Exponential { mean }
            | Self::Lognormal { mean, .. }
            | Self::Gamma { mean, .. } => mean.as_ns() as f64,
            Self::Pareto { minimum, shape } => minimum.as_ns() as f64 * shape / (shape - 1.0),
            // Each quotient is exact enough, and no sum can overflow.
            Self::Empirical { values } => {
                let n = values.len().max(1) as f64;
                values.iter().map(|ns| *ns as f64 / n).sum()
            }
        }
    }
}
