//! A conformance case as data: what it needs, what it does step by step, and what must come of it.
//!
//! Files of cases are read by [`read`], which finds every fault of a file at once, each with its place; [`json_schema`] gives
//! editors the same shape as a JSON Schema.

mod decode;
mod read;
mod schema;
mod shipped;
mod step;
pub(crate) mod substitute;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

pub use read::{read, read_folder};
pub use schema::json_schema;
pub use shipped::{SHIPPED, shipped};
pub use step::{Action, Condition, Kubelet, PodState, Refusal, Request, Split, Step, Verb, Words};

/// How long a wait may take where a case does not say.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);

/// What a case must run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Tier {
    /// The API only: objects in, objects out.
    T0,
    /// Pods that become ready.
    T1,
    /// An implementation of the Gateway API.
    T2,
    /// Knative Serving.
    T3,
    /// KEDA and its metrics.
    T4,
    /// The data plane's protocol.
    T5,
    /// Behaviour under load and over time.
    T6,
}

impl Tier {
    pub(crate) const ALL: [(&'static str, Self); 7] = [
        ("T0", Self::T0),
        ("T1", Self::T1),
        ("T2", Self::T2),
        ("T3", Self::T3),
        ("T4", Self::T4),
        ("T5", Self::T5),
        ("T6", Self::T6),
    ];
}

/// What kind of promise a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tag {
    /// Whoever calls itself KServe must do so.
    Must,
    /// What upstream does and hardly meant.
    UpstreamQuirk,
    /// What Windtunnel does beyond upstream.
    Windtunnel,
}

impl Tag {
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("must", Self::Must), ("upstream-quirk", Self::UpstreamQuirk), ("windtunnel", Self::Windtunnel)];
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, tag)| tag == self).map_or("", |(name, _)| name))
    }
}

/// Whose rules are expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Profile {
    /// Windtunnel's: upstream's, and what goes beyond.
    #[default]
    #[serde(rename = "windtunnel")]
    Windtunnel,
    /// KServe 0.20's, with the canary weights of the HTTPRoute.
    #[serde(rename = "upstream-0.20")]
    Upstream020,
}

impl Profile {
    /// Every profile by its name.
    pub const ALL: [(&'static str, Self); 2] =
        [("windtunnel", Self::Windtunnel), ("upstream-0.20", Self::Upstream020)];
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, profile)| profile == self).map_or("", |(name, _)| name))
    }
}

/// What a case needs of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// HTTPRoutes are served.
    GatewayApi,
    /// Knative Serving is served.
    Knative,
    /// ScaledObjects are served.
    Keda,
    /// OpenTelemetryCollectors are served.
    OpenTelemetry,
    /// VirtualServices are served.
    Istio,
    /// InferenceGraphs are served.
    InferenceGraph,
    /// TrainedModels are served.
    TrainedModel,
    /// LocalModelCaches are served.
    LocalModel,
    /// ClusterStorageContainers are served.
    StorageContainer,
    /// Requests can be sent through a gateway.
    Gateway,
    /// Pods of this machine: the runner itself answers for them.
    LocalPods,
    /// A ClusterServingRuntime of this name.
    Runtime(String),
}

impl Need {
    pub(crate) const NAMED: [(&'static str, Self); 11] = [
        ("gateway-api", Self::GatewayApi),
        ("knative", Self::Knative),
        ("keda", Self::Keda),
        ("opentelemetry", Self::OpenTelemetry),
        ("istio", Self::Istio),
        ("inference-graph", Self::InferenceGraph),
        ("trained-model", Self::TrainedModel),
        ("local-model", Self::LocalModel),
        ("storage-container", Self::StorageContainer),
        ("gateway", Self::Gateway),
        ("local-pods", Self::LocalPods),
    ];
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(name) => write!(f, "runtime:{name}"),
            other => {
                f.write_str(Self::NAMED.iter().find(|(_, need)| need == other).map_or("", |(name, _)| name))
            }
        }
    }
}

/// Settings of the platform while a case runs, by ConfigMap and key.
pub type Settings = BTreeMap<String, BTreeMap<String, Value>>;

/// One case, ready to run.
#[derive(Clone, Debug)]
pub struct Case {
    /// `ADM-05`, or `ADM-20/init-container` for a row of a case with several.
    pub id: String,
    /// What is promised, in one sentence.
    pub title: String,
    /// Where it stands.
    pub file: PathBuf,
    /// Its line there, from 1.
    pub line: u32,
    /// What it must run on.
    pub tier: Tier,
    /// What kind of promise it is.
    pub tags: BTreeSet<Tag>,
    /// The profiles in which it holds.
    pub profiles: BTreeSet<Profile>,
    /// What it needs of the cluster.
    pub needs: BTreeSet<Need>,
    /// Settings that must be in force while it runs.
    pub settings: Settings,
    /// Whether every pod that asks for the runner's scheduler becomes ready by itself.
    pub pods_ready: bool,
    /// Deadline of its waits.
    pub within: Duration,
    /// Where the promise comes from: a test, a document or an issue.
    pub source: Option<String>,
    /// What it does.
    pub steps: Vec<Step>,
}

impl Case {
    /// The group of the catalogue: `ADM` of `ADM-05`.
    #[must_use]
    pub fn group(&self) -> &str {
        self.id.split('-').next().unwrap_or_default()
    }

    /// `FILE:LINE`.
    #[must_use]
    pub fn position(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}
