//! The InferenceGraph router: one request through the nodes and steps of a graph.
//!
//! [`Graph`] is a specification that has been checked; [`GraphRouter`] serves it. What a request does on its way:
//! - `server`: every path but `/readyz` is the graph; `timed` ends connections that are too slow.
//! - `headers`: which of the client's headers the steps get.
//! - `execute`: a node, by its kind: `sequence`, `switch`, `splitter`, `ensemble`. Steps that nobody waits for any more are
//!   broken off, because dropping the request's future drops them.
//! - `client`: the call of a step.
//! - `listen`: where it is to be found.
//! - `gjson`: the paths that conditions are written in.
//!
//! Semantics and wording are those of KServe's cmd/router; [`Profile`] names where we differ on purpose. Upstream finds out
//! at a request, or never, that a graph can't work; here [`Graph::from_json`] refuses it.

mod client;
mod ensemble;
mod error;
mod execute;
mod gjson;
mod headers;
mod listen;
mod plan;
mod sequence;
mod server;
mod splitter;
mod switch;
mod timed;

pub use error::{GraphError, RouterError};
pub use headers::Propagation;
pub use listen::pod_address;
pub use plan::Graph;
pub use server::{GraphRouter, Options};

/// Whose behaviour counts where upstream's is questionable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// A sequence that ends at an unmet condition answers with the status of its last step.
    #[default]
    Windtunnel,
    /// It answers 200, also when that step failed.
    Upstream,
}
