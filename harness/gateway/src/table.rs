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

/// Hosts and what happens to their requests. The names of the parts are those of the Gateway API's HTTPRoute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Host names without port, compared without regard to case; `*.example.com` stands for every name below
    /// it, `?.example.com` for every name one label below it, `*` for every name. The most specific has a request.
    pub hosts: Vec<String>,
    /// What happens to a request: the rule with the most specific match has it (exact path, then the longest regular
    /// expression, then the longest prefix; a method; more headers; more query parameters; then the first in order).
    pub rules: Vec<Rule>,
}

impl Route {
    /// A route that splits all requests for its hosts.
    pub fn split(hosts: Vec<String>, backends: Vec<Backend>, timeout_ms: u64) -> Self {
        Self { hosts, rules: vec![Rule { backends, timeout_ms, ..Rule::default() }] }
    }
}

/// One traffic split, for the requests that match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// One of these must match; none stands for every request.
    #[serde(default)]
    pub matches: Vec<RequestMatch>,
    /// What is changed on the way, in this order.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// Revisions and their shares.
    pub backends: Vec<Backend>,
    /// Milliseconds until the first byte of the answer must be there, time in the activator included;
    /// 0 stands for [`DEFAULT_TIMEOUT_MS`].
    pub timeout_ms: u64,
}

/// What a request must look like; all parts must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestMatch {
    /// The path; any when absent.
    pub path: Option<PathMatch>,
    /// The method, in capitals; any when absent.
    pub method: Option<String>,
    /// Headers by name.
    pub headers: Vec<(String, TextMatch)>,
    /// Query parameters by name.
    pub query: Vec<(String, TextMatch)>,
}

/// What a path must look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathMatch {
    /// This path.
    Exact(String),
    /// This path and those below it, by whole segments.
    Prefix(String),
    /// A path in which this regular expression is found.
    Regex(String),
}

/// What a header or query parameter must look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextMatch {
    /// This value.
    Exact(String),
    /// A value in which this regular expression is found.
    Regex(String),
}

/// A change of a request or its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    /// Changes the request's headers.
    RequestHeaders(HeaderChanges),
    /// Changes the answer's headers.
    ResponseHeaders(HeaderChanges),
    /// Sends the request on under another host or path.
    Rewrite {
        /// The host that the pod sees.
        host: Option<String>,
        /// The path that the pod sees.
        path: Option<PathChange>,
    },
    /// Answers with a redirection instead of asking a pod.
    Redirect {
        /// `http` or `https`; the request's when absent.
        scheme: Option<String>,
        /// The host; the request's when absent.
        host: Option<String>,
        /// The port; that of the scheme, or the request's, when absent.
        port: Option<u16>,
        /// The path; the request's when absent.
        path: Option<PathChange>,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
}

/// Changes of headers: set, then added, then removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderChanges {
    /// Replaces all values.
    pub set: Vec<(String, String)>,
    /// Adds a value.
    pub add: Vec<(String, String)>,
    /// Takes all values away.
    pub remove: Vec<String>,
}

/// Another path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathChange {
    /// Replaces the whole path.
    Full(String),
    /// Replaces the prefix that the rule has matched.
    Prefix(String),
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
    /// Whether requests wait here for a pod when there is none, as in Knative's activator; else they are refused, and
    /// with a container concurrency no more may wait than the pods' own queues hold, ten times that a pod.
    pub activated: bool,
    /// Addresses of the pods that are ready and not terminating.
    pub endpoints: Vec<SocketAddr>,
}
