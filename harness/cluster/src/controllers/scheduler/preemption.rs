//! Preemption: pods of lower priority make room for one of higher priority.

use std::sync::Arc;

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::json;

use super::{Candidate, NAME, Place, Refusal, filter, priority};
use crate::{
    controllers::pods,
    effect::{Effect, Note, Outcome},
    world::{Key, Kind},
};

/// A node and the pods that would have to go.
struct Plan<'a> {
    node: &'a str,
    victims: Vec<&'a Arc<Pod>>,
    /// Highest priority of a victim, sum of the priorities, number of victims: the least wins.
    cost: (i32, i64, usize),
}

/// Takes pods of lower priority away where that makes room; returns whether it does.
pub(super) fn preempt(
    candidate: &Candidate<'_>,
    refusals: &[(&Place<'_>, Refusal)],
    places: &[Place<'_>],
    now: Timestamp,
    outcome: &mut Outcome,
) -> bool {
    let policy = candidate.pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref());
    if policy == Some("Never") {
        return false;
    }
    // Victims of an earlier call are still on their way out.
    let nominated = candidate.pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
    let leaves = |place: &Place<'_>| {
        Some(place.name) == nominated
            && place
                .pods
                .iter()
                .any(|pod| pods::is_terminating(pod) && priority(candidate.world, pod) < candidate.priority)
    };
    if places.iter().any(leaves) {
        return true;
    }
    let hopeful = refusals.iter().filter(|(_, refusal)| !refusal.is_final);
    let plans = hopeful.filter_map(|(place, _)| plan(candidate, place, places));
    let Some(best) = plans.min_by_key(|plan| plan.cost) else { return false };
    for victim in &best.victims {
        take_away(candidate, victim, best.node, now, outcome);
    }
    outcome.push(Effect::Patch {
        kind: Kind::Pod,
        key: candidate.key.clone(),
        status: true,
        patch: json!({"status": {"nominatedNodeName": best.node}}),
    });
    true
}

/// The fewest and least important pods whose absence makes the pod fit.
fn plan<'a>(candidate: &Candidate<'_>, place: &Place<'a>, places: &[Place<'a>]) -> Option<Plan<'a>> {
    let of = |pod: &Arc<Pod>| priority(candidate.world, pod);
    let (mut lower, kept): (Vec<_>, Vec<_>) =
        place.pods.iter().copied().partition(|pod| of(pod) < candidate.priority);
    if lower.is_empty() {
        return None;
    }
    let fits = |pods: &[&'a Arc<Pod>]| {
        let reduced = Place { pods: pods.to_vec(), ..place.clone() };
        let mut all = places.to_vec();
        if let Some(same) = all.iter_mut().find(|other| other.name == place.name) {
            *same = reduced.clone();
        }
        filter::fit(candidate, &reduced, &all).is_ok()
    };
    let mut remaining = kept;
    if !fits(&remaining) {
        return None;
    }
    // The more important, and among equals the older, are spared first.
    lower.sort_by_key(|pod| {
        (std::cmp::Reverse(of(pod)), pod.metadata.creation_timestamp.as_ref().map(|t| t.0))
    });
    let mut victims = Vec::new();
    for pod in lower {
        remaining.push(pod);
        if !fits(&remaining) {
            remaining.pop();
            victims.push(pod);
        }
    }
    let highest = victims.iter().map(|pod| of(pod)).max().unwrap_or(i32::MIN);
    let sum = victims.iter().map(|pod| i64::from(of(pod))).sum();
    let cost = (highest, sum, victims.len());
    Some(Plan { node: place.name, victims, cost })
}

fn take_away(candidate: &Candidate<'_>, victim: &Pod, node: &str, now: Timestamp, outcome: &mut Outcome) {
    if pods::is_terminating(victim) {
        return;
    }
    let key = Key::of(&victim.metadata);
    let uid = victim.metadata.uid.clone().unwrap_or_default();
    let mut conditions =
        victim.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    let mut conditions = json!(conditions);
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.push(json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": format!("{NAME}: preempting to accommodate a higher priority pod"),
            "lastTransitionTime": Time(now),
        }));
    }
    outcome.push(Effect::Patch {
        kind: Kind::Pod,
        key: key.clone(),
        status: true,
        patch: json!({"status": {"conditions": conditions}}),
    });
    let preemptor = candidate.pod.metadata.uid.as_deref().unwrap_or_default();
    outcome.push(Effect::Report(Note {
        kind: Kind::Pod,
        key: key.clone(),
        uid: uid.clone(),
        field_path: String::new(),
        warning: false,
        reason: "Preempted".to_owned(),
        action: "Preempting".to_owned(),
        message: format!("Preempted by pod {preemptor} on node {node}"),
        component: NAME,
    }));
    outcome.push(Effect::Delete { kind: Kind::Pod, key, uid });
}
