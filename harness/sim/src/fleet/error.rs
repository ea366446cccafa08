//! What can be wrong with a fleet, or with what is asked of it.

use std::fmt;

use super::demand::PodId;
use super::transfers::Link;

/// Why something cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FleetError {
    /// A setting that no cluster can have.
    Setting {
        /// Whose: `pool "gpu"`, `autoscaler`.
        place: String,
        /// Which one, in the scenario's words.
        field: &'static str,
        /// What it is and what it may be.
        message: String,
    },
    /// A pool that is not there.
    UnknownPool {
        /// The index asked for.
        pool: usize,
        /// How many there are.
        pools: usize,
    },
    /// A link that is not, or no longer, there.
    UnknownLink {
        /// The link asked for.
        link: Link,
    },
    /// A pod that has a place, or waits for one, already.
    KnownPod {
        /// Which.
        pod: PodId,
    },
    /// The bound of a table is reached.
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
}

impl FleetError {
    /// Machines that are there no more.
    pub(crate) fn none(message: &str) -> Self {
        Self::setting("nodes", "pools", message)
    }

    pub(super) fn setting(place: impl Into<String>, field: &'static str, message: impl Into<String>) -> Self {
        Self::Setting { place: place.into(), field, message: message.into() }
    }
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { place, field, message } => write!(f, "{place}: {field} {message}"),
            Self::UnknownPool { pool, pools } => {
                write!(f, "there is no node pool {pool}; name one of the {pools} pools, counted from 0")
            }
            Self::UnknownLink { link } => {
                write!(f, "link {} is not, or no longer, there; add it before transfers cross it", link.0)
            }
            Self::KnownPod { pod } => {
                write!(f, "pod {} is known already; release it before it is submitted again", pod.0)
            }
            Self::TooMany { what, most } => {
                write!(f, "more than {most} {what} at once; simulate less, or let some end first")
            }
        }
    }
}

impl std::error::Error for FleetError {}
