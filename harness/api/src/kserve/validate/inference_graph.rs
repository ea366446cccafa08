//! Rules of InferenceGraphs.

use std::collections::{BTreeMap, BTreeSet};

use windtunnel_kernel::profile::Profile;

use super::super::inference_graph::{GraphNode, InferenceGraph, ROOT_NODE, Routing};
use super::{NAME_PATTERN, is_name};

/// Checks an InferenceGraph that is created or updated. Objects that are being deleted are let through. Nodes
/// are looked at by name, so that the first fault is always the same one.
///
/// # Errors
/// Upstream's message for the first rule that is broken; in the profile `windtunnel` also steps that lead
/// nowhere or in a circle, which upstream's router only finds when a request runs into them.
pub fn inference_graph(graph: &InferenceGraph, profile: Profile) -> Result<(), String> {
    if graph.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let name = graph.metadata.name.as_deref().unwrap_or_default();
    let unnamed = name.is_empty() && graph.metadata.generate_name.is_some();
    if !unnamed && !is_name(name) {
        return Err(format!(
            "The InferenceGraph \"{name}\" is invalid: a InferenceGraph name must consist of lower case alphanumeric \
             characters or '-', and must start with alphabetical character. (e.g. \"my-name\" or \"abc-123\", \
             regex used for validation is '{NAME_PATTERN}')"
        ));
    }
    let nodes = &graph.spec.nodes;
    if !nodes.contains_key(ROOT_NODE) {
        return Err(
            "root node not found, InferenceGraph needs a node with name 'root' as the root node of the graph"
                .to_owned(),
        );
    }
    nodes.iter().try_for_each(|(node_name, node)| unique_steps(name, node_name, node))?;
    nodes.iter().try_for_each(|(node_name, node)| single_targets(name, node_name, node))?;
    nodes.iter().try_for_each(|(node_name, node)| weights(name, node_name, node))?;
    if profile == Profile::Windtunnel {
        targets_exist(name, nodes)?;
        no_circle(name, nodes)?;
    }
    Ok(())
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn unique_steps(graph: &str, node_name: &str, node: &GraphNode) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match node.steps.iter().filter_map(|step| given(&step.name)).find(|step| !seen.insert(*step)) {
        None => Ok(()),
        Some(step) => Err(format!(
            "Node \"{node_name}\" of InferenceGraph \"{graph}\" contains more than one step with name \"{step}\""
        )),
    }
}

fn single_targets(graph: &str, node_name: &str, node: &GraphNode) -> Result<(), String> {
    for (index, step) in node.steps.iter().enumerate() {
        let targets = [&step.node_name, &step.service_name, &step.service_url];
        let what = match targets.into_iter().filter(|target| given(target).is_some()).count() {
            1 => continue,
            0 => "does not specify an inference target",
            _ => "specifies more than one of nodeName, serviceName, serviceUrl",
        };
        let step = step.name.as_deref().unwrap_or_default();
        return Err(format!(
            "Step {index} (\"{step}\") in node \"{node_name}\" of InferenceGraph \"{graph}\" {what}"
        ));
    }
    Ok(())
}

fn weights(graph: &str, node_name: &str, node: &GraphNode) -> Result<(), String> {
    if node.router_type != Routing::Splitter {
        return Ok(());
    }
    let mut sum: i64 = 0;
    for step in &node.steps {
        let Some(weight) = step.weight else {
            let route = step.service_name.as_deref().unwrap_or_default();
            return Err(format!(
                "InferenceGraph[{graph}] Node[{node_name}] Route[{route}] missing the 'Weight'"
            ));
        };
        sum = sum.saturating_add(weight);
    }
    if sum == 100 {
        return Ok(());
    }
    Err(format!(
        "InferenceGraph[{graph}] Node[{node_name}] splitter node: the sum of traffic weights for all routing targets \
         should be 100"
    ))
}

fn targets_exist(graph: &str, nodes: &BTreeMap<String, GraphNode>) -> Result<(), String> {
    for (node_name, node) in nodes {
        for (index, step) in node.steps.iter().enumerate() {
            if let Some(target) = given(&step.node_name).filter(|target| !nodes.contains_key(*target)) {
                let step = step.name.as_deref().unwrap_or_default();
                return Err(format!(
                    "Step {index} (\"{step}\") in node \"{node_name}\" of InferenceGraph \"{graph}\" leads to node \
                     \"{target}\", which the graph does not have"
                ));
            }
        }
    }
    Ok(())
}

/// Follows the steps from every node, without recursion: a graph may be as deep as it likes.
fn no_circle(graph: &str, nodes: &BTreeMap<String, GraphNode>) -> Result<(), String> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in nodes.keys() {
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        let mut on_path: BTreeSet<&str> = BTreeSet::from([start.as_str()]);
        while let Some((name, next)) = path.last_mut() {
            let steps = nodes.get(*name).map(|node| node.steps.as_slice()).unwrap_or_default();
            let Some(step) = steps.get(*next) else {
                done.insert(name);
                on_path.remove(name);
                path.pop();
                continue;
            };
            *next += 1;
            let Some(target) = given(&step.node_name).filter(|target| !done.contains(target)) else {
                continue;
            };
            if !on_path.insert(target) {
                let from = path.iter().position(|(name, _)| *name == target).unwrap_or_default();
                let mut circle: Vec<&str> = path[from..].iter().map(|(name, _)| *name).collect();
                circle.push(target);
                return Err(format!(
                    "InferenceGraph \"{graph}\" has a circle of nodes: {}. A request that enters it would never leave",
                    circle.join(" -> ")
                ));
            }
            path.push((target, 0));
        }
    }
    Ok(())
}
