//! The scheduler: a node for every pending pod.
//!
//! Thin but real: node selectors, cordoned nodes, and the fit of requests (`cpu`, `memory`, number of pods and any
//! other resource) into what a node has left; among nodes that fit the one with the most processor left.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Node, Pod},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
    jiff::Timestamp,
};
use serde_json::json;

use super::{pods, selector};
use crate::{
    effect::{Effect, Note, Outcome},
    quantity,
    world::{Key, Kind, World},
};

/// Name of this scheduler, and component name in events.
pub const NAME: &str = "default-scheduler";

/// Amounts of resources, in thousandths.
type Amounts = BTreeMap<String, i128>;

/// Decides for one pod.
#[must_use]
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let Some(pod) = world.pods.get(key).filter(|pod| is_waiting(pod)) else { return outcome };
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let requests = requests(pod);
    let mut refusals: BTreeMap<String, u32> = BTreeMap::new();
    let mut best: Option<(i128, &str)> = None;
    let mut nodes = 0;
    let mut hopeless = 0;
    for (node_key, node) in world.nodes.iter() {
        nodes += 1;
        match fit(world, node, pod, &requests) {
            Ok(left) => {
                if best.is_none_or(|(most, _)| left > most) {
                    best = Some((left, &node_key.name));
                }
            }
            Err(refusal) => {
                hopeless += u32::from(!refusal.starts_with("Insufficient"));
                *refusals.entry(refusal).or_default() += 1;
            }
        }
    }
    let note = |warning: bool, reason: &str, action: &str, message: String| {
        Effect::Report(Note {
            kind: Kind::Pod,
            key: key.clone(),
            uid: uid.clone(),
            field_path: String::new(),
            warning,
            reason: reason.to_owned(),
            action: action.to_owned(),
            message,
            component: NAME,
        })
    };
    if let Some((_, node)) = best {
        outcome.push(Effect::Bind { pod: key.clone(), uid: uid.clone(), node: node.to_owned() });
        outcome.push(note(false, "Scheduled", "Binding", format!("Successfully assigned {key} to {node}")));
        return outcome;
    }
    let message = unschedulable_message(nodes, hopeless, &refusals);
    let present = pods::condition(pod, "PodScheduled");
    if present.is_none_or(|present| present.message.as_deref() != Some(message.as_str())) {
        outcome.push(note(true, "FailedScheduling", "Scheduling", message.clone()));
        outcome.push(unschedulable(key, pod, &message, now));
    }
    outcome
}

/// Whether the pod waits for this scheduler.
#[must_use]
pub fn is_waiting(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.node_name.as_deref().is_none_or(str::is_empty)
            && spec.scheduler_name.as_deref().is_none_or(|name| name == NAME)
            && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
    }) && pods::is_active(pod)
}

fn unschedulable_message(nodes: u32, hopeless: u32, refusals: &BTreeMap<String, u32>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let why: Vec<String> = refusals.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let mut preemption = Vec::new();
    if nodes > hopeless {
        preemption.push(format!("{} No preemption victims found for incoming pod.", nodes - hopeless));
    }
    if hopeless > 0 {
        preemption.push(format!("{hopeless} Preemption is not helpful for scheduling."));
    }
    format!(
        "0/{nodes} nodes are available: {}. no new claims to deallocate, preemption: 0/{nodes} nodes are available: {}",
        why.join(", "),
        preemption.join(", ")
    )
}

/// A status patch that sets PodScheduled to false.
fn unschedulable(key: &Key, pod: &Pod, message: &str, now: Timestamp) -> Effect {
    let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let since = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .and_then(|condition| condition.last_transition_time.clone())
        .unwrap_or(Time(now));
    conditions.retain(|condition| condition.type_ != "PodScheduled");
    let mut conditions = json!(conditions);
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.push(json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": since,
        }));
    }
    Effect::Patch {
        kind: Kind::Pod,
        key: key.clone(),
        status: true,
        patch: json!({"status": {"phase": "Pending", "conditions": conditions}}),
    }
}

/// Processor time (thousandths of a core) that the node has left after taking the pod, or why it can't take it.
fn fit(world: &World, node: &Node, pod: &Pod, requests: &Amounts) -> Result<i128, String> {
    let spec = node.spec.as_ref();
    if spec.and_then(|spec| spec.unschedulable).unwrap_or(false) {
        return Err("node(s) were unschedulable".to_owned());
    }
    let wanted = pod.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
    if wanted.is_some_and(|wanted| !selector::has_all(wanted, node.metadata.labels.as_ref())) {
        return Err("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    let name = node.metadata.name.as_deref();
    let here = |other: &Pod| {
        !pods::is_finished(other) && other.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == name
    };
    let mut used = Amounts::new();
    let mut count = 0_i128;
    for (_, other) in world.pods.iter().filter(|(_, other)| here(other)) {
        count += 1;
        for (resource, amount) in self::requests(other) {
            *used.entry(resource).or_default() += amount;
        }
    }
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let allocatable = amounts(allocatable);
    if allocatable.get("pods").is_some_and(|limit| (count + 1) * 1_000 > *limit) {
        return Err("Too many pods".to_owned());
    }
    for (resource, amount) in requests.iter().filter(|(_, amount)| **amount > 0) {
        let free = allocatable.get(resource).copied().unwrap_or(0) - used.get(resource).copied().unwrap_or(0);
        if *amount > free {
            return Err(format!("Insufficient {resource}"));
        }
    }
    let of = |amounts: &Amounts| amounts.get("cpu").copied().unwrap_or(0);
    Ok(of(&allocatable) - of(&used) - of(requests))
}

/// What a pod asks for: the sum over its containers or, if that is more, the largest init container.
fn requests(pod: &Pod) -> Amounts {
    let mut sum = Amounts::new();
    let Some(spec) = &pod.spec else { return sum };
    let of = |container: &Container| {
        amounts(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
    };
    for container in &spec.containers {
        for (resource, amount) in of(container) {
            *sum.entry(resource).or_default() += amount;
        }
    }
    for container in spec.init_containers.iter().flatten() {
        for (resource, amount) in of(container) {
            let total = sum.entry(resource).or_default();
            *total = (*total).max(amount);
        }
    }
    sum
}

fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let pairs = list.into_iter().flatten();
    pairs.filter_map(|(name, amount)| Some((name.clone(), quantity::milli(amount)?))).collect()
}
