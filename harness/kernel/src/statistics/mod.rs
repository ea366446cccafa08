//! What a sample allows to be said.
//!
//! | module | question |
//! | --- | --- |
//! | [`early_stopping`] | did enough requests stay under the limit to promise the percentile? |
//! | [`binomial`] | is this split the split that was asked for? how sure is this rate? |
//! | [`quantile`] | which latency do 99 % of the requests keep to? |
//! | [`interval`] | how sure is this mean, or this quantile? |
//! | [`regression`] | does it grow? |
//! | [`sequential`] | is the share kept, judged while the samples come? |
//! | [`normal`], [`student`], [`chi_square`] | distributions and their quantiles |
//!
//! All rules assume independent samples. Latencies are autocorrelated, so they are to be fed with blocks or
//! thinned samples where that matters. Everything is computed in one way on every machine (`libm`), so that a report is
//! the same bytes wherever it is written.

mod beta;
pub mod binomial;
pub mod chi_square;
pub mod early_stopping;
mod gamma;
pub mod interval;
pub mod normal;
pub mod quantile;
pub mod regression;
mod root;
pub mod sequential;
pub mod student;
