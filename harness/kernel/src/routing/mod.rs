//! Where a request goes.
//!
//! | module | what is decided |
//! | --- | --- |
//! | [`split`] | which revision, so that every prefix of requests keeps to the weights |
//! | [`breaker`] | admit, queue or reject, by a limit of requests in flight |
//! | [`balance`] | which pod of a revision |
//! | [`throttler`] | how much of a revision one activator may use |

pub mod balance;
pub mod breaker;
pub mod split;
pub mod throttler;
