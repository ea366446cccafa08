//! What can go wrong on the way to a flight. A request that fails in flight is an observation, not an error.

use std::path::PathBuf;
use std::time::Duration;

/// Why a flight could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FlightError {
    /// The embedded cluster did not start.
    #[error("the embedded cluster did not start: {0}")]
    Cluster(#[from] windtunnel_cluster::ClusterError),

    /// The control plane did not start.
    #[error("the control plane did not start: {0}")]
    ControlPlane(String),

    /// The gateway could not listen.
    #[error("the gateway cannot listen on {address}: {source}; choose another address or leave the port 0")]
    Gateway {
        /// Where it was to listen.
        address: std::net::SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },

    /// The API server refused an object of the scenario.
    #[error("{path}: {kind} {name} was refused: {message}")]
    Refused {
        /// The manifest or scenario that holds it.
        path: PathBuf,
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The API server's words.
        message: String,
    },

    /// A kind that the cluster does not serve.
    #[error(
        "{path}: the cluster serves no kind `{kind}` of `{api_version}`; is its CustomResourceDefinition missing?"
    )]
    UnknownKind {
        /// The manifest or scenario that names it.
        path: PathBuf,
        /// The kind.
        kind: String,
        /// Its API version, empty where an event names a kind only.
        api_version: String,
    },

    /// The service under test did not become ready.
    #[error("InferenceService {namespace}/{name} was not Ready within {waited:?}\n{diagnosis}")]
    NotReady {
        /// Namespace of the service.
        namespace: String,
        /// Name of the service.
        name: String,
        /// How long was waited.
        waited: Duration,
        /// Conditions, pods and the ends of their logs, a line each.
        diagnosis: String,
    },

    /// The scenario's arrivals can't be made.
    #[error("{0}")]
    Load(String),

    /// A call to the API server failed.
    #[error("the API server did not answer as expected while {doing}: {source}")]
    Api {
        /// What was being done.
        doing: String,
        /// The client's error.
        source: Box<kube::Error>,
    },

    /// The flight was interrupted before its load had started, so there is nothing to report.
    #[error("interrupted before the load started")]
    Interrupted,
}

impl FlightError {
    /// An API error with what was being done.
    pub(crate) fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Api { doing, source: Box::new(source) }
    }
}
