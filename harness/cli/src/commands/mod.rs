//! One module a verb.

pub(crate) mod conform;
pub(crate) mod down;
pub(crate) mod explain;
#[cfg(feature = "load")]
pub(crate) mod load;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod setup;
pub(crate) mod status;
pub(crate) mod up;
pub(crate) mod validate;
pub(crate) mod vectors;
