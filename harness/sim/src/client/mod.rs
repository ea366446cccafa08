//! What clients do besides sending: they try again, and they think.
//!
//! | role | types |
//! | --- | --- |
//! | when to try again | [`RetryPolicy`], [`Failure`] |
//! | users in a closed loop | [`Population`], [`Stage`], [`User`], [`Change`] |
//!
//! Both are values: time and random numbers are handed in, and a [`Population`] is serialisable at any instant.

mod population;
mod retry;

pub use self::population::{Change, Population, Stage, User};
pub use self::retry::{Failure, RetryPolicy};
