//! The InferenceGraph resource: requests that go through several services.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Fields;
use crate::condition::Condition;

/// Name of the node that requests enter.
pub const ROOT_NODE: &str = "root";

/// Nodes with steps; every step is a service, a URL or another node.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "serving.kserve.io",
    version = "v1alpha1",
    kind = "InferenceGraph",
    plural = "inferencegraphs",
    shortname = "ig",
    namespaced,
    status = "InferenceGraphStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct InferenceGraphSpec {
    /// The nodes by name; requests enter at `root`.
    pub nodes: BTreeMap<String, GraphNode>,
    /// Resources of the router's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_object")]
    pub resources: Option<Value>,
    /// Scheduling of the router's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_object")]
    pub affinity: Option<Value>,
    /// Longest time for one request, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Time limits of the router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_timeouts: Option<GraphTimeouts>,
    /// Fewest replicas of the router; absent means 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i32>,
    /// Most replicas of the router; absent or 0 means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<i32>,
    /// Value of the scale metric that one replica should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_target: Option<i32>,
    /// What the autoscaler measures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["cpu", "memory", "concurrency", "rps"]))]
    pub scale_metric: Option<String>,
    /// Taints that the router's pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::any_objects")]
    pub tolerations: Option<Vec<Value>>,
    /// Labels of the nodes that the router's pods may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// The one node that the router's pods run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// Service account of the router's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// How a node uses its steps.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(inline)]
pub enum Routing {
    /// One after the other.
    #[default]
    Sequence,
    /// One of them, by weight.
    Splitter,
    /// All at the same time, answers merged.
    Ensemble,
    /// The first whose condition holds.
    Switch,
}

/// What a step's failure means for the rest.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(inline)]
pub enum StepDependency {
    /// The rest goes on.
    Soft,
    /// The node fails.
    Hard,
}

/// A node: routing and steps.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphNode {
    /// How the steps are used.
    pub router_type: Routing,
    /// The steps, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<GraphStep>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// A step: exactly one of node, service and URL, and when and how it is used.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphStep {
    /// Name, unique in its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Another node of the graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// An InferenceService of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Any URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_url: Option<String>,
    /// `$request` or `$response`: what the step gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Whether the last answer's `predictions` become this step's `instances`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_predictions_to_instances: Option<bool>,
    /// Share of the traffic in a splitter, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    /// GJSON path that must exist for the step to be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What a failure means for the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependency: Option<StepDependency>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// Time limits of the router, in seconds.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphTimeouts {
    /// For reading a request; absent means 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_read: Option<i64>,
    /// For writing an answer; absent means 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_write: Option<i64>,
    /// Between requests of a connection; absent means 180.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_idle: Option<i64>,
    /// For a call of a step; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_client: Option<i64>,
    /// Anything else.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Fields,
}

/// What the controller reports of a graph.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InferenceGraphStatus {
    /// Conditions, sorted by type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Generation that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the graph answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `Standard` or `Knative`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_mode: Option<String>,
    /// Annotations of the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl InferenceGraphSpec {
    /// Whether a step sends requests to this service.
    #[must_use]
    pub fn names_service(&self, service: &str) -> bool {
        let steps = self.nodes.values().flat_map(|node| node.steps.iter());
        steps.into_iter().any(|step| step.service_name.as_deref() == Some(service))
    }
}
