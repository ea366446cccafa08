//! A 128-bit count that every format can carry.

use serde::{Deserialize, Serialize};

/// An unsigned 128-bit number, written as its high and low half: JSON readers lose larger numbers than 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub(super) struct Wide(pub(super) u128);

impl From<(u64, u64)> for Wide {
    fn from((high, low): (u64, u64)) -> Self {
        Self(u128::from(high) << 64 | u128::from(low))
    }
}

impl From<Wide> for (u64, u64) {
    fn from(Wide(number): Wide) -> Self {
        let half = |number: u128| u64::try_from(number & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        (half(number >> 64), half(number))
    }
}
