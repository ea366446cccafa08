//! What a sample allows to be said.
//!
//! | module | question |
//! | --- | --- |
//! | [`early_stopping`] | did enough requests stay under the limit to promise the percentile? |
//! | [`binomial`] | is this split the split that was asked for? how sure is this rate? |
//! | [`quantile`] | which latency do 99 % of the requests keep to? |
//!
//! All rules assume independent samples. Latencies are autocorrelated, so they are to be fed with blocks or
//! thinned samples where that matters.

mod beta;
pub mod binomial;
pub mod early_stopping;
pub mod quantile;
