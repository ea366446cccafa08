//! What the gateway is told: which hosts lead to which revisions, and where those revisions' pods listen.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

/// Timeout of a route that names none (`timeout_ms` 0): Knative's `revision-timeout-seconds`.
pub const DEFAULT_TIMEOUT_MS: u64 = 300_000;

/// Identity of a revision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RevisionKey {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name of the revision, such as `digits-predictor-00002`.
    pub name: String,
}

impl RevisionKey {
    /// Builds a key from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for RevisionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Everything that the gateway routes by. It is replaced as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Hosts and the revisions behind them. Where two routes claim a host, the first one has it.
    pub routes: Vec<Route>,
    /// Revisions and their pods. A backend whose revision is missing here has no pods.
    pub revisions: Vec<RevisionBackend>,
}

/// One set of hosts with one traffic split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Host names without port; compared without regard to case.
    pub hosts: Vec<String>,
    /// Revisions and their shares.
    pub backends: Vec<Backend>,
    /// Milliseconds until the first byte of the answer must be there, time in the activator included;
    /// 0 stands for [`DEFAULT_TIMEOUT_MS`].
    pub timeout_ms: u64,
}

/// One share of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// The revision that serves this share.
    pub revision: RevisionKey,
    /// Its share. The shares of a route are weights: they need not add up to 100, but Knative's do.
    pub percent: u32,
}

/// Where a revision's pods listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionBackend {
    /// The revision.
    pub key: RevisionKey,
    /// Requests that a pod takes at a time; 0 is no limit.
    pub container_concurrency: u32,
    /// Addresses of the pods that are ready and not terminating.
    pub endpoints: Vec<SocketAddr>,
}
