//! What goes wrong: with a graph, with the router's start, and with a request.

use http::StatusCode;
use thiserror::Error;

/// Why a graph can't be routed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// Not the JSON of an InferenceGraph's `spec`.
    #[error(
        "the graph is not the JSON of an InferenceGraph's spec: {0}; pass what `kubectl get ig NAME -o jsonpath={{.spec}}` prints"
    )]
    Malformed(String),
    /// There is no entry.
    #[error("nodes: there is no node \"root\", where requests enter; name one of the nodes so")]
    NoRoot,
    /// A step leads to a node that is not there.
    #[error("{step}.nodeName: there is no node \"{target}\"; the graph has {known}")]
    UnknownNode {
        /// The step, for example `nodes.root.steps[1]`.
        step: String,
        /// What it names.
        target: String,
        /// The nodes that there are.
        known: String,
    },
    /// A request would never come to an end.
    #[error("nodes: {path} is a circle, so a request would never end; let one of these steps lead elsewhere")]
    Cycle {
        /// The nodes in the order in which they lead to each other.
        path: String,
    },
    /// Nodes inside of nodes, too many levels.
    #[error("nodes.{node}: nested more than {limit} levels deep; put steps of several levels into one node")]
    TooDeep {
        /// A node at the limit.
        node: String,
        /// Most levels.
        limit: usize,
    },
    /// A sequence that has nothing to answer with.
    #[error("nodes.{node}.steps: a Sequence needs at least one step")]
    NoSteps {
        /// The node.
        node: String,
    },
    /// A splitter's step without a share.
    #[error("{step}.weight: a step of a Splitter needs a weight, its share of the traffic in percent")]
    NoWeight {
        /// The step.
        step: String,
    },
    /// A condition of hundreds of parts.
    #[error("{step}.condition: has more than {limit} parts; write a shorter path")]
    LongCondition {
        /// The step.
        step: String,
        /// Most parts.
        limit: usize,
    },
}

/// Why the router does not start.
#[derive(Debug, Error)]
pub enum RouterError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {cause}; choose another --port, or end the process that has it")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// A step has an https URL and no certificate authority is known.
    #[error(
        "a step's serviceUrl is https and this machine has no certificate authorities: {0}; install ca-certificates, or set SSL_CERT_FILE"
    )]
    NoAuthorities(std::io::Error),
    /// A variable of the pod's environment does not have its form.
    #[error("{name} is {value:?}; it must be {expected}")]
    Environment {
        /// Which variable.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it should say.
        expected: &'static str,
    },
}

/// Why a request ended without a step's answer: the `cause` of the answer.
#[derive(Debug, Error)]
pub(super) enum Cause {
    #[error("None of the routes matched with the switch condition")]
    NoMatch,
    #[error("no route was selected by the splitter")]
    NoRoute,
    #[error("invalid response")]
    InvalidResponse,
    #[error("parse {url:?}: {cause}")]
    Url { url: String, cause: String },
    #[error("Post {url:?}: {cause}")]
    Call { url: String, cause: String },
    #[error("step {step} of ensemble {node:?} answered with {found}; an ensemble merges JSON objects only")]
    NotAnObject { node: String, step: String, found: String },
}

/// A cause with the status that it has so far.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) cause: Cause,
}

impl Failure {
    /// Inside of another node every failure is a 500, as upstream has it.
    pub(super) fn inside(self) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, ..self }
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        let status = match cause {
            Cause::NoMatch => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, cause }
    }
}
