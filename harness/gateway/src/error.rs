//! What the gateway itself answers when a request cannot be served.

use http::StatusCode;
use thiserror::Error;

use crate::table::RevisionKey;

/// Why a request got no answer from a pod. The text is the `error` member of the JSON body.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// The request names no host at all.
    #[error("the request has no Host header; set it to the host part of the InferenceService's status.url")]
    NoHost,
    /// No route claims the host.
    #[error(
        "no route for host \"{host}\"; {known}; the host part of the InferenceService's status.url is the one to ask for"
    )]
    UnknownHost {
        host: String,
        /// What could have been asked for.
        known: String,
    },
    /// No rule of the host's routes matches.
    #[error("no rule of host \"{host}\" matches {method} {path}; see the rules of its HTTPRoutes")]
    NoRule { host: String, method: String, path: String },
    /// Every backend of the route has weight 0.
    #[error("the route of host \"{host}\" sends no traffic anywhere; give one of its backends a weight")]
    NoBackend { host: String },
    /// There is no pod, and nobody would make one for a waiting request.
    #[error("{revision} has no ready pod; see its Deployment and its pods")]
    NoPod { revision: RevisionKey },
    /// The queue in front of the revision is full.
    #[error(
        "the queue of revision {revision} is full ({depth} requests wait); raise its maximum scale or send less"
    )]
    QueueFull { revision: RevisionKey, depth: usize },
    /// No pod became free in time.
    #[error(
        "no pod of revision {revision} took the request within {timeout_ms} ms; see the revision's conditions, or raise the route's timeout"
    )]
    HeldTooLong { revision: RevisionKey, timeout_ms: u64 },
    /// The pod took the request and did not answer in time.
    #[error(
        "a pod of revision {revision} ({pod}) did not begin to answer within {timeout_ms} ms; see its log, or raise the route's timeout"
    )]
    TooSlow { revision: RevisionKey, pod: String, timeout_ms: u64 },
    /// The pod took the request and broke the connection.
    #[error(
        "a pod of revision {revision} ({pod}) closed the connection before it answered: {cause}; the request may have been processed, so it was not sent again; see the pod's log"
    )]
    Broken { revision: RevisionKey, pod: String, cause: String },
    /// The pod's answer is not HTTP.
    #[error(
        "a pod of revision {revision} ({pod}) answered with something that is not HTTP/1.1: {cause}; check its containerPort"
    )]
    Malformed { revision: RevisionKey, pod: String, cause: String },
    /// The client broke its own body off.
    #[error("the request body ended early: {cause}; send the number of bytes that Content-Length announces")]
    ClientBody { cause: String },
    /// The revision went away again and again while the request waited.
    #[error(
        "the revisions behind host \"{host}\" were replaced {times} times while the request waited; send it again"
    )]
    Replaced { host: String, times: u32 },
}

impl Refusal {
    /// The status that Knative answers with in the same situation.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoHost | Self::ClientBody { .. } => StatusCode::BAD_REQUEST,
            Self::UnknownHost { .. } | Self::NoRule { .. } => StatusCode::NOT_FOUND,
            Self::NoBackend { .. }
            | Self::NoPod { .. }
            | Self::QueueFull { .. }
            | Self::HeldTooLong { .. }
            | Self::Replaced { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooSlow { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Broken { .. } | Self::Malformed { .. } => StatusCode::BAD_GATEWAY,
        }
    }
}
