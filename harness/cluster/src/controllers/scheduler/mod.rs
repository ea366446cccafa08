//! The scheduler: a node for every pending pod.
//!
//! A node must pass every filter (`filter`, `affinity`, `spread`); among those that do the one with the highest
//! `score` wins. Where no node does, pods of lower priority may be taken away (`preemption`).

mod affinity;
mod filter;
mod preemption;
mod resources;
mod score;
mod spread;

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use serde_json::json;

use super::{pods, volumes};
use crate::{
    effect::{Effect, Note, Outcome},
    world::{Key, Kind, World},
};
use resources::Amounts;

/// Name of this scheduler, and component name in events.
pub const NAME: &str = "default-scheduler";

/// A node with the pods that are on it.
#[derive(Clone)]
struct Place<'a> {
    name: &'a str,
    node: &'a Node,
    pods: Vec<&'a Arc<Pod>>,
    allocatable: Amounts,
}

/// The pod to be placed, and all that is looked up once.
struct Candidate<'a> {
    world: &'a World,
    key: &'a Key,
    pod: &'a Arc<Pod>,
    requests: Amounts,
    priority: i32,
}

/// Why a node can't take a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Refusal {
    reasons: Vec<String>,
    /// Taking other pods away would not help.
    is_final: bool,
}

impl Refusal {
    fn fixed(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], is_final: true }
    }

    fn passing(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], is_final: false }
    }
}

