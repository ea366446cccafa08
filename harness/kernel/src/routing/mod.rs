//! Where a request goes.
//!
//! | module | what is decided |
//! | --- | --- |
//! | [`split`] | which revision, so that every prefix of requests keeps to the weights |
//! | [`breaker`] | admit, queue or reject, by a limit of requests in flight |
//! | [`balance`] | which pod of a revision |
//! | [`throttler`] | how much of a revision one activator may use, and which of its pods takes a request |
//! | [`probe`] | whether the activator's probe of a new pod is answered in time |
//! | [`subset`] | which activators stand in the path of a revision |

pub mod balance;
pub mod breaker;
pub mod probe;
pub mod split;
pub mod subset;
pub mod throttler;
