//! A graph as the router walks it: checked, nodes by number.

use std::time::Duration;

use http::Uri;
use windtunnel_api::kserve::{
    GraphStep, GraphTimeouts, InferenceGraphSpec, ROOT_NODE, Routing, StepDependency,
};

use super::{GraphError, gjson};

/// Most nodes inside of each other.
const MAX_DEPTH: usize = 64;
/// Upstream's time limits where the graph has none, in seconds.
const READ_S: i64 = 60;
const WRITE_S: i64 = 60;
const IDLE_S: i64 = 180;

/// A graph that can be routed: every node that a step names is there, and no request goes in circles.
#[derive(Debug, Clone)]
pub struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) root: usize,
    pub(super) timeouts: Timeouts,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) routing: Routing,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Its name, else its position.
    pub(super) key: String,
    pub(super) target: Target,
    /// Gets the last step's answer rather than the request.
    pub(super) takes_response: bool,
    pub(super) maps_predictions: bool,
    pub(super) condition: Option<String>,
    /// In percent; 0 outside of splitters.
    pub(super) weight: i64,
    pub(super) is_hard: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Target {
    Node(usize),
    Service(Service),
}

/// Where a step is called; a URL that is none fails the requests that come to it, as upstream has it.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) url: String,
    pub(super) uri: Result<Uri, String>,
}

/// The router's time limits; upstream takes 0 for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) read: Option<Duration>,
    pub(super) write: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) call: Option<Duration>,
}

impl Graph {
    /// From the JSON of an InferenceGraph's `spec`.
    ///
    /// # Errors
    /// What is wrong with it, by place, cause and remedy.
    pub fn from_json(json: &str) -> Result<Self, GraphError> {
        let spec = serde_json::from_str(json).map_err(|error| GraphError::Malformed(error.to_string()))?;
        Self::new(&spec)
    }

    /// From a specification.
    ///
    /// # Errors
    /// As [`Graph::from_json`].
    pub fn new(spec: &InferenceGraphSpec) -> Result<Self, GraphError> {
        let names: Vec<&String> = spec.nodes.keys().collect();
        let root = names.iter().position(|name| *name == ROOT_NODE).ok_or(GraphError::NoRoot)?;
        let mut nodes = Vec::with_capacity(names.len());
        for (name, node) in &spec.nodes {
            if node.router_type == Routing::Sequence && node.steps.is_empty() {
                return Err(GraphError::NoSteps { node: name.clone() });
            }
            let mut steps = Vec::with_capacity(node.steps.len());
            for (index, step) in node.steps.iter().enumerate() {
                let place = format!("nodes.{name}.steps[{index}]");
                steps.push(Step::new(step, index, &place, node.router_type, &names)?);
            }
            nodes.push(Node { name: name.clone(), routing: node.router_type, steps });
        }
        let graph = Self { nodes, root, timeouts: Timeouts::new(spec.router_timeouts.as_ref()) };
        graph.check_depth()?;
        Ok(graph)
    }

    /// Whether a step is called over TLS.
    pub(super) fn has_https(&self) -> bool {
        self.nodes.iter().flat_map(|node| &node.steps).any(|step| match &step.target {
            Target::Service(Service { uri: Ok(uri), .. }) => uri.scheme_str() == Some("https"),
            _ => false,
        })
    }

    fn children(&self, node: usize) -> impl Iterator<Item = usize> {
        self.nodes[node].steps.iter().filter_map(|step| match step.target {
            Target::Node(node) => Some(node),
            Target::Service(_) => None,
        })
    }

    /// No circles, and no more than [`MAX_DEPTH`] levels, without recursion of our own.
    fn check_depth(&self) -> Result<(), GraphError> {
        // Levels below a node, once all that it leads to are known.
        let mut levels: Vec<Option<usize>> = vec![None; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut path = vec![(start, self.children(start).collect::<Vec<_>>())];
            while let Some((node, left)) = path.last_mut() {
                let node = *node;
                if levels[node].is_some() {
                    path.pop();
                    continue;
                }
                if let Some(child) = left.pop() {
                    if let Some(from) = path.iter().position(|(node, _)| *node == child) {
                        let names = path[from..].iter().map(|(node, _)| *node).chain([child]);
                        let names: Vec<&str> = names.map(|node| self.nodes[node].name.as_str()).collect();
                        return Err(GraphError::Cycle { path: names.join(" -> ") });
                    }
                    path.push((child, self.children(child).collect()));
                    continue;
                }
                let below = self.children(node).filter_map(|child| levels[child]).max().unwrap_or(0) + 1;
                if below > MAX_DEPTH {
                    let node = self.nodes[node].name.clone();
                    return Err(GraphError::TooDeep { node, limit: MAX_DEPTH });
                }
                levels[node] = Some(below);
                path.pop();
            }
        }
        Ok(())
    }
}

impl Step {
    fn new(
        step: &GraphStep,
        index: usize,
        place: &str,
        routing: Routing,
        names: &[&String],
    ) -> Result<Self, GraphError> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let target = match filled(&step.node_name) {
            Some(target) => {
                Target::Node(names.iter().position(|name| **name == target).ok_or_else(|| {
                    let known: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                    GraphError::UnknownNode { step: place.to_owned(), target, known: known.join(", ") }
                })?)
            }
            None => Target::Service(Service::new(step.service_url.as_deref().unwrap_or_default())),
        };
        let condition = filled(&step.condition);
        if condition.as_deref().is_some_and(|condition| !gjson::is_bounded(condition)) {
            return Err(GraphError::LongCondition { step: place.to_owned(), limit: gjson::MAX_PARTS });
        }
        let weight = match (routing, step.weight) {
            (Routing::Splitter, None) => return Err(GraphError::NoWeight { step: place.to_owned() }),
            (_, weight) => weight.unwrap_or(0),
        };
        Ok(Self {
            key: filled(&step.name).unwrap_or_else(|| index.to_string()),
            target,
            takes_response: step.data.as_deref() == Some("$response"),
            maps_predictions: step.map_predictions_to_instances == Some(true),
            condition,
            weight,
            is_hard: step.dependency == Some(StepDependency::Hard),
        })
    }
}

impl Service {
    fn new(url: &str) -> Self {
        let uri = match url.parse::<Uri>() {
            Ok(uri) if uri.scheme().is_some() => Ok(uri),
            Ok(_) => Err("unsupported protocol scheme \"\": the step has no serviceUrl; for a serviceName the controller writes it".to_owned()),
            Err(_) if url.is_empty() => Err("unsupported protocol scheme \"\": the step has no serviceUrl; for a serviceName the controller writes it".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        Self { url: url.to_owned(), uri }
    }
}

impl Timeouts {
    fn new(set: Option<&GraphTimeouts>) -> Self {
        let limit = |seconds: Option<i64>| {
            seconds
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs)
        };
        let or = |choose: fn(&GraphTimeouts) -> Option<i64>, default| {
            limit(set.and_then(choose).or(Some(default)))
        };
        Self {
            read: or(|set| set.server_read, READ_S),
            write: or(|set| set.server_write, WRITE_S),
            idle: or(|set| set.server_idle, IDLE_S),
            call: limit(set.and_then(|set| set.service_client)),
        }
    }
}