/// Decides for one pod.
#[must_use]
pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::nothing();
    let Some(pod) = world.pods.get(key).filter(|pod| is_waiting(pod)) else { return outcome };
    let requests = resources::of_pod(pod);
    let candidate = Candidate { world, key, pod, requests, priority: priority(world, pod) };
    let places = places(world);
    if places.is_empty() {
        candidate.refuse("no nodes available to schedule pods", now, &mut outcome);
        return outcome;
    }
    if volumes::create_ephemeral(world, pod, &mut outcome) {
        // They bring the pod here again.
        return outcome;
    }
    let mut waiting_claims = Vec::new();
    if let Err(reason) = claims(world, key, pod, &mut waiting_claims) {
        let all = places.len();
        let message = format!("0/{all} nodes are available: {reason}. {}", postscript(all, 0));
        candidate.refuse(&message, now, &mut outcome);
        return outcome;
    }
    let selected = waiting_claims.iter().find_map(|(_, node)| node.clone());
    let mut fitting: Vec<&Place<'_>> = Vec::new();
    let mut refusals: Vec<(&Place<'_>, Refusal)> = Vec::new();
    for place in &places {
        let elsewhere = selected.as_ref().is_some_and(|node| node != place.name);
        let refusal = if elsewhere {
            Err(Refusal::fixed("node(s) had volume node affinity conflict"))
        } else {
            filter::fit(&candidate, place, &places)
        };
        match refusal {
            Ok(()) => fitting.push(place),
            Err(refusal) => refusals.push((place, refusal)),
        }
    }
    if let Some(place) = score::best(&candidate, &fitting, &places) {
        if !waiting_claims.is_empty() {
            candidate.choose_node_of_claims(&waiting_claims, place.name, &mut outcome);
            return outcome;
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        outcome.push(Effect::Bind { pod: key.clone(), uid, node: place.name.to_owned() });
        let message = format!("Successfully assigned {key} to {}", place.name);
        outcome.push(candidate.note(false, "Scheduled", "Binding", message));
        return outcome;
    }
    let before = outcome.effects.len();
    let finds_room = preemption::preempt(&candidate, &refusals, &places, now, &mut outcome);
    if !finds_room {
        candidate.refuse(&unschedulable_message(&refusals), now, &mut outcome);
    } else if outcome.effects.len() > before {
        // The pod waits until the others are gone; upstream adds nothing about preemption then.
        candidate.refuse(&refused_by(&refusals), now, &mut outcome);
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

/// All nodes with the pods that hold room on them.
fn places(world: &World) -> Vec<Place<'_>> {
    let mut by_node: BTreeMap<&str, Vec<&Arc<Pod>>> = BTreeMap::new();
    for (_, pod) in world.pods.iter().filter(|(_, pod)| !pods::is_finished(pod)) {
        if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
            by_node.entry(node).or_default().push(pod);
        }
    }
    let nodes = world.nodes.iter();
    nodes
        .map(|(key, node)| Place {
            name: &key.name,
            node,
            pods: by_node.remove(key.name.as_str()).unwrap_or_default(),
            allocatable: resources::allocatable(node),
        })
        .collect()
}

/// The priority of a pod: what it says, or its class.
fn priority(world: &World, pod: &Pod) -> i32 {
    let Some(spec) = &pod.spec else { return 0 };
    let class = spec.priority_class_name.as_deref().filter(|name| !name.is_empty());
    match (class, spec.priority) {
        (Some("system-node-critical"), None | Some(0)) => 2_000_001_000,
        (Some("system-cluster-critical"), None | Some(0)) => 2_000_000_000,
        (Some(name), None | Some(0)) => {
            world.priority_classes.get(&Key::cluster(name)).and_then(|class| class.value).unwrap_or(0)
        }
        (_, Some(priority)) => priority,
        (None, None) => {
            let mut classes = world.priority_classes.iter();
            let default = classes.find(|(_, class)| class.global_default == Some(true));
            default.and_then(|(_, class)| class.value).unwrap_or(0)
        }
    }
}

/// Claims of the pod that get their volume only when the pod has a node, with the node that was chosen for them.
type WaitingClaims = Vec<(Key, Option<String>)>;

/// Looks at the volume claims of a pod.
fn claims(world: &World, key: &Key, pod: &Pod, waiting: &mut WaitingClaims) -> Result<(), String> {
    for name in pods::claims(pod) {
        let claim_key = Key::new(key.namespace.as_str(), name.as_str());
        let Some(claim) = world.persistent_volume_claims.get(&claim_key) else {
            return Err(format!("persistentvolumeclaim \"{name}\" not found"));
        };
        if pods::ephemeral_claims(pod).any(|(ephemeral, _)| ephemeral == name)
            && !volumes::is_of_pod(claim, pod)
        {
            return Err(format!("PVC {claim_key} was not created for pod {key} (pod is not owner)"));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        if volumes::is_bound(claim) {
            continue;
        }
        let is_named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()).is_some();
        if is_named || !volumes::waits_for_consumer(world, claim) {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
        let annotations = claim.metadata.annotations.as_ref();
        let node = annotations.and_then(|annotations| annotations.get(volumes::SELECTED_NODE)).cloned();
        waiting.push((claim_key, node));
    }
    Ok(())
}

impl Candidate<'_> {
    /// Tells the claims which node their volumes shall be for; the pod is bound when they are.
    fn choose_node_of_claims(&self, claims: &WaitingClaims, node: &str, outcome: &mut Outcome) {
        for (key, _) in claims.iter().filter(|(_, chosen)| chosen.as_deref() != Some(node)) {
            outcome.push(Effect::Patch {
                kind: Kind::PersistentVolumeClaim,
                key: key.clone(),
                status: false,
                patch: json!({"metadata": {"annotations": {volumes::SELECTED_NODE: node}}}),
            });
        }
    }

    fn note(&self, warning: bool, reason: &str, action: &str, message: String) -> Effect {
        Effect::Report(Note {
            kind: Kind::Pod,
            key: self.key.clone(),
            uid: self.pod.metadata.uid.clone().unwrap_or_default(),
            field_path: String::new(),
            warning,
            reason: reason.to_owned(),
            action: action.to_owned(),
            message,
            component: NAME,
        })
    }

    /// Says that the pod has no node yet, once for each reason.
    fn refuse(&self, message: &str, now: Timestamp, outcome: &mut Outcome) {
        let present = pods::condition(self.pod, "PodScheduled");
        if present.is_none_or(|present| present.message.as_deref() != Some(message)) {
            outcome.push(self.note(true, "FailedScheduling", "Scheduling", message.to_owned()));
            outcome.push(unschedulable(self.key, self.pod, message, now));
        }
    }
}

fn unschedulable_message(refusals: &[(&Place<'_>, Refusal)]) -> String {
    let nodes = refusals.len();
    let hopeful = refusals.iter().filter(|(_, refusal)| !refusal.is_final).count();
    format!("{} {}", refused_by(refusals), postscript(nodes, hopeful))
}

/// Why the nodes can't take the pod, each reason with the number of nodes.
fn refused_by(refusals: &[(&Place<'_>, Refusal)]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in refusals.iter().flat_map(|(_, refusal)| &refusal.reasons) {
        *counts.entry(reason).or_default() += 1;
    }
    // Upstream sorts the finished words, so 10 comes before 2.
    let mut words: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    words.sort();
    format!("0/{} nodes are available: {}.", refusals.len(), words.join(", "))
}

/// What upstream adds about preemption; on `hopeful` nodes it was tried.
fn postscript(nodes: usize, hopeful: usize) -> String {
    let mut words = Vec::new();
    if hopeful > 0 {
        words.push(format!("{hopeful} No preemption victims found for incoming pod"));
    }
    if nodes > hopeful {
        words.push(format!("{} Preemption is not helpful for scheduling", nodes - hopeful));
    }
    words.sort();
    format!("no new claims to deallocate, preemption: 0/{nodes} nodes are available: {}.", words.join(", "))
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
