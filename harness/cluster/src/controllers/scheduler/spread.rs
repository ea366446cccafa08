//! Topology spread: as many matching pods in one domain as in the others, give or take the skew.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Pod, TopologySpreadConstraint},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{Candidate, Place, Refusal, filter};
use crate::controllers::{pods, selector};

/// Whether a node keeps the skew of every hard constraint.
pub(super) fn fit(candidate: &Candidate<'_>, place: &Place<'_>, places: &[Place<'_>]) -> Result<(), Refusal> {
    let hard: Vec<&TopologySpreadConstraint> = constraints(candidate.pod, "DoNotSchedule").collect();
    if hard.is_empty() {
        return Ok(());
    }
    for constraint in &hard {
        let Some(own) = domain(place, constraint) else {
            return Err(Refusal::fixed(
                "node(s) didn't match pod topology spread constraints (missing required label)",
            ));
        };
        let counts = counts(candidate, constraint, &hard, places);
        let domains = i32::try_from(counts.len()).unwrap_or(i32::MAX);
        let least = if constraint.min_domains.is_some_and(|wanted| domains < wanted) {
            // Fewer domains than wanted: the missing ones count as empty.
            0
        } else {
            counts.values().copied().min().unwrap_or(0)
        };
        let itself = i64::from(matches(constraint, candidate.pod, candidate.pod));
        let skew = counts.get(own).copied().unwrap_or(0) + itself - least;
        if skew > i64::from(constraint.max_skew) {
            return Err(Refusal::passing("node(s) didn't match pod topology spread constraints"));
        }
    }
    Ok(())
}

/// How many matching pods the soft constraints see in the node's domains: the fewer the better.
pub(super) fn crowding(candidate: &Candidate<'_>, place: &Place<'_>, places: &[Place<'_>]) -> i64 {
    let soft: Vec<&TopologySpreadConstraint> = constraints(candidate.pod, "ScheduleAnyway").collect();
    let mut sum = 0;
    for constraint in &soft {
        let Some(own) = domain(place, constraint) else { continue };
        sum += counts(candidate, constraint, &soft, places).get(own).copied().unwrap_or(0);
    }
    sum
}

fn constraints<'a>(pod: &'a Pod, action: &'a str) -> impl Iterator<Item = &'a TopologySpreadConstraint> {
    let all = pod.spec.iter().flat_map(|spec| spec.topology_spread_constraints.iter().flatten());
    all.filter(move |constraint| constraint.when_unsatisfiable == action)
}

fn domain<'a>(place: &'a Place<'_>, constraint: &TopologySpreadConstraint) -> Option<&'a String> {
    place.node.metadata.labels.as_ref()?.get(&constraint.topology_key)
}

/// Matching pods by domain, over the nodes that count.
fn counts<'a>(
    candidate: &Candidate<'_>,
    constraint: &TopologySpreadConstraint,
    all: &[&TopologySpreadConstraint],
    places: &'a [Place<'_>],
) -> BTreeMap<&'a String, i64> {
    let mut counts: BTreeMap<&String, i64> = BTreeMap::new();
    for place in places {
        // A node must have the labels of all constraints to count.
        if !all.iter().all(|constraint| domain(place, constraint).is_some())
            || !is_included(candidate, constraint, place)
        {
            continue;
        }
        let Some(own) = domain(place, constraint) else { continue };
        let here = place.pods.iter().filter(|pod| {
            !pods::is_terminating(pod)
                && pod.metadata.namespace == candidate.pod.metadata.namespace
                && matches(constraint, candidate.pod, pod)
        });
        *counts.entry(own).or_default() += i64::try_from(here.count()).unwrap_or(i64::MAX);
    }
    counts
}

/// Whether a node counts for a constraint: by default the pod's node affinity decides, its taints do not.
fn is_included(candidate: &Candidate<'_>, constraint: &TopologySpreadConstraint, place: &Place<'_>) -> bool {
    let honors_affinity = constraint.node_affinity_policy.as_deref() != Some("Ignore");
    if honors_affinity && !filter::node_matches(candidate.pod, place) {
        return false;
    }
    if constraint.node_taints_policy.as_deref() != Some("Honor") {
        return true;
    }
    let tolerations = candidate.pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    let tolerations: Vec<_> = tolerations.collect();
    let taints = place.node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints
        .filter(|taint| taint.effect != "PreferNoSchedule")
        .all(|taint| tolerations.iter().any(|toleration| filter::tolerates(toleration, taint)))
}

/// Whether a constraint of `owner` counts `pod`.
fn matches(constraint: &TopologySpreadConstraint, owner: &Pod, pod: &Pod) -> bool {
    let nothing = LabelSelector::default();
    let wanted = constraint.label_selector.as_ref();
    // Without a selector nothing is counted.
    let Some(wanted) = wanted.or_else(|| constraint.match_label_keys.as_ref().map(|_| &nothing)) else {
        return false;
    };
    let value = |pod: &Pod, key: &String| pod.metadata.labels.as_ref().and_then(|all| all.get(key).cloned());
    selector::matches(wanted, pod.metadata.labels.as_ref())
        && constraint
            .match_label_keys
            .iter()
            .flatten()
            .all(|key| value(owner, key).is_none() || value(owner, key) == value(pod, key))
}
