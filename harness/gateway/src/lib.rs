//! Data plane: host routing, exact traffic split, activator and concurrency metering.
mod table;
pub use table::{Backend, DEFAULT_TIMEOUT_MS, RevisionBackend, RevisionKey, Route, RouteTable};
